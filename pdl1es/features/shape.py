"""3-D shape: area and volume of the surface mesh, diameters and axes."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from radiomics import cShape
from radiomics.shape import RadiomicsShape

from pdl1es.features.names import FEATURES_BY_CLASS
from pdl1es.features.prepared_class import PreparedClass
from pdl1es.grid.diameter import largest_distance
from pdl1es.grid.plain_mask import plain_mask

Floats = NDArray[np.float64]

_FLAT: Final = 1e-2
"""mm2: variance along the shortest axis below which rounding may decide it. A slice of 1 mm has 0, two have 0.25."""
_DIRECTIONS: Final = 16
"""Directions in which a plane's extent is measured: its diameter exceeds the largest by less than 0.5 %."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """What the features need of the surface mesh: mm2, mm3, and the diameters of `diameters`, mm."""

    area: float
    volume: float
    diameters: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class CoordinateSums:
    """Sums over a mask's voxels, whole numbers: how many, their indices along z, y and x, and the indices' products."""

    count: int
    first: tuple[int, int, int]
    second: tuple[tuple[int, int, int], ...]


class Shape(PreparedClass, RadiomicsShape):
    """3-D shape (IBSI HCUG)."""

    def __init__(
        self, mask: NDArray[np.bool_], spacing: tuple[float, float, float], mesh: Mesh, sums: CoordinateSums
    ) -> None:
        self._prepare("shape")
        self.pixelSpacing = np.array(spacing)
        self.count = sums.count
        self.SurfaceArea, self.Volume, self.diameters = mesh.area, mesh.volume, mesh.diameters
        self.eigenValues = self._axes(mask, sums)

    def _axes(self, mask: NDArray[np.bool_], sums: CoordinateSums) -> Floats:
        """Return the eigenvalues of the voxels' covariance, ascending.

        It is computed from whole numbers. Where the tumour is flat its shortest axis is a rounding error, and sums run in
        pyradiomics' order, so that the error is the same.
        """
        n = sums.count
        products = [[n * sums.second[a][b] - sums.first[a] * sums.first[b] for b in range(3)] for a in range(3)]
        covariance = np.array([[product / n**2 for product in row] for row in products])
        eigenvalues = np.linalg.eigvals(covariance * np.outer(self.pixelSpacing, self.pixelSpacing))
        if np.real(eigenvalues).min() < _FLAT:
            coordinates = np.array(mask.nonzero()) * self.pixelSpacing[:, None]
            coordinates -= coordinates.mean(axis=1, keepdims=True)
            coordinates /= np.sqrt(coordinates.shape[1])
            eigenvalues = np.linalg.eigvals(np.dot(coordinates.copy(), coordinates.T))
            eigenvalues[(eigenvalues < 0) & (eigenvalues > -1e-10)] = 0
        return np.sort(eigenvalues)

    def getVoxelVolumeFeatureValue(self) -> float:
        """Count the voxels without their indices. Equality: exact."""
        z, y, x = self.pixelSpacing
        return float(z * y * x * self.count)


def shape_features(mask: NDArray[np.bool_], *, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Floats:
    """Evaluate the shape features.

    Parameters
    ----------
    mask
        bool, shape (z, y, x): the tumour.
    spacing
        Voxel size in mm, (z, y, x).

    Returns
    -------
    Floats
        Shape (14,), in the order of ``FEATURES_BY_CLASS``.
    """
    padded = np.pad(plain_mask(mask), 1)
    area, volume = surface(padded, spacing)
    return features_of_mesh(padded, spacing, Mesh(area, volume, diameters(padded, np.array(spacing))), _sums(padded))


def _sums(mask: NDArray[np.bool_]) -> CoordinateSums:
    coordinates = np.array(mask.nonzero())
    z, y, x = (int(total) for total in coordinates.sum(axis=1))
    return CoordinateSums(coordinates.shape[1], (z, y, x), tuple(map(tuple, (coordinates @ coordinates.T).tolist())))


def features_of_mesh(
    mask: NDArray[np.bool_], spacing: tuple[float, float, float], mesh: Mesh, sums: CoordinateSums
) -> Floats:
    """Evaluate the shape features of a mask whose mesh is known.

    Parameters
    ----------
    mask
        bool, shape (z, y, x), with an empty layer all around.
    spacing
        Voxel size in mm, (z, y, x).
    mesh, sums
        Of the mask.

    Returns
    -------
    Floats
        As from `shape_features`.
    """
    features = Shape(mask, spacing, mesh, sums).execute()
    # For a tumour with two equal axes the solver may give two complex numbers, whose imaginary parts are rounding errors.
    return np.array([float(np.real(features[name])) for name in FEATURES_BY_CLASS["shape"]])


@functools.lru_cache(maxsize=8)
def _cubes(spacing: tuple[float, float, float]) -> tuple[Floats, Floats, Floats]:
    """Tabulate the surface mesh within each of the 256 cubes of 2 x 2 x 2 voxels, by pyradiomics' own mesh.

    Returns
    -------
    tuple[Floats, Floats, Floats]
        Area, shape (256,); signed volume under the surface of a cube at the origin, shape (256,); what that volume
        grows by when the cube moves by one voxel along each axis, shape (256, 3). Bit ``4 z + 2 y + x`` of a cube's
        number is its voxel (z, y, x).
    """
    size = np.array(spacing)
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    cubes = bits.astype(np.bool_).reshape(256, 2, 2, 2)
    area, volume = np.empty(256), np.empty(256)
    growth = np.empty((256, 3))
    for number, cube in enumerate(cubes):
        area[number], volume[number] = cShape.calculate_coefficients(cube, size)[:2]
    for number, cube in enumerate(cubes):
        for axis in range(3):
            # The cube at position 1 follows a cube whose two layers equal its first layer; the volume of that one is known.
            first = np.take(cube, [0], axis=axis)
            before = np.concatenate([first, first], axis=axis)
            _, both, _ = cShape.calculate_coefficients(
                np.ascontiguousarray(np.concatenate([first, cube], axis=axis)), size
            )
            growth[number, axis] = both - volume[_number(before)] - volume[number]
    return area, volume, growth


def _number(cube: NDArray[np.bool_]) -> int:
    """Return the number of a cube of 2 x 2 x 2 voxels."""
    return int(np.packbits(cube.ravel(), bitorder="little")[0])


def surface(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> tuple[float, float]:
    """Sum area and volume of the mesh over its cubes.

    Takes the place of ``cShape.calculate_coefficients``, which also measures all pairs of vertices. Equality: to
    rounding.

    Parameters
    ----------
    mask
        bool, shape (z, y, x), with an empty layer all around.
    spacing
        Voxel size in mm.

    Returns
    -------
    area, volume
        mm2 and mm3.
    """
    voxels = mask.view(np.uint8)
    numbers = np.zeros([length - 1 for length in mask.shape], dtype=np.uint8)
    for bit, corner in enumerate(itertools.product((0, 1), repeat=3)):
        part = tuple(slice(low, low + length) for low, length in zip(corner, numbers.shape, strict=True))
        numbers |= voxels[part] << np.uint8(bit)
    positions = np.array(((numbers != 0) & (numbers != 255)).nonzero())
    found = numbers[tuple(positions)]
    counts = np.bincount(found, minlength=256)
    return mesh_sums(
        counts, np.array([np.bincount(found, weights=along, minlength=256) for along in positions]), spacing
    )


def mesh_sums(counts: NDArray[np.int64], positions: Floats, spacing: tuple[float, float, float]) -> tuple[float, float]:
    """Sum area and volume of a mesh whose cubes are counted.

    Parameters
    ----------
    counts
        int64, shape (256,): cubes by number.
    positions
        Shape (3, 256): the sum of their positions along each axis.
    spacing
        Voxel size in mm.

    Returns
    -------
    area, volume
        mm2 and mm3.
    """
    area, volume, growth = _cubes(spacing)
    total = counts @ volume
    for axis in range(3):
        total += positions[axis] @ growth[:, axis]
    return float(counts @ area), float(total)


def diameters(mask: NDArray[np.bool_], spacing: Floats) -> tuple[float, float, float, float]:
    """Measure the largest distances between vertices of the mesh: in slice, column and row planes, and in space.

    Takes the place of ``cShape.calculate_coefficients``, which compares all pairs. A vertex lies halfway between a voxel
    of the tumour and a neighbour outside. Equality: exact for voxels of 1 mm, where coordinates are halves; to rounding
    otherwise.

    Parameters
    ----------
    mask
        bool, shape (z, y, x), with an empty layer all around.
    spacing
        Voxel size in mm, shape (3,).

    Returns
    -------
    tuple of float
        The four diameters, mm.
    """
    halves = []
    for axis in range(3):
        # Coordinates are doubled, so that they are whole and planes can be told apart exactly.
        crossing = np.array(np.diff(mask, axis=axis).nonzero()) * 2
        crossing[axis] += 1
        halves.append(crossing)
    vertices = np.concatenate(halves, axis=1)
    scale = spacing / 2
    planes = [_largest_in_planes(vertices, axis, scale) for axis in range(3)]
    return planes[0], planes[1], planes[2], largest_distance(vertices.T * scale)


def _largest_in_planes(vertices: NDArray[np.int64], axis: int, scale: Floats) -> float:
    """Return the largest distance between two vertices of one plane across an axis."""
    order = np.argsort(vertices[axis], kind="stable")
    ordered = vertices[:, order]
    starts = np.flatnonzero(np.diff(ordered[axis], prepend=-1))
    first, second = (ordered[other] * scale[other] for other in range(3) if other != axis)
    extents = np.zeros(len(starts))
    for angle in np.arange(_DIRECTIONS) * (np.pi / _DIRECTIONS):
        along = first * np.cos(angle) + second * np.sin(angle)
        extent = np.maximum.reduceat(along, starts) - np.minimum.reduceat(along, starts)
        np.maximum(extents, extent, out=extents)
    # The longest line of a plane lies at most half a step between directions from one of them, where its extent is shorter
    # by the cosine of that angle.
    possible = extents / np.cos(np.pi / (2 * _DIRECTIONS)) + 1e-9
    ends = np.append(starts[1:], len(first))
    best = 0.0
    for plane in np.argsort(-possible, kind="stable"):
        if possible[plane] < best:
            break
        part = slice(starts[plane], ends[plane])
        best = max(best, largest_distance(np.column_stack([first[part], second[part]])))
    return best
