"""Other contours of the same tumour, 1 mm off, by which the score's dependence on the contour is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.grid.minimum_size import shortfall
from pdl1es.grid.resample import TumourVolume

_SHIFTS: Final = (
    ("shifted 1 mm to the right", 2, -1),
    ("shifted 1 mm to the left", 2, 1),
    ("shifted 1 mm to the front", 1, -1),
    ("shifted 1 mm to the back", 1, 1),
    ("shifted 1 mm towards the feet", 0, -1),
    ("shifted 1 mm towards the head", 0, 1),
)
"""Name, array axis and step; the grid's axes ascend to the patient's left, back and head."""


@dataclass(frozen=True, slots=True)
class ContourVariant:
    """One other contour.

    Attributes
    ----------
    name
        What was done to the contour.
    volume
        The same crop with the changed mask; None where the changed tumour is smaller than the method measures.
    """

    name: str
    volume: TumourVolume | None


def contour_variants(volume: TumourVolume) -> tuple[ContourVariant, ...]:
    """Return the tumour eroded, dilated and shifted by 1 mm, each as a TumourVolume of its own.

    Parameters
    ----------
    volume
        From `resample.tumour_volume`, whose crop leaves room for contours that are 1 mm larger.

    Returns
    -------
    tuple of ContourVariant
        Eroded and dilated (by a ball of 1 mm: a voxel and its six neighbours), then shifted either way along x, y and z:
        always all eight, in this order. Voxels that leave the scan are lost.
    """
    shifted = {name: _shifted(volume.mask, axis, step) for name, axis, step in _SHIFTS}
    outside = ~volume.mask
    masks = {
        # Beyond the scan the tumour may continue, so a scan's edge does not erode it.
        "eroded by 1 mm": ~_dilated(outside, [_shifted(outside, axis, step) for _, axis, step in _SHIFTS]),
        "dilated by 1 mm": _dilated(volume.mask, shifted.values()),
        **shifted,
    }
    return tuple(
        ContourVariant(name, replace(volume, mask=mask) if shortfall(mask) is None else None)
        for name, mask in masks.items()
    )


def _dilated(mask: NDArray[np.bool_], shifted: Iterable[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Return a mask grown by a ball of 1 mm, from the mask shifted along each axis either way."""
    return reduce(np.logical_or, shifted, mask)


def _shifted(mask: NDArray[np.bool_], axis: int, step: int) -> NDArray[np.bool_]:
    """Return a mask moved along an axis; what enters is empty."""
    shifted = np.zeros_like(mask)
    source, target = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
    source[axis], target[axis] = (
        (slice(None, -step), slice(step, None)) if step > 0 else (slice(-step, None), slice(None, step))
    )
    shifted[tuple(target)] = mask[tuple(source)]
    return shifted
