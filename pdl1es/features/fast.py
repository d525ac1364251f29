"""pyradiomics' feature classes, made fast: what is overridden, why, and which equality each override keeps.

pyradiomics 3.0.1 stays the definition: the features are its classes' formulas, the bins come from its ``getBinEdges``,
the surface from its mesh, and its compiled matrices are what every count here is checked against, at import and in the
tests. Four ideas make it fast:

1. **Discretise once.** Six classes bin each image anew; here an image is binned once (:func:`discretise`).
2. **Count over one line.** pyradiomics' compiled functions take each voxel's index apart, look up its neighbours one by
   one and hold the interpreter's lock meanwhile. Here the tumour is laid out as one line, on which all voxels meet one
   neighbour at a time in a single operation of numpy, and several threads work on several images
   (:class:`Region`, :func:`texture_matrices`).
3. **The classes' own batch axis.** Every formula takes a leading axis, made for voxel maps. The images of a tumour take
   its place, so that each formula runs once per tumour instead of once per image (:func:`texture_features`).
4. **No search over all pairs.** The diameters come from convex hulls, area and volume from a table of the 256 cubes of
   the surface mesh, itself computed by pyradiomics (:class:`Shape`).

Each override has a test of its own in ``tests/unit/features/test_fast.py``. An upstream change of what is used here is
an error at import (:func:`check_upstream`).
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import radiomics
from numpy.typing import NDArray
from radiomics import cMatrices, cShape, imageoperations
from radiomics.firstorder import RadiomicsFirstOrder
from radiomics.glcm import RadiomicsGLCM
from radiomics.gldm import RadiomicsGLDM
from radiomics.glrlm import RadiomicsGLRLM
from radiomics.glszm import RadiomicsGLSZM
from radiomics.ngtdm import RadiomicsNGTDM
from radiomics.shape import RadiomicsShape
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage.measure import label

from pdl1es.features.names import FEATURES_BY_CLASS

Floats = NDArray[np.float64]

UPSTREAM_VERSION: Final = "3.0.1"
"""The version of pyradiomics whose internals are used here."""
SAME_CODE_VERSION: Final = "3.1.4"
"""What pyradiomics-bhklab calls itself: 3.0.1's code, with a build file that pip understands on every Python."""

SILENT: Final = logging.Logger("pdl1es.features.silent", level=logging.CRITICAL + 1)
"""A logger of our own for pyradiomics' objects: its global loggers stay as they are, and nothing is written."""


class UpstreamChanged(ImportError):
    """pyradiomics is not the version whose internals this module relies on, or they are not as expected."""


# --------------------------------------------------------------------------------------------------------------------
# The region and its grey levels
# --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Region:
    """The tumour as one line of places instead of a box.

    Every row of the tumour's box is followed by an empty place and every slice by an empty row, and all of it is laid
    out as one line. Then a neighbour is a fixed number of places away, and a step across the box's side meets an empty
    place.

    Attributes
    ----------
    mask
        bool, the tumour's own box, shape (z, y, x).
    spacing
        Voxel size in mm, (z, y, x).
    table
        The line's shape as rows of places, or as slices of rows in 3-D.
    places
        int64, shape (n_voxels,): the places of the tumour's voxels, in the order of ``mask.nonzero()``.
    neighbours
        int32, shape (n_voxels,): each voxel's neighbours within the tumour.
    steps
        int64, shape (n_directions,): places to the neighbour in each direction, one of each pair of opposites, in
        pyradiomics' order.
    lines
        int32 per direction: the voxels' indices, line after line along it, and ``n_voxels`` wherever a run must end;
        None where no line holds two voxels, which pyradiomics drops from the run lengths.
    """

    mask: NDArray[np.bool_]
    spacing: tuple[float, float, float]
    table: tuple[int, ...]
    places: NDArray[np.int64]
    neighbours: NDArray[np.int32]
    steps: NDArray[np.int64]
    lines: tuple[NDArray[np.int32] | None, ...]

    @classmethod
    def of(
        cls, mask: NDArray[np.bool_], *, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), force_2d: bool = True
    ) -> Region:
        """Lay out a mask.

        Parameters
        ----------
        mask
            bool, shape (z, y, x), cropped to the tumour's box.
        spacing
            Voxel size in mm, (z, y, x).
        force_2d
            Neighbours within axial slices only (pyradiomics' ``force2D`` with dimension 0).
        """
        padded = np.pad(mask.view(np.uint8), ((0, 0), (0, 1), (0, 1)))
        directions = _directions(mask.shape, force_2d)
        steps = directions @ np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
        if force_2d:
            # Steps reach the next row at most: of the empty rows, one after each occupied one is enough.
            rows = padded.reshape(-1, padded.shape[2])
            filled = np.asarray(rows.any(axis=1))
            padded = rows[filled | np.append(False, filled[:-1])]
        occupied = padded.ravel()
        places = np.flatnonzero(occupied)
        indices = np.zeros(len(occupied), dtype=np.int32)
        indices[places] = np.arange(len(places))
        neighbours = np.zeros(len(occupied), dtype=np.int32)
        for step in steps:
            neighbours[step:] += occupied[:-step]
            neighbours[:-step] += occupied[step:]
        lines = []
        for direction, step in zip(directions, steps, strict=True):
            line = _lines(occupied, indices, int(step), len(places))
            lines.append(None if _lone(mask, direction, line) else line)
        return cls(mask, spacing, padded.shape, places, neighbours[places], steps, tuple(lines))

    @property
    def size(self) -> int:
        """Number of voxels of the tumour."""
        return len(self.places)


def _directions(shape: tuple[int, ...], force_2d: bool) -> NDArray[np.int64]:
    # pyradiomics tells its angles only beside a matrix; they depend on which axes are longer than one voxel.
    nothing = np.zeros([min(length, 2) for length in shape], dtype=np.int32)
    _, angles = cMatrices.calculate_glcm(nothing, nothing.astype(np.bool_), np.array([1]), 1, force_2d, 0)
    return np.asarray(angles, dtype=np.int64)


def _lines(occupied: NDArray[np.uint8], indices: NDArray[np.int32], step: int, none: int) -> NDArray[np.int32]:
    # Places that are ``step`` apart are the columns of a table that is ``step`` wide.
    length = -(-len(occupied) // step) * step
    columns = np.pad(occupied, (0, length - len(occupied))).reshape(-1, step).T
    found = np.flatnonzero(columns)
    column, row = np.divmod(found, columns.shape[1])
    gaps = np.diff(found, prepend=found[0]) > 1
    # The last place of a column and the first of the next are neighbours in the table only.
    gaps[1:] |= column[1:] != column[:-1]
    line = np.full(len(found) + np.count_nonzero(gaps) + 1, none, dtype=np.int32)
    line[np.arange(len(found)) + np.cumsum(gaps)] = indices[row * step + column]
    return line


def _lone(mask: NDArray[np.bool_], direction: NDArray[np.int64], line: NDArray[np.int32]) -> bool:
    size = line.max()
    if ((line[1:] < size) & (line[:-1] < size)).any():
        return False
    # Two voxels share a line if they agree in every coordinate once the motion along the direction is taken out.
    axis = int(np.flatnonzero(direction)[0])
    voxels = np.array(mask.nonzero())
    ends = voxels - voxels[axis] * direction[:, None] * direction[axis]
    ends -= ends.min(axis=1, keepdims=True)
    return bool(np.bincount(np.ravel_multi_index(tuple(ends), tuple(ends.max(axis=1) + 1))).max() < 2)


@dataclass(frozen=True, slots=True)
class GreyLevels:
    """A discretised image.

    Attributes
    ----------
    voxels
        int64, shape (n_voxels,): rank of each voxel's grey level among those present, from 1.
    levels
        int64, shape (n_levels,): the grey levels present, ascending.
    counts
        int64, same shape: voxels of each.
    """

    voxels: NDArray[np.int64]
    levels: NDArray[np.int64]
    counts: NDArray[np.int64]


def discretise(values: NDArray[Any], *, bin_width: float = 25, bin_count: int | None = None) -> GreyLevels:
    """Bin an image once for all classes.

    Override of ``RadiomicsFeaturesBase._applyBinning``, which runs six times per image and takes Python's ``min`` and
    ``max`` over an array. The edges are pyradiomics' own: they depend on the extremes alone, so it is given only those.
    Equality: exact.

    Parameters
    ----------
    values
        The tumour's voxels, shape (n_voxels,), in the image's data type (the edges depend on it).
    bin_width, bin_count
        pyradiomics' ``binWidth`` and ``binCount``; the count wins.

    Raises
    ------
    ValueError
        The values are not finite.
    """
    extremes = np.array([values.min(), values.max()], dtype=values.dtype)
    if not np.isfinite(extremes).all():
        raise ValueError("the image is not finite")
    bins = np.digitize(values, imageoperations.getBinEdges(extremes, binWidth=bin_width, binCount=bin_count))
    counts = np.bincount(bins)
    levels = np.flatnonzero(counts)
    ranks = np.zeros(len(counts), dtype=np.int64)
    ranks[levels] = np.arange(1, len(levels) + 1)
    return GreyLevels(ranks[bins], levels, counts[levels])


# --------------------------------------------------------------------------------------------------------------------
# The texture matrices
# --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextureMatrices:
    """The texture matrices of one image; rows are the grey levels present.

    Attributes
    ----------
    levels, counts
        The grey levels and their voxels, shape (n,).
    glcm
        Co-occurrences, one direction of each pair, shape (n, n, angles).
    gldm
        Voxels by number of equal neighbours, shape (n, 2 x neighbours + 1).
    glrlm
        Runs by length from 1, shape (n, longest run, angles).
    glszm, zone_sizes
        Zones by size, shape (n, s), and those sizes, shape (s,).
    differences
        NGTDM's sums of absolute differences, shape (n,).
    """

    levels: NDArray[np.int64]
    counts: NDArray[np.int64]
    glcm: Floats
    gldm: Floats
    glrlm: Floats
    glszm: Floats
    zone_sizes: NDArray[np.int64]
    differences: Floats


def texture_matrices(grey: GreyLevels, region: Region) -> TextureMatrices:
    """Count the five texture matrices of one image.

    Override of the classes' ``_calculateMatrix``. Grey levels that are absent, which pyradiomics counts and then
    deletes, never exist. Equality: exact, in 2-D and in 3-D; tested against ``radiomics.cMatrices``.
    """
    # One place more than the line has: a step beyond its end, or an empty place, is grey level 0.
    line = np.zeros(int(np.prod(region.table)), dtype=np.int64)
    line[region.places] = grey.voxels
    equal, differences = _neighbourhoods(line, grey, region)
    dependence = 4 * len(region.steps) + 1
    gldm = np.bincount((grey.voxels - 1) * dependence + equal, minlength=len(grey.levels) * dependence)
    glszm, zone_sizes = _zones(line, grey, region)
    return TextureMatrices(
        levels=grey.levels,
        counts=grey.counts,
        glcm=_cooccurrences(line, grey, region),
        gldm=gldm.reshape(-1, dependence).astype(np.float64),
        glrlm=_runs(grey, region),
        glszm=glszm,
        zone_sizes=zone_sizes,
        differences=differences,
    )


def _cooccurrences(line: NDArray[np.int64], grey: GreyLevels, region: Region) -> Floats:
    """Count the pairs of grey levels one step apart, for each direction."""
    n = len(grey.levels) + 1
    first = line * n
    pairs = [np.bincount(first[:-step] + line[step:], minlength=n * n) for step in region.steps]
    # Row and column 0 are pairs with an empty place.
    return np.array(pairs, dtype=np.float64).reshape(-1, n, n)[:, 1:, 1:].transpose(1, 2, 0)


def _neighbourhoods(line: NDArray[np.int64], grey: GreyLevels, region: Region) -> tuple[NDArray[np.uint8], Floats]:
    """Count each voxel's neighbours of its own grey level, and sum up by how much levels differ from their neighbours.

    Whole numbers are added up before anything is divided, and the differences are added in pyradiomics' order, that of
    the voxels: the sums are the same to the bit.

    Returns
    -------
    tuple[NDArray[np.uint8], Floats]
        Equal neighbours, shape (n_voxels,); sums of absolute differences, shape (n_levels,).
    """
    ranks = line.astype(np.int32)
    levels = np.append(0, grey.levels).astype(np.int32)[line] if grey.levels[-1] != len(grey.levels) else ranks
    equal = np.zeros(len(line), dtype=np.uint8)
    total = np.zeros(len(line), dtype=np.int32)
    for step in region.steps:
        same = ranks[step:] == ranks[:-step]
        equal[step:] += same
        equal[:-step] += same
        total[step:] += levels[:-step]
        total[:-step] += levels[step:]
    # A voxel without neighbours differs by nothing.
    own = levels[region.places]
    mean = np.where(region.neighbours > 0, total[region.places] / np.maximum(region.neighbours, 1), own)
    differences = np.bincount(grey.voxels, weights=np.abs(own - mean), minlength=len(grey.levels) + 1)
    return equal[region.places], differences[1:].astype(np.float64)


def _runs(grey: GreyLevels, region: Region) -> Floats:
    """Count the runs of one grey level by length, for each direction, up to the longest."""
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


def _zones(line: NDArray[np.int64], grey: GreyLevels, region: Region) -> tuple[Floats, NDArray[np.int64]]:
    """Count the connected zones of one grey level by size, at the sizes that occur."""
    table = line.reshape(region.table)
    zones = label(table, background=0, connectivity=table.ndim).ravel()[region.places] - 1
    sizes = np.bincount(zones)
    levels = np.zeros(len(sizes), dtype=np.int64)
    levels[zones] = grey.voxels - 1
    occurring = np.flatnonzero(np.bincount(sizes))
    columns = len(occurring)
    matrix = np.bincount(levels * columns + np.searchsorted(occurring, sizes), minlength=len(grey.levels) * columns)
    return matrix.reshape(-1, columns).astype(np.float64), occurring


# --------------------------------------------------------------------------------------------------------------------
# The texture classes, over a batch of images
# --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of one tumour, whose matrices are laid side by side over the union of their grey levels.

    A row of zeros, where an image lacks a level, adds 0 to every sum of a formula.

    Attributes
    ----------
    images
        The matrices of each image.
    levels
        int64, shape (n,): the union of the grey levels.
    rows
        For each image, the rows of its levels in ``levels``.
    """

    images: Sequence[TextureMatrices]
    levels: NDArray[np.int64] = field(init=False)
    rows: Sequence[NDArray[np.intp]] = field(init=False)

    def __post_init__(self) -> None:
        levels = np.unique(np.concatenate([image.levels for image in self.images]))
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "rows", [np.searchsorted(levels, image.levels) for image in self.images])

    def __len__(self) -> int:
        return len(self.images)


class _Prepared:
    """Mix-in: a feature class of pyradiomics that is given its input instead of reading SimpleITK images.

    Override of ``RadiomicsFeaturesBase.__init__``, which converts image and mask anew for each class and inspects the
    class for its features at each instance. ``execute`` and the formulas stay pyradiomics'.
    """

    logger: logging.Logger
    coefficients: dict[str, Any]
    execute: Callable[[], dict[str, Any]]

    def _prepare(self, feature_class: str) -> None:
        self.logger = SILENT
        self.settings: dict[str, Any] = {}
        self.voxelBased = False
        self.coefficients = {}
        self.featureValues: dict[str, Any] = {}
        self.enabledFeatures = dict.fromkeys(FEATURES_BY_CLASS[feature_class], True)


class GLCM(_Prepared, RadiomicsGLCM):
    """Grey level co-occurrence over a batch (IBSI LFYI)."""

    def __init__(self, batch: Batch) -> None:
        self._prepare("glcm")
        self.batch = batch
        self.symmetricalGLCM = True
        self.weightingNorm = None

    def _calculateMatrix(self, voxelCoordinates: None = None) -> Floats:
        """Lay out, mirror and normalise the matrices. Equality: exact."""
        n, angles = len(self.batch.levels), self.batch.images[0].glcm.shape[2]
        matrix = np.zeros((len(self.batch), n, n, angles))
        for one, rows, image in zip(matrix, self.batch.rows, self.batch.images, strict=True):
            one[np.ix_(rows, rows)] = image.glcm + image.glcm.transpose(1, 0, 2)
        pairs = matrix.sum(axis=(1, 2))
        # The images share one mask, so that an angle without pairs is empty in all of them.
        found = pairs.any(axis=0)
        return matrix[..., found] / pairs[:, None, None, found]

    def _calculateCoefficients(self) -> None:
        """Sum the diagonals in one pass.

        pyradiomics selects the cells of each of 3 x Ng diagonals by a comparison over the whole matrix. Here the cells
        are ordered by diagonal once. Equality: to rounding; diagonals that no cell lies on add nothing and are absent.
        """
        matrix = self.P_glcm
        eps = np.spacing(1)
        grey = self.batch.levels.astype(np.float64)
        i, j = grey[:, None], grey[None, :]
        px, py = matrix.sum(axis=2, keepdims=True), matrix.sum(axis=1, keepdims=True)
        sums, px_add_y = _diagonals(matrix, i + j)
        differences, px_sub_y = _diagonals(matrix, np.abs(i - j))
        self.coefficients.update(
            # Of each image, so that the normalised features divide by its own number of grey levels.
            Ng=np.array([int(image.levels[-1]) for image in self.batch.images], dtype=np.float64)[:, None, None],
            eps=eps,
            i=i,
            j=j,
            kValuesSum=sums,
            kValuesDiff=differences,
            px=px,
            py=py,
            ux=(i[None, :, :, None] * matrix).sum(axis=(1, 2), keepdims=True),
            uy=(j[None, :, :, None] * matrix).sum(axis=(1, 2), keepdims=True),
            pxAddy=px_add_y,
            pxSuby=px_sub_y,
            HXY=-(matrix * np.log2(matrix + eps)).sum(axis=(1, 2)),
        )

    def _deviations(self) -> Floats:
        ux, uy = self.coefficients["ux"], self.coefficients["uy"]
        return (self.coefficients["i"] + self.coefficients["j"])[None, :, :, None] - ux - uy

    def getClusterShadeFeatureValue(self) -> Floats:
        """Multiply: numpy raises to the third power by ``pow``, twenty times slower. Equality: to rounding."""
        deviations = self._deviations()
        return np.nanmean((self.P_glcm * (deviations * deviations * deviations)).sum(axis=(1, 2)), 1)

    def getClusterProminenceFeatureValue(self) -> Floats:
        """Multiply, as for the shade. Equality: to rounding."""
        squares = self._deviations() ** 2
        return np.nanmean((self.P_glcm * (squares * squares)).sum(axis=(1, 2)), 1)

    def getMCCFeatureValue(self) -> Floats:
        """Build the matrix Q as a product, image by image on its own grey levels.

        Absent grey levels would add eigenvalues of 0, and an image of one level is 1 by definition. Equality: to
        rounding; where the second eigenvalue is so close to 0 that rounding decides, or not real, pyradiomics' own
        sum over grey levels is taken, so that its noise is the same.
        """
        px, py, eps = self.coefficients["px"], self.coefficients["py"], self.coefficients["eps"]
        values = np.ones(len(self.batch))
        for index, rows in enumerate(self.batch.rows):
            if len(rows) < 2:
                continue
            matrix = self.P_glcm[index][np.ix_(rows, rows)]
            row_sums, column_sums = px[index][rows], py[index][:, rows]
            scaled = matrix / (row_sums * column_sums + eps)
            eigenvalues = np.linalg.eigvals(scaled.transpose(2, 0, 1) @ matrix.transpose(2, 1, 0))
            eigenvalues.sort()
            second = eigenvalues[:, -2]
            if np.iscomplexobj(second) or (second < 1e-4).any():
                own = SimpleNamespace(
                    P_glcm=matrix[None], coefficients={"px": row_sums[None], "py": column_sums[None], "eps": eps}
                )
                values[index] = np.squeeze(RadiomicsGLCM.getMCCFeatureValue(own))
            else:
                values[index] = np.sqrt(second).mean()
        return values


def _diagonals(matrix: Floats, labels: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(labels, axis=None, kind="stable")
    ordered = labels.ravel()[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1.0))
    cells = matrix.reshape(len(matrix), -1, matrix.shape[-1])[:, order]
    return ordered[starts], np.add.reduceat(cells, starts, axis=1)


class GLDM(_Prepared, RadiomicsGLDM):
    """Grey level dependence over a batch (IBSI REK0)."""

    def __init__(self, batch: Batch) -> None:
        self._prepare("gldm")
        self.batch = batch
        self.P_gldm = None

    def _calculateMatrix(self, voxelCoordinates: None = None) -> Floats:
        """Lay out the matrices without the dependence sizes that no image has. Equality: exact."""
        matrix = np.zeros((len(self.batch), len(self.batch.levels), self.batch.images[0].gldm.shape[1]))
        for one, rows, image in zip(matrix, self.batch.rows, self.batch.images, strict=True):
            one[rows] = image.gldm
        sizes = np.flatnonzero(matrix.any(axis=(0, 1)))
        matrix = matrix[:, :, sizes]
        by_size = matrix.sum(axis=1)
        self.coefficients.update(
            Nz=by_size.sum(axis=1),
            pd=by_size,
            pg=matrix.sum(axis=2),
            ivector=self.batch.levels.astype(np.float64),
            jvector=sizes + 1.0,
        )
        return matrix


class GLRLM(_Prepared, RadiomicsGLRLM):
    """Grey level run lengths over a batch (IBSI TP0I)."""

    def __init__(self, batch: Batch) -> None:
        self._prepare("glrlm")
        self.batch = batch
        self.weightingNorm = None

    def _calculateMatrix(self, voxelCoordinates: None = None) -> Floats:
        """Lay out the matrices without the angles that have no runs. Equality: exact."""
        images = self.batch.images
        longest = max(image.glrlm.shape[1] for image in images)
        matrix = np.zeros((len(images), len(self.batch.levels), longest, images[0].glrlm.shape[2]))
        for one, rows, image in zip(matrix, self.batch.rows, images, strict=True):
            one[rows, : image.glrlm.shape[1]] = image.glrlm
        runs = matrix.sum(axis=(1, 2))
        found = runs.any(axis=0)
        self.coefficients["Nr"] = runs[:, found]
        self.coefficients["grayLevels"] = self.batch.levels
        return matrix[..., found]


class GLSZM(_Prepared, RadiomicsGLSZM):
    """Grey level size zones over a batch (IBSI 9SAK)."""

    def __init__(self, batch: Batch) -> None:
        self._prepare("glszm")
        self.batch = batch

    def _calculateMatrix(self, voxelCoordinates: None = None) -> Floats:
        """Lay out the zones by the sizes that occur.

        pyradiomics lays out every size up to the largest, and deletes most. Equality: exact.
        """
        images = self.batch.images
        self.sizes = np.unique(np.concatenate([image.zone_sizes for image in images]))
        matrix = np.zeros((len(images), len(self.batch.levels), len(self.sizes)))
        for one, rows, image in zip(matrix, self.batch.rows, images, strict=True):
            one[np.ix_(rows, np.searchsorted(self.sizes, image.zone_sizes))] = image.glszm
        return matrix

    def _calculateCoefficients(self) -> None:
        """Sum up; the columns are sizes that occur already. Equality: to rounding."""
        sizes = self.sizes.astype(np.float64)
        by_size = self.P_glszm.sum(axis=1)
        self.coefficients.update(
            Np=(by_size * sizes).sum(axis=1),
            Nz=by_size.sum(axis=1),
            ps=by_size,
            pg=self.P_glszm.sum(axis=2),
            ivector=self.batch.levels.astype(np.float64),
            jvector=sizes,
        )


class NGTDM(_Prepared, RadiomicsNGTDM):
    """Neighbourhood grey tone differences over a batch (IBSI IPET)."""

    def __init__(self, batch: Batch) -> None:
        self._prepare("ngtdm")
        self.batch = batch

    def _calculateMatrix(self, voxelCoordinates: None = None) -> Floats:
        """Lay out count, sum of differences and grey level. Equality: exact."""
        matrix = np.zeros((len(self.batch), len(self.batch.levels), 3))
        matrix[:, :, 2] = self.batch.levels
        for one, rows, image in zip(matrix, self.batch.rows, self.batch.images, strict=True):
            one[rows, 0], one[rows, 1] = image.counts, image.differences
        return matrix


_TEXTURE_CLASSES: Final = {"glcm": GLCM, "gldm": GLDM, "glrlm": GLRLM, "glszm": GLSZM, "ngtdm": NGTDM}


def texture_features(feature_class: str, images: Sequence[TextureMatrices]) -> Floats:
    """Evaluate one class's formulas on several images of one tumour at once.

    Parameters
    ----------
    feature_class
        ``glcm``, ``gldm``, ``glrlm``, ``glszm`` or ``ngtdm``.
    images
        Their matrices; all of one mask.

    Returns
    -------
    Floats
        Shape (images, features), in the order of ``FEATURES_BY_CLASS``.
    """
    names = FEATURES_BY_CLASS[feature_class]
    features = np.full((len(images), len(names)), np.nan)
    if feature_class in ("glcm", "glrlm") and not getattr(images[0], feature_class).any():
        # No two voxels are neighbours: pyradiomics averages over no angle, which is NaN for every feature but this.
        if feature_class == "glcm" and images[0].glcm.shape[2] != 1:
            flat = [len(image.levels) == 1 for image in images]
            features[flat, names.index("MCC")] = 1.0
        return features
    values = _TEXTURE_CLASSES[feature_class](Batch(images)).execute()
    for column, name in enumerate(names):
        features[:, column] = values[name]
    return features


def image_features(
    values: NDArray[Any],
    region: Region,
    *,
    bin_width: float = 25,
    bin_count: int | None = None,
    voxel_array_shift: float = 0,
) -> dict[str, float]:
    """Evaluate every class but shape on one image, at settings other than the method's where a comparison needs them.

    Parameters
    ----------
    values
        The tumour's voxels, shape (n_voxels,), in the order of ``region.mask.nonzero()``.
    region
        The tumour; in 2-D or 3-D.
    bin_width, bin_count, voxel_array_shift
        pyradiomics' ``binWidth``, ``binCount``, ``voxelArrayShift``.

    Returns
    -------
    dict[str, float]
        By ``class_Feature``.

    Raises
    ------
    ValueError
        As :func:`discretise`.
    """
    with np.errstate(all="ignore"):
        grey = discretise(values, bin_width=bin_width, bin_count=bin_count)
        found = {
            "firstorder": first_order_features(
                values, grey, spacing=region.spacing, voxel_array_shift=voxel_array_shift
            )
        }
        matrices = texture_matrices(grey, region)
        for feature_class in _TEXTURE_CLASSES:
            found[feature_class] = texture_features(feature_class, [matrices])[0]
    return {
        f"{feature_class}_{name}": float(value)
        for feature_class, row in found.items()
        for name, value in zip(FEATURES_BY_CLASS[feature_class], row, strict=True)
    }


def batches(images: Sequence[TextureMatrices]) -> list[list[int]]:
    """Group images of like numbers of grey levels, so that padding costs less than it saves.

    Returns
    -------
    list[list[int]]
        Indices into ``images``; each index once.
    """
    levels = [len(image.levels) for image in images]
    groups: list[list[int]] = []
    for index in sorted(range(len(images)), key=levels.__getitem__):
        if groups:
            group = [*groups[-1], index]
            laid_out = len(group) * levels[index] ** 2
            if laid_out <= 2 * sum(levels[member] ** 2 for member in group) or laid_out <= _SMALL_BATCH:
                groups[-1] = group
                continue
        groups.append([index])
    return groups


_SMALL_BATCH: Final = 20_000
"""Cells of co-occurrence per angle up to which a call costs more than its work."""


# --------------------------------------------------------------------------------------------------------------------
# First order
# --------------------------------------------------------------------------------------------------------------------


class FirstOrder(_Prepared, RadiomicsFirstOrder):
    """First-order statistics of one image (IBSI UHIW, ZVCW)."""

    def __init__(
        self,
        values: NDArray[Any],
        grey: GreyLevels,
        *,
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        voxel_array_shift: float = 0,
    ) -> None:
        self._prepare("firstorder")
        self.pixelSpacing = spacing
        self.voxelArrayShift = voxel_array_shift
        self.targetVoxelArray = values.astype(np.float64).reshape(1, -1)
        self.coefficients["p_i"] = (grey.counts / grey.counts.sum()).reshape(1, -1)
        self.enabledFeatures = {"Entropy": True, "Uniformity": True}
        self.sorted = np.sort(values)

    def _initCalculation(self, voxelCoordinates: None = None) -> None:
        """Nothing: the histogram came with the grey levels."""

    def execute(self) -> dict[str, Any]:
        """Share what the formulas share: mean, deviations, percentiles.

        pyradiomics sorts the voxels partly for each of ten percentiles, tests for NaN at every step and raises to the
        third and fourth power by ``pow``. Sums run over the same voxels in the same order. Equality: to rounding, and
        exact for the mean and the deviations, on which skewness and kurtosis of a flat image hang.
        """
        features = super().execute()
        voxels = self.targetVoxelArray
        count = voxels.shape[1]
        p10, p25, p50, p75, p90 = (self._percentile(percent) for percent in (10, 25, 50, 75, 90))
        low, high = float(self.sorted[0]), float(self.sorted[-1])
        shifted = voxels + self.voxelArrayShift
        energy = (shifted * shifted).sum(axis=1)[0]
        mean = voxels.sum(axis=1) / count
        deviations = voxels - mean[:, None]
        squares = deviations * deviations
        second = (squares.sum(axis=1) / count)[0]
        third = ((squares * deviations).sum(axis=1) / count)[0]
        fourth = ((squares * squares).sum(axis=1) / count)[0]
        # pyradiomics divides a flat image's moments by 1.
        scale = second if second != 0 else 1.0

        # Voxels beyond the percentiles add 0 and keep their place, so that the sum is rounded as pyradiomics' is.
        within = (voxels >= p10) & (voxels <= p90)
        inner_count = np.count_nonzero(within)
        inner_mean = np.where(within, voxels, 0.0).sum(axis=1) / inner_count
        inner_deviation = np.where(within, np.abs(voxels - inner_mean[:, None]), 0.0).sum(axis=1) / inner_count

        features.update(
            {
                "10Percentile": p10,
                "90Percentile": p90,
                "Energy": energy,
                "InterquartileRange": p75 - p25,
                "Kurtosis": fourth / scale**2.0,
                "Maximum": high,
                "Mean": mean[0],
                "MeanAbsoluteDeviation": np.abs(deviations).sum(axis=1)[0] / count,
                "Median": p50,
                "Minimum": low,
                "Range": high - low,
                "RobustMeanAbsoluteDeviation": inner_deviation[0],
                "RootMeanSquared": np.sqrt(energy / count),
                "Skewness": third / scale**1.5,
                "TotalEnergy": energy * np.multiply.reduce(self.pixelSpacing),
                "Variance": np.sqrt(second) ** 2,
            }
        )
        return features

    def _percentile(self, percent: float) -> float:
        """Interpolate between the two nearest voxels, which are sorted once, in their own and shorter data type."""
        position = (len(self.sorted) - 1) * (percent / 100)
        below = int(position)
        low, high = float(self.sorted[below]), float(self.sorted[min(below + 1, len(self.sorted) - 1)])
        # numpy takes the nearer end, so that the value cannot leave the interval.
        fraction = position - below
        return low + (high - low) * fraction if fraction < 0.5 else high - (high - low) * (1 - fraction)


def first_order_features(
    values: NDArray[Any],
    grey: GreyLevels,
    *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    voxel_array_shift: float = 0,
) -> Floats:
    """Evaluate the first-order statistics of one image.

    Parameters
    ----------
    values
        The tumour's voxels, shape (n_voxels,).
    grey
        The same, discretised.
    spacing, voxel_array_shift
        Voxel size in mm; pyradiomics' ``voxelArrayShift``.

    Returns
    -------
    Floats
        Shape (18,), in the order of ``FEATURES_BY_CLASS``.
    """
    features = FirstOrder(values, grey, spacing=spacing, voxel_array_shift=voxel_array_shift).execute()
    return np.array([float(features[name]) for name in FEATURES_BY_CLASS["firstorder"]])


# --------------------------------------------------------------------------------------------------------------------
# Shape
# --------------------------------------------------------------------------------------------------------------------


class Shape(_Prepared, RadiomicsShape):
    """3-D shape (IBSI HCUG)."""

    def __init__(self, region: Region) -> None:
        self._prepare("shape")
        self.pixelSpacing = np.array(region.spacing)
        self.maskArray = np.pad(region.mask, 1)
        self.labelledVoxelCoordinates = self.maskArray.nonzero()
        self.SurfaceArea, self.Volume = _surface(self.maskArray, region.spacing)
        self.diameters = _diameters(self.maskArray, self.pixelSpacing)
        self.eigenValues = self._axes()

    def _axes(self) -> Floats:
        # The order of the sums is pyradiomics', so that the axis of a flat tumour is the same rounding error.
        coordinates = np.array(self.labelledVoxelCoordinates) * self.pixelSpacing[:, None]
        coordinates -= coordinates.mean(axis=1, keepdims=True)
        coordinates /= np.sqrt(coordinates.shape[1])
        eigenvalues = np.linalg.eigvals(np.dot(coordinates.copy(), coordinates.T))
        eigenvalues[(eigenvalues < 0) & (eigenvalues > -1e-10)] = 0
        return np.sort(eigenvalues)


def shape_features(region: Region) -> Floats:
    """Evaluate the shape features; shape (14,), in the order of ``FEATURES_BY_CLASS``."""
    features = Shape(region).execute()
    # Of a tumour with two equal axes the solver may give a pair of complex numbers whose imaginary parts are roundings.
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
    mesh = functools.partial(cShape.calculate_coefficients)
    area, volume = np.empty(256), np.empty(256)
    growth = np.empty((256, 3))
    for number, cube in enumerate(cubes):
        area[number], volume[number] = mesh(cube, size)[:2]
    for number, cube in enumerate(cubes):
        for axis in range(3):
            # The cube at position 1, after a cube whose two layers are its first one: that one's volume is known.
            first = np.take(cube, [0], axis=axis)
            before = np.concatenate([first, first], axis=axis)
            _, both, _ = mesh(np.ascontiguousarray(np.concatenate([first, cube], axis=axis)), size)
            growth[number, axis] = both - volume[_number(before)] - volume[number]
    return area, volume, growth


def _number(cube: NDArray[np.bool_]) -> int:
    return int(np.packbits(cube.ravel(), bitorder="little")[0])


def _surface(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> tuple[float, float]:
    """Sum area and volume of the mesh over its cubes.

    Override of ``cShape.calculate_coefficients``, which also measures all pairs of vertices. Equality: to rounding.

    Parameters
    ----------
    mask
        bool, shape (z, y, x), with an empty layer all around.
    spacing
        Voxel size in mm.
    """
    area, volume, growth = _cubes(spacing)
    voxels = mask.view(np.uint8)
    numbers = np.zeros([length - 1 for length in mask.shape], dtype=np.uint8)
    for bit, corner in enumerate(itertools.product((0, 1), repeat=3)):
        part = tuple(slice(low, low + length) for low, length in zip(corner, numbers.shape, strict=True))
        numbers |= voxels[part] << np.uint8(bit)
    positions = np.array(((numbers != 0) & (numbers != 255)).nonzero())
    found = numbers[tuple(positions)]
    counts = np.bincount(found, minlength=256)
    total = counts @ volume
    for axis in range(3):
        total += np.bincount(found, weights=positions[axis], minlength=256) @ growth[:, axis]
    return float(counts @ area), float(total)


def _diameters(mask: NDArray[np.bool_], spacing: Floats) -> tuple[float, float, float, float]:
    """Measure the largest distances between vertices of the mesh: in slice, column and row planes, and in space.

    Override of ``cShape.calculate_coefficients``, which compares all pairs. A vertex lies halfway between a voxel of
    the tumour and a neighbour outside. The farthest pair of points are vertices of their convex hull. Equality: exact
    for voxels of 1 mm, where coordinates are halves; to rounding otherwise.

    Parameters
    ----------
    mask
        bool, shape (z, y, x), with an empty layer all around.
    spacing
        Voxel size in mm, shape (3,).
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
    points = vertices[:, _line_ends(vertices)].T * scale
    return planes[0], planes[1], planes[2], _largest(points[ConvexHull(points).vertices])


_DIRECTIONS: Final = 16
"""Directions in which a plane's extent is measured: its diameter exceeds the largest by less than 0.5 %."""


def _largest_in_planes(vertices: NDArray[np.int64], axis: int, scale: Floats) -> float:
    order = np.argsort(vertices[axis], kind="stable")
    ordered = vertices[:, order]
    starts = np.flatnonzero(np.diff(ordered[axis], prepend=-1))
    first, second = (ordered[other] * scale[other] for other in range(3) if other != axis)
    extents = np.zeros(len(starts))
    for angle in np.arange(_DIRECTIONS) * (np.pi / _DIRECTIONS):
        along = first * np.cos(angle) + second * np.sin(angle)
        extent = np.maximum.reduceat(along, starts) - np.minimum.reduceat(along, starts)
        np.maximum(extents, extent, out=extents)
    # Between two of the directions an extent can be hidden by at most this factor.
    possible = extents / np.cos(np.pi / (2 * _DIRECTIONS)) + 1e-9
    ends = np.append(starts[1:], len(first))
    best = 0.0
    for plane in np.argsort(-possible, kind="stable"):
        if possible[plane] < best:
            break
        part = slice(starts[plane], ends[plane])
        corners = _line_ends(np.delete(ordered[:, part], axis, axis=0))
        best = max(best, _largest(np.column_stack([first[part], second[part]])[corners]))
    return best


def _line_ends(points: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the points that are first or last on their line along each axis: every vertex of the hull is."""
    marked = np.ones(points.shape[1], dtype=np.bool_)
    lengths = points.max(axis=1) + 1
    for axis in range(len(points)):
        others = [other for other in range(len(points)) if other != axis]
        line = np.ravel_multi_index(tuple(points[others]), tuple(lengths[others]))
        order = np.lexsort((points[axis], line))
        new = np.diff(line[order], prepend=-1) != 0
        ends = new | np.append(new[1:], True)
        marked[order[~ends]] = False
    return marked


def _largest(points: Floats) -> float:
    if len(points) < 2:
        return 0.0
    if len(points) > _ALL_PAIRS:
        reference = points[np.argmax(((points - points[0]) ** 2).sum(axis=1))]
        least = np.sqrt(((points - reference) ** 2).sum(axis=1)).max()
        # A point nearer than this to the far corner of the box cannot belong to the farthest pair.
        far = np.maximum(points - points.min(axis=0), points.max(axis=0) - points)
        points = points[np.sqrt((far**2).sum(axis=1)) >= least - 1e-9]
    return float(np.sqrt(pdist(points, "sqeuclidean").max()))


_ALL_PAIRS: Final = 1_000
"""Points of which all pairs are measured without first looking for those that cannot matter."""


# --------------------------------------------------------------------------------------------------------------------
# What is relied on
# --------------------------------------------------------------------------------------------------------------------

_RELIED_ON: Final[dict[type, tuple[str, ...]]] = {
    RadiomicsFirstOrder: ("_initCalculation", "_calculateSegment"),
    RadiomicsGLCM: ("_calculateMatrix", "_calculateCoefficients", "_initCalculation", "_calculateSegment"),
    RadiomicsGLDM: ("_calculateMatrix", "_initCalculation", "_calculateSegment"),
    RadiomicsGLRLM: ("_calculateMatrix", "_calculateCoefficients", "_initCalculation", "_calculateSegment"),
    RadiomicsGLSZM: ("_calculateMatrix", "_calculateCoefficients", "_initCalculation", "_calculateSegment"),
    RadiomicsNGTDM: ("_calculateMatrix", "_calculateCoefficients", "_initCalculation", "_calculateSegment"),
    RadiomicsShape: ("_initSegmentBasedCalculation", "_calculateSegment"),
}


def check_upstream(version: str = radiomics.__version__, relied_on: dict[type, Iterable[str]] | None = None) -> None:
    """Check that pyradiomics is what this module was written for; called at import.

    Parameters
    ----------
    version
        What pyradiomics calls itself.
    relied_on
        The methods that its classes must have.

    Raises
    ------
    UpstreamChanged
        Another version; a class, method or feature is missing; or a compiled matrix holds other counts than ours.
    """
    if version.removeprefix("v") not in (UPSTREAM_VERSION, SAME_CODE_VERSION):
        raise UpstreamChanged(f"pyradiomics {UPSTREAM_VERSION} is needed, {version} is installed")
    for owner, methods in (relied_on or _RELIED_ON).items():
        missing = [name for name in methods if not callable(getattr(owner, name, None))]
        if missing:
            raise UpstreamChanged(f"radiomics.{owner.__name__} lacks {', '.join(missing)}")
    for owner in _RELIED_ON:
        feature_class = owner.__name__.removeprefix("Radiomics").lower()
        offered = {name for name, deprecated in owner.getFeatureNames().items() if not deprecated}  # type: ignore[attr-defined]
        if offered != set(FEATURES_BY_CLASS[feature_class]):
            raise UpstreamChanged(f"radiomics.{owner.__name__} has other features than the method's")
    _compare_matrices()


def _compare_matrices() -> None:
    image = np.array([[[1, 1, 2, 3], [2, 1, 1, 3], [3, 3, 2, 1]], [[2, 2, 2, 1], [1, 3, 3, 3], [2, 1, 2, 2]]], np.int32)
    mask = np.ones(image.shape, dtype=np.bool_)
    mask[0, 0, 0] = mask[1, 2, 3] = False
    region = Region.of(mask)
    grey = GreyLevels(image[mask].astype(np.int64), np.arange(1, 4), np.bincount(image[mask])[1:])
    ours = texture_matrices(grey, region)
    planar = (True, 0)
    glcm, _ = cMatrices.calculate_glcm(image, mask, np.array([1]), 3, *planar)
    gldm = cMatrices.calculate_gldm(image, mask, np.array([1]), 3, 0, *planar)
    glrlm, _ = cMatrices.calculate_glrlm(image, mask, 3, 4, *planar)
    glszm = cMatrices.calculate_glszm(image, mask, 3, region.size, *planar)
    ngtdm = cMatrices.calculate_ngtdm(image, mask, np.array([1]), 3, *planar)
    same = (
        np.array_equal(ours.glcm, glcm[0])
        and np.array_equal(ours.gldm, gldm[0])
        and np.array_equal(ours.glrlm, glrlm[0][:, : ours.glrlm.shape[1]])
        and np.array_equal(ours.glszm, glszm[0][:, ours.zone_sizes - 1])
        and np.array_equal(ours.differences, ngtdm[0][:, 1])
    )
    if not same:
        raise UpstreamChanged("radiomics.cMatrices counts otherwise than this module")


check_upstream()
