"""Decision curves at a fixed time: is treating by a risk of progression better than treating everybody or nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.statistics.arrays import Estimate, follow_up, probability_vector
from training.statistics.resampling import percentile_limits, resampled_rows

THRESHOLDS = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True, slots=True)
class CurveAtTime:
    """One rule's net benefit.

    Attributes
    ----------
    name
        Of the model, or 'everybody'.
    net_benefit, lower, upper
        float64, shape (T,): with pointwise 95 % bootstrap intervals; NaN where those above a threshold were not
        followed to the time.
    """

    name: str
    net_benefit: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def at(self, k: int) -> Estimate:
        """Return the k-th threshold's."""
        return Estimate(float(self.net_benefit[k]), float(self.lower[k]), float(self.upper[k]))


@dataclass(frozen=True, slots=True)
class DecisionAtTime:
    """Curves of several models on the same patients; treating nobody has net benefit 0.

    Attributes
    ----------
    thresholds
        float64, shape (T,): risk above which one would act.
    curves
        Of everybody treated, then of the models in the order given.
    """

    thresholds: NDArray[np.float64]
    curves: tuple[CurveAtTime, ...]


def decision_at_time(
    time: ArrayLike,
    event: ArrayLike,
    risks: Mapping[str, ArrayLike],
    at: float,
    thresholds: ArrayLike = THRESHOLDS,
    *,
    n_resamples: int = 200,
    seed: int = 0,
) -> DecisionAtTime:
    """Return net benefit by threshold, of the event by a time.

    Parameters
    ----------
    time, event
        Shape (N,).
    risks
        Probabilities of the event by the time, by model, each of shape (N,); a patient above a threshold is treated.
    at
        The time.
    thresholds
        Shape (T,), above 0 and below 1.
    n_resamples, seed
        Of the bootstrap.

    Returns
    -------
    DecisionAtTime

    Raises
    ------
    ValueError
        NaN, risks or thresholds outside 0 to 1, columns of different length, or nobody followed to the time.

    Notes
    -----
    Vickers, Cronin, Elkin and Gonen, BMC Med Inform Decis Mak 2008; 8: 53: of those above the threshold the Kaplan-Meier
    curve tells how many have the event by the time.
    """
    times, events = follow_up(time, event)
    limits = np.asarray(thresholds, dtype=np.float64)
    if limits.min() <= 0 or limits.max() >= 1:
        raise ValueError(f"thresholds must lie between 0 and 1, got {limits.min():g} to {limits.max():g}")
    if not (times > at).any():
        raise ValueError(f"nobody is under observation without the event after {at:g}")
    n = times.size
    named = {name: probability_vector(values, f"risks of {name}", n) for name, values in risks.items()}
    odds = limits / (1 - limits)
    # the order of time, events first, so that a resample is a row of counts
    order = np.lexsort((~events, times))
    above = np.stack(
        [np.ones((limits.size, n), dtype=bool), *(values[order] > limits[:, None] for values in named.values())]
    ).reshape(-1, n)
    counts = np.array([np.bincount(rows, minlength=n) for rows in resampled_rows(n, n_resamples, seed)])[:, order]
    counts = np.concatenate([np.ones((1, n), dtype=counts.dtype), counts])
    found = np.stack([_net_benefit(times[order], events[order], member, counts, at) for member in above])
    # shape (models, thresholds, 1 + resamples, 2): share with the event and without it, of all patients
    shares = found.reshape(len(named) + 1, limits.size, counts.shape[0], 2)
    benefit = shares[..., 0] - shares[..., 1] * odds[None, :, None]
    curves = []
    for k, name in enumerate(("everybody", *named)):
        lower, upper = percentile_limits(benefit[k, :, 1:], axis=1)
        curves.append(CurveAtTime(name, benefit[k, :, 0], lower, upper))
    return DecisionAtTime(limits, tuple(curves))


def _net_benefit(
    times: NDArray[np.float64],
    events: NDArray[np.bool_],
    member: NDArray[np.bool_],
    counts: NDArray[np.int64],
    at: float,
) -> NDArray[np.float64]:
    """Return, for each row of counts, the shares of all patients that are members with and without the event by a time."""
    if not member.any():
        return np.zeros((counts.shape[0], 2))
    weight = counts[:, member].astype(np.float64)
    own_time, own_event = times[member], events[member]
    total = weight.sum(axis=1)
    at_risk = total[:, None] - np.concatenate(
        [np.zeros((weight.shape[0], 1)), np.cumsum(weight, axis=1)[:, :-1]], axis=1
    )
    # events at one time are taken one after the other, which gives the same product
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.where((own_event & (own_time <= at)) & (at_risk > 0), 1 - weight / at_risk, 1.0)
    free = factor.prod(axis=1)
    followed = (weight * (own_time >= at)).sum(axis=1) > 0
    known = followed | (free < 1e-12) | (total == 0)
    share = total / counts.sum(axis=1)
    pair = np.column_stack([(1 - free) * share, free * share])
    return np.where(known[:, None], pair, np.nan)
