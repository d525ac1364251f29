"""Recalibration of the score to a cohort that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.expression.results import RecalibrationResult
from training.statistics.calibration import Recalibration, recalibrate, recalibrate_in_the_large
from training.statistics.estimability import NotEstimable, estimated

FOLDS: Final = 10
"""Of the cross-fitted Brier scores, stratified by label."""


def recalibrated(
    labels: NDArray[np.float64], signature: NDArray[np.float64], seed: int
) -> RecalibrationResult | NotEstimable:
    """Return intercepts and slopes that fit the score to these patients, and the resulting Brier scores.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    signature
        PD-L1ES, shape (N,); NaN where a patient was not scored.
    seed
        Of the folds.

    Returns
    -------
    RecalibrationResult or NotEstimable
        `NotEstimable` where no patient has a score.
    """
    known = ~np.isnan(signature)
    labels, signature = labels[known], signature[known]
    if labels.size == 0:
        return NotEstimable("no patient has a score")
    return RecalibrationResult(
        in_the_large=estimated(recalibrate_in_the_large, labels, signature),
        slope=estimated(recalibrate, labels, signature),
        brier=float(np.mean((signature - labels) ** 2)),
        brier_in_the_large=estimated(_cross_fitted_brier, recalibrate_in_the_large, labels, signature, seed),
        brier_slope=estimated(_cross_fitted_brier, recalibrate, labels, signature, seed),
    )


def _cross_fitted_brier(
    fit: Callable[[NDArray[np.float64], NDArray[np.float64]], Recalibration],
    labels: NDArray[np.float64],
    scores: NDArray[np.float64],
    seed: int,
) -> float:
    """Return the Brier score of scores recalibrated by the other folds' patients; folds are stratified by label."""
    generator = np.random.default_rng(seed)
    fold = np.empty(labels.size, dtype=np.int64)
    for level in (0.0, 1.0):
        rows = generator.permutation(np.flatnonzero(labels == level))
        fold[rows] = np.arange(rows.size) % FOLDS
    better = np.empty_like(scores)
    for k in np.unique(fold):
        left, out = fold != k, fold == k
        better[out] = fit(labels[left], scores[left]).apply(scores[out])
    return float(np.mean((better - labels) ** 2))
