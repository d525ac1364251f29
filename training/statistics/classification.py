"""Performance at one cut-off: sensitivity, specificity and predictive values, and how the cut-off is found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.stats.proportion import proportion_confint

from training.statistics.arrays import LEVEL, binary_vector, finite_vector
from training.statistics.discrimination import roc_curve

IntervalMethod = Literal["Wilson", "Clopper-Pearson"]
_STATSMODELS_NAME: dict[IntervalMethod, str] = {"Wilson": "wilson", "Clopper-Pearson": "beta"}


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share with its 95 % interval.

    Attributes
    ----------
    value, lower, upper
        0 to 1; NaN where the denominator is 0.
    numerator, denominator
        Patients.
    method
        Of the interval: Wilson's score interval covers about 95 % on average, Clopper-Pearson's at least 95 % always.
    """

    value: float
    lower: float
    upper: float
    numerator: int
    denominator: int
    method: IntervalMethod


@dataclass(frozen=True, slots=True)
class Classification:
    """How a cut-off sorts patients; a score above it (strictly) is called positive.

    Attributes
    ----------
    cut_off
        On the scale of the scores.
    true_positive, false_positive, true_negative, false_negative
        Patients.
    sensitivity, specificity, positive_predictive_value, negative_predictive_value, accuracy
        With intervals. The predictive values hold for a population with this cohort's prevalence only.
    positive_likelihood_ratio, negative_likelihood_ratio
        Infinite or NaN where a denominator is 0.
    """

    cut_off: float
    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int
    sensitivity: Proportion
    specificity: Proportion
    positive_predictive_value: Proportion
    negative_predictive_value: Proportion
    accuracy: Proportion
    positive_likelihood_ratio: float
    negative_likelihood_ratio: float


@dataclass(frozen=True, slots=True)
class YoudenCutOff:
    """The cut-off with the largest sensitivity + specificity - 1.

    Attributes
    ----------
    cut_off
        Halfway between two neighbouring scores.
    sensitivity, specificity
        On the cohort in which it was found, hence optimistic there.
    index
        Youden's J, 0 to 1.
    """

    cut_off: float
    sensitivity: float
    specificity: float
    index: float


def proportion(numerator: int, denominator: int, method: IntervalMethod = "Wilson") -> Proportion:
    """Return a share with its interval: Wilson (JASA 1927; 22: 209-212) or Clopper-Pearson (Biometrika 1934; 26: 404).

    Parameters
    ----------
    numerator, denominator
        Patients.
    method
        Of the interval.

    Returns
    -------
    Proportion

    Raises
    ------
    ValueError
        The numerator lies outside 0 to the denominator.
    """
    if not 0 <= numerator <= denominator:
        raise ValueError(f"a share needs 0 <= numerator <= denominator, got {numerator} of {denominator}")
    if denominator == 0:
        return Proportion(math.nan, math.nan, math.nan, 0, 0, method)
    lower, upper = proportion_confint(numerator, denominator, alpha=1 - LEVEL, method=_STATSMODELS_NAME[method])
    return Proportion(numerator / denominator, float(lower), float(upper), numerator, denominator, method)


def classify(labels: ArrayLike, scores: ArrayLike, cut_off: float) -> Classification:
    """Return the performance at a cut-off with Wilson intervals; one class alone is allowed, its missing shares are
    NaN.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    scores
        Shape (N,).
    cut_off
        Above it a patient counts as positive.

    Returns
    -------
    Classification

    Raises
    ------
    ValueError
        Columns of different length, NaN, labels other than 0 and 1.
    """
    positive = binary_vector(labels, "labels")
    if math.isnan(cut_off):
        raise ValueError("the cut-off is not a number")
    called = finite_vector(scores, "scores", positive.size) > cut_off
    tp, fp = int((called & positive).sum()), int((called & ~positive).sum())
    fn, tn = int((~called & positive).sum()), int((~called & ~positive).sum())
    sensitivity, specificity = proportion(tp, tp + fn), proportion(tn, tn + fp)
    return Classification(
        cut_off=float(cut_off),
        true_positive=tp,
        false_positive=fp,
        true_negative=tn,
        false_negative=fn,
        sensitivity=sensitivity,
        specificity=specificity,
        positive_predictive_value=proportion(tp, tp + fp),
        negative_predictive_value=proportion(tn, tn + fn),
        accuracy=proportion(tp + tn, positive.size),
        positive_likelihood_ratio=_ratio(sensitivity.value, 1 - specificity.value),
        negative_likelihood_ratio=_ratio(1 - sensitivity.value, specificity.value),
    )


def youden_cut_off(labels: ArrayLike, scores: ArrayLike) -> YoudenCutOff:
    """Return Youden's cut-off (Cancer 1950; 3: 32-35); among equals the lowest, which has the highest sensitivity.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    scores
        Shape (N,); a higher score means positive.

    Returns
    -------
    YoudenCutOff

    Raises
    ------
    ValueError
        One class only, NaN, or every score the same: then no cut-off makes two groups.
    """
    curve = roc_curve(labels, scores)
    if curve.cut_offs.size == 2:
        raise ValueError("every score is the same, so no cut-off makes two groups")
    inner = slice(1, -1)
    index = curve.sensitivity[inner] + curve.specificity[inner] - 1
    # differences by rounding must not decide between equal cut-offs
    best = 1 + int(np.flatnonzero(index >= index.max() - 1e-12)[0])
    sensitivity, specificity = float(curve.sensitivity[best]), float(curve.specificity[best])
    return YoudenCutOff(float(curve.cut_offs[best]), sensitivity, specificity, sensitivity + specificity - 1)


def _ratio(numerator: float, denominator: float) -> float:
    if denominator == 0:
        return math.inf if numerator > 0 else math.nan
    return numerator / denominator
