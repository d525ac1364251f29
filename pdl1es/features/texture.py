"""The texture classes, over a batch of images of one tumour.

Every formula of pyradiomics takes a leading axis, made for voxel maps. Here the images of a tumour take its place, so
that each formula runs once for several images. The formulas that are replaced say why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from radiomics.gldm import RadiomicsGLDM
from radiomics.glrlm import RadiomicsGLRLM
from radiomics.glszm import RadiomicsGLSZM
from radiomics.ngtdm import RadiomicsNGTDM

from pdl1es.features.cooccurrence import GLCM
from pdl1es.features.matrices import TextureMatrices
from pdl1es.features.names import FEATURES_BY_CLASS
from pdl1es.features.prepared_class import PreparedClass
from pdl1es.features.texture_batch import Batch

Floats = NDArray[np.float64]

_EPS: Final = np.spacing(1)
"""pyradiomics adds it to what it takes the logarithm of."""
_SMALL_BATCH: Final = 20_000
"""Cells of co-occurrence per angle up to which a call costs more than its work."""


class GLDM(PreparedClass, RadiomicsGLDM):
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


class GLRLM(PreparedClass, RadiomicsGLRLM):
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
        return matrix if found.all() else matrix[..., found]

    def _calculateCoefficients(self) -> None:
        """Sum up, and weigh lengths and levels once for the four features of both.

        Lengths that no run has add 0. Equality: to rounding.
        """
        matrix = self.P_glrlm
        lengths, levels = np.arange(1.0, matrix.shape[2] + 1), self.batch.levels.astype(np.float64)
        self.coefficients.update(pr=matrix.sum(axis=1), pg=matrix.sum(axis=2), ivector=levels, jvector=lengths)
        by_length = np.stack([1 / lengths**2, lengths**2]) @ matrix
        squares = levels[None, :, None] ** 2
        runs = self.coefficients["Nr"]
        self.crossed = {
            (length, level): ((summed / squares if level == "low" else summed * squares).sum(axis=1) / runs).mean(
                axis=1
            )
            for length, summed in (("short", by_length[:, :, 0]), ("long", by_length[:, :, 1]))
            for level in ("low", "high")
        }

    def getShortRunLowGrayLevelEmphasisFeatureValue(self) -> Floats:
        """As summed up before. Equality: to rounding."""
        return self.crossed["short", "low"]

    def getShortRunHighGrayLevelEmphasisFeatureValue(self) -> Floats:
        """As summed up before. Equality: to rounding."""
        return self.crossed["short", "high"]

    def getLongRunLowGrayLevelEmphasisFeatureValue(self) -> Floats:
        """As summed up before. Equality: to rounding."""
        return self.crossed["long", "low"]

    def getLongRunHighGrayLevelEmphasisFeatureValue(self) -> Floats:
        """As summed up before. Equality: to rounding."""
        return self.crossed["long", "high"]

    def getRunEntropyFeatureValue(self) -> Floats:
        """Take logarithms of the cells that hold runs alone; the others add 0. Equality: to rounding."""
        images, angles = self.P_glrlm.shape[0], self.P_glrlm.shape[3]
        image, _, _, angle = cells = self.P_glrlm.nonzero()
        runs = self.coefficients["Nr"]
        entropy = _entropies(self.P_glrlm[cells] / runs[image, angle], image * angles + angle, images * angles)
        return entropy.reshape(images, angles).mean(axis=1)


def _entropies(probabilities: Floats, groups: NDArray[np.int64], count: int) -> Floats:
    """Return the entropy of each group of probabilities, in bits."""
    terms = probabilities * np.log2(probabilities + _EPS)
    return np.asarray(-np.bincount(groups, weights=terms, minlength=count), dtype=np.float64)


class GLSZM(PreparedClass, RadiomicsGLSZM):
    """Grey level size zones over a batch (IBSI 9SAK).

    Few sizes occur, and few levels have zones of one size: the zones are held as a list of level, size and number.
    """

    def __init__(self, batch: Batch) -> None:
        self._prepare("glszm")
        self.batch = batch

    def _calculateMatrix(self, voxelCoordinates: None = None) -> Floats:
        """List the cells that hold zones; return their numbers. Equality: exact."""
        images = self.batch.images
        self.sizes = np.unique(np.concatenate([image.zone_sizes for image in images]))
        cells = [image.glszm.nonzero() for image in images]
        self.number = np.concatenate([image.glszm[cell] for image, cell in zip(images, cells, strict=True)])
        self.image = np.repeat(np.arange(len(images)), [len(rows) for rows, _ in cells])
        self.row = np.concatenate([own[rows] for own, (rows, _) in zip(self.batch.rows, cells, strict=True)])
        self.column = np.concatenate(
            [
                np.searchsorted(self.sizes, image.zone_sizes)[columns]
                for image, (_, columns) in zip(images, cells, strict=True)
            ]
        )
        return self.number

    def _calculateCoefficients(self) -> None:
        """Sum up; the columns are sizes that occur already. Equality: to rounding."""
        levels, sizes = self.batch.levels.astype(np.float64), self.sizes.astype(np.float64)
        by_size = self._summed(self.column, len(sizes), self.number)
        self.coefficients.update(
            Np=(by_size * sizes).sum(axis=1),
            Nz=by_size.sum(axis=1),
            ps=by_size,
            pg=self._summed(self.row, len(levels), self.number),
            ivector=levels,
            jvector=sizes,
        )
        self.level_squares, self.size_squares = levels[self.row] ** 2, sizes[self.column] ** 2

    def _summed(self, column: NDArray[np.int64], columns: int, weights: Floats) -> Floats:
        cells = self.image * columns + column
        sums = np.bincount(cells, weights=weights, minlength=len(self.batch) * columns)
        return np.asarray(sums, dtype=np.float64).reshape(-1, columns)

    def _weighted(self, weights: Floats) -> Floats:
        return self._summed(np.zeros_like(self.image), 1, weights)[:, 0] / self.coefficients["Nz"]

    def getSmallAreaLowGrayLevelEmphasisFeatureValue(self) -> Floats:
        """Sum over the list. Equality: to rounding."""
        return self._weighted(self.number / (self.level_squares * self.size_squares))

    def getSmallAreaHighGrayLevelEmphasisFeatureValue(self) -> Floats:
        """Sum over the list. Equality: to rounding."""
        return self._weighted(self.number * self.level_squares / self.size_squares)

    def getLargeAreaLowGrayLevelEmphasisFeatureValue(self) -> Floats:
        """Sum over the list. Equality: to rounding."""
        return self._weighted(self.number * self.size_squares / self.level_squares)

    def getLargeAreaHighGrayLevelEmphasisFeatureValue(self) -> Floats:
        """Sum over the list. Equality: to rounding."""
        return self._weighted(self.number * self.level_squares * self.size_squares)

    def getZoneEntropyFeatureValue(self) -> Floats:
        """Sum over the list. Equality: to rounding."""
        return _entropies(self.number / self.coefficients["Nz"][self.image], self.image, len(self.batch))


class NGTDM(PreparedClass, RadiomicsNGTDM):
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
        if feature_class == "glcm" and len(images[0].glcm) != 1:
            flat = [len(image.levels) == 1 for image in images]
            features[flat, names.index("MCC")] = 1.0
        return features
    values = _TEXTURE_CLASSES[feature_class](Batch(images)).execute()
    for column, name in enumerate(names):
        features[:, column] = values[name]
    return features


def batches(images: Sequence[TextureMatrices]) -> list[list[int]]:
    """Group images of similar numbers of grey levels, so that padding costs less than a batch saves.

    Parameters
    ----------
    images
        All images of one tumour.

    Returns
    -------
    list[list[int]]
        Indices into ``images``; each index once.
    """
    levels = [len(image.levels) for image in images]
    # Close to int16's ends pyradiomics' edges wrap around, and a level may be 0, by which some formulas divide: such an
    # image is evaluated alone.
    alone = [index for index, image in enumerate(images) if image.levels[0] < 1]
    groups: list[list[int]] = []
    for index in sorted(set(range(len(images))).difference(alone), key=levels.__getitem__):
        if groups:
            group = [*groups[-1], index]
            laid_out = len(group) * levels[index] ** 2
            if laid_out <= 2 * sum(levels[member] ** 2 for member in group) or laid_out <= _SMALL_BATCH:
                groups[-1] = group
                continue
        groups.append([index])
    return [[index] for index in alone] + groups
