"""Bootstrap: percentile intervals, and what a model's performance loses on patients that it was not fitted on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.statistics.arrays import LEVEL, Estimate, follow_up, labels_of_both_classes
from training.statistics.cox_refit import CoxRefit

MOST_FAILED: Final = 0.1
"""Share of resamples without an estimate from which on the rest are no fair sample."""
_SAME: Final = 1e-9
Measure = Callable[[NDArray[np.intp], NDArray[np.intp]], Mapping[str, float]]
"""Fits on the first rows and measures on the second; ValueError where these rows hold no estimate."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """A measure of a model on the patients that fitted it, and corrected for that.

    Attributes
    ----------
    apparent
        On the patients that fitted the model.
    optimism
        Mean over resamples of a model on its own resample less the same model on all patients.
    corrected
        ``apparent - optimism``, with the percentile interval of the resamples' apparent values, moved by the optimism
        (Noma et al., Stat Med 2021; 40: 5691-5701); NaN where every resample's apparent value is the same, as a slope's.
    """

    apparent: float
    optimism: float
    corrected: Estimate


@dataclass(frozen=True, slots=True)
class OptimismBootstrap:
    """Every measure of one model, corrected.

    Attributes
    ----------
    measures
        By name.
    n_resamples, n_failed
        Resamples in all, and those left out because they hold no finite estimate.
    """

    measures: dict[str, Corrected]
    n_resamples: int
    n_failed: int


def resampled_rows(n: int, n_resamples: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Draw N patients with replacement, again and again.

    Parameters
    ----------
    n
        Patients.
    n_resamples
        Draws.
    seed
        Of the draws.

    Yields
    ------
    NDArray[np.intp]
        Rows, shape (N,).
    """
    generator = np.random.default_rng(seed)
    for _ in range(n_resamples):
        yield generator.integers(n, size=n)


def percentile_estimate(
    value: float, statistic: Callable[[NDArray[np.intp]], float], n: int, n_resamples: int, seed: int
) -> Estimate:
    """Return a value with its percentile bootstrap interval.

    Parameters
    ----------
    value
        Of all patients.
    statistic
        Of rows; ValueError or NaN where they hold no estimate.
    n
        Patients.
    n_resamples, seed
        Of the bootstrap.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        More than `MOST_FAILED` of the resamples hold no estimate.
    """
    return percentile_estimates([value], lambda rows: [statistic(rows)], n, n_resamples, seed)[0]


def percentile_estimates(
    values: Sequence[float],
    statistics: Callable[[NDArray[np.intp]], Sequence[float]],
    n: int,
    n_resamples: int,
    seed: int,
) -> tuple[Estimate, ...]:
    """Return several values of the same patients, each with its percentile bootstrap interval.

    Parameters
    ----------
    values
        Of all patients.
    statistics
        Of rows, in the same order; ValueError where they hold no estimate, NaN for one that they do not hold.
    n
        Patients.
    n_resamples, seed
        Of the bootstrap.

    Returns
    -------
    tuple of Estimate

    Raises
    ------
    ValueError
        As `percentile_estimate`, of any of them.
    """
    found = []
    for rows in resampled_rows(n, n_resamples, seed):
        try:
            found.append(statistics(rows))
        except ValueError:
            continue
    columns = np.array(found, dtype=np.float64).reshape(-1, len(values)).T
    return tuple(
        Estimate(value, *percentiles(column, n_resamples)) for value, column in zip(values, columns, strict=True)
    )


def percentile_limits(values: NDArray[np.float64], axis: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower and upper 95 % limits of resamples.

    Parameters
    ----------
    values
        Finite.
    axis
        Along which the resamples lie.

    Returns
    -------
    tuple of NDArray[np.float64]
        Of the shape of the other axes.
    """
    tail = (1 - LEVEL) / 2
    lower, upper = np.quantile(values, [tail, 1 - tail], axis=axis)
    return lower, upper


def percentiles(values: NDArray[np.float64], n_resamples: int) -> tuple[float, float]:
    """Return the 95 % percentile interval of resamples.

    Parameters
    ----------
    values
        Of the resamples that hold an estimate.
    n_resamples
        How many were drawn.

    Returns
    -------
    tuple of float
        Lower and upper limit.

    Raises
    ------
    ValueError
        More than `MOST_FAILED` are missing or NaN.
    """
    known = values[np.isfinite(values)]
    if known.size < (1 - MOST_FAILED) * n_resamples or not known.size:
        raise ValueError(f"{n_resamples - known.size} of {n_resamples} bootstrap samples hold no estimate")
    lower, upper = percentile_limits(known)
    return float(lower), float(upper)


def optimism_bootstrap(n: int, measure: Measure, *, n_resamples: int = 200, seed: int = 0) -> OptimismBootstrap:
    """Correct the performance of a model that is measured on the patients who fitted it.

    Parameters
    ----------
    n
        Patients.
    measure
        Fits on the first rows, everything that was chosen by data included, and measures on the second.
    n_resamples, seed
        Of the bootstrap.

    Returns
    -------
    OptimismBootstrap

    Raises
    ------
    ValueError
        The model has no estimate on all patients, or on more than `MOST_FAILED` of the resamples.

    Notes
    -----
    Harrell, Lee and Mark, Stat Med 1996; 15: 361-387, as R's ``rms::validate``.
    """
    everybody = np.arange(n)
    apparent = measure(everybody, everybody)
    own: list[Mapping[str, float]] = []
    others: list[Mapping[str, float]] = []
    for rows in resampled_rows(n, n_resamples, seed):
        try:
            pair = measure(rows, rows), measure(rows, everybody)
        except ValueError:
            continue
        own.append(pair[0])
        others.append(pair[1])
    measures = {}
    for name, value in apparent.items():
        fitted = np.array([found[name] for found in own])
        lower, upper = percentiles(fitted, n_resamples)
        if upper - lower < _SAME:
            lower = upper = math.nan
        optimism = float(fitted.mean() - np.mean([found[name] for found in others]))
        measures[name] = Corrected(
            float(value), optimism, Estimate(float(value) - optimism, lower - optimism, upper - optimism)
        )
    return OptimismBootstrap(measures, n_resamples, n_resamples - len(own))


def cox_optimism(
    time: ArrayLike, event: ArrayLike, covariates: NDArray[np.float64], *, n_resamples: int = 200, seed: int = 0
) -> OptimismBootstrap:
    """Correct a Cox model's C-index and calibration slope.

    Parameters
    ----------
    time, event
        Shape (N,).
    covariates
        Shape (N, P).
    n_resamples, seed
        Of the bootstrap.

    Returns
    -------
    OptimismBootstrap
        ``c_index`` (Harrell's) and ``slope``, which on its own patients is 1.

    Raises
    ------
    ValueError
        As `optimism_bootstrap`.
    """
    times, events = follow_up(time, event)

    def measure(fitted: NDArray[np.intp], measured: NDArray[np.intp]) -> dict[str, float]:
        predictor = covariates[measured] @ CoxRefit(times[fitted], events[fitted]).coefficients(covariates[fitted])
        slope = CoxRefit(times[measured], events[measured]).coefficients(predictor[:, None])
        return {"c_index": _c_index(times[measured], events[measured], predictor), "slope": float(slope[0])}

    return optimism_bootstrap(times.size, measure, n_resamples=n_resamples, seed=seed)


def _c_index(times: NDArray[np.float64], events: NDArray[np.bool_], risk: NDArray[np.float64]) -> float:
    """Return Harrell's C-index without its error, which `concordance` needs more time for."""
    above = pairs = 0.0
    for i in np.flatnonzero(events):
        comparable = (times > times[i]) | ((times == times[i]) & ~events)
        others = risk[comparable]
        above += float((others < risk[i]).sum()) + float((others == risk[i]).sum()) / 2
        pairs += others.size
    if not pairs:
        raise ValueError("no two patients can be compared")
    return above / pairs


def logistic_optimism(
    labels: ArrayLike,
    fit: Callable[[NDArray[np.float64], NDArray[np.bool_]], NDArray[np.float64]],
    covariates: NDArray[np.float64],
    *,
    n_resamples: int = 200,
    seed: int = 0,
) -> OptimismBootstrap:
    """Correct the area under the ROC curve and the calibration slope of a model that is linear in its covariates.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    fit
        Gives intercept and coefficients, shape (P + 1,), for covariates and labels; ValueError where there are none.
    covariates
        Shape (N, P).
    n_resamples, seed
        Of the bootstrap.

    Returns
    -------
    OptimismBootstrap
        ``auc`` and ``slope``.

    Raises
    ------
    ValueError
        As `optimism_bootstrap`.
    """
    positive = labels_of_both_classes(labels)

    def measure(fitted: NDArray[np.intp], measured: NDArray[np.intp]) -> dict[str, float]:
        beta = fit(covariates[fitted], positive[fitted])
        predictor = beta[0] + covariates[measured] @ beta[1:]
        slope = fit(predictor[:, None], positive[measured])[1]
        return {"auc": _area(positive[measured], predictor), "slope": float(slope)}

    return optimism_bootstrap(positive.size, measure, n_resamples=n_resamples, seed=seed)


def _area(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return the area without its error."""
    cases, controls = scores[positive], np.sort(scores[~positive])
    if not cases.size or not controls.size:
        raise ValueError("one class only")
    below = np.searchsorted(controls, cases, side="left") + np.searchsorted(controls, cases, side="right")
    return float(below.mean() / 2 / controls.size)
