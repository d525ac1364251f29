"""The probability of progression by a time that a Cox model predicts, on its own patients and cross-fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.statistics.arrays import finite_vector, follow_up
from training.statistics.cox_refit import CoxRefit

FOLDS: Final = 10


class BaselineHazard:
    """Cumulative hazard of a patient whose linear predictor is 0, with Efron's ties as R's ``survfit`` has it.

    Parameters
    ----------
    time, event
        Of the patients that the model was fitted on, shape (N,).
    linear_predictor
        Theirs, shape (N,).

    Raises
    ------
    ValueError
        NaN, or columns of different length.
    """

    def __init__(self, time: ArrayLike, event: ArrayLike, linear_predictor: ArrayLike) -> None:
        times, events = follow_up(time, event)
        weight = np.exp(finite_vector(linear_predictor, "linear predictor", times.size))
        self._times = np.unique(times[events])
        jumps = []
        for at in self._times:
            risk, dying = weight[times >= at].sum(), weight[events & (times == at)]
            # Efron: of d events at one time the l-th takes l/d of them out of the risk set
            taken = np.arange(dying.size) / dying.size * dying.sum()
            jumps.append(float((1 / (risk - taken)).sum()))
        self._cumulated = np.concatenate([[0.0], np.cumsum(jumps)])

    def risk(self, linear_predictor: ArrayLike, at: float) -> NDArray[np.float64]:
        """Return the probability of the event by a time.

        Parameters
        ----------
        linear_predictor
            Of any patients, shape (M,).
        at
            The time.

        Returns
        -------
        NDArray[np.float64]
            Shape (M,).
        """
        hazard = self._cumulated[np.searchsorted(self._times, at, side="right")]
        return -np.expm1(-hazard * np.exp(np.asarray(linear_predictor, dtype=np.float64)))


def cross_fitted_risks(
    time: ArrayLike,
    event: ArrayLike,
    covariates: Mapping[str, ArrayLike],
    at: Sequence[float],
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return each patient's risk by Cox models that were fitted without them.

    Parameters
    ----------
    time, event
        Shape (N,).
    covariates
        Columns of shape (N,) by name.
    at
        T times.
    folds
        Into which the patients are divided, those with and without event alike; at most as many as there are events.
    seed
        Of the division.

    Returns
    -------
    NDArray[np.float64]
        Shape (T, N), 0 to 1.

    Raises
    ------
    ValueError
        NaN, columns of different length, fewer than two events, or a fold without a finite hazard ratio.
    """
    times, events = follow_up(time, event)
    x = np.column_stack([finite_vector(values, name, times.size) for name, values in covariates.items()])
    parts = min(folds, int(events.sum()), times.size)
    if parts < 2:
        raise ValueError(f"{int(events.sum())} patients had the event; two are needed to fit a model without either")
    place = stratified_folds(events, parts, seed)
    found = np.empty((len(at), times.size))
    for fold in range(parts):
        inside, outside = place != fold, place == fold
        beta = CoxRefit(times[inside], events[inside]).coefficients(x[inside])
        centre = x[inside].mean(axis=0)
        baseline = BaselineHazard(times[inside], events[inside], (x[inside] - centre) @ beta)
        for k, moment in enumerate(at):
            found[k, outside] = baseline.risk((x[outside] - centre) @ beta, moment)
    return found


def stratified_folds(positive: NDArray[np.bool_], folds: int, seed: int) -> NDArray[np.int64]:
    """Draw each patient's fold, within either class.

    Parameters
    ----------
    positive
        Shape (N,): label or event.
    folds
        How many.
    seed
        Of the draw.

    Returns
    -------
    NDArray[np.int64]
        Shape (N,), 0 to ``folds - 1``.
    """
    generator = np.random.default_rng(seed)
    order = np.concatenate([generator.permutation(np.flatnonzero(positive == level)) for level in (True, False)])
    place = np.empty(positive.size, dtype=np.int64)
    place[order] = np.arange(positive.size) % folds
    return place
