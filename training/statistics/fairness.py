"""Whether a score serves groups of patients alike: error rates at the cut-off and calibration in each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit
from scipy.stats import chi2, chi2_contingency, fisher_exact

from training.statistics.arrays import Estimate, Test, labels_of_both_classes, probability_vector
from training.statistics.calibration import SMALLEST_PROBABILITY, Calibration, calibration, fitted_logistic
from training.statistics.classification import Classification, classify
from training.statistics.estimability import NotEstimable, estimated


@dataclass(frozen=True, slots=True)
class GroupPerformance:
    """One group.

    Attributes
    ----------
    level
        Of the variable.
    n, n_positive
        Patients.
    errors
        At the cut-off: 1 - sensitivity is the share of high expression that is missed, 1 - specificity of false alarms.
    calibration
        Not estimable where the group has one class only.
    """

    level: str
    n: int
    n_positive: int
    errors: Classification | NotEstimable
    calibration: Calibration | NotEstimable


@dataclass(frozen=True, slots=True)
class Fairness:
    """One variable.

    Attributes
    ----------
    name
        Of the variable.
    groups
        By level.
    unknown
        Patients without the value: counted and left out.
    false_negative_difference, false_positive_difference
        Largest less smallest rate over groups that have such patients ('equalised odds' asks for 0); NaN with fewer
        than two.
    false_negative_p, false_positive_p
        That the rates differ: Fisher's exact test of two groups, Pearson's chi-square of more; not estimable where
        every patient is sorted alike.
    calibration_test
        Likelihood ratio of intercept and slope per group against common ones: a small P says that the same score means
        another probability in another group.
    """

    name: str
    groups: tuple[GroupPerformance, ...]
    unknown: int
    false_negative_difference: float
    false_negative_p: float | NotEstimable
    false_positive_difference: float
    false_positive_p: float | NotEstimable
    calibration_test: Test | NotEstimable


def fairness(
    name: str,
    labels: ArrayLike,
    scores: ArrayLike,
    levels: Sequence[str | None],
    cut_off: float | NotEstimable,
) -> Fairness:
    """Return error rates and calibration in each level of a variable; None is unknown.

    Parameters
    ----------
    name
        Of the variable.
    labels
        Shape (N,), 0 and 1.
    scores
        Probabilities, shape (N,).
    levels
        One per patient; None is unknown.
    cut_off
        Of high expression, or why there is none: then error rates are missing for that reason.

    Returns
    -------
    Fairness

    Raises
    ------
    ValueError
        One class only in the whole cohort, columns of different length, NaN scores, or fewer than two groups.
    """
    positive = labels_of_both_classes(labels)
    values = probability_vector(scores, "scores", positive.size)
    if len(levels) != positive.size:
        raise ValueError(f"{name} has {len(levels)} values where the labels have {positive.size}")
    known = np.array([level is not None for level in levels])
    column = np.array(["" if level is None else level for level in levels], dtype=object)
    names = sorted({level for level in levels if level is not None})
    if len(names) < 2:
        raise ValueError(f"{name} has {len(names)} group{'' if len(names) == 1 else 's'} here, so nothing can differ")
    members = [known & (column == level) for level in names]
    groups = tuple(
        GroupPerformance(
            level,
            int(member.sum()),
            int(positive[member].sum()),
            cut_off
            if isinstance(cut_off, NotEstimable)
            else estimated(classify, positive[member], values[member], cut_off),
            estimated(calibration, positive[member], values[member], 1),
        )
        for level, member in zip(names, members, strict=True)
    )
    found: list[tuple[float, float | NotEstimable]] = []
    for wanted in (True, False):
        if isinstance(cut_off, NotEstimable):
            found.append((float("nan"), cut_off))
            continue
        wrong = (values > cut_off) != positive
        counts = np.array(
            [
                [
                    int((wrong & member & (positive == wanted)).sum()),
                    int((~wrong & member & (positive == wanted)).sum()),
                ]
                for member in members
            ]
        )
        found.append((_largest_difference(counts), estimated(_differ, counts)))
    return Fairness(
        name,
        groups,
        int((~known).sum()),
        *found[0],
        *found[1],
        estimated(_calibration_test, positive[known], values[known], column[known], names),
    )


def odds_of_errors(performance: GroupPerformance) -> tuple[Estimate, Estimate] | NotEstimable:
    """Return the false negative and the false positive rate of a group, with Wilson's intervals."""
    if isinstance(performance.errors, NotEstimable):
        return performance.errors
    sensitivity, specificity = performance.errors.sensitivity, performance.errors.specificity
    missed, alarms = (
        Estimate(1 - share.value, 1 - share.upper, 1 - share.lower) for share in (sensitivity, specificity)
    )
    return missed, alarms


def _largest_difference(counts: NDArray[np.int64]) -> float:
    patients = counts.sum(axis=1)
    rates = counts[patients > 0, 0] / patients[patients > 0]
    return float(rates.max() - rates.min()) if rates.size > 1 else float("nan")


def _differ(counts: NDArray[np.int64]) -> float:
    counts = counts[counts.sum(axis=1) > 0]
    if len(counts) < 2:
        raise ValueError("fewer than two groups have such patients")
    if not counts.sum(axis=0).all():
        raise ValueError("every such patient is sorted alike, so no rates can differ")
    if len(counts) == 2:
        return float(fisher_exact(counts).pvalue)
    return float(chi2_contingency(counts, correction=False).pvalue)


def _calibration_test(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], column: NDArray[np.object_], names: Sequence[str]
) -> Test:
    for level in names:
        member = column == level
        if positive[member].all() or not positive[member].any():
            raise ValueError(f"'{level}' has one class only, so its calibration is unknown")
        cases, controls = scores[member & positive], scores[member & ~positive]
        # without an overlap the group has no finite slope
        if not (cases.min() < controls.max() and controls.min() < cases.max()):
            raise ValueError(f"the scores separate the classes of '{level}', so its calibration is unknown")
    logits = logit(np.clip(scores, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))
    common = np.column_stack([np.ones_like(logits), logits])
    dummies = np.column_stack([(column == level).astype(np.float64) for level in names[1:]])
    own = np.column_stack([common, dummies, dummies * logits[:, None]])
    if np.linalg.matrix_rank(own) < own.shape[1]:
        raise ValueError("the scores of a group are all the same, so its calibration is unknown")
    likelihoods = []
    for design in (common, own):
        fit = fitted_logistic(positive, design)
        likelihoods.append(float(fit.llf))
    statistic, freedom = max(0.0, 2 * (likelihoods[1] - likelihoods[0])), 2 * (len(names) - 1)
    return Test(statistic, freedom, float(chi2.sf(statistic, freedom)))
