"""Grey level co-occurrence over a batch of images (IBSI LFYI).

pyradiomics evaluates each of its formulas on the whole matrix of pairs. Where a formula depends on one level, on the sum of
two or on their difference alone, it is evaluated here on the marginal that pyradiomics computes too. The formulas that are
replaced say why.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from radiomics.glcm import RadiomicsGLCM

from pdl1es.features.prepared_class import PreparedClass
from pdl1es.features.texture_batch import Batch

Floats = NDArray[np.float64]

_EPS: Final = np.spacing(1)
"""pyradiomics adds it to what it divides by and takes the logarithm of."""

_SMALLEST_EIGENVALUE: Final = 1e-4
"""Below, pyradiomics' rounding decides the second eigenvalue."""
_EIGENVALUE_ERROR: Final = 1e-12
"""Relative error that is allowed to the second eigenvalue."""
_SHIFT: Final = 1e-10
"""From the eigenvalue, so that the inverse iteration's matrix is not singular."""


class GLCM(PreparedClass, RadiomicsGLCM):
    """Grey level co-occurrence over a batch (IBSI LFYI)."""

    def __init__(self, batch: Batch) -> None:
        self._prepare("glcm")
        self.batch = batch
        self.symmetricalGLCM = True
        self.weightingNorm = None

    def _calculateMatrix(self, voxelCoordinates: None = None) -> Floats:
        """Lay out, mirror and normalise the matrices, shape (images, angles, n, n). Equality: exact.

        pyradiomics has the angles last; all of its formulas that read the matrix are replaced.
        """
        images = self.batch.images
        angles, n = len(images[0].glcm), len(self.batch.levels)
        pairs = 2 * np.array([image.glcm_sums.sum(axis=0) for image in images])
        # The images share one mask, so that an angle without pairs is empty in all of them.
        self.found: NDArray[np.bool_] = np.asarray(pairs.any(axis=0))
        self.pairs = pairs[:, self.found]
        matrix = np.zeros((len(images), angles, n, n))
        for one, rows, image in zip(matrix, self.batch.rows, images, strict=True):
            if len(rows) == n:
                np.add(image.glcm, image.glcm.transpose(0, 2, 1), out=one)
            elif rows[-1] - rows[0] == len(rows) - 1:
                inner = slice(rows[0], rows[-1] + 1)
                np.add(image.glcm, image.glcm.transpose(0, 2, 1), out=one[:, inner, inner])
            else:
                one[:, rows[:, None], rows] = image.glcm + image.glcm.transpose(0, 2, 1)
        if not self.found.all():
            matrix = matrix[:, self.found]
        matrix /= self.pairs[:, :, None, None]
        return matrix

    def _calculateCoefficients(self) -> None:
        """Take the sums over diagonals from the counts.

        pyradiomics selects the cells of each of 3 x Ng diagonals by a comparison over the whole matrix. Here their
        counts come with the matrix. The sums of columns are those of rows, because the matrix is symmetric. Equality: to
        rounding.
        """
        matrix, images, levels = self.P_glcm, self.batch.images, self.batch.levels
        grey = levels.astype(np.float64)
        reach = int(levels[-1] - levels[0])
        sums = np.zeros((len(images), 2 * reach + 1, len(self.found)))
        differences = np.zeros((len(images), reach + 1, len(self.found)))
        for index, image in enumerate(images):
            first = 2 * int(image.levels[0] - levels[0])
            sums[index, first : first + len(image.glcm_sums)] = image.glcm_sums
            differences[index, : len(image.glcm_differences)] = image.glcm_differences
        # Each count is of one of two directions.
        half = self.pairs[:, None, :] / 2
        self.marginal = matrix.sum(axis=3)
        mean = (self.marginal * grey).sum(axis=2)
        self.coefficients.update(
            # Of each image, so that the normalised features divide by its own number of grey levels.
            Ng=np.array([int(image.levels[-1]) for image in images], dtype=np.float64)[:, None, None],
            eps=_EPS,
            kValuesSum=np.arange(2 * grey[0], 2 * grey[-1] + 1),
            kValuesDiff=np.arange(reach + 1, dtype=np.float64),
            ux=mean[:, None, None, :],
            pxAddy=sums[:, :, self.found] / half,
            pxSuby=differences[:, :, self.found] / half,
            HXY=-_sums(matrix * np.log2(matrix + _EPS)),
        )
        # Of the sum of two levels from its mean, shape (images, sums, angles).
        self.deviations = self.coefficients["kValuesSum"][None, :, None] - 2 * mean[:, None, :]
        self.variance = (self.marginal * (grey - mean[:, :, None]) ** 2).sum(axis=2)
        self.contrast = (self.coefficients["pxSuby"] * (self.coefficients["kValuesDiff"] ** 2)[:, None]).sum(axis=1)
        self.tendency = (self.coefficients["pxAddy"] * self.deviations**2).sum(axis=1)

    def getAutocorrelationFeatureValue(self) -> Floats:
        """Take i j as ((i + j)^2 - (i - j)^2) / 4, from the sums and differences. Equality: to rounding."""
        sums = (self.coefficients["pxAddy"] * (self.coefficients["kValuesSum"] ** 2)[:, None]).sum(axis=1)
        return (sums - self.contrast).mean(axis=1) / 4

    def getClusterTendencyFeatureValue(self) -> Floats:
        """Sum over i + j instead of all pairs. Equality: to rounding."""
        return self.tendency.mean(axis=1)

    def getClusterShadeFeatureValue(self) -> Floats:
        """Sum over i + j instead of all pairs, and multiply instead of ``pow``. Equality: to rounding."""
        cubes = self.deviations * self.deviations * self.deviations
        return (self.coefficients["pxAddy"] * cubes).sum(axis=1).mean(axis=1)

    def getClusterProminenceFeatureValue(self) -> Floats:
        """Sum over i + j instead of all pairs, and multiply instead of ``pow``. Equality: to rounding."""
        squares = self.deviations**2
        return (self.coefficients["pxAddy"] * (squares * squares)).sum(axis=1).mean(axis=1)

    def getContrastFeatureValue(self) -> Floats:
        """Sum over i - j instead of all pairs. Equality: to rounding."""
        return self.contrast.mean(axis=1)

    def getSumSquaresFeatureValue(self) -> Floats:
        """Sum over i instead of all pairs. Equality: to rounding."""
        return self.variance.mean(axis=1)

    def getCorrelationFeatureValue(self) -> Floats:
        """Take the covariance as (cluster tendency - contrast) / 4. Equality: to rounding."""
        correlation = (self.tendency - self.contrast) / 4 / (self.variance + _EPS)
        # pyradiomics' choice for a flat image.
        correlation[self.variance == 0] = 1
        return correlation.mean(axis=1)

    def getJointEnergyFeatureValue(self) -> Floats:
        """Multiply; the angles lie otherwise. Equality: to rounding."""
        return _sums(self.P_glcm * self.P_glcm).mean(axis=1)

    def getMaximumProbabilityFeatureValue(self) -> Floats:
        """Take the largest cell; the angles lie otherwise. Equality: to rounding."""
        return self.P_glcm.reshape(*self.P_glcm.shape[:2], -1).max(axis=2).mean(axis=1)

    def getImc1FeatureValue(self) -> Floats:
        """Take one logarithm for both measures, and one entropy for rows and columns. Equality: to rounding."""
        px = self.marginal
        self.products = px[:, :, :, None] * px[:, :, None, :]
        self.logarithms = np.log2(self.products + _EPS)
        entropy = -(px * np.log2(px + _EPS)).sum(axis=2)
        difference = self.coefficients["HXY"] + _sums(self.P_glcm * self.logarithms)
        apart = entropy != 0
        difference[apart] /= entropy[apart]
        difference[~apart] = 0
        return difference.mean(axis=1)

    def getImc2FeatureValue(self) -> Floats:
        """Reuse the products and logarithms of the first measure, which is evaluated before. Equality: to rounding."""
        joint, independent = self.coefficients["HXY"], -_sums(self.products * self.logarithms)
        information = (1 - np.e ** (-2 * (independent - joint))) ** 0.5
        information[independent == joint] = 0
        return np.nanmean(information, axis=1)

    def getMCCFeatureValue(self) -> Floats:
        """Evaluate image by image, on its own grey levels; absent ones would add eigenvalues of 0. Equality: to rounding.

        An image of one level is 1 by definition.
        """
        values = np.ones(len(self.batch))
        for index, rows in enumerate(self.batch.rows):
            if len(rows) > 1:
                matrix, marginal = self.P_glcm[index], self.marginal[index]
                if len(rows) < marginal.shape[1]:
                    matrix, marginal = matrix[:, rows[:, None], rows], marginal[:, rows]
                values[index] = maximal_correlation(matrix, marginal)
        return values


def _sums(cells: Floats) -> Floats:
    """Sum over the pairs of levels; shape (images, angles)."""
    return cells.reshape(*cells.shape[:2], -1).sum(axis=2)


def maximal_correlation(matrix: Floats, marginal: Floats) -> float:
    """Return the maximal correlation coefficient (MCC): the mean over angles of the root of Q's second eigenvalue.

    Q(i, j) is the sum over k of P(i, k) P(j, k) / (px(i) py(k) + eps). Without eps it would be similar to the square of a
    symmetric matrix S. The second eigenvalue of S is found by a symmetric solver, its vector by inverse iteration, and the
    eigenvalue of Q from it by a Rayleigh quotient of both sides, whose error is of second order. Where that error is not
    known to be small, Q's eigenvalues are computed. Where the second one is not real, or so close to 0 that rounding
    decides it, pyradiomics' own formula is run, so that its rounding errors are the same.

    Parameters
    ----------
    matrix
        Symmetric co-occurrence probabilities, shape (angles, n, n), n > 1.
    marginal
        Their sums over rows, shape (angles, n).

    Returns
    -------
    float
    """
    squares = _second_eigenvalues(matrix, marginal)
    if squares is None:
        q = (matrix / (marginal[:, :, None] * marginal[:, None, :] + _EPS)) @ matrix
        eigenvalues = np.linalg.eigvals(q)
        eigenvalues.sort()
        squares = eigenvalues[:, -2]
        if np.iscomplexobj(squares) or (squares < _SMALLEST_EIGENVALUE).any():
            px = marginal.T[None, :, None, :]
            own = SimpleNamespace(
                P_glcm=matrix.transpose(1, 2, 0)[None],
                coefficients={"px": px, "py": px.transpose(0, 2, 1, 3), "eps": _EPS},
            )
            return float(np.squeeze(RadiomicsGLCM.getMCCFeatureValue(own)))
    return float(np.sqrt(squares).mean())


def _second_eigenvalues(p: Floats, px: Floats) -> Floats | None:
    """Return Q's second eigenvalue of each angle, or None where one of them is not known well enough."""
    angles, n, _ = p.shape
    root = np.sqrt(px)
    inverse = np.divide(1, root, out=np.zeros_like(root), where=root > 0)
    s = p * (inverse[:, :, None] * inverse[:, None, :])
    products = root[:, :, None] * root[:, None, :]
    with_eps = p * (products / (products * products + _EPS))
    of_s = np.linalg.eigvalsh(s)
    squares = np.sort(of_s**2, axis=1)
    second = squares[:, -2]
    if (second < _SMALLEST_EIGENVALUE).any():
        return None
    gap = squares[:, -1] - second
    if n > 2:
        gap = np.minimum(gap, second - squares[:, -3])
    value = np.where(of_s[:, 0] ** 2 == second, of_s[:, 0], of_s[:, -2])
    try:
        start = np.broadcast_to(np.cos(np.arange(n))[:, None], (angles, n, 1))
        vector = _inverse_iteration(s, value, start)
        for refined in (False, True):
            # Of S' S, which is similar to Q; S' is S with eps in its divisor.
            right = s @ vector
            product = with_eps @ right
            eigenvalue = ((right * product).sum(axis=1) / (vector * right).sum(axis=1))[:, 0]
            residual = ((product - eigenvalue[:, None, None] * vector) ** 2).sum(axis=1)[:, 0]
            known = np.isfinite(eigenvalue) & (np.abs(eigenvalue - second) <= 0.01 * gap) & (residual <= 0.01 * gap**2)
            known &= residual <= _EIGENVALUE_ERROR * second * gap * np.sqrt(second)
            if known.all():
                return eigenvalue
            if not refined:
                vector = _inverse_iteration(with_eps @ s, eigenvalue, vector)
    except np.linalg.LinAlgError:
        pass
    return None


def _inverse_iteration(matrices: Floats, values: Floats, start: Floats) -> Floats:
    """Return the eigenvectors for known eigenvalues, of length 1; LinAlgError where there is none."""
    shifted = matrices.copy()
    diagonal = np.arange(matrices.shape[1])
    shifted[:, diagonal, diagonal] -= (values + _SHIFT)[:, None]
    vectors: Floats = np.asarray(np.linalg.solve(shifted, start), dtype=np.float64)
    vectors /= np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return vectors
