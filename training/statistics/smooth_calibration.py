"""How far scores lie from a smooth calibration curve: ICI, E50 and E90, and intervals of these and of the Brier score."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from statsmodels.nonparametric.smoothers_lowess import lowess

from training.statistics.arrays import Estimate, Z, labels_of_both_classes, probability_vector
from training.statistics.resampling import percentile_estimates

_SPAN = 2 / 3
_SMALLEST_COHORT = 20


@dataclass(frozen=True, slots=True)
class SmoothCalibration:
    """Absolute distance of score and smoothed outcome (Austin and Steyerberg, Stat Med 2019; 38: 4051-4065).

    Attributes
    ----------
    ici
        Integrated calibration index: the mean distance; with its percentile bootstrap interval, as the next two.
    e50, e90
        Median, and 90 % point.
    largest
        Largest distance.
    n
        Patients.
    """

    ici: Estimate
    e50: Estimate
    e90: Estimate
    largest: float
    n: int


def smooth_calibration(
    labels: ArrayLike, scores: ArrayLike, *, n_resamples: int = 200, seed: int = 0
) -> SmoothCalibration:
    """Return ICI, E50 and E90 by a lowess curve, as R's ``rms::val.prob`` has it (its Eavg is the ICI).

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    scores
        Shape (N,), 0 to 1.
    n_resamples, seed
        Of the bootstrap.

    Returns
    -------
    SmoothCalibration
        A bootstrap interval of a distance lies too high: a resample's curve bends more than the cohort's.

    Raises
    ------
    ValueError
        One class only, fewer than 20 patients, NaN, scores outside 0 to 1, or scores that are all the same.
    """
    positive = labels_of_both_classes(labels)
    values = probability_vector(scores, "scores", positive.size)
    if positive.size < _SMALLEST_COHORT:
        raise ValueError(f"a smooth curve needs {_SMALLEST_COHORT} patients, got {positive.size}")
    if np.ptp(values) == 0:
        raise ValueError("every score is the same, so there is no curve")
    distance = _distances(positive, values)

    def resampled(rows: NDArray[np.intp]) -> tuple[float, float, float]:
        if not 0 < positive[rows].sum() < rows.size or np.ptp(values[rows]) == 0:
            raise ValueError("one class or one score only")
        return _summary(_distances(positive[rows], values[rows]))

    ici, e50, e90 = percentile_estimates(_summary(distance), resampled, positive.size, n_resamples, seed)
    return SmoothCalibration(ici, e50, e90, float(distance.max()), positive.size)


def brier_interval(labels: ArrayLike, scores: ArrayLike) -> Estimate:
    """Return the Brier score with its 95 % interval, normal by the variance of the squared errors.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    scores
        Shape (N,), 0 to 1.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        As `smooth_calibration`.
    """
    positive = labels_of_both_classes(labels)
    errors = (probability_vector(scores, "scores", positive.size) - positive) ** 2
    half = Z * float(errors.std(ddof=1)) / math.sqrt(positive.size)
    mean = float(errors.mean())
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half))


def _distances(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    smooth = lowess(
        positive.astype(np.float64), scores, frac=_SPAN, it=0, delta=0.01 * float(np.ptp(scores)), return_sorted=False
    )
    return np.abs(scores - smooth)


def _summary(distance: NDArray[np.float64]) -> tuple[float, float, float]:
    middle, high = np.quantile(distance, [0.5, 0.9])
    return float(distance.mean()), float(middle), float(high)
