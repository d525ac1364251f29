"""Restricted mean survival time: the area under the curve up to a time, which needs no proportional hazards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from training.statistics.arrays import Estimate, Z, binary_vector, follow_up


@dataclass(frozen=True, slots=True)
class RestrictedMean:
    """Mean time without the event, up to a limit.

    Attributes
    ----------
    mean
        With its 95 % interval, normal.
    standard_error
        By Greenwood's formula, as R's ``survfit`` prints it.
    until
        The limit, in the unit of the times.
    """

    mean: Estimate
    standard_error: float
    until: float


@dataclass(frozen=True, slots=True)
class RestrictedMeanComparison:
    """Upper less lower group up to the same limit: difference and ratio with 95 % intervals, and P of no difference."""

    lower: RestrictedMean
    upper: RestrictedMean
    difference: Estimate
    ratio: Estimate
    p_value: float
    until: float


def restricted_mean(time: ArrayLike, event: ArrayLike, until: float) -> RestrictedMean:
    """Return the restricted mean survival time (Irwin, J Hyg 1949; 47: 188-189).

    Parameters
    ----------
    time, event
        Shape (N,).
    until
        Limit, at most the largest follow-up, unless that ended with an event.

    Returns
    -------
    RestrictedMean

    Raises
    ------
    ValueError
        NaN, columns of different length, or a limit that is not positive or lies beyond the follow-up.
    """
    times, events = follow_up(time, event)
    if not until > 0:
        raise ValueError(f"the limit must be positive, got {until:g}")
    if until > times.max() and not events[times == times.max()].all():
        raise ValueError(f"nobody was observed until {until:g}: the last patient left at {times.max():g}")
    at, deaths = np.unique(times[events & (times <= until)], return_counts=True)
    at_risk = times.size - np.searchsorted(np.sort(times), at, side="left")
    survival = np.concatenate([[1.0], np.cumprod(1 - deaths / at_risk)])
    areas = survival * np.diff(np.concatenate([[0.0], at, [until]]))
    left = _from_each(areas)[1:]
    alive = at_risk > deaths
    variance = float((left[alive] ** 2 * deaths[alive] / (at_risk[alive] * (at_risk[alive] - deaths[alive]))).sum())
    mean, error = float(areas.sum()), math.sqrt(variance)
    return RestrictedMean(Estimate(mean, mean - Z * error, mean + Z * error), error, float(until))


def compare_restricted_means(
    time: ArrayLike, event: ArrayLike, upper: ArrayLike, until: float | None = None
) -> RestrictedMeanComparison:
    """Compare two groups' restricted means (Royston and Parmar, BMC Med Res Methodol 2013; 13: 152).

    Parameters
    ----------
    time, event
        Shape (N,).
    upper
        Shape (N,): 1 for the upper group.
    until
        Limit; where None the smaller of both groups' largest follow-ups, as R's survRM2 takes it.

    Returns
    -------
    RestrictedMeanComparison

    Raises
    ------
    ValueError
        As `restricted_mean`, all patients on one side, or nobody had an event before the limit.
    """
    times, events = follow_up(time, event)
    above = binary_vector(upper, "upper", times.size)
    if above.all() or not above.any():
        raise ValueError(f"all {times.size} patients are in the {'upper' if above.all() else 'lower'} group")
    limit = float(min(times[above].max(), times[~above].max())) if until is None else until
    low = restricted_mean(times[~above], events[~above], limit)
    high = restricted_mean(times[above], events[above], limit)
    difference = high.mean.value - low.mean.value
    error = math.hypot(low.standard_error, high.standard_error)
    if error == 0:
        raise ValueError(f"nobody had an event before {limit:g}")
    ratio = high.mean.value / low.mean.value
    relative = math.hypot(low.standard_error / low.mean.value, high.standard_error / high.mean.value)
    return RestrictedMeanComparison(
        low,
        high,
        Estimate(difference, difference - Z * error, difference + Z * error),
        Estimate(ratio, ratio * math.exp(-Z * relative), ratio * math.exp(Z * relative)),
        2 * float(norm.sf(abs(difference) / error)),
        limit,
    )


def _from_each(areas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of each value and all after it."""
    return np.cumsum(areas[::-1])[::-1]
