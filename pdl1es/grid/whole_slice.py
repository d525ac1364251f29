"""The whole CT slice at the tumour, on the 1 mm grid: a drawing shows by it where in the chest the tumour lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WholeSlice:
    """One axial slice of the 1 mm grid over all that the scan covers. No score depends on it.

    Attributes
    ----------
    hu
        int16 whole HU, shape (y, x), axes ascending towards the back and the patient's left.
    origin
        Grid coordinates (x, y) of ``hu[0, 0]``, mm, along the axes of `resample.TumourVolume`.
    z
        Grid coordinate of the slice, mm.
    """

    hu: NDArray[np.int16]
    origin: tuple[int, int]
    z: int

    def __repr__(self) -> str:
        height, width = self.hu.shape
        return f"WholeSlice({width} x {height} mm at z {self.z} mm)"
