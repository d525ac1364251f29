"""All splits of a score into two groups, and the log-rank chi-square of each."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


class LogRankSplits:
    """Log-rank chi-squares of all splits of one cohort, fast enough to be repeated for every shuffle.

    The variance at a split is a sum over event times of weight x share x (1 - share), share of the risk set in the lower
    group. Its quadratic part is a sum over pairs of lower patients, of what both were at risk of: the smaller one of two
    numbers, one per patient. So no table of patients by event times is needed.

    Parameters
    ----------
    times, events
        Shape (N,); at least one event.
    """

    def __init__(self, times: NDArray[np.float64], events: NDArray[np.bool_]) -> None:
        at, died = np.unique(times[events], return_counts=True)
        n = times.size - np.searchsorted(np.sort(times), at)
        until = np.searchsorted(at, times, side="right")

        def up_to_follow_up(steps: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.concatenate([[0.0], np.cumsum(steps)])[until]

        # log-rank score: own event less the cumulative hazard up to the end of own follow-up
        self._score = events - up_to_follow_up(died / n)
        # with one patient left the variance is 0, whatever the group
        weight = np.where(n > 1, died * (n - died) / np.maximum(n - 1, 1), 0.0)
        self._linear = up_to_follow_up(weight / n)
        self._shared = up_to_follow_up(weight / n**2)
        self._ranked = np.sort(self._shared)
        self._rank = np.empty(times.size, dtype=np.int64)
        self._rank[np.argsort(self._shared, kind="stable")] = np.arange(times.size)
        # blocks of about the root of n balance the two halves of the work; twice that was fastest
        self._block = 2 * max(8, math.isqrt(times.size))
        self._earlier = np.tri(self._block, k=-1)

    def chi_squares(
        self, order: NDArray[np.int64], below: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return observed less expected events of the lower group, and chi-square, for each number of patients below.

        Parameters
        ----------
        order
            Patients by score, shape (N,).
        below
            How many of them lie below each split, shape (C,).

        Returns
        -------
        tuple of NDArray[np.float64]
            Each of shape (C,).
        """
        balance = np.cumsum(self._score[order])[below - 1]
        pairs = np.cumsum(self._shared[order] + 2 * self._shared_with_earlier(order))
        variance = (np.cumsum(self._linear[order]) - pairs)[below - 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            return balance, np.where(variance > 1e-9, balance**2 / variance, 0.0)

    def _shared_with_earlier(self, order: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return for each patient in this order the sum of min(own number, other's number) over all patients before."""
        n, size = order.size, self._block
        blocks = -(-n // size)
        own = np.zeros(blocks * size)
        own[:n] = self._shared[order]
        rows = own.reshape(blocks, size)
        within = np.einsum("bij,ij->bi", np.minimum(rows[:, :, None], rows[:, None, :]), self._earlier).ravel()[:n]
        # of all earlier blocks: smaller numbers count as they are, larger ones as the own number
        block, rank = np.arange(n) // size, self._rank[order]
        present = np.zeros((blocks, n))
        present[np.minimum(block + 1, blocks - 1), rank] = block + 1 < blocks
        np.cumsum(present, axis=0, out=present)
        smaller = np.cumsum(present, axis=1)[block, rank]
        present *= self._ranked
        return within + np.cumsum(present, axis=1)[block, rank] + own[:n] * (block * size - smaller)

    def standardised(self, order: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return absolute score statistics, standardised by mean and variance under shuffling (scores sum to 0).

        Parameters
        ----------
        order
            Patients by score, shape (N,).
        below
            How many of them lie below each split, shape (C,).

        Returns
        -------
        NDArray[np.float64]
            Shape (C,).
        """
        n = self._score.size
        variance = below * (n - below) / (n * (n - 1)) * float((self._score**2).sum())
        # nobody differs where all have their event at the same time
        return np.abs(np.cumsum(self._score[order])[below - 1]) / np.sqrt(np.maximum(variance, 1e-300))


def fewest_in_a_group(smallest_share: float, n: int) -> int:
    """Return the patients that either group needs: a share of all, and at least one.

    Parameters
    ----------
    smallest_share
        0 to below 0.5.
    n
        Patients.

    Returns
    -------
    int
    """
    return max(1, math.ceil(smallest_share * n))


def allowed_splits(ranked: NDArray[np.float64], fewest: int) -> NDArray[np.int64]:
    """Return how many patients lie below each split: only where the score changes, and enough on either side.

    Parameters
    ----------
    ranked
        Scores, rising.
    fewest
        Patients of either side.

    Returns
    -------
    NDArray[np.int64]
    """
    below = np.flatnonzero(np.diff(ranked) > 0) + 1
    return below[(below >= fewest) & (ranked.size - below >= fewest)]


def best_split(statistics: NDArray[np.float64]) -> int:
    """Return the place of the largest chi-square; of equal ones the first."""
    return int(np.flatnonzero(statistics >= statistics.max() - 1e-12)[0])


def between_scores(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return cut-offs halfway between scores; the lower one where no number lies between.

    Parameters
    ----------
    lower, upper
        Neighbouring scores, shape (C,).

    Returns
    -------
    NDArray[np.float64]
    """
    middle = (lower + upper) / 2
    return np.where(middle < upper, middle, lower)
