"""Competing risks: the probability of progression where death may come first, by Aalen and Johansen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from training.statistics.arrays import NO_ESTIMATE, Estimate, Z, binary_vector, causes_of_events
from training.statistics.cox import cox
from training.statistics.cox_model import CoxModel
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.fine_gray import COMPETING, EVENT, SubdistributionModel, fine_gray
from training.statistics.survival import LogRank, log_rank


@dataclass(frozen=True, slots=True)
class CumulativeIncidence:
    """Probability of the event before any other, by time.

    Attributes
    ----------
    times
        float64, shape (K,), rising: 0 and each time of the event or the competing one.
    incidence
        float64, shape (K,).
    standard_error
        float64, shape (K,): infinitesimal jackknife, as R's ``survfit``.
    followed_until
        Time at which the last patient left observation: nothing is known after it.
    n, n_events, n_competing
        Patients.
    """

    times: NDArray[np.float64]
    incidence: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    followed_until: float
    n: int
    n_events: int
    n_competing: int

    def at(self, time: float) -> Estimate:
        """Return the probability by a time with its interval, normal on the scale of log(-log(1 - F)).

        NaN after the end of follow-up; the ends are the value itself where nobody had the event yet.
        """
        if not time >= 0:
            raise ValueError(f"time must not be negative, got {time}")
        if time > self.followed_until:
            return NO_ESTIMATE
        k = int(np.searchsorted(self.times, time, side="right")) - 1
        value, error = float(self.incidence[k]), float(self.standard_error[k])
        if not 0 < value < 1:
            return Estimate(value, value, value)
        rate = np.log1p(-value)
        factor = Z * error / ((1 - value) * abs(rate))
        low, high = (float(-np.expm1(rate * np.exp(sign * factor))) for sign in (-1, 1))
        return Estimate(value, low, high)


@dataclass(frozen=True, slots=True)
class CompetingComparison:
    """Two groups under competing risks.

    Attributes
    ----------
    lower, upper
        Their cumulative incidence of the event.
    cause_specific
        Cox's model of the event, other events being censored: the ratio of its rate among those still free of both.
    competing_cause
        The same of the competing event.
    subdistribution
        Fine and Gray's model of the event: the ratio that orders the incidences.
    log_rank
        Of the cause-specific rates of the event.
    """

    lower: CumulativeIncidence
    upper: CumulativeIncidence
    cause_specific: CoxModel | NotEstimable
    competing_cause: CoxModel | NotEstimable
    subdistribution: SubdistributionModel | NotEstimable
    log_rank: LogRank | NotEstimable

    def difference(self, time: float) -> tuple[Estimate, float]:
        """Return upper less lower probability of the event by a time with a normal interval, and P of no difference.

        NaN after the end of either group's follow-up.
        """
        if time > min(self.upper.followed_until, self.lower.followed_until):
            return NO_ESTIMATE, float("nan")
        values, variance = [], 0.0
        for part in (self.upper, self.lower):
            k = int(np.searchsorted(part.times, time, side="right")) - 1
            values.append(float(part.incidence[k]))
            variance += float(part.standard_error[k]) ** 2
        apart, half = values[0] - values[1], Z * variance**0.5
        p_value = 2 * float(norm.sf(abs(apart) / variance**0.5)) if variance > 0 else float("nan")
        return Estimate(apart, apart - half, apart + half), p_value


def cumulative_incidence(time: ArrayLike, status: ArrayLike) -> CumulativeIncidence:
    """Return the cumulative incidence of the event (Aalen and Johansen, Scand J Stat 1978; 5: 141-150).

    Parameters
    ----------
    time
        Shape (N,): to the first event of either kind, or the end of follow-up.
    status
        Shape (N,): 0 censored, 1 the event, 2 the competing event. A patient censored at the time of an event is still
        at risk of it.

    Returns
    -------
    CumulativeIncidence

    Raises
    ------
    ValueError
        NaN, columns of different length, a negative time, or another status.
    """
    times, kinds = causes_of_events(time, status)
    at = np.unique(times[kinds > 0])
    risk = np.array([(times >= moment).sum() for moment in at], dtype=np.float64)
    own = np.array([((times == moment) & (kinds == EVENT)).sum() for moment in at])
    both = np.array([((times == moment) & (kinds > 0)).sum() for moment in at])
    free = np.concatenate([[1.0], np.cumprod(1 - both / np.maximum(risk, 1))])
    incidence = np.concatenate([[0.0], np.cumsum(free[:-1] * own / np.maximum(risk, 1))])
    # each patient's influence on the free share and on the incidence, step by step
    influence, on_free = np.zeros(times.size), np.zeros(times.size)
    errors = [0.0]
    for k, moment in enumerate(at):
        under = times >= moment
        here = under & (times == moment)
        step_own = ((here & (kinds == EVENT)) - under * own[k] / risk[k]) / risk[k]
        step_both = ((here & (kinds > 0)) - under * both[k] / risk[k]) / risk[k]
        influence = influence + on_free * own[k] / risk[k] + free[k] * step_own
        on_free = on_free * (1 - both[k] / risk[k]) - free[k] * step_both
        errors.append(float(np.sqrt((influence**2).sum())))
    return CumulativeIncidence(
        np.concatenate([[0.0], at]),
        incidence,
        np.array(errors),
        float(times.max()),
        times.size,
        int((kinds == EVENT).sum()),
        int((kinds == COMPETING).sum()),
    )


def compare_under_competing_risks(time: ArrayLike, status: ArrayLike, upper: ArrayLike) -> CompetingComparison:
    """Compare two groups where another event may come before the event.

    Parameters
    ----------
    time, status
        As `cumulative_incidence`.
    upper
        Shape (N,): 1 for the upper group.

    Returns
    -------
    CompetingComparison

    Raises
    ------
    ValueError
        As `cumulative_incidence`, or all patients on one side.

    Notes
    -----
    Cause-specific hazard ratios tell the mechanism, the incidence what patients meet (Latouche et al., J Clin Epidemiol
    2013; 66: 648-653).
    """
    times, kinds = causes_of_events(time, status)
    above = binary_vector(upper, "upper", times.size)
    if above.all() or not above.any():
        raise ValueError(f"all {times.size} patients are in the {'upper' if above.all() else 'lower'} group")
    return CompetingComparison(
        cumulative_incidence(times[~above], kinds[~above]),
        cumulative_incidence(times[above], kinds[above]),
        estimated(cox, times, kinds == EVENT, {"upper": above}),
        estimated(cox, times, kinds == COMPETING, {"upper": above}),
        estimated(fine_gray, times, kinds, {"upper": above}),
        estimated(log_rank, times, kinds == EVENT, above),
    )
