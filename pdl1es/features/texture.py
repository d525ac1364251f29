"""The texture classes, over a batch of images of one tumour.

Every formula of pyradiomics takes a leading axis, made for voxel maps. Here the images of a tumour take its place, so
that each formula runs once for several images. The formulas that are replaced say why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from radiomics.glcm import RadiomicsGLCM
from radiomics.gldm import RadiomicsGLDM
from radiomics.glrlm import RadiomicsGLRLM
from radiomics.glszm import RadiomicsGLSZM
from radiomics.ngtdm import RadiomicsNGTDM

from pdl1es.features.matrices import TextureMatrices
from pdl1es.features.names import FEATURES_BY_CLASS
from pdl1es.features.prepared_class import PreparedClass

Floats = NDArray[np.float64]

_SMALL_BATCH: Final = 20_000
"""Cells of co-occurrence per angle up to which a call costs more than its work."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Batch:
    """Images of one tumour, whose matrices are laid side by side over the union of their grey levels.

    Where an image lacks a level, its matrices have a row of zeros, which adds 0 to every sum of a formula.

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

    def __repr__(self) -> str:
        return f"Batch({len(self)} images, {len(self.levels)} grey levels)"

    def __len__(self) -> int:
        return len(self.images)


class GLCM(PreparedClass, RadiomicsGLCM):
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
        are ordered by diagonal once. Diagonals without a cell are absent; they would add nothing. Equality: to rounding.
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

        Absent grey levels would add eigenvalues of 0, and an image of one level is 1 by definition. Where the second
        eigenvalue is not real, or so close to 0 that rounding decides it, pyradiomics' own formula is run, so that its
        rounding errors are the same. Equality: to rounding.
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
    """Return the labels that occur, ascending, and the sums of the cells that bear each label."""
    order = np.argsort(labels, axis=None, kind="stable")
    ordered = labels.ravel()[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1.0))
    cells = matrix.reshape(len(matrix), -1, matrix.shape[-1])[:, order]
    return ordered[starts], np.add.reduceat(cells, starts, axis=1)


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
        self.coefficients["grayLevels"] = self.batch.levels
        return matrix[..., found]


class GLSZM(PreparedClass, RadiomicsGLSZM):
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
        if feature_class == "glcm" and images[0].glcm.shape[2] != 1:
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
