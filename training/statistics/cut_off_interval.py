"""How far a cut-off that was chosen on patients would move with other patients: its bootstrap interval."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.statistics.arrays import Estimate, finite_vector, follow_up
from training.statistics.cox_refit import CoxRefit
from training.statistics.log_rank_splits import (
    LogRankSplits,
    allowed_splits,
    best_split,
    between_scores,
    fewest_in_a_group,
)
from training.statistics.resampling import percentile_estimate

ScoresOf = Callable[[NDArray[np.intp]], NDArray[np.float64]]
"""Gives the scores of resampled patients, shape (N,); a score that is fitted is fitted anew on them."""


def searched_cut_off_interval(
    cut_off: float,
    time: ArrayLike,
    event: ArrayLike,
    scores_of: ScoresOf,
    *,
    smallest_share: float = 0.1,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return X-tile's cut-off with the percentile interval of the cut-offs that it finds on resampled patients.

    Parameters
    ----------
    cut_off
        Of all patients.
    time, event
        Shape (N,).
    scores_of
        What is cut.
    smallest_share
        As of `xtile.search_cut_off`.
    n_resamples, seed
        Of the bootstrap.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        As `follow_up`, or too few resamples hold a cut-off.

    Notes
    -----
    A searched cut-off jumps between scores, and the bootstrap of such an estimate has no exact coverage (Seijo and Sen, Ann Stat
    2011; 39: 1580-1607): the interval says how far the search wanders.
    """
    times, events = follow_up(time, event)

    def found(rows: NDArray[np.intp]) -> float:
        if not events[rows].any():
            raise ValueError("nobody had an event")
        values = scores_of(rows)
        order = np.argsort(values, kind="stable")
        ranked = values[order]
        below = allowed_splits(ranked, fewest_in_a_group(smallest_share, rows.size))
        if not below.size:
            raise ValueError("no split leaves enough patients on both sides")
        best = below[best_split(LogRankSplits(times[rows], events[rows]).chi_squares(order, below)[1])]
        return float(between_scores(ranked[best - 1], ranked[best]))

    return percentile_estimate(cut_off, found, times.size, n_resamples, seed)


def scores_as_they_are(score: ArrayLike) -> ScoresOf:
    """Return the scores of resampled patients where nothing was fitted, for `searched_cut_off_interval`."""
    values = finite_vector(score, "score")
    return lambda rows: values[rows]


def refitted_risk(time: ArrayLike, event: ArrayLike, covariates: NDArray[np.float64]) -> ScoresOf:
    """Return the linear predictors of a Cox model that is fitted anew on resampled patients, centred at their means.

    Parameters
    ----------
    time, event
        Shape (N,).
    covariates
        Shape (N, P).

    Returns
    -------
    ScoresOf
    """
    times, events = follow_up(time, event)
    return lambda rows: CoxRefit(times[rows], events[rows]).linear_predictor(covariates[rows])


def refitted_fusion(time: ArrayLike, event: ArrayLike, score: ArrayLike, covariates: NDArray[np.float64]) -> ScoresOf:
    """Return the fusion model's linear predictors; the clinical model within it is fitted anew too.

    Parameters
    ----------
    time, event, score
        Shape (N,).
    covariates
        Of the clinical model, shape (N, P).

    Returns
    -------
    ScoresOf
    """
    times, events = follow_up(time, event)
    values = finite_vector(score, "score", times.size)

    def risk(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        fit = CoxRefit(times[rows], events[rows])
        return fit.linear_predictor(np.column_stack([values[rows], fit.linear_predictor(covariates[rows])]))

    return risk


def median_interval(score: ArrayLike, *, n_resamples: int = 1000, seed: int = 0) -> Estimate:
    """Return the median with its percentile interval.

    Parameters
    ----------
    score
        Shape (N,).
    n_resamples, seed
        Of the bootstrap.

    Returns
    -------
    Estimate
    """
    values = finite_vector(score, "score")
    return percentile_estimate(
        float(np.median(values)), lambda rows: float(np.median(values[rows])), values.size, n_resamples, seed
    )
