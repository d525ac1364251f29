"""The largest distance between two points of a set, exact; and the longest diameter of a mask."""

from __future__ import annotations

from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FEW_PAIRS: Final = 10_000
"""Up to this many pairs, measuring all takes less time than leaving some out."""
_PAIRS_AT_ONCE: Final = 1_000_000
"""Pairs whose distances are held in memory at a time."""
_SMALLEST_CELL: Final = 2.0**-10
"""Half the width of the smallest cell of directions."""
_ROUNDING: Final = 1e-9
"""Relative error allowed for where a point is left out, so that rounding leaves out none of the farthest pair."""


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
    z, y = np.nonzero(mask.any(axis=2))
    lines = mask[z, y]
    # The farthest pair consists of voxels that are first or last on their line.
    first, last = lines.argmax(axis=1), mask.shape[2] - 1 - lines[:, ::-1].argmax(axis=1)
    longer = first < last
    ends = [np.concatenate([z, z[longer]]), np.concatenate([y, y[longer]]), np.concatenate([first, last[longer]])]
    return largest_distance(np.column_stack(ends).astype(np.float64))


def largest_distance(points: Floats) -> float:
    """Return the largest distance between any two points.

    Branch and bound over directions. All directions of a cell lie within a known angle of the cell's middle. A pair of
    points in one of these directions that is as far apart as the farthest pair so far is still, along the middle, that
    far apart times the angle's cosine. So one of its points lies near the upper end of all points along the middle, and
    the other one near the lower end. The points between are left out. Where many pairs remain, the cell is divided;
    where few remain, all of them are measured.

    Parameters
    ----------
    points
        Shape (n, dimensions), with 2 or 3 dimensions.

    Returns
    -------
    float
        In the unit of ``points``; 0 for fewer than two points. Where squares of the coordinates are exact, so is the
        distance, and the order of the points does not matter.
    """
    dimensions = points.shape[1]
    # Near the origin, so that rounding is small beside the distances.
    points = points - points[:1]
    known = 0.0
    # Cells of directions: squares on the faces of a cube from -1 to 1 (in 2-D: lines on the sides of a square). Opposite
    # faces hold the same directions, so one of each pair is enough.
    cells = [(axis, (0.0,) * (dimensions - 1), 1.0, points, points) for axis in range(dimensions)]
    while cells:
        axis, place, half, upper, lower = cells.pop()
        if len(upper) * len(lower) <= _FEW_PAIRS or half < _SMALLEST_CELL:
            known = max(known, _largest_square(upper, lower))
            continue
        middle = np.insert(np.array(place), axis, 1.0)
        middle /= np.sqrt(middle @ middle)
        above, below = upper @ middle, lower @ middle
        highest, lowest = int(above.argmax()), int(below.argmin())
        if above[highest] <= below[lowest]:
            continue  # A pair apart in one of these directions would be apart along their middle.
        known = max(known, float(((upper[highest] - lower[lowest]) ** 2).sum()))
        # The angle to the cell's middle is at most half the square's diagonal, because the face lies at a distance of 1.
        cosine = np.cos(half * np.sqrt(dimensions - 1))
        least = np.sqrt(known) * cosine - _ROUNDING * max(abs(above[highest]), abs(below[lowest]))
        upper, lower = upper[above >= below[lowest] + least], lower[below <= above[highest] - least]
        if len(upper) and len(lower):
            cells += [
                (axis, tuple(np.add(place, np.multiply(half / 2, way))), half / 2, upper, lower)
                for way in product((-1.0, 1.0), repeat=dimensions - 1)
            ]
    return float(np.sqrt(known))


def _largest_square(first: Floats, second: Floats) -> float:
    """Return the largest squared distance between a point of one set and a point of another; 0 without points."""
    rows = max(1, _PAIRS_AT_ONCE // max(1, len(second)))
    largest = 0.0
    for start in range(0, len(first), rows):
        some = first[start : start + rows]
        squares = np.zeros((len(some), len(second)))
        for axis in range(first.shape[1]):
            squares += np.subtract.outer(some[:, axis], second[:, axis]) ** 2
        largest = max(largest, float(squares.max(initial=0.0)))
    return largest
