"""Where the network looks, and what two radiomic features see there (paper, Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from pdl1es.features.maps import feature_map
from pdl1es.grid.patches import RoiPatches, extract_patches
from pdl1es.grid.resample import TumourVolume
from pdl1es.method import PATCH_SIZE

if TYPE_CHECKING:
    from torch import Tensor

    from training.network import FusionNetwork

NAMED_FEATURES: Final = (
    "wavelet-HL_glcm_SumEntropy",
    "wavelet-LL_glrlm_GrayLevelNonUniformityNormalized",
)
"""The two features that the paper maps."""
SMALLEST_MAP: Final = 7
"""Fewest cells per side of a map: the last block's 3 x 3 cells cannot resolve a border."""
BORDER_PIXELS: Final = 6.0
"""Width of the border region on either side of the contour, in pixels of the patch."""
REGIONS: Final = ("core", "border", "surroundings")


@dataclass(frozen=True, slots=True)
class Attention:
    """Grad-CAM of one patient.

    Attributes
    ----------
    maps
        float64, shape (S, c, c), 0 or more: what raised the score, in cells.
    block
        Name of the block, as ``denseblock3``.
    """

    maps: NDArray[np.float64]
    block: str


@dataclass(frozen=True, slots=True)
class AttentionSummary:
    """Where the attention of many patients lies.

    Attributes
    ----------
    n
        Patients with attention anywhere.
    without
        Patients whose attention is zero everywhere.
    block
        Of the network.
    share, area
        By region (core, border within 6 pixels of the contour, surroundings): mean share of the attention and of the
        patch. Attention is on the border if its share exceeds the area's.
    """

    n: int
    without: int
    block: str
    share: dict[str, float]
    area: dict[str, float]


@dataclass(frozen=True, slots=True)
class Portrait:
    """One patient of Figure 5.

    Attributes
    ----------
    name
        As 'high PD-L1ES (0.91)'; no identifier.
    roi
        Patches and where they were cut.
    attention
        Of the network.
    feature_maps
        By feature: float64, shape (y, x) of the ROI's rectangle; NaN outside the tumour.
    """

    name: str
    roi: RoiPatches
    attention: Attention
    feature_maps: dict[str, NDArray[np.float64]]


def grad_cam(network: FusionNetwork, patches: NDArray[np.float32]) -> Attention:
    """Return Grad-CAM at the deepest block whose map has enough cells.

    Parameters
    ----------
    network
        Trained, with a deep part; on the CPU, left in evaluation mode.
    patches
        float32 HU, shape (S, 112, 112).

    Returns
    -------
    Attention

    Raises
    ------
    ValueError
        The network has no deep part, or no block with so many cells.

    Notes
    -----
    Selvaraju et al., ICCV 2017: channels weighted by the mean of their gradient, summed, negative values cut. The
    gradient is of the logit; radiomic and clinical terms are constants in it.
    """
    import torch

    if not network.parts.deep:
        raise ValueError("the network has no deep part to look with")
    network.eval()
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: Tensor) -> None:
        output.retain_grad()
        outputs[name] = output

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: keep(name, output))
        for name, module in network.densenet.named_children()
        if name.startswith("denseblock")
    ]
    try:
        with torch.enable_grad():
            pixels = torch.from_numpy(patches)[:, None].requires_grad_(True)
            deep = network.feature_maps(pixels).mean((2, 3)).double() @ network.logit_weights()[1]
            deep.sum().backward()
    finally:
        for hook in hooks:
            hook.remove()
        network.zero_grad(set_to_none=True)
    fine = [name for name, output in outputs.items() if output.shape[-1] >= SMALLEST_MAP]
    if not fine:
        raise ValueError(f"no block of the network has {SMALLEST_MAP} x {SMALLEST_MAP} cells or more")
    output = outputs[fine[-1]]
    if output.grad is None:
        raise ValueError("the block takes no part in the score")
    weight = output.grad.mean((2, 3), keepdim=True)
    maps = torch.relu((weight * output).sum(1)).detach().double().numpy()
    return Attention(maps, fine[-1])


def enlarged(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a map of cells on the patch's pixels, bilinear between the cells' centres; shape (S, 112, 112)."""
    import torch

    grown = torch.nn.functional.interpolate(
        torch.from_numpy(cells)[:, None], size=(PATCH_SIZE, PATCH_SIZE), mode="bilinear", align_corners=False
    )
    return grown[:, 0].numpy()


def summarise_attention(attentions: Sequence[Attention], masks: NDArray[np.bool_]) -> AttentionSummary:
    """Return where attention lies on average.

    Parameters
    ----------
    attentions
        One per patient.
    masks
        bool, shape (N, S, 112, 112): the tumour.

    Returns
    -------
    AttentionSummary

    Raises
    ------
    ValueError
        No patient, or none with any attention.
    """
    shares, areas, without = [], [], 0
    for attention, mask in zip(attentions, masks, strict=True):
        weight = enlarged(attention.maps)
        if weight.sum() <= 0:
            without += 1
            continue
        inside = np.stack([distance_transform_edt(layer) - distance_transform_edt(~layer) for layer in mask])
        regions = (inside > BORDER_PIXELS, np.abs(inside) <= BORDER_PIXELS, inside < -BORDER_PIXELS)
        shares.append([float(weight[region].sum() / weight.sum()) for region in regions])
        areas.append([float(region.mean()) for region in regions])
    if not shares:
        raise ValueError("nobody's score was raised anywhere in the patch")
    mean_share, mean_area = np.mean(shares, axis=0), np.mean(areas, axis=0)
    return AttentionSummary(
        n=len(shares),
        without=without,
        block=attentions[0].block,
        share=dict(zip(REGIONS, (float(v) for v in mean_share), strict=True)),
        area=dict(zip(REGIONS, (float(v) for v in mean_area), strict=True)),
    )


def portrait(name: str, volume: TumourVolume, network: FusionNetwork) -> Portrait:
    """Compute a patient's part of Figure 5.

    Parameters
    ----------
    name
        As of `Portrait`.
    volume
        The tumour on the grid of 1 mm.
    network
        Trained, with a deep part.

    Returns
    -------
    Portrait
        A feature that pyradiomics cannot map is all NaN.
    """
    roi = extract_patches(volume)
    z = roi.roi_z - volume.origin[2]
    x_low, y_low, x_high, y_high = roi.rectangle
    maps: dict[str, NDArray[np.float64]] = {}
    for feature in NAMED_FEATURES:
        try:
            whole = feature_map(volume.hu, volume.mask, feature, z)
        except ValueError:
            whole = np.full(volume.hu.shape[1:], np.nan)
        rows = np.arange(y_low, y_high + 1) - volume.origin[1]
        columns = np.arange(x_low, x_high + 1) - volume.origin[0]
        part = np.full((rows.size, columns.size), np.nan)
        # the rectangle may reach beyond the scan
        held = ((rows >= 0) & (rows < whole.shape[0]))[:, None] & ((columns >= 0) & (columns < whole.shape[1]))[None, :]
        part[held] = whole[np.ix_(rows.clip(0, whole.shape[0] - 1), columns.clip(0, whole.shape[1] - 1))][held]
        maps[feature] = part
    return Portrait(name, roi, grad_cam(network, roi.hu), maps)
