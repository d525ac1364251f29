"""The longest diameter of a tumour on an axial slice and the one perpendicular to it, as a reader measures them (RECIST)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_ALIGNED: Final = 0.5
"""Voxels that lie at most this far apart along the long axis, mm, lie opposite each other."""


@dataclass(frozen=True, slots=True)
class AxialDiameters:
    """Two diameters on one slice.

    Attributes
    ----------
    longest_mm
        Largest distance between the centres of two voxels of one connected part of a slice, mm.
    perpendicular_mm
        Largest distance of two voxels of that part that lie opposite each other across the longest diameter, mm.
    slice_index
        The slice, as index into the mask's first axis.
    """

    longest_mm: float
    perpendicular_mm: float
    slice_index: int


def axial_diameters(mask: NDArray[np.bool_]) -> AxialDiameters:
    """Measure a mask on a grid of 1 mm, slice by slice.

    Parameters
    ----------
    mask
        bool, shape (z, y, x), isotropic, with at least one voxel; slices are those of constant z.

    Returns
    -------
    AxialDiameters
        Of the slice with the longest diameter. Of equal ones that with the longer perpendicular, then the lowest slice.
        Eisenhauer et al., Eur J Cancer 2009; 45: 228-247: the longest diameter in the plane of the slices; the
        perpendicular after WHO (Miller et al., Cancer 1981; 47: 207-214). Parts of a slice that do not touch are measured
        apart, and a line may cross a cavity.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    longest = -1
    parts: list[tuple[int, NDArray[np.bool_]]] = []
    for bound, index, in_slice in sorted(_slices(mask), key=lambda found: -found[0]):
        if bound < longest:
            break
        if _largest_square(_row_ends(in_slice)) < longest:
            continue  # nothing in the slice is that far apart, whatever its parts
        for part in _parts(in_slice):
            square = _largest_square(_row_ends(part))
            if square > longest:
                longest, parts = square, []
            if square == longest:
                parts.append((index, part))
    if not parts:
        raise ValueError("the mask is empty")
    perpendicular, index = max((_across(part, longest), -index) for index, part in parts)
    return AxialDiameters(float(np.sqrt(longest)), perpendicular, -index)


def _slices(mask: NDArray[np.bool_]) -> list[tuple[int, int, NDArray[np.bool_]]]:
    """Return for every slice that is not empty the squared diagonal of its box, its index, and what is in the box."""
    found = []
    for index in np.flatnonzero(mask.any(axis=(1, 2))):
        box = _cropped(mask[index])
        found.append(((box.shape[0] - 1) ** 2 + (box.shape[1] - 1) ** 2, int(index), box))
    return found


def _parts(in_slice: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Return the parts of a slice, each in its box; voxels that touch at a corner are connected."""
    import SimpleITK as sitk  # 0.1 s, which `inspect` does without

    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(in_slice.astype(np.uint8)), True))
    return [_cropped(labels == number) for number in range(1, int(labels.max()) + 1)]


def _cropped(part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    return part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _rim(part: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the voxels (y, x) that have a neighbour outside the part, or the box's edge."""
    padded = np.pad(part, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(part & ~inner)


def _row_ends(part: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return first and last voxel (y, x) of every row, the farthest pair among them; every row of a part has a voxel."""
    first, last = part.argmax(axis=1), part.shape[1] - 1 - part[:, ::-1].argmax(axis=1)
    rows = np.arange(len(part))
    return np.concatenate([np.column_stack([rows, first]), np.column_stack([rows, last])])


def _largest_square(points: NDArray[np.int64]) -> int:
    y, x = points.T
    return int((np.subtract.outer(y, y) ** 2 + np.subtract.outer(x, x) ** 2).max())


def _across(part: NDArray[np.bool_], longest: int) -> float:
    """Return the largest distance across the longest diameter, whose square is given; across the better of equal ones."""
    if longest == 0:
        return 0.0
    ends = _row_ends(part)
    steps = ends[:, None] - ends[None]
    rim = _rim(part)
    apart = rim[:, None] - rim[None]
    across = 0.0
    for step in np.unique(steps[(steps**2).sum(axis=-1) == longest], axis=0):
        if tuple(step) < tuple(-step):
            continue  # of two opposite steps one is enough
        along = step / np.sqrt(longest)
        opposite = np.abs(apart @ along) <= _ALIGNED
        across = max(across, float(np.abs(apart @ np.array([-along[1], along[0]]))[opposite].max()))
    return across
