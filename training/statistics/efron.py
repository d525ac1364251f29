"""Efron's steps of a Cox model: at each event, mean and variance of the covariates of those at risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.statistics.arrays import finite_vector

_SINGULAR: Final = 1e-10
"""Smallest eigenvalue, of a matrix with ones on its diagonal, that rounding cannot have left of 0."""


@dataclass(frozen=True, slots=True)
class EfronSteps:
    """Efron's steps, one per event, S in all, of D distinct times.

    Attributes
    ----------
    times
        float64, shape (D,): of events, rising.
    step_time
        int64, shape (S,): which of the times a step is of.
    mean, variance
        float64, shapes (S, P) and (S, P, P): of the covariates of those at risk, weighted by their hazards.
    covariates
        float64, shape (S, P): of those who had the event.
    log_likelihood
        Partial.
    """

    times: NDArray[np.float64]
    step_time: NDArray[np.int64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    covariates: NDArray[np.float64]
    log_likelihood: float


def efron_steps(
    times: NDArray[np.float64], events: NDArray[np.bool_], x: NDArray[np.float64], beta: NDArray[np.float64]
) -> EfronSteps:
    """Walk through the events; of d at one time the l-th takes l/d of them out of the risk set (JASA 1977; 72: 557-565).

    Parameters
    ----------
    times, events
        Shape (N,); at least one event.
    x
        Covariates, shape (N, P).
    beta
        Coefficients, shape (P,).

    Returns
    -------
    EfronSteps
    """
    eta = x @ beta
    weight = np.exp(eta)
    distinct = np.unique(times[events])
    p = x.shape[1]
    step_time, means, variances, rows = [], [], [], []
    log_likelihood = float(eta[events].sum())
    for k, at in enumerate(distinct):
        risk, dying = times >= at, events & (times == at)
        sums = [_moments(weight[mask], x[mask]) for mask in (risk, dying)]
        d = int(dying.sum())
        for step in range(d):
            s0, s1, s2 = (whole - step / d * part for whole, part in zip(*sums, strict=True))
            mean = s1 / s0
            log_likelihood -= float(np.log(s0))
            step_time.append(k)
            means.append(mean)
            variances.append(s2 / s0 - np.outer(mean, mean))
        rows.append(x[dying])
    return EfronSteps(
        distinct,
        np.array(step_time),
        np.array(means).reshape(-1, p),
        np.array(variances).reshape(-1, p, p),
        np.concatenate(rows),
        log_likelihood,
    )


def _moments(weight: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[np.float64, NDArray, NDArray]:
    return weight.sum(), weight @ x, (x * weight[:, None]).T @ x


def covariate_matrix(covariates: Mapping[str, ArrayLike], n: int) -> NDArray[np.float64]:
    """Return covariates as columns, of which a Cox model can tell the hazard ratios apart.

    Parameters
    ----------
    covariates
        Columns by name.
    n
        Values that each must have.

    Returns
    -------
    NDArray[np.float64]
        Shape (N, P).

    Raises
    ------
    ValueError
        NaN, columns of different length, no covariate, a constant one, or one that others determine.
    """
    if not covariates:
        raise ValueError("Cox's model needs a covariate")
    x = np.column_stack([finite_vector(values, name, n) for name, values in covariates.items()])
    for name, column in zip(covariates, x.T, strict=True):
        if np.ptp(column) == 0:
            raise ValueError(f"{name} is the same for every patient, so it has no hazard ratio")
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    if np.linalg.matrix_rank(scaled, tol=1e-7 * np.sqrt(n)) < x.shape[1]:
        raise ValueError(
            f"some of {', '.join(covariates)} determine another, so their hazard ratios cannot be told apart"
        )
    return x


def has_full_rank(information: NDArray[np.float64]) -> bool:
    """Return whether a positive semidefinite matrix has its full rank, whatever the units of its rows."""
    scale = np.sqrt(np.diag(information))
    if not (scale > 0).all():
        return False
    return bool(np.linalg.eigvalsh(information / np.outer(scale, scale))[0] > _SINGULAR)
