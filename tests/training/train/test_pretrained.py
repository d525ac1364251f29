"""ImageNet weights that a user brings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from monai.networks.nets import DenseNet

from training.cohort.prepared import PreparedCohort
from training.network import CM, SMALL, FusionNetwork
from training.preprocessing import FittedPreprocessing
from training.train.config import TrainingConfig
from training.train.pretrained import IMAGENET_MEAN, IMAGENET_SD, PretrainedError, load_pretrained
from training.train.run import train
from training.train.run_folder import TrainingError


def colour_network() -> DenseNet:
    """A network of three colours with statistics of its own, as if trained."""
    torch.manual_seed(1)
    network = DenseNet(
        spatial_dims=2,
        in_channels=3,
        out_channels=1000,
        init_features=SMALL.init_features,
        growth_rate=SMALL.growth_rate,
        block_config=SMALL.block_config,
    )
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.get_buffer("running_mean"))
            torch.nn.init.uniform_(module.get_buffer("running_var"), 0.5, 2)
    return network.eval()


def torchvision_names(network: DenseNet, dot: str) -> dict[str, torch.Tensor]:
    """The same weights under torchvision's names: ``norm1`` today, ``norm.1`` in its old files."""
    named = {}
    for name, value in network.state_dict().items():
        name = re.sub(r"\.layers\.(norm|conv)(\d)\.", rf".\g<1>{dot}\g<2>.", name)
        named[name.replace("class_layers.out.", "classifier.")] = value
    return named


def first_layers(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    return network.get_submodule("norm0")(network.get_submodule("conv0")(image))


@pytest.mark.parametrize("dot", ["", "."])
def test_a_grey_patch_gives_what_imagenets_network_gives_for_the_same_grey_in_colour(
    dot: str, fitted: FittedPreprocessing, tmp_path: Path
) -> None:
    colour = colour_network()
    torch.save(torchvision_names(colour, dot), tmp_path / "densenet.pth")
    network = FusionNetwork(fitted, layers=SMALL).eval()
    copied = load_pretrained(network, tmp_path / "densenet.pth")
    assert copied == len(network.densenet.state_dict())
    grey = torch.rand(2, 1, 112, 112)
    mean, sd = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_SD))
    with torch.inference_mode():
        # before the border's padding spreads: there black is not ImageNet's mean
        ours = first_layers(network.densenet, grey)[..., 4:-4, 4:-4]
        theirs = first_layers(colour.features, (grey - mean) / sd)[..., 4:-4, 4:-4]
    assert torch.allclose(ours, theirs, atol=1e-5)
    rest = dict(network.densenet.state_dict())
    assert torch.equal(
        rest["denseblock4.denselayer1.layers.conv2.weight"],
        colour.state_dict()["features.denseblock4.denselayer1.layers.conv2.weight"],
    )


def test_the_networks_own_weights_can_be_loaded_again(fitted: FittedPreprocessing, tmp_path: Path) -> None:
    one, other = FusionNetwork(fitted, layers=SMALL), FusionNetwork(fitted, layers=SMALL)
    torch.save({"state_dict": one.state_dict()}, tmp_path / "weights.pt")
    load_pretrained(other, tmp_path / "weights.pt")
    patches = torch.rand(1, 1, 112, 112) * 1000 - 800
    with torch.inference_mode():
        assert torch.equal(one.eval().feature_maps(patches), other.eval().feature_maps(patches))


def test_weights_of_another_network_are_refused_and_nothing_is_changed(
    fitted: FittedPreprocessing, tmp_path: Path
) -> None:
    network = FusionNetwork(fitted, layers=SMALL)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    weights = torchvision_names(colour_network(), "")
    torch.save({name: value for name, value in weights.items() if "transition2" not in name}, tmp_path / "lacking.pth")
    with pytest.raises(PretrainedError, match=r"lacks 5 of \d+ tensors, the first transition2"):
        load_pretrained(network, tmp_path / "lacking.pth")
    weights["features.norm5.weight"] = torch.zeros(7)
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(PretrainedError, match=r"norm5.weight has the shape \(7,\)"):
        load_pretrained(network, tmp_path / "other.pth")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_file_that_would_run_code_is_refused(fitted: FittedPreprocessing, tmp_path: Path) -> None:
    torch.save({"features.conv0.weight": re.compile("x")}, tmp_path / "code.pth")
    with pytest.raises(PretrainedError, match="cannot be read as weights"):
        load_pretrained(FusionNetwork(fitted, layers=SMALL), tmp_path / "code.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(PretrainedError, match="cannot be read as weights"):
        load_pretrained(FusionNetwork(fitted, layers=SMALL), tmp_path / "text.pth")


def test_a_network_without_convolutions_takes_none(fitted: FittedPreprocessing, tmp_path: Path) -> None:
    torch.save(torchvision_names(colour_network(), ""), tmp_path / "densenet.pth")
    with pytest.raises(PretrainedError, match="no deep part"):
        load_pretrained(FusionNetwork(fitted, CM), tmp_path / "densenet.pth")


def test_weights_that_a_configuration_starts_from_have_to_be_given(
    cohort: PreparedCohort, quick: TrainingConfig, tmp_path: Path
) -> None:
    """Else a run would be recorded as one that started from them."""
    config = quick.model_copy(update={"pretrained": "ab" * 32})
    (tmp_path / "other.pth").write_bytes(b"other weights")
    for file, said in ((None, "none was given"), (tmp_path / "other.pth", "the given one has")):
        with pytest.raises(TrainingError, match=said):
            train(cohort, tmp_path / "run", config, pretrained=file)
    assert not (tmp_path / "run").exists()
