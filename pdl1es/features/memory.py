"""How much memory a tumour's features take, told before the work begins."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.features.names import IMAGE_TYPES
from pdl1es.features.settings import SETTINGS
from pdl1es.grid.bounding_box import bounding_box

_PROCESS: Final = 160 * 2**20
_PER_VOXEL: Final = 300
_PER_PLACE: Final = 100
_PER_PAIR_OF_LEVELS: Final = 2 * 4 * 8 * len(IMAGE_TYPES)
"""Co-occurrences of all images in four directions, float64, held twice while they are evaluated."""
_PER_PAIR_OF_PRESENT_LEVELS: Final = 4500
"""Filters spread noise over up to twice the levels, and formulas hold several more copies; measured."""


def estimated_bytes(hu: NDArray[Any], mask: NDArray[np.bool_]) -> int:
    """Estimate the memory that `extract_features` takes.

    Measured on balls of noise from -1024 to 3071 HU: 0.15 GiB above the start for a diameter of 60 mm, 0.21 for 80, 0.25 for
    100; estimated are 0.37, 0.46 and 0.60. A ball of 124 mm from -1024 to 32767 HU takes more than 7.1 GiB; estimated are 9.9. A
    tumour with 6 mm of metal of 31000 HU takes 0.57; estimated are 1.5, because few of its levels are present.

    Parameters
    ----------
    hu
        Hounsfield units on the 1 mm grid, shape (z, y, x).
    mask
        The tumour, same shape, not empty.

    Returns
    -------
    int
        Bytes.
    """
    box = bounding_box(mask)
    margin = SETTINGS.setting.pad_distance
    places = int(np.prod([side.stop - side.start + 2 * margin for side in box]))
    inside = hu[mask]
    voxels = inside.size
    levels = min(voxels, int((float(inside.max()) - float(inside.min())) // SETTINGS.setting.bin_width) + 1)
    present = np.unique(inside // SETTINGS.setting.bin_width).size
    pairs = _PER_PAIR_OF_LEVELS * levels**2 + _PER_PAIR_OF_PRESENT_LEVELS * present**2
    return _PROCESS + _PER_VOXEL * voxels + _PER_PLACE * places + pairs
