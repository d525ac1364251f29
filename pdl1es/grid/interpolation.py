"""Separable linear interpolation on rectilinear coordinates: weights per axis, applied one axis after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LinearWeights:
    """Where nodes lie between neighbouring samples of one axis.

    Attributes
    ----------
    lower
        Index of the sample at or below each node, shape (nodes,).
    upper
        Index of the sample above it; equal to ``lower`` where the node lies on a sample or beyond the axis, so that no
        sample is read that has no influence.
    fraction
        Weight of ``upper``, float64 in [0, 1), shape (nodes,).
    """

    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    fraction: NDArray[np.float64]


def linear_weights(coordinates: NDArray[np.float64], nodes: NDArray[np.float64]) -> LinearWeights:
    """Find each node's neighbours and weights; nodes beyond the first or last sample take that sample.

    Parameters
    ----------
    coordinates
        Samples' coordinates, strictly ascending, any spacing, shape (samples,).
    nodes
        Coordinates to interpolate at, shape (nodes,).

    Returns
    -------
    LinearWeights
    """
    last = coordinates.size - 1
    lower = np.clip(np.searchsorted(coordinates, nodes, side="right") - 1, 0, last)
    upper = np.minimum(lower + 1, last)
    width = coordinates[upper] - coordinates[lower]
    distance = np.where(width > 0.0, nodes - coordinates[lower], 0.0)
    fraction = np.maximum(distance, 0.0) / np.where(width > 0.0, width, 1.0)
    return LinearWeights(lower, np.where(fraction > 0.0, upper, lower), fraction)


def between(
    lower: NDArray[np.float64], upper: NDArray[np.float64], fraction: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Interpolate linearly between two arrays.

    The arithmetic is element by element, so that the result depends neither on the arrays' layout in memory nor on the
    number of threads, as a matrix product would. Equal neighbours give exactly their value.

    Parameters
    ----------
    lower, upper
        Values at both ends, of one shape.
    fraction
        Way from ``lower`` to ``upper``, 0 to 1; a number, or an array that can be multiplied with them.

    Returns
    -------
    numpy.ndarray
        float64, of the arrays' shape.
    """
    return lower + (upper - lower) * fraction


def interpolate_plane(image: NDArray[np.generic], x: LinearWeights, y: LinearWeights) -> NDArray[np.float64]:
    """Interpolate an image bilinearly, along x first.

    Parameters
    ----------
    image
        Shape (samples along y, samples along x), any numeric or boolean type.
    x, y
        From `linear_weights`, of the image's columns and rows.

    Returns
    -------
    numpy.ndarray
        float64, shape (nodes along y, nodes along x). Only the part of the image that the nodes need is touched.
    """
    top, bottom = int(y.lower.min()), int(y.upper.max()) + 1
    left, right = int(x.lower.min()), int(x.upper.max()) + 1
    part = image[top:bottom, left:right].astype(np.float64)
    along_x = between(part[:, x.lower - left], part[:, x.upper - left], x.fraction)
    return between(along_x[y.lower - top], along_x[y.upper - top], y.fraction[:, np.newaxis])
