"""Decision curves: is acting on the score better than treating everybody or nobody (paper, Figure 2 D-F)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.statistics.arrays import finite_vector, labels_of_both_classes, probability_vector
from training.statistics.resampling import percentile_limits


@dataclass(frozen=True, slots=True)
class DecisionCurve:
    """One model's curve.

    Attributes
    ----------
    name
        Of the model.
    true_positive_rate, false_positive_rate
        float64, shape (T,): shares of all patients, not of a class.
    net_benefit
        float64, shape (T,): true positives per patient, less the false positives at the exchange rate of the threshold.
    """

    name: str
    true_positive_rate: NDArray[np.float64]
    false_positive_rate: NDArray[np.float64]
    net_benefit: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DecisionCurves:
    """The curves of several models on the same patients.

    Attributes
    ----------
    thresholds
        float64, shape (T,): probability from which on one would act.
    prevalence
        Share of positive patients.
    treat_all, treat_none
        float64, shape (T,): net benefit of the two rules without a model.
    models
        In the order given.
    """

    thresholds: NDArray[np.float64]
    prevalence: float
    treat_all: NDArray[np.float64]
    treat_none: NDArray[np.float64]
    models: tuple[DecisionCurve, ...]


@dataclass(frozen=True, slots=True)
class NetBenefitDifference:
    """First minus second model by threshold, float64, shape (T,), with pointwise 95 % bootstrap intervals."""

    thresholds: NDArray[np.float64]
    difference: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


DEFAULT_THRESHOLDS = np.linspace(0.0, 0.99, 100)


def decision_curves(
    labels: ArrayLike, scores: Mapping[str, ArrayLike], thresholds: ArrayLike = DEFAULT_THRESHOLDS
) -> DecisionCurves:
    """Return net benefit by threshold.

    Parameters
    ----------
    labels
        Shape (N,).
    scores
        Probabilities by model, each of shape (N,); a score above a threshold (strictly) counts as positive, as at
        every cut-off of this project. (dcurves does so at threshold 0 alone; the two differ where a score equals one.)
    thresholds
        Shape (T,), from 0 to below 1.

    Returns
    -------
    DecisionCurves

    Raises
    ------
    ValueError
        One class only, NaN, scores outside 0 to 1, thresholds outside 0 to below 1.

    Notes
    -----
    Vickers and Elkin, Med Decis Making 2006; 26: 565-574: TP/n - FP/n x threshold / (1 - threshold). Written here
    because the dcurves package has no intervals and needs a table for every resample; tests compare the two.
    """
    positive = labels_of_both_classes(labels)
    limits = _thresholds(thresholds)
    prevalence = float(positive.mean())
    odds = limits / (1 - limits)
    curves = []
    for name, values in scores.items():
        tp, fp = _rates(positive, probability_vector(values, f"scores of {name}", positive.size), limits)
        curves.append(DecisionCurve(name, tp, fp, tp - fp * odds))
    return DecisionCurves(
        limits, prevalence, prevalence - (1 - prevalence) * odds, np.zeros_like(limits), tuple(curves)
    )


def net_benefit_difference(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    thresholds: ArrayLike = DEFAULT_THRESHOLDS,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> NetBenefitDifference:
    """Return how much more net benefit one model has than another, with percentile bootstrap intervals over patients.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    first, second
        Scores of the same patients, shape (N,), 0 to 1.
    thresholds
        Probabilities from which a patient would be treated.
    n_resamples
        Of the bootstrap.
    seed
        Of the resamples.

    Returns
    -------
    NetBenefitDifference

    Raises
    ------
    ValueError
        As `decision_curves`.
    """
    positive = labels_of_both_classes(labels)
    limits = _thresholds(thresholds)
    one = probability_vector(first, "first scores", positive.size)
    two = probability_vector(second, "second scores", positive.size)
    odds = limits / (1 - limits)
    # what each patient adds to the difference at each threshold: resampling patients is then resampling rows
    weight = np.where(positive[:, None], 1.0, -odds[None, :])
    share = weight * ((one[:, None] > limits).astype(np.float64) - (two[:, None] > limits))
    generator = np.random.default_rng(seed)
    times = generator.multinomial(positive.size, np.full(positive.size, 1 / positive.size), size=n_resamples)
    resampled = times @ share / positive.size
    lower, upper = percentile_limits(resampled)
    return NetBenefitDifference(limits, share.mean(axis=0), lower, upper)


def _thresholds(thresholds: ArrayLike) -> NDArray[np.float64]:
    limits = finite_vector(thresholds, "thresholds")
    if limits.min() < 0 or limits.max() >= 1:
        raise ValueError(f"thresholds must lie from 0 to below 1, got {limits.min():g} to {limits.max():g}")
    return limits


def _rates(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], limits: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    cases, controls = np.sort(scores[positive]), np.sort(scores[~positive])
    above_cases = cases.size - np.searchsorted(cases, limits, side="right")
    above_controls = controls.size - np.searchsorted(controls, limits, side="right")
    return above_cases / positive.size, above_controls / positive.size
