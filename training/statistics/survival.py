"""Survival without a model: Kaplan-Meier curves and the log-rank test (paper, Figure 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from lifelines.statistics import multivariate_logrank_test
from numpy.typing import ArrayLike, NDArray
from statsmodels.duration.survfunc import SurvfuncRight

from training.statistics.arrays import Estimate, Test, Z, follow_up

Transform = Literal["log", "log-log"]
"""Scale of the interval: 'log' is the default of R's survfit, 'log-log' that of lifelines; the latter stays within 0 to
1 and covers better in small groups."""


@dataclass(frozen=True, slots=True)
class KaplanMeier:
    """A Kaplan-Meier curve.

    Attributes
    ----------
    times
        float64, shape (K,), rising: 0 and every distinct time of follow-up, events and censorings alike.
    survival
        float64, shape (K,): share without event just after each time.
    standard_error
        float64, shape (K,): Greenwood's.
    lower, upper
        float64, shape (K,): pointwise 95 % interval; NaN where nobody is left.
    at_risk
        int64, shape (K,): patients under observation just before each time.
    events, censored
        int64, shape (K,): patients at each time.
    median
        Median time with the interval at which the band crosses one half; NaN where it does not reach it.
    n, n_events
        Patients.
    """

    times: NDArray[np.float64]
    survival: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    at_risk: NDArray[np.int64]
    events: NDArray[np.int64]
    censored: NDArray[np.int64]
    median: Estimate
    n: int
    n_events: int

    def at(self, time: float) -> Estimate:
        """Return the share without event at a time, with its interval; the curve stays level after its last step."""
        if not time >= 0:
            raise ValueError(f"time must not be negative, got {time}")
        k = int(np.searchsorted(self.times, time, side="right")) - 1
        return Estimate(float(self.survival[k]), float(self.lower[k]), float(self.upper[k]))

    def number_at_risk(self, time: float) -> int:
        """Return the patients under observation just before a time, as a risk table prints them."""
        k = int(np.searchsorted(self.times, time, side="left"))
        return int(self.at_risk[k]) if k < self.times.size else 0


@dataclass(frozen=True, slots=True)
class LogRank:
    """The log-rank test.

    Attributes
    ----------
    groups
        Names, sorted.
    n, observed
        int64, shape (G,): patients and events.
    expected
        float64, shape (G,): events expected if the groups were alike.
    test
        Chi-square with one degree of freedom fewer than groups.
    """

    groups: tuple[str, ...]
    n: NDArray[np.int64]
    observed: NDArray[np.int64]
    expected: NDArray[np.float64]
    test: Test


def kaplan_meier(time: ArrayLike, event: ArrayLike, transform: Transform = "log") -> KaplanMeier:
    """Return the Kaplan-Meier curve (JASA 1958; 53: 457-481).

    Parameters
    ----------
    time
        Shape (N,): follow-up in days, 0 or more.
    event
        Shape (N,): 1 progressed, 0 censored. A patient censored at the time of an event is still at risk of it.
    transform
        Scale of the interval.

    Returns
    -------
    KaplanMeier

    Raises
    ------
    ValueError
        No patient, NaN, a negative time, an event other than 0 and 1.

    Notes
    -----
    The median is the first time at which the curve is at or below one half; where a step of the curve lies exactly at
    one half, the middle of that step. Its interval is where the band's limits do the same (Brookmeyer and Crowley,
    Biometrics 1982; 38: 29-41, in the form that R's survfit prints).
    """
    times, events = follow_up(time, event)
    distinct, place = np.unique(times, return_inverse=True)
    died = np.bincount(place, weights=events, minlength=distinct.size).astype(np.int64)
    left = np.bincount(place, weights=~events, minlength=distinct.size).astype(np.int64)
    at_risk = times.size - np.concatenate([[0], np.cumsum(died + left)[:-1]])
    survival, error = _product_limit(times, events, distinct)
    if distinct[0] > 0:
        distinct = np.concatenate([[0.0], distinct])
        at_risk = np.concatenate([[times.size], at_risk])
        died, left = np.concatenate([[0], died]), np.concatenate([[0], left])
        survival, error = np.concatenate([[1.0], survival]), np.concatenate([[0.0], error])
    lower, upper = _band(survival, error, transform)
    median = Estimate(_half_time(distinct, survival), _half_time(distinct, lower), _half_time(distinct, upper))
    return KaplanMeier(
        distinct, survival, error, lower, upper, at_risk, died, left, median, times.size, int(events.sum())
    )


def median_follow_up(time: ArrayLike, event: ArrayLike) -> Estimate:
    """Return the median follow-up by the reverse Kaplan-Meier curve (Schemper and Smith, Control Clin Trials 1996; 17:
    343).

    Parameters
    ----------
    time, event
        Shape (N,).

    Returns
    -------
    Estimate
        In the unit of the times.

    Raises
    ------
    ValueError
        As `kaplan_meier`.
    """
    times, events = follow_up(time, event)
    return kaplan_meier(times, ~events).median


def log_rank(time: ArrayLike, event: ArrayLike, group: Sequence[object] | NDArray[np.generic]) -> LogRank:
    """Test whether two or more groups have the same survival (Mantel, Cancer Chemother Rep 1966; 50: 163-170).

    Parameters
    ----------
    time, event
        As `kaplan_meier`.
    group
        Shape (N,): anything that can be sorted and printed.

    Returns
    -------
    LogRank

    Raises
    ------
    ValueError
        As `kaplan_meier`; fewer than two groups; no event at all.
    """
    times, events = follow_up(time, event)
    names, member = np.unique(np.asarray(group), return_inverse=True)
    if member.size != times.size:
        raise ValueError(f"group has {member.size} values where the other columns have {times.size}")
    if names.size < 2:
        raise ValueError(f"the log-rank test needs two groups or more, got {names.size}")
    if not events.any():
        raise ValueError("the log-rank test needs an event, and nobody had one")
    result = multivariate_logrank_test(times, member, events)
    # lifelines does not return the expected numbers
    at = np.unique(times[events])
    risk = np.stack([(times[member == g][:, None] >= at).sum(axis=0) for g in range(names.size)])
    deaths = (times[events][:, None] == at).sum(axis=0)
    return LogRank(
        groups=tuple(str(name) for name in names),
        n=np.bincount(member, minlength=names.size),
        observed=np.bincount(member[events], minlength=names.size),
        expected=(risk * deaths / risk.sum(axis=0)).sum(axis=1),
        test=Test(float(result.test_statistic), names.size - 1, float(result.p_value)),
    )


def _product_limit(
    times: NDArray[np.float64], events: NDArray[np.bool_], at: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return survival and Greenwood's standard error at given times."""
    if not events.any():
        return np.ones_like(at), np.zeros_like(at)
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # Greenwood's sum is infinite where the last patient progressed
        curve = SurvfuncRight(times, events.astype(np.int64))
    step = np.searchsorted(curve.surv_times, at, side="right")
    survival = np.concatenate([[1.0], curve.surv_prob])[step]
    error = np.concatenate([[0.0], np.nan_to_num(curve.surv_prob_se)])[step]
    return survival, error


def _band(
    survival: NDArray[np.float64], error: NDArray[np.float64], transform: Transform
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with np.errstate(divide="ignore", invalid="ignore"):
        if transform == "log":
            half = Z * error / survival
            lower, upper = survival * np.exp(-half), np.minimum(survival * np.exp(half), 1.0)
        elif transform == "log-log":
            power = Z * error / (survival * np.log(survival))
            lower, upper = survival ** np.exp(-power), survival ** np.exp(power)
        else:
            raise ValueError(f"transform must be 'log' or 'log-log', got {transform!r}")
    certain, nobody = survival == 1.0, survival == 0.0
    lower, upper = np.where(certain, 1.0, lower), np.where(certain, 1.0, upper)
    return np.where(nobody, np.nan, lower), np.where(nobody, np.nan, upper)


def _half_time(times: NDArray[np.float64], curve: NDArray[np.float64]) -> float:
    tolerance = 1e-8  # products of fractions miss one half by rounding
    known = ~np.isnan(curve)
    below = np.flatnonzero(known & (curve < 0.5 + tolerance))
    if below.size == 0:
        return math.nan
    first = below[0]
    later = np.flatnonzero(known & (curve < curve[first] - tolerance))
    if abs(curve[first] - 0.5) < tolerance and later.size:
        return float((times[first] + times[later[0]]) / 2)
    return float(times[first])
