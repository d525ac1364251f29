"""Performance of a risk of progression at a fixed time: who has progressed by then, censoring weighted away."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.statistics.arrays import Estimate, Z, finite_vector, follow_up, logit_interval, probability_vector
from training.statistics.censoring import Censoring
from training.statistics.cox import cox
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.survival import kaplan_meier

SMALLEST_RISK = 1e-6
"""Risks are moved this far from 0 and 1 before the complementary log-log, which is infinite there."""


@dataclass(frozen=True, slots=True)
class AreaAtTime:
    """Cumulative/dynamic AUC: a patient with the event by a time against one who is still without it.

    Attributes
    ----------
    area
        With its 95 % interval, normal on the scale of log-odds.
    standard_error
        By influence functions, the estimated weights' share included; NaN for an area of 0 or 1.
    cases, controls
        Patients seen to have the event by then, and seen without it after.
    """

    area: Estimate
    standard_error: float
    cases: int
    controls: int


@dataclass(frozen=True, slots=True)
class BrierAtTime:
    """Weighted Brier score of a risk at a time, and of the Kaplan-Meier risk given to everybody.

    Attributes
    ----------
    brier
        With its 95 % interval, normal.
    standard_error
        By influence functions, the estimated weights' share included.
    null
        Brier score of the cohort's own Kaplan-Meier risk.
    scaled
        1 - Brier / null (index of prediction accuracy): 0 is no better than the same risk for everybody.
    """

    brier: Estimate
    standard_error: float
    null: float
    scaled: float


@dataclass(frozen=True, slots=True)
class RiskGroup:
    """Patients of neighbouring risks: mean risk, and what Kaplan-Meier's curve observed by the time."""

    n: int
    mean_risk: float
    observed: Estimate


@dataclass(frozen=True, slots=True)
class CalibrationAtTime:
    """Calibration at a time (McLernon et al., Ann Intern Med 2023; 176: 105-114).

    Attributes
    ----------
    mean_risk
        Of all patients.
    observed
        By Kaplan-Meier's curve, with its interval.
    observed_to_expected
        ``observed / mean_risk`` with the interval of ``observed``; 1 is right, above 1 the risks are too low.
    slope
        Of Cox's model of log(-log(1 - risk)); 1 is right, below 1 the risks are too extreme.
    groups
        The curve, by groups of equal size.
    """

    mean_risk: float
    observed: Estimate
    observed_to_expected: Estimate
    slope: Estimate | NotEstimable
    groups: tuple[RiskGroup, ...]


def area_at_time(time: ArrayLike, event: ArrayLike, risk: ArrayLike, at: float) -> AreaAtTime:
    """Return the cumulative/dynamic area under the ROC curve at a time.

    Parameters
    ----------
    time, event
        Shape (N,).
    risk
        Shape (N,): higher means an earlier event expected.
    at
        The time, in the unit of ``time``.

    Returns
    -------
    AreaAtTime

    Raises
    ------
    ValueError
        NaN, columns of different length, or by then nobody had the event or nobody is still observed without it.

    Notes
    -----
    Weights are the inverse probability of no censoring (Uno et al., JASA 2007; 102: 527-537), by the Kaplan-Meier curve
    of censoring; the variance is that of Blanche, Dartigues and Jacqmin-Gadda (Stat Med 2013; 32: 5381-5397). Ties of
    the risk count half.
    """
    times, events, values, case, control, censoring = _at(time, event, risk, at)
    weight = 1 / censoring.before(times[case])
    others = np.sort(values[control])
    below = np.searchsorted(others, values[case], side="left")
    level = np.searchsorted(others, values[case], side="right") - below
    share = (below + level / 2) / others.size
    total = float(weight.sum())
    area = float((weight * share).sum() / total)
    # derivatives of the area by each patient's weight
    influence = np.zeros(times.size)
    through = weight * (share - area) / total
    influence[case] += through
    ordered = np.argsort(values[case], kind="stable")
    cumulated = np.concatenate([[0.0], np.cumsum(weight[ordered])])
    lower = np.searchsorted(values[case][ordered], values[control], side="right")
    upper = np.searchsorted(values[case][ordered], values[control], side="left")
    above = total - (cumulated[lower] + cumulated[upper]) / 2
    influence[control] += (above / total - area) / others.size
    influence += censoring.spread(times, events, times[case], through)
    error = _standard_error(influence)
    if 0 < area < 1 and error > 0:
        estimate = Estimate(area, *logit_interval(area, error))
    else:
        error, estimate = math.nan, Estimate(area, math.nan, math.nan)
    return AreaAtTime(estimate, error, int(case.sum()), int(control.sum()))


def brier_at_time(time: ArrayLike, event: ArrayLike, risk: ArrayLike, at: float) -> BrierAtTime:
    """Return the weighted Brier score of risks at a time (Graf et al., Stat Med 1999; 18: 2529-2545).

    Parameters
    ----------
    time, event
        Shape (N,).
    risk
        Probability of the event by the time, shape (N,).
    at
        The time.

    Returns
    -------
    BrierAtTime

    Raises
    ------
    ValueError
        As `area_at_time`, or risks outside 0 to 1.
    """
    risks = probability_vector(risk, "risk")
    times, events, values, case, control, censoring = _at(time, event, risks, at)
    n = times.size
    early = 1 / censoring.before(times[case])
    late = 1 / censoring.up_to(at)

    def score(predicted: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.zeros(n)
        found[case] = early * (1 - predicted[case]) ** 2
        found[control] = late * predicted[control] ** 2
        return found

    each = score(values)
    brier = float(each.mean())
    null = float(score(np.full(n, 1 - kaplan_meier(times, events).at(at).value)).mean())
    # a control's weight is of the time itself, censorings at it included
    when = np.concatenate([times[case], np.full(int(control.sum()), np.nextafter(at, np.inf))])
    share = np.concatenate([each[case], each[control]]) / n
    influence = (each - brier) / n + censoring.spread(times, events, when, share)
    error = _standard_error(influence)
    scaled = 1 - brier / null if null > 0 else math.nan
    return BrierAtTime(Estimate(brier, brier - Z * error, brier + Z * error), error, null, scaled)


def calibration_at_time(
    time: ArrayLike, event: ArrayLike, risk: ArrayLike, at: float, n_groups: int = 4
) -> CalibrationAtTime:
    """Return the calibration of risks at a time.

    Parameters
    ----------
    time, event
        Shape (N,).
    risk
        Probability of the event by the time, shape (N,).
    at
        The time.
    n_groups
        Groups of the curve; equal risks never part, so there can be fewer.

    Returns
    -------
    CalibrationAtTime

    Raises
    ------
    ValueError
        As `area_at_time`, or risks outside 0 to 1.
    """
    risks = probability_vector(risk, "risk")
    times, events, values, *_ = _at(time, event, risks, at)
    observed = _observed(times, events, at)
    mean = float(values.mean())
    clipped = np.clip(values, SMALLEST_RISK, 1 - SMALLEST_RISK)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n_groups + 1)[1:-1]))
    group = np.searchsorted(edges, values, side="left")
    groups = []
    for k in np.unique(group):
        member = group == k
        groups.append(
            RiskGroup(int(member.sum()), float(values[member].mean()), _observed(times[member], events[member], at))
        )
    ratio = [part / mean if mean > 0 else math.nan for part in (observed.value, observed.lower, observed.upper)]
    return CalibrationAtTime(
        mean, observed, Estimate(*ratio), estimated(_slope, times, events, np.log(-np.log1p(-clipped))), tuple(groups)
    )


def _standard_error(influence: NDArray[np.float64]) -> float:
    n = influence.size
    return math.sqrt(float((influence**2).sum()) * n / (n - 1))


def _slope(times: NDArray[np.float64], events: NDArray[np.bool_], predictor: NDArray[np.float64]) -> Estimate:
    term = cox(times, events, {"risk": predictor}).terms[0]
    half = Z * term.standard_error
    return Estimate(term.coefficient, term.coefficient - half, term.coefficient + half)


def _observed(times: NDArray[np.float64], events: NDArray[np.bool_], at: float) -> Estimate:
    """Return the share that had the event by a time; NaN where the last patient left before it without the event."""
    if times.max() < at and not events[times == times.max()].all():
        return Estimate(math.nan, math.nan, math.nan)
    free = kaplan_meier(times, events, "log-log").at(at)
    return Estimate(1 - free.value, 1 - free.upper, 1 - free.lower)


def _at(
    time: ArrayLike, event: ArrayLike, risk: ArrayLike, at: float
) -> tuple[
    NDArray[np.float64],
    NDArray[np.bool_],
    NDArray[np.float64],
    NDArray[np.bool_],
    NDArray[np.bool_],
    Censoring,
]:
    """Return checked columns, who has the event by a time, who is without it after, and the curve of censoring."""
    times, events = follow_up(time, event)
    values = finite_vector(risk, "risk", times.size)
    case, control = events & (times <= at), times > at
    if not case.any():
        raise ValueError(f"nobody had the event by {at:g}")
    if not control.any():
        raise ValueError(f"nobody is under observation without the event after {at:g}")
    return times, events, values, case, control, Censoring.of(times, events)
