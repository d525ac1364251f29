"""Where the tumour lies: the crop that the filters read, and the line on which texture is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from radiomics import cMatrices

from pdl1es.grid.bounding_box import bounding_box

Values = NDArray[Any]
"""The tumour's voxels of one image, shape (n_voxels,), in the order of ``mask.nonzero()``; the image's own data type."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Crop:
    """The tumour's box and its margin.

    Attributes
    ----------
    hu
        int16 Hounsfield units of the margin's box, shape (z, y, x).
    box
        Where the tumour's own box lies in ``hu``.
    mask
        bool, the tumour on its own box.
    """

    hu: NDArray[np.int16]
    box: tuple[slice, ...]
    mask: NDArray[np.bool_]

    @classmethod
    def around(cls, hu: NDArray[np.int16], mask: NDArray[np.bool_], margin: int) -> Crop:
        """Cut the tumour's box plus ``margin`` voxels, clipped by the array.

        Parameters
        ----------
        hu, mask
            The image and the tumour, one shape (z, y, x); the mask is not empty.
        margin
            Voxels on every side.

        Returns
        -------
        Crop
        """
        own = bounding_box(mask)
        outer, inner = _grown(own, margin, mask.shape)
        return cls(hu=np.ascontiguousarray(hu[outer], dtype=np.int16), box=inner, mask=np.ascontiguousarray(mask[own]))

    def tumour(self, image: NDArray[Any]) -> Values:
        """Return the tumour's voxels of an image of the whole crop."""
        return image[self.box][self.mask]

    def neighbourhood(self, margin: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return the tumour's box grown by ``margin`` within the crop, and where the tumour's box lies in it."""
        return _grown(self.box, margin, self.hu.shape)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.hu.shape))
        return f"Crop({shape} voxels, {np.count_nonzero(self.mask)} of them tumour)"


def _grown(box: tuple[slice, ...], margin: int, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return a box grown by a margin and clipped by an array's shape, and where the box lies in the grown one."""
    outer, inner = [], []
    for side, length in zip(box, shape, strict=True):
        start = max(side.start - margin, 0)
        outer.append(slice(start, min(side.stop + margin, length)))
        inner.append(slice(side.start - start, side.stop - start))
    return tuple(outer), tuple(inner)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Region:
    """The tumour as one line of places instead of a box.

    Every row of the tumour's box is followed by an empty place and every slice by an empty row, and all of it is laid
    out as one line. Then a neighbour is a fixed number of places away, and a step across the box's side meets an empty
    place.

    Attributes
    ----------
    mask
        bool, the tumour's own box, shape (z, y, x).
    spacing
        Voxel size in mm, (z, y, x).
    table
        The line's shape as rows of places, or as slices of rows in 3-D.
    places
        int64, shape (n_voxels,): the places of the tumour's voxels, in the order of ``mask.nonzero()``.
    neighbours
        int32, shape (n_voxels,): each voxel's neighbours within the tumour.
    steps
        int64, shape (n_directions,): places to the neighbour in each direction, one of each pair of opposites, in
        pyradiomics' order.
    lines
        int32 per direction: the voxels' indices, line after line along it, and ``n_voxels`` wherever a run must end;
        None where no line holds two voxels, which pyradiomics drops from the run lengths.
    """

    mask: NDArray[np.bool_]
    spacing: tuple[float, float, float]
    table: tuple[int, ...]
    places: NDArray[np.int64]
    neighbours: NDArray[np.int32]
    steps: NDArray[np.int64]
    lines: tuple[NDArray[np.int32] | None, ...]

    @classmethod
    def of(
        cls, mask: NDArray[np.bool_], *, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), force_2d: bool = True
    ) -> Region:
        """Lay out a mask.

        The defaults are the method's. IBSI's and pyradiomics' reference values need other voxel sizes and 3-D.

        Parameters
        ----------
        mask
            bool, shape (z, y, x), cropped to the tumour's box.
        spacing
            Voxel size in mm, (z, y, x).
        force_2d
            Neighbours within axial slices only (pyradiomics' ``force2D`` with dimension 0).

        Returns
        -------
        Region
        """
        padded = np.pad(mask.view(np.uint8), ((0, 0), (0, 1), (0, 1)))
        directions = directions_of(mask.shape, force_2d)
        steps = directions @ np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
        if force_2d:
            # Steps reach the next row at most, so one empty row after each occupied one is enough.
            rows = padded.reshape(-1, padded.shape[2])
            filled = np.asarray(rows.any(axis=1))
            padded = rows[filled | np.append(False, filled[:-1])]
        occupied = padded.ravel()
        places = np.flatnonzero(occupied)
        indices = np.zeros(len(occupied), dtype=np.int32)
        indices[places] = np.arange(len(places))
        neighbours = np.zeros(len(occupied), dtype=np.int32)
        for step in steps:
            neighbours[step:] += occupied[:-step]
            neighbours[:-step] += occupied[step:]
        lines = []
        for direction, step in zip(directions, steps, strict=True):
            line = _lines(occupied, indices, int(step), len(places))
            apart = not ((line[1:] < len(places)) & (line[:-1] < len(places))).any()
            lines.append(None if apart and lone(mask, direction) else line)
        return cls(mask, spacing, padded.shape, places, neighbours[places], steps, tuple(lines))

    @property
    def size(self) -> int:
        """Number of voxels of the tumour."""
        return len(self.places)

    def __repr__(self) -> str:
        return f"Region({self.size} voxels, {len(self.steps)} directions)"


def directions_of(shape: tuple[int, ...], force_2d: bool) -> NDArray[np.int64]:
    """Return the directions to neighbours, one of each pair of opposites, in pyradiomics' order.

    Parameters
    ----------
    shape
        Of the tumour's box, (z, y, x).
    force_2d
        Within axial slices only.

    Returns
    -------
    NDArray[np.int64]
        Shape (n_directions, 3).
    """
    # pyradiomics returns its directions only together with a matrix; they depend on which axes are longer than one voxel.
    nothing = np.zeros([min(length, 2) for length in shape], dtype=np.int32)
    _, angles = cMatrices.calculate_glcm(nothing, nothing.astype(np.bool_), np.array([1]), 1, force_2d, 0)
    return np.asarray(angles, dtype=np.int64)


def _lines(occupied: NDArray[np.uint8], indices: NDArray[np.int32], step: int, none: int) -> NDArray[np.int32]:
    """Return the voxels' indices line after line along a direction, and ``none`` between voxels that do not touch."""
    # Places that are ``step`` apart are the columns of a table that is ``step`` wide.
    length = -(-len(occupied) // step) * step
    columns = np.pad(occupied, (0, length - len(occupied))).reshape(-1, step).T
    found = np.flatnonzero(columns)
    column, row = np.divmod(found, columns.shape[1])
    gaps = np.diff(found, prepend=found[0]) > 1
    # The last place of a column and the first of the next are neighbours in the table only.
    gaps[1:] |= column[1:] != column[:-1]
    line = np.full(len(found) + np.count_nonzero(gaps) + 1, none, dtype=np.int32)
    line[np.arange(len(found)) + np.cumsum(gaps)] = indices[row * step + column]
    return line


def lone(mask: NDArray[np.bool_], direction: NDArray[np.int64]) -> bool:
    """Tell whether no line along a direction holds two voxels, which pyradiomics drops from the run lengths.

    Parameters
    ----------
    mask
        bool, shape (z, y, x): the tumour.
    direction
        Voxels along z, y, x.

    Returns
    -------
    bool
    """
    # Two voxels share a line if they agree in every coordinate once the motion along the direction is taken out.
    axis = int(np.flatnonzero(direction)[0])
    voxels = np.array(mask.nonzero())
    ends = voxels - voxels[axis] * direction[:, None] * direction[axis]
    ends -= ends.min(axis=1, keepdims=True)
    return bool(np.bincount(np.ravel_multi_index(tuple(ends), tuple(ends.max(axis=1) + 1))).max() < 2)
