"""The 1 mm grid placed differently: turned around the tumour and shifted, with one interpolation from the source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdl1es.grid.bounding_box import bounding_box
from pdl1es.grid.interpolation import LinearWeights, between, linear_weights
from pdl1es.grid.resample import TUMOUR_FROM, Extent, Node, covered_nodes, whole_hu
from pdl1es.grid.source import TumourSource

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GridPose:
    """How the grid lies in the scan.

    Attributes
    ----------
    rotation_degrees
        Angle by which the grid's x axis turns towards its y axis, in the axial plane, around ``centre``.
    translation_mm
        (x, y, z) by which its nodes are shifted along the CT's axes.
    centre
        (x, y), mm: `TumourSource.centre`.
    """

    rotation_degrees: float
    translation_mm: tuple[float, float, float]
    centre: tuple[int, int]

    def _turn(self) -> tuple[float, float]:
        angle = math.radians(self.rotation_degrees)
        return math.cos(angle), math.sin(angle)

    def to_scan(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return where nodes lie in the scan.

        Parameters
        ----------
        x, y
            The nodes' coordinates on the grid, mm, of one shape.

        Returns
        -------
        x, y
            Their coordinates along the CT's axes, mm.
        """
        (cosine, sine), (centre_x, centre_y) = self._turn(), self.centre
        from_x, from_y = x - centre_x, y - centre_y
        return (
            cosine * from_x - sine * from_y + centre_x + self.translation_mm[0],
            sine * from_x + cosine * from_y + centre_y + self.translation_mm[1],
        )

    def extent_of(self, x: Floats, y: Floats) -> tuple[Extent, Extent]:
        """Return the nodes of the grid's box around a rectangle of the scan.

        Parameters
        ----------
        x, y
            Coordinates along the CT's axes, mm, whose extremes are the rectangle's.

        Returns
        -------
        tuple
            First and last node along x, and along y.
        """
        (cosine, sine), (centre_x, centre_y) = self._turn(), self.centre
        from_x = np.array([x.min(), x.max()])[:, None] - centre_x - self.translation_mm[0]
        from_y = np.array([y.min(), y.max()])[None, :] - centre_y - self.translation_mm[1]
        return (
            covered_nodes(cosine * from_x + sine * from_y + centre_x),
            covered_nodes(cosine * from_y - sine * from_x + centre_y),
        )

    def turned(self, axes: Floats) -> Floats:
        """Return the grid's own axes: the CT's, turned with it, shape (3, 3), one axis a row."""
        cosine, sine = self._turn()
        return np.stack([cosine * axes[0] + sine * axes[1], cosine * axes[1] - sine * axes[0], axes[2]])


def posed_mask(source: TumourSource, pose: GridPose) -> tuple[NDArray[np.bool_], Node]:
    """Interpolate the contour on a placed grid.

    Parameters
    ----------
    source
        The tumour.
    pose
        The grid's.

    Returns
    -------
    mask
        bool, shape (z, y, x): the nodes that are tumour, as `resample.tumour_volume` decides. It may be empty.
    low
        The first node (x, y, z).
    """
    placed = source.placed
    (x_low, x_high), (y_low, y_high) = pose.extent_of(*placed.in_plane())
    z_low, z_high = covered_nodes(placed.z - pose.translation_mm[2])
    x, y = pose.to_scan(*np.meshgrid(_range(x_low, x_high), _range(y_low, y_high)))
    empty = np.zeros(x.shape)
    frames: list[Floats] = []
    weights = _Weights(x, y)
    for frame in placed.frames:
        frames.append(empty if frame is None else _sampled(frame.mask, *weights.of(frame.x, frame.y)))
    along = linear_weights(placed.z, _range(z_low, z_high) + pose.translation_mm[2])
    mask = np.zeros((along.lower.size, *x.shape), dtype=np.bool_)
    for node, (lower, upper, fraction) in enumerate(zip(along.lower, along.upper, along.fraction, strict=True)):
        mask[node] = between(frames[lower], frames[upper], float(fraction)) >= TUMOUR_FROM
    return mask, (x_low, y_low, z_low)


def scan_along(source: TumourSource, pose: GridPose) -> Extent:
    """Return the first and the last node along z that the scan covers.

    Parameters
    ----------
    source
        The tumour.
    pose
        The grid's.

    Returns
    -------
    tuple
        Whole mm on the placed grid.
    """
    return covered_nodes(source.placed.stack.z - pose.translation_mm[2])


def scan_across(source: TumourSource, pose: GridPose, z: Extent) -> tuple[Extent, Extent]:
    """Return the first and the last node along x and y that the scan covers.

    Parameters
    ----------
    source
        The tumour.
    pose
        The grid's.
    z
        First and last node along z: the slices that have a weight there count.

    Returns
    -------
    tuple
        Of a turned grid, its box around the scan: a node in a corner of it takes the nearest pixel.
    """
    stack = source.placed.stack
    along = linear_weights(stack.z, _range(*z) + pose.translation_mm[2])
    coordinates = [stack.coordinates(index) for index in {*along.lower.tolist(), *along.upper.tolist()}]
    x, y = (np.concatenate(values) for values in zip(*coordinates, strict=True))
    return pose.extent_of(x, y)


def posed_hu(
    source: TumourSource, pose: GridPose, box: Sequence[Extent]
) -> tuple[NDArray[np.int16], NDArray[np.bool_] | None]:
    """Interpolate the CT on a placed grid, as `resample.tumour_volume` does, once from the slices' own pixels.

    Parameters
    ----------
    source
        The tumour.
    pose
        The grid's.
    box
        First and last node along x, y and z, within `scan_across` and `scan_along`.

    Returns
    -------
    hu
        int16 whole HU, shape (z, y, x).
    padding
        bool, same shape: nodes whose value comes from padding; None where there is none.

    Raises
    ------
    ValueError
        The source does not hold a slice that the box needs.
    """
    z = source.placed.stack.z
    x, y = pose.to_scan(*np.meshgrid(_range(*box[0]), _range(*box[1])))
    along = linear_weights(z, _range(*box[2]) + pose.translation_mm[2])
    planes: dict[int, Floats] = {}
    padded: dict[int, NDArray[np.bool_]] = {}
    weights = _Weights(x, y)
    for index in sorted({*along.lower.tolist(), *along.upper.tolist()}):
        if index not in source.slices:
            raise ValueError("the grid's box lies beyond the slices that were read around the tumour")
        part = source.slices[index]
        of_x, of_y = weights.of(part.x, part.y)
        planes[index] = _sampled(part.floored(), of_x, of_y)
        if part.padding is not None:
            padded[index] = _sampled(part.padding, of_x, of_y) > 0
    hu = np.empty((along.lower.size, *x.shape), dtype=np.int16)
    padding = np.zeros(hu.shape, dtype=np.bool_)
    for node, (lower, upper, fraction) in enumerate(zip(along.lower, along.upper, along.fraction, strict=True)):
        hu[node] = whole_hu(between(planes[int(lower)], planes[int(upper)], float(fraction)))
        for index, weight in ((int(lower), 1 - fraction), (int(upper), fraction)):
            if weight > 0 and index in padded:
                padding[node] |= padded[index]
    return hu, padding if padding.any() else None


def non_empty_part(mask: NDArray[np.bool_], low: Node) -> tuple[NDArray[np.bool_], Node]:
    """Cut a mask to its box.

    Parameters
    ----------
    mask
        bool, shape (z, y, x), not empty.
    low
        Its first node (x, y, z).

    Returns
    -------
    mask
        Its box.
    low
        The box's first node.
    """
    z, y, x = box = bounding_box(mask)
    return mask[box], (low[0] + x.start, low[1] + y.start, low[2] + z.start)


class _Weights:
    """The weights of the grid's nodes in a plane; most planes have the coordinates of the one before."""

    def __init__(self, x: Floats, y: Floats) -> None:
        self._nodes = x, y
        self._last: tuple[Floats, Floats, LinearWeights, LinearWeights] | None = None

    def of(self, x: Floats, y: Floats) -> tuple[LinearWeights, LinearWeights]:
        """Return the weights along x and y of every node, for samples at these coordinates."""
        if self._last is None or not (np.array_equal(self._last[0], x) and np.array_equal(self._last[1], y)):
            self._last = x, y, linear_weights(x, self._nodes[0]), linear_weights(y, self._nodes[1])
        return self._last[2:]


def _sampled(image: NDArray[Any], x: LinearWeights, y: LinearWeights) -> Floats:
    """Interpolate an image at scattered nodes, along x first, by the arithmetic of `interpolation.interpolate_plane`."""
    image = image.astype(np.float64, copy=False)
    lower = between(image[y.lower, x.lower], image[y.lower, x.upper], x.fraction)
    upper = between(image[y.upper, x.lower], image[y.upper, x.upper], x.fraction)
    return between(lower, upper, y.fraction)


def _range(first: int, last: int) -> Floats:
    return np.arange(first, last + 1, dtype=np.float64)
