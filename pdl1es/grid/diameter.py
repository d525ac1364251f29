"""The longest diameter of a mask, exact: between hull vertices, where any longest diameter ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

_PAIRWISE = 1000
"""Up to this many points, all pairs take less time than a hull."""


def longest_diameter(mask: NDArray[np.bool_]) -> float:
    """Return the largest distance between the centres of two voxels of a mask on a grid of 1 mm.

    Parameters
    ----------
    mask
        bool, shape (z, y, x), isotropic.

    Returns
    -------
    float
        In voxels, which are mm on the method's grid; 0 for a single voxel and for an empty mask.
    """
    points = np.argwhere(_line_ends(mask))
    if points.shape[0] < 2:
        return 0.0
    # A hull needs three dimensions; points of a flat or straight mask that end a line of each direction are few.
    if points.shape[0] > _PAIRWISE and np.linalg.matrix_rank(points - points[0]) == 3:
        points = points[ConvexHull(points).vertices]
    # squares of whole numbers are exact, so that the order of the points does not matter
    return float(np.sqrt(pdist(points, "sqeuclidean").max()))


def _line_ends(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels that are first or last on their line along every axis, as every vertex of the hull is."""
    ends = mask
    for axis in range(mask.ndim):
        seen_before = np.logical_or.accumulate(mask, axis=axis)
        seen_after = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
        inner = np.zeros_like(mask)
        middle = [slice(None)] * mask.ndim
        before, after = list(middle), list(middle)
        middle[axis], before[axis], after[axis] = slice(1, -1), slice(None, -2), slice(2, None)
        inner[tuple(middle)] = seen_before[tuple(before)] & seen_after[tuple(after)]
        ends = ends & ~inner
    return ends
