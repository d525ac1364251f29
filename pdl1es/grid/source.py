"""A tumour on its own slices, read once, so that it can be brought to the 1 mm grid many times in different ways."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.geometry import to_canonical
from pdl1es.grid.placement import PlacedMask
from pdl1es.grid.resample import CROP_MARGIN_MM, SliceReader, grid_axes, without_padding
from pdl1es.method import FLOOR_HU

SURROUNDINGS_MM: Final = 10
"""How much of the scan around a contour may count when the contour itself is drawn anew."""
LARGEST_GROWTH: Final = 0.15
"""A contour's radius may grow by this share: its volume by half."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SourceSlice:
    """The part of one CT slice around the tumour.

    Attributes
    ----------
    hu
        Hounsfield units as they were read, shape (y, x) along the grid's axes.
    padding
        bool, same shape; None where there is none.
    x, y
        Coordinates of its columns and rows, mm, ascending.
    z
        Its coordinate along the normal, mm.
    """

    hu: NDArray[Any]
    padding: NDArray[np.bool_] | None
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: float

    def floored(self) -> NDArray[np.float64]:
        """Return float64 HU with padding and what is below air at -1024, as `without_padding` does."""
        hu = np.maximum(self.hu.astype(np.float64), FLOOR_HU)
        return hu if self.padding is None else np.where(self.padding, float(FLOOR_HU), hu)

    def __repr__(self) -> str:
        return f"SourceSlice({self.y.size} x {self.x.size} pixels at z {self.z:.2f} mm)"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TumourSource:
    """A tumour before it is resampled: the contour on its lattice, and the CT slices around it.

    Attributes
    ----------
    placed
        The segment along the grid's axes, without what was removed from it.
    slices
        By their index in ``placed.stack``, without a gap.
    centre
        (x, y) of the tumour's rectangle in whole mm: the grid is turned around it.
    largest_body
        Whether the settings take the largest of several separate parts.
    """

    placed: PlacedMask
    slices: Mapping[int, SourceSlice]
    centre: tuple[int, int]
    largest_body: bool = False

    @property
    def axes(self) -> NDArray[np.float64]:
        """Direction cosines of the grid's axes as the CT has them, shape (3, 3), one axis a row."""
        return grid_axes(self.placed.stack)

    def __repr__(self) -> str:
        return f"TumourSource({len(self.placed.occupied())} frames with tumour, {len(self.slices)} slices)"


def read_source(placed: PlacedMask, read_slice: SliceReader, *, largest_body: bool = False) -> TumourSource:
    """Read the slices around a tumour, once.

    Parameters
    ----------
    placed
        The segment on its CT series.
    read_slice
        Returns a slice's HU, shape (rows, columns) as stored.
    largest_body
        Take the largest of several separate parts.

    Returns
    -------
    TumourSource
        Holds what the features need however the grid is turned and a contour grown by half of its volume, and 10 mm more.

    Raises
    ------
    Refusal
        What ``read_slice`` raises; GEOMETRY_INCONSISTENT.
    """
    stack = placed.stack
    x, y = placed.in_plane()
    spans = [float(values.max() - values.min()) for values in (x, y, placed.z)]
    growth = math.ceil(LARGEST_GROWTH * max(spans) / 2) + 1
    reach = CROP_MARGIN_MM + SURROUNDINGS_MM + growth + 1
    centre = (round(float(x.min() + x.max()) / 2), round(float(y.min() + y.max()) / 2))
    radius = math.sqrt(2) * (math.hypot(spans[0], spans[1]) / 2 + 1 + reach)
    first = max(int(np.searchsorted(stack.z, placed.z[0] - reach, side="right")) - 1, 0)
    last = min(int(np.searchsorted(stack.z, placed.z[-1] + reach, side="left")), stack.z.size - 1)
    slices = {}
    for index in range(first, last + 1):
        ct_slice = stack.ct.slices[index]
        hu = read_slice(ct_slice)
        _, padding = without_padding(hu, ct_slice)
        of_x, of_y = stack.coordinates(index)
        part = _around(of_y, centre[1], radius), _around(of_x, centre[0], radius)
        in_part = to_canonical(hu, ct_slice.plane, stack.axes)[part]
        slices[index] = SourceSlice(
            hu=np.ascontiguousarray(in_part),
            padding=None if padding is None else to_canonical(padding, ct_slice.plane, stack.axes)[part].copy(),
            x=of_x[part[1]],
            y=of_y[part[0]],
            z=float(stack.z[index]),
        )
    return TumourSource(placed, slices, centre, largest_body)


def _around(coordinates: NDArray[np.float64], centre: float, radius: float) -> slice:
    """Return where coordinates lie within a radius, and one more at each end."""
    start = int(np.searchsorted(coordinates, centre - radius)) - 1
    stop = int(np.searchsorted(coordinates, centre + radius)) + 1
    # A tumour lies on its scan; the part holds two pixels at least.
    return slice(max(min(start, coordinates.size - 2), 0), min(max(stop, 2), coordinates.size))
