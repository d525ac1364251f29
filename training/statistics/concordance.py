"""Concordance: Harrell's C-index, its interval, and the difference between two models' (paper: 0.66, 0.48 to 0.83)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from training.statistics.arrays import Estimate, Z, finite_vector, follow_up


@dataclass(frozen=True, slots=True)
class Concordance:
    """Harrell's C-index; above one half, a higher risk score goes with an earlier event.

    Attributes
    ----------
    c_index
        With its 95 % interval, normal and cut at 0 and 1.
    standard_error
        Infinitesimal jackknife, as R's ``concordance`` reports.
    concordant, discordant, tied_risk
        Comparable pairs: one patient had the event while the other was still under observation.
    tied_time
        Pairs with an event at the same time and different risks, which no order can judge.
    tied_both
        Pairs with an event at the same time and the same risk.
    n, n_events
        Patients.
    """

    c_index: Estimate
    standard_error: float
    concordant: int
    discordant: int
    tied_risk: int
    tied_time: int
    tied_both: int
    n: int
    n_events: int


@dataclass(frozen=True, slots=True)
class ConcordanceComparison:
    """Two C-indices on the same patients: first minus second with a 95 % interval, and a Z test by their joint jackknife."""

    first: Concordance
    second: Concordance
    difference: Estimate
    statistic: float
    p_value: float


def concordance(time: ArrayLike, event: ArrayLike, risk: ArrayLike) -> Concordance:
    """Return the C-index of a risk score (Harrell, Lee and Mark, Stat Med 1996; 15: 361-387).

    Parameters
    ----------
    time, event
        Shape (N,).
    risk
        Shape (N,): higher means an earlier event expected.

    Returns
    -------
    Concordance

    Raises
    ------
    ValueError
        NaN, columns of different length, or no comparable pair.

    Notes
    -----
    A patient censored at the time of another's event is comparable with it (still without event then). Ties of the risk
    count half. The variance is the sum of squares of each patient's influence, the derivative of the index by the
    patient's weight (R's survival, vignette 'Concordance').
    """
    return _concordance(time, event, risk)[0]


def compare_concordance(
    time: ArrayLike, event: ArrayLike, first: ArrayLike, second: ArrayLike
) -> ConcordanceComparison:
    """Test whether two risk scores of the same patients have the same C-index.

    Parameters
    ----------
    time, event
        Shape (N,).
    first, second
        Scores of the same patients, shape (N,); a higher one means an earlier event.

    Returns
    -------
    ConcordanceComparison

    Raises
    ------
    ValueError
        As `concordance`.
    """
    one, influence_one = _concordance(time, event, first)
    two, influence_two = _concordance(time, event, second)
    difference = one.c_index.value - two.c_index.value
    error = math.sqrt(float(((influence_one - influence_two) ** 2).sum()))
    if error > 1e-12:
        statistic = difference / error
        p_value = 2 * float(norm.sf(abs(statistic)))
    else:
        statistic, p_value = (0.0, 1.0) if abs(difference) < 1e-12 else (math.nan, math.nan)
    interval = Estimate(difference, difference - Z * error, difference + Z * error)
    return ConcordanceComparison(one, two, interval, statistic, p_value)


def _concordance(time: ArrayLike, event: ArrayLike, risk: ArrayLike) -> tuple[Concordance, NDArray[np.float64]]:
    times, events = follow_up(time, event)
    values = finite_vector(risk, "risk", times.size)
    n = times.size
    # per patient: pairs in which it takes part, and of these concordant less discordant
    pairs, balance = np.zeros(n), np.zeros(n)
    concordant = discordant = tied_risk = tied_time = tied_both = 0
    for i in np.flatnonzero(events):
        comparable = (times > times[i]) | ((times == times[i]) & ~events)
        sign = np.sign(values[i] - values) * comparable
        pairs += comparable
        pairs[i] += comparable.sum()
        balance += sign
        balance[i] += sign.sum()
        concordant += int((sign > 0).sum())
        discordant += int((sign < 0).sum())
        tied_risk += int((comparable & (values == values[i])).sum())
        # of pairs with an event at the same time, only those after i, so that each counts once
        same = (times[i + 1 :] == times[i]) & events[i + 1 :]
        tied_both += int((same & (values[i + 1 :] == values[i])).sum())
        tied_time += int((same & (values[i + 1 :] != values[i])).sum())
    total = concordant + discordant + tied_risk
    if total == 0:
        raise ValueError("no two patients can be compared: nobody had an event while another was under observation")
    somers = (concordant - discordant) / total
    index = (somers + 1) / 2
    influence = (balance - somers * pairs) / (2 * total)
    error = math.sqrt(float((influence**2).sum()))
    estimate = Estimate(index, max(index - Z * error, 0.0), min(index + Z * error, 1.0))
    counts = (concordant, discordant, tied_risk, tied_time, tied_both)
    return Concordance(estimate, error, *counts, n=n, n_events=int(events.sum())), influence
