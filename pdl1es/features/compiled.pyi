"""The functions of module.c; arrays are C-contiguous, results go into the last ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[tuple[int, int], ...]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Crop = NDArray[np.int16]

def laplacian_of_gaussian(hu: Crop, box: Box, mask: Mask, sigma: float, out: NDArray[np.float32], /) -> None: ...
def wavelet(hu: Crop, box: Box, mask: Mask, lo: Floats, hi: Floats, out: Floats, /) -> None: ...
def gradient(hu: Crop, box: Box, mask: Mask, out: NDArray[np.float32], /) -> None: ...
def local_binary_pattern(
    hu: Crop, box: Box, mask: Mask, rows: Floats, columns: Floats, margin: int, out: NDArray[np.int16], /
) -> None: ...
def discretise(values: NDArray[Any], edges: Floats, ranks: Ints, counts: Longs, ranks_of_bins: Ints, /) -> int: ...
def moments(
    values: NDArray[Any], low: float, high: float, /
) -> tuple[float, float, float, float, float, float, float, float]: ...
def texture_matrices(
    ranks: Ints,
    places: Ints,
    length: int,
    steps: Longs,
    levels: Longs,
    glcm: Floats,
    glcm_sums: Floats,
    glcm_differences: Floats,
    gldm: Floats,
    glrlm: Floats,
    differences: Floats,
    zone_ranks: Ints,
    zone_sizes: Ints,
    /,
) -> tuple[int, int]: ...
def surface(mask: Mask, counts: Longs, positions: Longs, /) -> tuple[int, int, int, int]: ...
def coordinate_sums(mask: Mask, /) -> tuple[int, int, int, int, int, int, int, int, int, int]: ...
