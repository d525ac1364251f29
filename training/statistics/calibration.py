"""Calibration: whether scores are right as probabilities, and how to recalibrate them for another hospital."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import statsmodels.api as sm
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from training.statistics.arrays import (
    NO_ESTIMATE,
    Estimate,
    Z,
    binary_vector,
    labels_of_both_classes,
    probability_vector,
)
from training.statistics.classification import Proportion, proportion

_SCORE_LEFT = 1e-8
"""Of the score equations, as a share of the sums of the design: rounding leaves less."""
SMALLEST_PROBABILITY = 1e-6
"""Scores are moved this far from 0 and 1 before the logit, which is infinite there."""


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Patients of neighbouring scores: their mean score and the share that was positive, with Wilson's interval."""

    mean_score: float
    observed: Proportion


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration in the levels of Van Calster et al. (J Clin Epidemiol 2016; 74: 167-176).

    Attributes
    ----------
    observed_to_expected
        Positive patients over the sum of scores; 1 is right.
    in_the_large
        Intercept of a logistic model with the score's logit as offset; 0 is right, above 0 the scores are too low.
    slope
        Of the label on the score's logit; 1 is right, below 1 the scores are too extreme. NaN where classes are
        separated or all scores are the same: no finite estimate exists.
    intercept
        That of the same model as the slope.
    brier
        Mean squared difference of score and label.
    scaled_brier
        1 - Brier / Brier of the prevalence: 0 is no better than the prevalence, 1 perfect.
    bins
        The curve, by groups of equal size.
    n, n_positive
        Patients.
    """

    observed_to_expected: float
    in_the_large: Estimate
    slope: Estimate
    intercept: Estimate
    brier: float
    scaled_brier: float
    bins: tuple[CalibrationBin, ...]
    n: int
    n_positive: int


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A new logit: intercept + slope times the old one; a slope above 0 keeps the order of patients, hence the AUC."""

    intercept: float
    slope: float

    def apply(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Return recalibrated probabilities, shape as the scores'."""
        return expit(self.intercept + self.slope * _logit(probability_vector(scores, "scores")))


def calibration(labels: ArrayLike, scores: ArrayLike, n_bins: int = 10) -> Calibration:
    """Return the calibration of probabilities.

    Parameters
    ----------
    labels, scores
        Shape (N,).
    n_bins
        Groups of the curve; equal scores never part, so there can be fewer.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        One class only, columns of different length, NaN, or scores outside 0 to 1.
    """
    positive = labels_of_both_classes(labels)
    probabilities = probability_vector(scores, "scores", positive.size)
    prevalence = float(positive.mean())
    brier = float(np.mean((probabilities - positive) ** 2))
    slope, intercept = _slope(positive, _logit(probabilities))
    total = float(probabilities.sum())
    return Calibration(
        observed_to_expected=float(positive.sum()) / total if total > 0 else math.inf,
        in_the_large=_in_the_large(positive, _logit(probabilities)),
        slope=slope,
        intercept=intercept,
        brier=brier,
        scaled_brier=1 - brier / (prevalence * (1 - prevalence)),
        bins=calibration_bins(positive, probabilities, n_bins),
        n=positive.size,
        n_positive=int(positive.sum()),
    )


def calibration_bins(labels: ArrayLike, scores: ArrayLike, n_bins: int = 10) -> tuple[CalibrationBin, ...]:
    """Return the calibration curve by quantile groups of the scores; one class alone is allowed.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    scores
        Shape (N,), 0 to 1.
    n_bins
        Groups of equal size.

    Returns
    -------
    tuple of CalibrationBin
        From the lowest scores to the highest.

    Raises
    ------
    ValueError
        ``n_bins`` below one, columns of different length, NaN, or scores outside 0 to 1.
    """
    positive = binary_vector(labels, "labels")
    probabilities = probability_vector(scores, "scores", positive.size)
    if n_bins < 1:
        raise ValueError(f"the curve needs at least one group, got {n_bins}")
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, n_bins + 1)[1:-1]))
    group = np.searchsorted(edges, probabilities, side="left")
    return tuple(
        CalibrationBin(
            float(probabilities[group == k].mean()),
            proportion(int(positive[group == k].sum()), int((group == k).sum())),
        )
        for k in np.unique(group)
    )


def recalibrate_in_the_large(labels: ArrayLike, scores: ArrayLike) -> Recalibration:
    """Fit the intercept alone, which makes the mean score the prevalence (for small cohorts of another hospital).

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    scores
        Shape (N,), 0 to 1.

    Returns
    -------
    Recalibration
        With slope 1.

    Raises
    ------
    ValueError
        As `calibration`.
    """
    positive = labels_of_both_classes(labels)
    estimate = _in_the_large(positive, _logit(probability_vector(scores, "scores", positive.size)))
    return Recalibration(estimate.value, 1.0)


def recalibrate(labels: ArrayLike, scores: ArrayLike) -> Recalibration:
    """Fit intercept and slope (Cox, Biometrika 1958; 45: 562-565).

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    scores
        Shape (N,), 0 to 1.

    Returns
    -------
    Recalibration

    Raises
    ------
    ValueError
        As `calibration`, or the classes are separated or all scores the same, so that no finite slope exists.
    """
    positive = labels_of_both_classes(labels)
    slope, intercept = _slope(positive, _logit(probability_vector(scores, "scores", positive.size)))
    if math.isnan(slope.value):
        raise ValueError("the scores separate the classes or are all the same: recalibrate in the large instead")
    return Recalibration(intercept.value, slope.value)


def fitted_logistic(positive: NDArray[np.bool_], design: NDArray[np.float64]) -> Any:
    """Return statsmodels' fit of an unpenalised logistic regression, whose score equations hold.

    Parameters
    ----------
    positive
        Shape (N,).
    design
        Shape (N, P), a column of ones included where an intercept is wanted.

    Returns
    -------
    GLMResults

    Raises
    ------
    ValueError
        The steps, which statsmodels does not damp, ended away from the maximum.
    """
    # the exponential may overflow on the way to a steep slope; whether the end is the maximum is asked below
    with np.errstate(over="ignore"):
        fit = sm.GLM(positive.astype(np.float64), design, family=sm.families.Binomial()).fit(tol=1e-12)
    left = np.abs(design.T @ (positive - np.asarray(fit.fittedvalues)))
    if not (left <= _SCORE_LEFT * np.abs(design).sum(axis=0)).all():
        raise ValueError("the logistic regression did not reach its maximum")
    return fit


def _logit(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return logit(np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))


def _in_the_large(positive: NDArray[np.bool_], logits: NDArray[np.float64]) -> Estimate:
    """Return the intercept at which as many events are expected as were seen; the sum rises with it, so that there is one."""
    seen = float(positive.sum())
    # at these ends everybody's log-odds lie beyond those of the observed share
    share = float(logit(positive.mean()))
    low, high = share - float(logits.max()) - 1, share - float(logits.min()) + 1
    intercept = brentq(lambda value: float(expit(logits + value).sum()) - seen, low, high, xtol=1e-13)
    risk = expit(logits + intercept)
    return _wald(intercept, 1 / math.sqrt(float((risk * (1 - risk)).sum())))


def _slope(positive: NDArray[np.bool_], logits: NDArray[np.float64]) -> tuple[Estimate, Estimate]:
    """Return slope and intercept; one predictor has a finite maximum only where the classes overlap."""
    cases, controls = logits[positive], logits[~positive]
    overlap = cases.min() < controls.max() and controls.min() < cases.max()
    if not overlap:
        return NO_ESTIMATE, NO_ESTIMATE
    design = np.column_stack([np.ones_like(logits), logits])
    try:
        fit = fitted_logistic(positive, design)
    except ValueError:
        return NO_ESTIMATE, NO_ESTIMATE
    return _wald(float(fit.params[1]), float(fit.bse[1])), _wald(float(fit.params[0]), float(fit.bse[0]))


def _wald(value: float, error: float) -> Estimate:
    return Estimate(value, value - Z * error, value + Z * error)
