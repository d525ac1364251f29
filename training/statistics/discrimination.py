"""Discrimination: ROC curve, area under it, and DeLong's tests (paper, Figure 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import norm, rankdata

from training.statistics.arrays import (
    LEVEL,
    Estimate,
    Z,
    binary_vector,
    finite_vector,
    labels_of_both_classes,
    logit_interval,
)

FEW_OF_A_CLASS: Final = 20
"""With fewer patients of either class DeLong's variance is too uncertain for an interval."""
_ROUNDING: Final = 1e-15
"""Of a variance: about 1e-17 is left where two curves are the same."""


@dataclass(frozen=True, slots=True)
class RocCurve:
    """A ROC curve.

    Attributes
    ----------
    cut_offs
        float64, shape (K,), rising, from -inf to +inf, between them the midpoints of neighbouring scores; a score above
        a cut-off counts as positive.
    sensitivity, specificity
        float64, shape (K,).
    """

    cut_offs: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    specificity: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Auc:
    """Area under the ROC curve with DeLong's variance.

    Attributes
    ----------
    value, lower, upper
        The area and its 95 % interval: normal on the scale of log-odds with DeLong's variance, or, with fewer than
        `FEW_OF_A_CLASS` patients of a class or an area without variance (0 and 1), `newcombe_interval`.
    variance
        DeLong's.
    n_positive, n_negative
        Patients.
    """

    value: float
    lower: float
    upper: float
    variance: float
    n_positive: int
    n_negative: int


@dataclass(frozen=True, slots=True)
class AucComparison:
    """DeLong's test of two areas.

    Attributes
    ----------
    first, second
        The areas compared.
    difference
        First minus second, with a 95 % interval.
    statistic
        Z. 0 where both curves are the same; NaN, and the P with it, where the areas differ and neither has any variance.
    degrees_of_freedom
        Infinite: the test is against the normal distribution.
    p_value
        Two-sided.
    covariance
        Of the two areas.
    """

    first: Auc
    second: Auc
    difference: Estimate
    statistic: float
    degrees_of_freedom: float
    p_value: float
    covariance: float


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> RocCurve:
    """Return the empirical ROC curve; a higher score means positive.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    scores
        Shape (N,).

    Returns
    -------
    RocCurve

    Raises
    ------
    ValueError
        One class only, columns of different length, NaN.
    """
    positive = labels_of_both_classes(labels)
    values = finite_vector(scores, "scores", positive.size)
    distinct = np.unique(values)
    # the midpoint of two neighbouring floats can round to the upper one: the lower one splits them alike
    middle = (distinct[:-1] + distinct[1:]) / 2
    middle = np.where(middle < distinct[1:], middle, distinct[:-1])
    cut_offs = np.concatenate([[-np.inf], middle, [np.inf]])
    cases, controls = np.sort(values[positive]), np.sort(values[~positive])
    sensitivity = 1 - np.searchsorted(cases, cut_offs, side="right") / cases.size
    specificity = np.searchsorted(controls, cut_offs, side="right") / controls.size
    return RocCurve(cut_offs, sensitivity, specificity)


def delong_covariance(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the areas of several scores of the same patients and DeLong's covariance of these areas.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    scores
        Shape (K, N), one row per model.

    Returns
    -------
    areas, covariance
        float64, shapes (K,) and (K, K).

    Raises
    ------
    ValueError
        Fewer than two patients of a class (their variance is unknown), columns of different length, NaN.

    Notes
    -----
    DeLong, DeLong and Clarke-Pearson, Biometrics 1988; 44: 837-845, equations 4 to 6. Their placement values come from
    midranks, as Sun and Xu (IEEE Signal Processing Letters 2014; 21: 1389-1393) showed: the number of controls below a
    case, ties as half, is its midrank among all less its midrank among the cases.
    """
    positive = labels_of_both_classes(labels, smallest=2)
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    matrix = np.stack([finite_vector(row, f"scores of model {k}", positive.size) for k, row in enumerate(rows)])
    n_cases, n_controls = int(positive.sum()), int((~positive).sum())
    among_all = rankdata(matrix, axis=1)
    of_cases = (among_all[:, positive] - rankdata(matrix[:, positive], axis=1)) / n_controls
    of_controls = 1 - (among_all[:, ~positive] - rankdata(matrix[:, ~positive], axis=1)) / n_cases
    areas = of_cases.mean(axis=1)
    covariance = np.atleast_2d(np.cov(of_cases)) / n_cases + np.atleast_2d(np.cov(of_controls)) / n_controls
    return areas, covariance


def auc(labels: ArrayLike, scores: ArrayLike) -> Auc:
    """Return the area under the ROC curve with DeLong's variance and 95 % interval; a higher score means positive.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    scores
        Shape (N,).

    Returns
    -------
    Auc

    Raises
    ------
    ValueError
        As `delong_covariance`.
    """
    areas, covariance = delong_covariance(labels, np.asarray(scores, dtype=np.float64)[np.newaxis])
    positive = binary_vector(labels, "labels")
    return _auc(float(areas[0]), float(covariance[0, 0]), int(positive.sum()), int((~positive).sum()))


def compare_paired(labels: ArrayLike, first: ArrayLike, second: ArrayLike) -> AucComparison:
    """Test whether two scores of the same patients have the same area (DeLong 1988; normal).

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    first, second
        Scores of the same patients, shape (N,).

    Returns
    -------
    AucComparison

    Raises
    ------
    ValueError
        As `delong_covariance`.
    """
    positive = labels_of_both_classes(labels, smallest=2)
    rows = [
        finite_vector(first, "first scores", positive.size),
        finite_vector(second, "second scores", positive.size),
    ]
    areas, covariance = delong_covariance(positive, rows)
    counts = int(positive.sum()), int((~positive).sum())
    one, two = (_auc(float(areas[k]), float(covariance[k, k]), *counts) for k in range(2))
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return _comparison(one, two, variance, float(covariance[0, 1]))


def newcombe_interval(area: float, n_positive: int, n_negative: int) -> tuple[float, float]:
    """Return the 95 % interval of an area that holds its level in small samples, and for areas of 0 and 1.

    Parameters
    ----------
    area
        Under the curve.
    n_positive, n_negative
        Patients of each class.

    Returns
    -------
    tuple of float
        Lower and upper limit.

    Raises
    ------
    ValueError
        The area lies outside 0 to 1, or a class has no patient.

    Notes
    -----
    Newcombe, Stat Med 2006; 25: 559-573, method 5: all areas t with abs(area - t) <= z root V(t), where V is Hanley and
    McNeil's variance with both classes' sizes in its numerator replaced by their mean. Where DeLong's interval of
    binormal scores covered the true area in 41 to 93 of 100 samples with 4 to 10 patients of a class, this one did in 94
    to 97 (`benchmarks/results/intervals.md`).
    """
    if not (0 <= area <= 1 and n_positive > 0 and n_negative > 0):
        raise ValueError(f"no interval of an area of {area} with {n_positive} and {n_negative} patients")
    return _newcombe_lower(area, n_positive, n_negative), 1 - _newcombe_lower(1 - area, n_positive, n_negative)


def _newcombe_lower(area: float, n_positive: int, n_negative: int) -> float:
    more = (n_positive + n_negative) / 2 - 1

    def outside(t: float) -> float:
        variance = t * (1 - t) * (1 + more * ((1 - t) / (2 - t) + t / (1 + t))) / (n_positive * n_negative)
        return (area - t) ** 2 - Z**2 * variance

    return 0.0 if area == 0 else float(brentq(outside, 0.0, min(area, 1 - 1e-12), xtol=1e-14))


def hanley_mcneil_variance(area: float, n_positive: float, n_negative: float) -> float:
    """Return the variance of an area from its size and the two counts alone, for areas printed without their data.

    Hanley and McNeil, Radiology 1982; 143: 29-36, with their exponential model for Q1 and Q2.

    Parameters
    ----------
    area
        Under the curve.
    n_positive, n_negative
        Patients of each class.

    Returns
    -------
    float
    """
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    numerator = area * (1 - area) + (n_positive - 1) * (q1 - area**2) + (n_negative - 1) * (q2 - area**2)
    return numerator / (n_positive * n_negative)


def _auc(area: float, variance: float, n_positive: int, n_negative: int) -> Auc:
    if min(n_positive, n_negative) < FEW_OF_A_CLASS or variance < _ROUNDING:
        lower, upper = newcombe_interval(area, n_positive, n_negative)
    else:
        lower, upper = logit_interval(area, math.sqrt(variance))
    return Auc(area, lower, upper, variance, n_positive, n_negative)


def _comparison(one: Auc, two: Auc, variance: float, covariance: float) -> AucComparison:
    difference = one.value - two.value
    if variance > _ROUNDING:
        error = math.sqrt(variance)
        statistic = difference / error
        half = float(norm.ppf(0.5 + LEVEL / 2)) * error
        p_value = 2 * float(norm.sf(abs(statistic)))
    else:
        half = 0.0
        same = abs(difference) < 1e-12
        statistic, p_value = (0.0, 1.0) if same else (math.nan, math.nan)
    interval = Estimate(difference, difference - half, difference + half)
    return AucComparison(one, two, interval, statistic, math.inf, p_value, covariance)
