"""Features that hold: how stable each is when it is measured again, and which of several correlated ones is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from training.statistics.agreement import one_way_icc

FEWEST_PATIENTS: Final = 10
"""Of fewer patients the interval of an ICC says nothing: with two measurements of ten, 0.95 has the limits 0.82 and 0.99."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureStability:
    """How far features are the same when the same patients are measured again.

    Attributes
    ----------
    n, repeats
        Patients, and measurements of each.
    icc, lower
        float64, shape (F,): ICC(1,1) and the lower limit of its 95 % interval; NaN where nothing varies.
    """

    n: int
    repeats: int
    icc: NDArray[np.float64]
    lower: NDArray[np.float64]

    def holds(self, smallest: float) -> NDArray[np.bool_]:
        """Return which features have a lower limit of this or more, shape (F,)."""
        # a comparison with NaN is False: what never varies was not shown to be stable
        return self.lower >= smallest


def feature_stability(measured: ArrayLike) -> FeatureStability:
    """Return how stable features are in patients who were measured several times.

    Parameters
    ----------
    measured
        Shape (N, K, F).

    Returns
    -------
    FeatureStability

    Raises
    ------
    ValueError
        There are fewer than `FEWEST_PATIENTS`, or one measurement only.
    """
    values = np.asarray(measured, dtype=np.float64)
    if len(values) < FEWEST_PATIENTS:
        raise ValueError(
            f"{len(values)} of the training patients were measured again, and {FEWEST_PATIENTS} or more are needed"
        )
    icc, lower, _ = one_way_icc(values)
    return FeatureStability(values.shape[0], values.shape[1], icc, lower)


def without_correlated(values: NDArray[np.float64], order: Sequence[int], largest: float) -> dict[int, int]:
    """Choose among correlated features: in the given order, one is kept unless it is correlated with a kept one.

    Parameters
    ----------
    values
        Shape (N, F); what is not finite counts as the feature's middle rank.
    order
        Columns, the most wanted first.
    largest
        Absolute Spearman correlation that is still allowed between two kept features.

    Returns
    -------
    dict[int, int]
        For each column of ``order`` the kept one that stands for it: itself, or the most correlated one. No two kept ones
        exceed ``largest``.
    """
    columns = list(order)
    ranks = np.column_stack([_standard_ranks(values[:, column]) for column in columns]) if columns else np.empty((0, 0))
    stands: dict[int, int] = {}
    kept: list[int] = []
    for place, column in enumerate(columns):
        correlation = np.abs(ranks[:, kept].T @ ranks[:, place]) if kept else np.zeros(0)
        if correlation.size and correlation.max() > largest:
            stands[column] = columns[kept[int(np.argmax(correlation))]]
        else:
            kept.append(place)
            stands[column] = column
    return stands


def _standard_ranks(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks with mean 0 and length 1, so that a product of two is Spearman's correlation."""
    finite = np.isfinite(column)
    ranks = np.zeros(len(column))
    ranks[finite] = rankdata(column[finite])
    ranks[finite] -= ranks[finite].mean() if finite.any() else 0.0
    length = float(np.sqrt((ranks**2).sum()))
    return ranks / length if length > 0 else ranks
