"""Grad-CAM: what it is at the last block, how fine it is at an earlier one, and how it is summed up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import training.attention
from pdl1es.grid.resample import TumourVolume
from training.attention import NAMED_FEATURES, Attention, enlarged, grad_cam, portrait, summarise_attention
from training.figures.attention import attention_figure
from training.figures.drawing import png_bytes
from training.network import CM, PDL1ES, SMALL, FusionNetwork
from training.preprocessing import FittedPreprocessing


@pytest.fixture(scope="module")
def network(fitted: FittedPreprocessing) -> FusionNetwork:
    torch.manual_seed(0)
    return FusionNetwork(fitted, PDL1ES, layers=SMALL).eval()


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    return np.random.default_rng(0).normal(-400, 300, (3, 112, 112)).astype(np.float32)


def test_the_map_is_finer_than_the_last_blocks_and_never_negative(
    network: FusionNetwork, patches: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = grad_cam(network, patches)
    assert found.block == "denseblock3"
    assert found.maps.shape == (3, 7, 7)
    assert found.maps.min() >= 0
    assert np.array_equal(grad_cam(network, patches).maps, found.maps)
    monkeypatch.setattr(training.attention, "SMALLEST_MAP", 14)
    finer = grad_cam(network, patches)
    assert (finer.block, finer.maps.shape) == ("denseblock2", (3, 14, 14))


def test_it_is_the_gradient_weighted_sum_of_the_blocks_channels(network: FusionNetwork, patches: np.ndarray) -> None:
    """Recomputed by hand: the rest of the network as a function of the block's output."""
    children = dict(network.densenet.named_children())
    names = list(children)
    cut = names.index("denseblock3") + 1
    low, high = network.window_hu
    x = ((torch.from_numpy(patches)[:, None] - low) / (high - low)).clamp(0, 1)
    with torch.no_grad():
        for name in names[:cut]:
            x = children[name](x)
    block = x.clone().requires_grad_(True)
    y = block * 1.0
    for name in names[cut:]:
        y = children[name](y)
    logit = (torch.relu(y).mean((2, 3)).double() @ network.logit_weights()[1]).sum()
    (gradient,) = torch.autograd.grad(logit, block)
    expected = torch.relu((gradient.mean((2, 3), keepdim=True) * block).sum(1)).detach().numpy()
    assert grad_cam(network, patches).maps == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_looking_leaves_the_network_as_it_was(network: FusionNetwork, patches: np.ndarray) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    grad_cam(network, patches)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_without_a_deep_part_or_a_fine_block_cannot_look(
    network: FusionNetwork, fitted: FittedPreprocessing, patches: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="no deep part"):
        grad_cam(FusionNetwork(fitted, CM), patches)
    monkeypatch.setattr(training.attention, "SMALLEST_MAP", 64)
    with pytest.raises(ValueError, match="64 x 64 cells"):
        grad_cam(network, patches)


def test_attention_everywhere_is_shared_as_the_area_is() -> None:
    mask = np.zeros((1, 3, 112, 112), dtype=bool)
    mask[:, :, 30:80, 30:80] = True
    even = summarise_attention([Attention(np.ones((3, 7, 7)), "denseblock3")], mask)
    assert even.share == pytest.approx(even.area)
    assert sum(even.area.values()) == pytest.approx(1.0)
    middle = np.zeros((3, 7, 7))
    middle[:, 3, 3] = 1.0
    assert summarise_attention([Attention(middle, "denseblock3")], mask).share["core"] > 0.95
    nothing = Attention(np.zeros((3, 7, 7)), "denseblock3")
    found = summarise_attention([nothing, Attention(middle, "denseblock3")], np.concatenate([mask, mask]))
    assert (found.n, found.without) == (1, 1)
    with pytest.raises(ValueError, match="nobody's score"):
        summarise_attention([nothing], mask)


def test_cells_are_enlarged_about_their_centres() -> None:
    cells = np.zeros((1, 7, 7))
    cells[0, 2, 5] = 1.0
    row, column = np.unravel_index(int(enlarged(cells)[0].argmax()), (112, 112))
    assert abs(row - 39.5) <= 1
    assert abs(column - 87.5) <= 1


def test_figure_5_shows_a_row_a_patient_and_names_nobody(network: FusionNetwork) -> None:
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[:40, :44, :48]
    mask = (z - 20) ** 2 + (y - 22) ** 2 + (x - 24) ** 2 <= 9**2
    hu = np.where(mask, rng.normal(40, 30, mask.shape), -850).astype(np.int16)
    volume = TumourVolume(hu, mask, (0, 0, 0), np.eye(3), (0, 0, 0), (47, 43, 39))
    one = portrait("high PD-L1ES (0.91)", volume, network)
    assert set(one.feature_maps) == set(NAMED_FEATURES)
    x_low, y_low, x_high, y_high = one.roi.rectangle
    for values in one.feature_maps.values():
        assert values.shape == (y_high - y_low + 1, x_high - x_low + 1)
        assert 0 < np.isfinite(values).sum() <= mask[20].sum()
    figure = attention_figure([one, portrait("low PD-L1ES (0.10)", volume, network)])
    assert len(figure.axes) == 2 * 4 + 4  # with a scale beside each feature's map
    assert png_bytes(figure, "Figure 5").startswith(b"\x89PNG")
