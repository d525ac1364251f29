"""The five texture matrices of one image, counted on the tumour's line.

pyradiomics' compiled functions take each voxel's index apart, look up its neighbours one by one and hold the
interpreter's lock meanwhile. On the line of a `Region` all voxels meet one neighbour at a time in a single operation of
numpy. One function counts one matrix, or two where they look at the same neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The compiled function behind skimage.measure.label, whose own module imports scipy.ndimage: 0.25 s of processor time.
from skimage.measure._ccomp import label_cython

from pdl1es.features.discretisation import GreyLevels
from pdl1es.features.region import Region


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TextureMatrices:
    """The texture matrices of one image; rows are the grey levels present.

    Attributes
    ----------
    levels, counts
        The grey levels and their voxels, shape (n,).
    glcm
        Co-occurrences, one direction of each pair, shape (angles, n, n).
    glcm_sums, glcm_differences
        The same by the sum of both levels, from twice the lowest on, and by their difference, from 0 on; shapes
        (2 range + 1, angles) and (range + 1, angles), where the range is the highest level less the lowest.
    gldm
        Voxels by number of equal neighbours from 0, shape (n, 4 x directions + 1).
    glrlm
        Runs by length from 1, shape (n, longest run, angles).
    glszm, zone_sizes
        Zones by size, shape (n, s), and those sizes, shape (s,).
    differences
        NGTDM's sums of absolute differences, shape (n,).
    """

    levels: NDArray[np.int64]
    counts: NDArray[np.int64]
    glcm: NDArray[np.float64]
    glcm_sums: NDArray[np.float64]
    glcm_differences: NDArray[np.float64]
    gldm: NDArray[np.float64]
    glrlm: NDArray[np.float64]
    glszm: NDArray[np.float64]
    zone_sizes: NDArray[np.int64]
    differences: NDArray[np.float64]

    def __repr__(self) -> str:
        return f"TextureMatrices({len(self.levels)} grey levels of {self.counts.sum()} voxels)"


def texture_matrices(grey: GreyLevels, region: Region) -> TextureMatrices:
    """Count the five texture matrices of one image.

    Takes the place of the classes' ``_calculateMatrix``. pyradiomics lays out all grey levels up to the highest and
    deletes those that are absent; here only the present ones are laid out. Equality: exact, in 2-D and in 3-D.

    Parameters
    ----------
    grey
        The image, discretised.
    region
        Where its voxels lie.

    Returns
    -------
    TextureMatrices
    """
    # An empty place is grey level 0.
    line = np.zeros(int(np.prod(region.table)), dtype=np.int64)
    line[region.places] = grey.voxels
    equal, differences = neighbourhoods(line, grey, region)
    glszm, zone_sizes = zones(line, grey, region)
    glcm = cooccurrences(line, grey, region)
    sums, level_differences = diagonals(glcm, grey.levels)
    return TextureMatrices(
        levels=grey.levels,
        counts=grey.counts,
        glcm=glcm,
        glcm_sums=sums,
        glcm_differences=level_differences,
        gldm=dependences(equal, grey, region),
        glrlm=runs(grey, region),
        glszm=glszm,
        zone_sizes=zone_sizes,
        differences=differences,
    )


def cooccurrences(line: NDArray[np.int64], grey: GreyLevels, region: Region) -> NDArray[np.float64]:
    """Count the pairs of grey levels one step apart, for each direction (GLCM, one direction of each pair).

    Parameters
    ----------
    line
        int64: rank of the grey level at each place of the region's line, 0 at an empty place.
    grey, region
        As for `texture_matrices`.

    Returns
    -------
    NDArray[np.float64]
        Shape (directions, n_levels, n_levels).
    """
    n = len(grey.levels) + 1
    first = line * n
    pairs = [np.bincount(first[:-step] + line[step:], minlength=n * n) for step in region.steps]
    # Row and column 0 are pairs with an empty place.
    return np.array(pairs, dtype=np.float64).reshape(-1, n, n)[:, 1:, 1:]


def diagonals(glcm: NDArray[np.float64], levels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum co-occurrences up by the sum and by the difference of both levels.

    Parameters
    ----------
    glcm
        Shape (angles, n, n).
    levels
        int64, shape (n,), ascending.

    Returns
    -------
    sums, differences
        As ``glcm_sums`` and ``glcm_differences`` of `TextureMatrices`.
    """
    above = levels - levels[0]
    labels = (above[:, None] + above).ravel(), np.abs(above[:, None] - above).ravel()
    lengths = 2 * int(above[-1]) + 1, int(above[-1]) + 1
    cells = glcm.reshape(len(glcm), -1)
    sums, differences = (
        np.array([np.bincount(label, weights=one, minlength=length) for one in cells]).T.copy()
        for label, length in zip(labels, lengths, strict=True)
    )
    return sums, differences


def neighbourhoods(
    line: NDArray[np.int64], grey: GreyLevels, region: Region
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Compare each voxel with its neighbours, for the dependence matrix (GLDM) and the tone differences (NGTDM).

    Whole numbers are added up before anything is divided, and the differences are added in the order of the voxels, as
    pyradiomics adds them: the sums are the same to the bit.

    Parameters
    ----------
    line, grey, region
        As for `cooccurrences`.

    Returns
    -------
    equal
        uint8, shape (n_voxels,): each voxel's neighbours of its own grey level.
    differences
        float64, shape (n_levels,): the absolute differences between a level's voxels and the mean of their neighbours,
        summed up.
    """
    ranks = line.astype(np.int32)
    # Ascending levels are the ranks where the first is 1 and the last their number.
    ranked = grey.levels[0] == 1 and grey.levels[-1] == len(grey.levels)
    levels = ranks if ranked else np.append(0, grey.levels).astype(np.int32)[line]
    equal = np.zeros(len(line), dtype=np.uint8)
    total = np.zeros(len(line), dtype=np.int32)
    for step in region.steps:
        same = ranks[step:] == ranks[:-step]
        equal[step:] += same
        equal[:-step] += same
        total[step:] += levels[:-step]
        total[:-step] += levels[step:]
    # A voxel without neighbours has a difference of 0.
    own = levels[region.places]
    mean = np.where(region.neighbours > 0, total[region.places] / np.maximum(region.neighbours, 1), own)
    differences = np.bincount(grey.voxels, weights=np.abs(own - mean), minlength=len(grey.levels) + 1)
    return equal[region.places], differences[1:].astype(np.float64)


def dependences(equal: NDArray[np.uint8], grey: GreyLevels, region: Region) -> NDArray[np.float64]:
    """Count each grey level's voxels by their number of equal neighbours (GLDM).

    Parameters
    ----------
    equal
        From `neighbourhoods`.
    grey, region
        As for `texture_matrices`.

    Returns
    -------
    NDArray[np.float64]
        Shape (n_levels, columns), as many columns as pyradiomics lays out; the first ones are numbers of neighbours
        from 0, the others are empty.
    """
    columns = 4 * len(region.steps) + 1
    matrix = np.bincount((grey.voxels - 1) * columns + equal, minlength=len(grey.levels) * columns)
    return matrix.reshape(-1, columns).astype(np.float64)


def runs(grey: GreyLevels, region: Region) -> NDArray[np.float64]:
    """Count the runs of one grey level by length, for each direction (GLRLM).

    Parameters
    ----------
    grey, region
        As for `texture_matrices`.

    Returns
    -------
    NDArray[np.float64]
        Shape (n_levels, longest run, directions); lengths count from 1.
    """
    n, longest = len(grey.levels) + 1, max(region.mask.shape) + 1
    ranks = np.append(grey.voxels, 0).astype(np.int32)
    matrix = np.zeros((n, longest, len(region.lines)))
    for direction, order in enumerate(region.lines):
        if order is not None:
            along = ranks[order]
            last = np.flatnonzero(along[1:] != along[:-1])
            lengths = np.diff(last, prepend=-1)
            matrix[..., direction] = np.bincount(along[last] * longest + lengths, minlength=n * longest).reshape(
                n, longest
            )
    # Row 0 are the empty places, column 0 no length.
    matrix = matrix[1:, 1:]
    found = np.flatnonzero(matrix.any(axis=(0, 2)))
    return matrix[:, : found[-1] + 1 if len(found) else 1]


def zones(line: NDArray[np.int64], grey: GreyLevels, region: Region) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Count the connected zones of one grey level by size (GLSZM).

    Parameters
    ----------
    line, grey, region
        As for `cooccurrences`.

    Returns
    -------
    matrix
        float64, shape (n_levels, sizes).
    sizes
        int64, shape (sizes,): the sizes that occur, ascending.
    """
    table = line.reshape(region.table)
    zone = label_cython(table, background=0, connectivity=table.ndim).ravel()[region.places] - 1
    sizes = np.bincount(zone)
    levels = np.zeros(len(sizes), dtype=np.int64)
    levels[zone] = grey.voxels - 1
    occurring = np.flatnonzero(np.bincount(sizes))
    columns = len(occurring)
    matrix = np.bincount(levels * columns + np.searchsorted(occurring, sizes), minlength=len(grey.levels) * columns)
    return matrix.reshape(-1, columns).astype(np.float64), occurring
