"""Radiomics of the tissue around a tumour: what the network learns to see before it is shown any label."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from pdl1es.features.extraction import extract_radiomics
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.grid.resample import TumourVolume

RIM_MM: Final = (1.0, 6.0)
"""Distance of the rim's voxels from the nearest tumour voxel of their slice: above the first, at most the second, mm."""
RIM_SLICES_MM: Final = 3
"""The rim lies on the ROI slice and on the slices up to this far above and below."""


def rim_volume(volume: TumourVolume) -> TumourVolume | None:
    """Return the same crop with the tumour's rim as its mask.

    Parameters
    ----------
    volume
        The tumour on the 1 mm grid.

    Returns
    -------
    TumourVolume or None
        Its mask is a shell in each slice's plane: nearer tissue is left out, because half of it is tumour by the
        interpolation alone. Voxels whose value comes from padding are no tissue. None where nothing is left.
    """
    roi = int(np.argmax(np.count_nonzero(volume.mask, axis=(1, 2))))
    rim = np.zeros_like(volume.mask)
    for z in range(max(roi - RIM_SLICES_MM, 0), min(roi + RIM_SLICES_MM + 1, len(rim))):
        if volume.mask[z].any():
            distance = distance_transform_edt(~volume.mask[z])
            rim[z] = (distance > RIM_MM[0]) & (distance <= RIM_MM[1])
    if volume.padding is not None:
        rim &= ~volume.padding
    return replace(volume, mask=rim) if rim.any() else None


def rim_features(volume: TumourVolume) -> NDArray[np.float64]:
    """Compute the 1316 features of a tumour's rim; no model takes them, pretraining learns to predict them.

    Parameters
    ----------
    volume
        The tumour on the 1 mm grid.

    Returns
    -------
    NDArray[np.float64]
        Shape (1316,), in the order of `FEATURE_NAMES`; NaN throughout where there is no rim.
    """
    rim = rim_volume(volume)
    return np.full(len(FEATURE_NAMES), np.nan) if rim is None else extract_radiomics(rim.hu, rim.mask).values
