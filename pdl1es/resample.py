"""The 1 mm grid: nodes at whole millimetres from the frame of reference's origin, along the CT's own axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TumourVolume:
    """The tumour and its surroundings on the 1 mm grid.

    Attributes
    ----------
    hu
        int16 Hounsfield units rounded to whole numbers, shape (z, y, x), axes ascending towards head, back and the
        patient's left (canonical LPS).
    mask
        bool, same shape.
    origin
        Grid coordinates (x, y, z) of ``hu[0, 0, 0]``: whole mm along ``axes`` from the frame of reference's origin.
    axes
        Direction cosines of the x, y and z axis in LPS, shape (3, 3), one axis a row.
    scan_low, scan_high
        First and last grid node (x, y, z) that the scan covers on each axis. ``hu`` may be a crop of that range.
    """

    hu: NDArray[np.int16]
    mask: NDArray[np.bool_]
    origin: tuple[int, int, int]
    axes: NDArray[np.float64]
    scan_low: tuple[int, int, int]
    scan_high: tuple[int, int, int]
