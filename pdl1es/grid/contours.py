"""Other contours of the same tumour, 1 mm off, by which the score's dependence on the contour is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, generate_binary_structure

from pdl1es.grid.diameter import longest_diameter
from pdl1es.grid.resample import TumourVolume
from pdl1es.method import MIN_TUMOUR_DIAMETER_MM, MIN_TUMOUR_VOLUME_MM3

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
    """Return the tumour eroded, dilated and shifted by 1 mm, as the method's own TumourVolume.

    Parameters
    ----------
    volume
        From `resample.tumour_volume`, whose crop leaves room for contours that are 1 mm larger.

    Returns
    -------
    tuple of ContourVariant
        Eroded, dilated (by a ball of 1 mm: the six neighbours), and shifted either way along x, y and z: always all
        eight, in this order. Voxels shifted or grown beyond the scan are lost.
    """
    ball = generate_binary_structure(3, 1)
    # beyond the scan the tumour may go on: a scan's edge erodes nothing
    masks = [
        ("eroded by 1 mm", binary_erosion(volume.mask, ball, border_value=1)),
        ("dilated by 1 mm", binary_dilation(volume.mask, ball)),
        *((name, _shifted(volume.mask, axis, step)) for name, axis, step in _SHIFTS),
    ]
    return tuple(
        ContourVariant(name, replace(volume, mask=mask) if _is_measurable(mask) else None) for name, mask in masks
    )


def _shifted(mask: NDArray[np.bool_], axis: int, step: int) -> NDArray[np.bool_]:
    shifted = np.zeros_like(mask)
    source, target = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
    source[axis], target[axis] = (
        (slice(None, -step), slice(step, None)) if step > 0 else (slice(-step, None), slice(None, step))
    )
    shifted[tuple(target)] = mask[tuple(source)]
    return shifted


def _is_measurable(mask: NDArray[np.bool_]) -> bool:
    return float(np.count_nonzero(mask)) >= MIN_TUMOUR_VOLUME_MM3 and longest_diameter(mask) >= MIN_TUMOUR_DIAMETER_MM
