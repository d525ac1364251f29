"""3-D shape on a grid of 1 mm, with compiled counts and distances, and the numpy path's bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pdl1es.features import compiled
from pdl1es.features.shape import CoordinateSums, Floats, Mesh, features_of_mesh, mesh_sums
from pdl1es.grid.plain_mask import plain_mask

_MILLIMETRE = (1.0, 1.0, 1.0)


def shape_features_by_kernel(mask: NDArray[np.bool_]) -> Floats:
    """As `pdl1es.features.shape.shape_features`, for voxels of 1 mm."""
    padded = np.pad(plain_mask(mask), 1)
    counts, positions = np.empty(256, dtype=np.int64), np.empty((3, 256), dtype=np.int64)
    squares = compiled.surface(padded, counts, positions)
    area, volume = mesh_sums(counts, positions.astype(np.float64), _MILLIMETRE)
    # Squares are of halves of a voxel.
    in_slice, in_rows, in_columns, in_space = (float(np.sqrt(square * 0.25)) for square in squares)
    count, z, y, x, zz, zy, zx, yy, yx, xx = compiled.coordinate_sums(padded)
    sums = CoordinateSums(count, (z, y, x), ((zz, zy, zx), (zy, yy, yx), (zx, yx, xx)))
    return features_of_mesh(padded, _MILLIMETRE, Mesh(area, volume, (in_slice, in_rows, in_columns, in_space)), sums)
