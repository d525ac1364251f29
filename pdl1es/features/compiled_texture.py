"""Grey levels, first-order statistics and texture matrices of one image by compiled code, with the numpy path's bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdl1es.features import compiled, discretisation
from pdl1es.features.discretisation import GreyLevels, edges_between
from pdl1es.features.matrices import TextureMatrices
from pdl1es.features.region import Values, directions_of, lone


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TextureLine:
    """The tumour as one line of places, as `pdl1es.features.region.Region` lays it out, without what is counted from it.

    Attributes
    ----------
    mask
        bool, the tumour's own box, shape (z, y, x).
    directions
        int64, shape (n_directions, 3), in pyradiomics' order.
    length
        Number of places.
    places
        int32, shape (n_voxels,): the places of the tumour's voxels, in the order of ``mask.nonzero()``.
    steps
        int64, shape (n_directions,): places to the neighbour in each direction.
    """

    mask: NDArray[np.bool_]
    directions: NDArray[np.int64]
    length: int
    places: NDArray[np.int32]
    steps: NDArray[np.int64]

    @classmethod
    def of(cls, mask: NDArray[np.bool_], *, force_2d: bool = True) -> TextureLine:
        """Lay out a mask.

        Parameters
        ----------
        mask
            bool, shape (z, y, x), cropped to the tumour's box.
        force_2d
            Neighbours within axial slices only.

        Returns
        -------
        TextureLine
        """
        padded = np.pad(mask, ((0, 0), (0, 1), (0, 1)))
        directions = directions_of(mask.shape, force_2d)
        steps = directions @ np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
        return cls(mask, directions, padded.size, np.flatnonzero(padded).astype(np.int32), steps)

    def __repr__(self) -> str:
        return f"TextureLine({len(self.places)} voxels, {len(self.steps)} directions)"


def discretise_by_kernel(
    values: Values, ordered: Values, *, bin_width: float, bin_count: int | None = None
) -> GreyLevels:
    """As `pdl1es.features.discretisation.discretise`, with ranks of 32 bits.

    Parameters
    ----------
    values
        The tumour's voxels, shape (n_voxels,).
    ordered
        The same, ascending.
    bin_width, bin_count
        As there.

    Returns
    -------
    GreyLevels

    Raises
    ------
    NoGreyLevels
        As there.
    """
    # NaN would come last.
    edges = edges_between(ordered[[0, -1]], bin_width, bin_count).astype(np.float64)
    if not (edges[1:] > edges[:-1]).all():
        # Of float32 so large that a bin is less than the distance between two numbers.
        return discretisation.discretise(values, bin_width=bin_width, bin_count=bin_count)
    ranks = np.empty(len(values), dtype=np.int32)
    counts = np.zeros(len(edges) + 1, dtype=np.int64)
    compiled.discretise(values, edges, ranks, counts, np.empty(len(edges) + 1, dtype=np.int32))
    levels = np.flatnonzero(counts)
    return GreyLevels(ranks, levels, counts[levels])


def texture_matrices_by_kernel(grey: GreyLevels, line: TextureLine) -> TextureMatrices:
    """As `pdl1es.features.matrices.texture_matrices`.

    Parameters
    ----------
    grey
        From `discretise_by_kernel`.
    line
        Where its voxels lie.

    Returns
    -------
    TextureMatrices
    """
    n, directions, voxels = len(grey.levels), len(line.steps), len(grey.voxels)
    glcm = np.zeros((directions, n, n))
    reach = int(grey.levels[-1] - grey.levels[0])
    sums, level_differences = np.zeros((2 * reach + 1, directions)), np.zeros((reach + 1, directions))
    gldm = np.zeros((n, 4 * directions + 1))
    glrlm = np.zeros((n, max(line.mask.shape), directions))
    differences = np.zeros(n)
    zone_ranks, zone_sizes = np.empty((2, voxels), dtype=np.int32)
    longest, zones = compiled.texture_matrices(
        np.asarray(grey.voxels, dtype=np.int32), line.places, line.length, line.steps, grey.levels, glcm, sums, level_differences,
        gldm, glrlm, differences, zone_ranks, zone_sizes,
    )  # fmt: skip
    for direction in np.flatnonzero(~sums.any(axis=0)):
        if lone(line.mask, line.directions[direction]):
            glrlm[..., direction] = 0
    glszm, sizes = _zones(zone_ranks[:zones], zone_sizes[:zones], n)
    return TextureMatrices(
        levels=grey.levels,
        counts=grey.counts,
        glcm=glcm,
        glcm_sums=sums,
        glcm_differences=level_differences,
        gldm=gldm,
        glrlm=glrlm[:, :longest],
        glszm=glszm,
        zone_sizes=sizes,
        differences=differences,
    )


def _zones(
    ranks: NDArray[np.int32], sizes: NDArray[np.int32], levels: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Count zones by grey level and size; return the matrix and the sizes that occur."""
    by_size = np.bincount(sizes)
    occurring = np.flatnonzero(by_size)
    column = np.zeros(len(by_size), dtype=np.int64)
    column[occurring] = np.arange(len(occurring))
    cells = (ranks - 1) * len(occurring) + column[sizes]
    return np.bincount(cells, minlength=levels * len(occurring)).reshape(levels, -1).astype(np.float64), occurring
