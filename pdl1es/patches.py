"""ROI patches: the slice of largest tumour area and its neighbours 1 mm above and below, 112 x 112, in HU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RoiPatches:
    """What the network looks at.

    Attributes
    ----------
    hu
        float32 whole HU, shape (3, 112, 112): the slice 1 mm below, the ROI slice, the slice 1 mm above.
    mask
        bool, same shape: the tumour on them (for drawings; the network does not see it).
    roi_z
        Grid coordinate (mm) of the ROI slice.
    rectangle
        (x_low, y_low, x_high, y_high) in grid coordinates, both ends included, margin included.
    """

    hu: NDArray[np.float32]
    mask: NDArray[np.bool_]
    roi_z: int
    rectangle: tuple[int, int, int, int]
