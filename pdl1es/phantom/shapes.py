"""Building blocks of the phantom in continuous space: tapered tubes, smooth random fields, coverage of a voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

Floats = NDArray[np.floating[Any]]
"""Values on pixels: float32 unless a docstring says otherwise."""
Points = NDArray[np.floating[Any]]
"""Coordinates and tables: float64."""

ANGLES = 2048
"""Directions at which a polar contour is tabulated: 0.5 mm of arc at 180 mm."""


@dataclass(frozen=True, slots=True, eq=False)
class PlaneGrid:
    """Pixel centres of an axial plane, with their polar coordinates about the z axis.

    Attributes
    ----------
    x, y
        float32 coordinates of columns and rows, mm, evenly spaced and ascending, shapes (nx,) and (ny,).
    radius
        float32, shape (ny, nx), mm.
    angle_index
        Index into a table of ``ANGLES`` directions, shape (ny, nx).
    """

    x: Floats
    y: Floats
    radius: Floats
    angle_index: NDArray[np.intp]

    @property
    def pixel(self) -> float:
        """Distance between columns, mm."""
        return float(self.x[1] - self.x[0])


def plane_grid(x: Points, y: Points) -> PlaneGrid:
    """Return the plane with columns at ``x`` and rows at ``y`` (mm).

    Parameters
    ----------
    x, y
        Coordinates of columns and rows, mm, evenly spaced and ascending.

    Returns
    -------
    PlaneGrid
    """
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    radius = np.hypot(x32[None, :], y32[:, None])
    angle = np.arctan2(y32[:, None], x32[None, :])
    index = np.rint((angle + np.pi) * (ANGLES / (2 * np.pi))).astype(np.intp) % ANGLES
    return PlaneGrid(x32, y32, radius, index)


def table_angles() -> Points:
    """Return the directions that ``PlaneGrid.angle_index`` points to, radians, shape (ANGLES,)."""
    return np.arange(ANGLES) * (2 * np.pi / ANGLES) - np.pi


def coverage(distance: Floats, width: float) -> Floats:
    """Return the share of a pixel inside a surface from the signed distance (mm, negative inside) at its centre.

    Parameters
    ----------
    distance
        Signed distance of the pixel's centre, mm, negative inside.
    width
        Size of the pixel, mm.

    Returns
    -------
    Floats
        0 to 1, shape as the distances.
    """
    return np.clip(np.float32(0.5) - distance * np.float32(1.0 / width), 0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Capsules:
    """Tapered tubes with round ends.

    Attributes
    ----------
    start, end
        Ends of the axes, mm, shape (n, 3) as x, y, z.
    start_radius, end_radius
        mm, shape (n,).
    """

    start: Points
    end: Points
    start_radius: Points
    end_radius: Points

    def __len__(self) -> int:
        return len(self.start)

    def subset(self, keep: NDArray[np.bool_]) -> Capsules:
        """Return the capsules where ``keep`` is true."""
        return Capsules(self.start[keep], self.end[keep], self.start_radius[keep], self.end_radius[keep])

    def distance_to_points(self, points: Points) -> Points:
        """Return the signed distance (mm, negative inside) of points (m, 3) to the nearest capsule, shape (m,)."""
        axis = self.end - self.start
        length2 = np.maximum((axis**2).sum(axis=1), 1e-9)
        offset = points[:, None, :] - self.start[None]
        t = np.clip((offset * axis).sum(axis=2) / length2, 0.0, 1.0)
        gap = np.linalg.norm(offset - t[..., None] * axis, axis=2)
        return (gap - (self.start_radius + t * (self.end_radius - self.start_radius))).min(axis=1)

    def distance_to_plane(self, plane: PlaneGrid, z: float, reach: float) -> Floats:
        """Return the signed distance (mm) of a plane's pixels to the nearest capsule, at most ``reach``.

        Only the pixels in the boxes of the capsules near the plane are visited.

        Parameters
        ----------
        plane
            The plane's pixels.
        z
            Its height, mm.
        reach
            Largest distance that is worked out, mm.

        Returns
        -------
        Floats
            mm, negative inside, shape as the plane.
        """
        result = np.full((len(plane.y), len(plane.x)), reach, np.float32)
        if not len(self):
            return result
        margin = np.maximum(self.start_radius, self.end_radius) + reach
        z0, z1 = self.start[:, 2], self.end[:, 2]
        near = (np.minimum(z0, z1) - margin < z) & (np.maximum(z0, z1) + margin > z)
        near &= (np.minimum(self.start[:, 0], self.end[:, 0]) - margin < plane.x[-1]) & (
            np.maximum(self.start[:, 0], self.end[:, 0]) + margin > plane.x[0]
        )
        near &= (np.minimum(self.start[:, 1], self.end[:, 1]) - margin < plane.y[-1]) & (
            np.maximum(self.start[:, 1], self.end[:, 1]) + margin > plane.y[0]
        )
        if not near.any():
            return result
        start, end, margin = self.start[near], self.end[near], margin[near]
        ra, rb = self.start_radius[near], self.end_radius[near]
        axis = end - start
        # Only the part of the axis within reach of the plane sets the box: a steep vessel has a small one.
        rise = np.where(np.abs(axis[:, 2]) < 1e-6, 1e-6, axis[:, 2])
        t0, t1 = (z - margin - start[:, 2]) / rise, (z + margin - start[:, 2]) / rise
        low_t, high_t = np.clip(np.minimum(t0, t1), 0, 1)[:, None], np.clip(np.maximum(t0, t1), 0, 1)[:, None]
        p, q = start[:, :2] + low_t * axis[:, :2], start[:, :2] + high_t * axis[:, :2]
        low, high = np.minimum(p, q) - margin[:, None], np.maximum(p, q) + margin[:, None]
        dx, dy = plane.pixel, float(plane.y[1] - plane.y[0])
        ix0 = np.clip(np.floor((low[:, 0] - plane.x[0]) / dx), 0, len(plane.x)).astype(np.intp)
        ix1 = np.clip(np.ceil((high[:, 0] - plane.x[0]) / dx) + 1, 0, len(plane.x)).astype(np.intp)
        iy0 = np.clip(np.floor((low[:, 1] - plane.y[0]) / dy), 0, len(plane.y)).astype(np.intp)
        iy1 = np.clip(np.ceil((high[:, 1] - plane.y[0]) / dy) + 1, 0, len(plane.y)).astype(np.intp)
        width, height = np.maximum(ix1 - ix0, 0), np.maximum(iy1 - iy0, 0)
        count = width * height
        owner = np.repeat(np.arange(len(count)), count)
        if not len(owner):
            return result
        place = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        row_in_box = place // width[owner]
        ix = ix0[owner] + place - row_in_box * width[owner]
        iy = iy0[owner] + row_in_box
        axis32, start32 = axis.astype(np.float32)[owner], start.astype(np.float32)[owner]
        px, py = plane.x[ix] - start32[:, 0], plane.y[iy] - start32[:, 1]
        pz = np.float32(z) - start32[:, 2]
        length2 = np.maximum((axis**2).sum(axis=1), 1e-9).astype(np.float32)
        t = np.clip((px * axis32[:, 0] + py * axis32[:, 1] + pz * axis32[:, 2]) / length2[owner], 0, 1)
        gap2 = (px - t * axis32[:, 0]) ** 2 + (py - t * axis32[:, 1]) ** 2 + (pz - t * axis32[:, 2]) ** 2
        gap = np.sqrt(gap2) - (ra.astype(np.float32)[owner] + t * (rb - ra).astype(np.float32)[owner])
        np.minimum.at(result.reshape(-1), iy * len(plane.x) + ix, gap)
        return result


def polyline(points: Sequence[tuple[float, float, float]], radii: Sequence[float]) -> Capsules:
    """Return the tube through ``points`` (mm) with a radius (mm) at each of them.

    Parameters
    ----------
    points
        x, y, z of the corners, mm.
    radii
        Radius at each of them, mm.

    Returns
    -------
    Capsules
    """
    p, r = np.asarray(points, float), np.asarray(radii, float)
    return Capsules(p[:-1], p[1:], r[:-1], r[1:])


def join(*parts: Capsules) -> Capsules:
    """Return all capsules of ``parts`` as one set."""
    return Capsules(
        np.concatenate([part.start for part in parts]),
        np.concatenate([part.end for part in parts]),
        np.concatenate([part.start_radius for part in parts]),
        np.concatenate([part.end_radius for part in parts]),
    )


def _spline_weights(position: Points, nodes: int) -> sparse.csr_array:
    """Return the cubic B-spline weights of periodic nodes at ``position`` (in nodes), shape (len(position), nodes).

    Sparse, because dense products go to BLAS, whose threads compete with those of the scan.
    """
    base = np.floor(position).astype(np.intp)
    f = position - base
    weights = (
        (1 - f) ** 3 / 6,
        (3 * f**3 - 6 * f**2 + 4) / 6,
        (-3 * f**3 + 3 * f**2 + 3 * f + 1) / 6,
        f**3 / 6,
    )
    columns = (base[:, None] + np.array([-1, 0, 1, 2])) % nodes
    data = np.stack(weights, axis=1).astype(np.float32)
    starts = np.arange(len(position) + 1) * 4
    return sparse.csr_array((data.ravel(), columns.ravel(), starts), shape=(len(position), nodes))


@dataclass(frozen=True, slots=True, eq=False)
class RandomField:
    """A smooth Gaussian random field in continuous space: white noise on a periodic lattice under cubic B-splines.

    Attributes
    ----------
    lattice
        float32, shape (n, n, n) as z, y, x; standard deviation of the field itself is 1.
    spacing
        Distance of the nodes, mm; the field's correlation falls to a half at about 1.2 times of it.
    origin
        Coordinates (x, y, z) of node 0, mm.
    """

    lattice: Floats
    spacing: float
    origin: tuple[float, float, float]

    def in_plane(self, x: Floats, y: Floats, z: float) -> Floats:
        """Return the field on the pixels of a plane, shape (len(y), len(x)): separable, so two small products.

        Parameters
        ----------
        x, y
            Coordinates of columns and rows, mm.
        z
            Height of the plane, mm.

        Returns
        -------
        Floats
            Without a unit, standard deviation about 1.
        """
        nodes = len(self.lattice)
        wx = _spline_weights((x.astype(np.float64) - self.origin[0]) / self.spacing, nodes)
        wy = _spline_weights((y.astype(np.float64) - self.origin[1]) / self.spacing, nodes)
        wz = _spline_weights(np.array([(z - self.origin[2]) / self.spacing]), nodes)
        layer = np.einsum("k,kyx->yx", wz.data, self.lattice[wz.indices])
        return (wx @ np.ascontiguousarray((wy @ layer).T)).T

    def at_points(self, points: Points) -> Points:
        """Return the field at points (m, 3)."""
        index = ((points - np.asarray(self.origin)) / self.spacing).T[::-1]
        return ndimage.map_coordinates(self.lattice, index, order=3, mode="grid-wrap", prefilter=False, output=float)


def random_field(
    rng: np.random.Generator, nodes: int, spacing: float, origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> RandomField:
    """Draw a field of unit variance with ``nodes`` ** 3 nodes ``spacing`` mm apart; it repeats after that.

    Parameters
    ----------
    rng
        Source of randomness.
    nodes
        Nodes along each axis.
    spacing
        Distance of the nodes, mm.
    origin
        x, y, z of node 0, mm.

    Returns
    -------
    RandomField
    """
    lattice = rng.standard_normal((nodes, nodes, nodes), np.float32)
    # Mean over a cell of the squared B-spline weights: 0.4794 per axis.
    lattice *= np.float32(0.4794**-1.5)
    return RandomField(lattice, spacing, origin)


def sphere_directions(count: int) -> Points:
    """Return nearly even unit vectors, shape (count, 3) (Fibonacci lattice)."""
    i = np.arange(count) + 0.5
    z = 1 - 2 * i / count
    ring = np.sqrt(1 - z**2)
    turn = i * (np.pi * (3 - np.sqrt(5)))
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1)
