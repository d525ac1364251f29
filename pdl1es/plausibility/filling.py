"""Fills contours: an outline becomes the body that it encloses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pdl1es.grid.bounding_box import bounding_box


def filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask with what it encloses in its slices: background from which no path in the slice leads out.

    Parameters
    ----------
    mask
        bool, shape (z, y, x).

    Returns
    -------
    NDArray[np.bool_]
        Same shape.
    """
    import SimpleITK as sitk

    result = mask.copy()
    box = bounding_box(mask)
    inside = mask[box]
    ringed = np.flatnonzero(_in_pieces(inside, 2) & _in_pieces(inside, 1))
    if not ringed.size:
        return result
    # One image with the slices below each other and a border of background around each: all of the outside is one part
    # of it, and no path leads from one slice's inside into another's.
    slices = np.pad(inside[ringed], ((0, 0), (1, 1), (1, 1)))
    depth, rows, columns = slices.shape
    background = sitk.GetImageFromArray((~slices).reshape(depth * rows, columns).astype(np.uint8))
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(background, False)).reshape(depth, rows, columns)
    result[box][ringed] = (parts != parts[0, 0, 0])[:, 1:-1, 1:-1]
    return result


def _in_pieces(slices: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Tell for each slice whether a line along an axis crosses the mask twice: without one there is nothing to fill."""
    lines = np.moveaxis(slices, axis, 2)
    begins = np.count_nonzero(lines[:, :, 1:] & ~lines[:, :, :-1], axis=2) + lines[:, :, 0]
    return np.asarray((begins > 1).any(axis=1))
