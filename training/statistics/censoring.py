"""Weights by the inverse probability of censoring, and their share in a variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Censoring:
    """The Kaplan-Meier curve of censoring: how likely a patient is still under observation.

    A patient who has the event at the time of another's censoring leaves first.

    Attributes
    ----------
    times
        float64, shape (K,): distinct times of censoring, rising.
    remaining
        float64, shape (K,): probability of no censoring up to and with each time.
    increments
        float64, shape (K,): censored over at risk at each time.
    at_risk
        float64, shape (K,): patients who can be censored at each time.
    """

    times: NDArray[np.float64]
    remaining: NDArray[np.float64]
    increments: NDArray[np.float64]
    at_risk: NDArray[np.float64]

    @classmethod
    def of(cls, time: NDArray[np.float64], seen: NDArray[np.bool_]) -> Censoring:
        """Return the curve.

        Parameters
        ----------
        time
            Follow-up, shape (N,).
        seen
            Whether it ended with an event of any kind, shape (N,).

        Returns
        -------
        Censoring
        """
        at, censored = np.unique(time[~seen], return_counts=True)
        ordered, events = np.sort(time), np.sort(time[seen])
        # those whose event is at the same time have left
        at_risk = (time.size - np.searchsorted(ordered, at, side="left")) - (
            np.searchsorted(events, at, side="right") - np.searchsorted(events, at, side="left")
        )
        at_risk = np.asarray(at_risk, dtype=np.float64)
        increments = np.asarray(censored / at_risk, dtype=np.float64)
        remaining = np.asarray(np.cumprod(1 - increments), dtype=np.float64)
        return cls(at, remaining, increments, at_risk)

    def before(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of no censoring before each time, shape as the times'."""
        return np.concatenate([[1.0], self.remaining])[np.searchsorted(self.times, time, side="left")]

    def up_to(self, time: float) -> float:
        """Return the probability of no censoring up to and with a time."""
        return float(np.concatenate([[1.0], self.remaining])[np.searchsorted(self.times, time, side="right")])

    def spread(
        self, time: NDArray[np.float64], seen: NDArray[np.bool_], when: NDArray[np.float64], share: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return what each patient adds to a weighted sum through the weights, since the curve is estimated too.

        Parameters
        ----------
        time, seen
            Of the N patients, as given to `of`.
        when
            Shape (M,): weight m is over the probability of no censoring *before* ``when[m]``.
        share
            Shape (M,): the derivative of the sum by the logarithm of weight m.

        Returns
        -------
        NDArray[np.float64]
            Shape (N,): ``sum_m share_m * integral_0^{when_m} dM_i / Y`` with M_i the martingale of patient i's censoring.
        """
        if self.times.size == 0:
            return np.zeros(time.size)
        # of all weights after the k-th time of censoring
        order = np.argsort(when, kind="stable")
        tail = np.concatenate([np.cumsum(share[order][::-1])[::-1], [0.0]])
        later = tail[np.searchsorted(when[order], self.times, side="right")]
        jump, drift = later / self.at_risk, np.concatenate([[0.0], np.cumsum(later * self.increments / self.at_risk)])
        found = -drift[np.searchsorted(self.times, time, side="right")]
        own = np.searchsorted(self.times, time)
        censored = ~seen
        found[censored] += jump[own[censored]]
        # an event at the time of a censoring was before it
        tied = seen & np.isin(time, self.times)
        found[tied] += (later * self.increments / self.at_risk)[own[tied]]
        return found
