"""Multiple imputation of clinical variables, and Cox models pooled over it by Rubin's rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from training.statistics.arrays import LEVEL, Estimate, finite_vector, follow_up
from training.statistics.cox_refit import CoxRefit

IMPUTATIONS: Final = 20
CYCLES: Final = 10
DONORS: Final = 5
_RIDGE: Final = 1e-5


@dataclass(frozen=True, slots=True)
class PooledTerm:
    """One coefficient over all imputations.

    Attributes
    ----------
    name
        Of the covariate.
    coefficient, standard_error
        Log hazard ratio per unit.
    hazard_ratio
        With its 95 % interval by Student's distribution.
    degrees_of_freedom
        After Barnard and Rubin (Biometrika 1999; 86: 948-955).
    missing_information
        Share of the variance that comes from what was missing (lambda of R's mice).
    p_value
        Two-sided.
    """

    name: str
    coefficient: float
    standard_error: float
    hazard_ratio: Estimate
    degrees_of_freedom: float
    missing_information: float
    p_value: float


@dataclass(frozen=True, slots=True)
class PooledCox:
    """A Cox model pooled over imputations.

    Attributes
    ----------
    terms
        In the order of the covariates.
    n, n_events
        Patients.
    n_incomplete
        Patients with a gap.
    n_imputations
        Completed tables.
    """

    terms: tuple[PooledTerm, ...]
    n: int
    n_events: int
    n_incomplete: int
    n_imputations: int


def pool(
    name: str, estimates: Sequence[float], errors: Sequence[float], complete_freedom: float = math.inf
) -> PooledTerm:
    """Pool one coefficient by Rubin's rules (Multiple Imputation for Nonresponse in Surveys, 1987), as R's mice.

    Parameters
    ----------
    name
        Of the covariate.
    estimates, errors
        Coefficients and standard errors of the M completed tables.
    complete_freedom
        Degrees of freedom that a complete table would have.

    Returns
    -------
    PooledTerm

    Raises
    ------
    ValueError
        Fewer than two tables.
    """
    values, within = np.asarray(estimates, dtype=np.float64), np.asarray(errors, dtype=np.float64) ** 2
    m = values.size
    if m < 2:
        raise ValueError("Rubin's rules need two imputations or more")
    between = float(values.var(ddof=1))
    total = float(within.mean()) + (1 + 1 / m) * between
    share = (1 + 1 / m) * between / total
    freedom = _freedom(m, share, complete_freedom)
    middle, error = float(values.mean()), math.sqrt(total)
    half = float(student.ppf(0.5 + LEVEL / 2, freedom)) * error
    return PooledTerm(
        name,
        middle,
        error,
        Estimate(math.exp(middle), math.exp(middle - half), math.exp(middle + half)),
        freedom,
        share,
        2 * float(student.sf(abs(middle) / error, freedom)),
    )


def pooled_cox(
    time: ArrayLike,
    event: ArrayLike,
    complete: Mapping[str, ArrayLike],
    incomplete: Mapping[str, NDArray[np.float64]],
    *,
    n_imputations: int = IMPUTATIONS,
    seed: int = 0,
) -> PooledCox:
    """Fit Cox's model of covariates with gaps.

    Parameters
    ----------
    time, event
        Shape (N,).
    complete
        Covariates without a gap by name, each of shape (N,).
    incomplete
        Covariates that may have NaN.
    n_imputations, seed
        Of the imputation.

    Returns
    -------
    PooledCox
        Its terms are those of ``complete``, then of ``incomplete``.

    Raises
    ------
    ValueError
        As `cox.CoxRefit` and `impute_repeatedly`, or there is no finite estimate.

    Notes
    -----
    Gaps are imputed from all covariates, the event, and the Nelson-Aalen hazard at the patient's time (White and
    Royston, Stat Med 2009; 28: 1982-1998).
    """
    times, events = follow_up(time, event)
    whole = {name: finite_vector(values, name, times.size) for name, values in complete.items()}
    gaps = {name: np.asarray(values, dtype=np.float64) for name, values in incomplete.items()}
    beside = np.column_stack([*whole.values(), events.astype(np.float64), _nelson_aalen(times, events)])
    table = np.column_stack(list(gaps.values()))
    fit, names, fits = CoxRefit(times, events), [*whole, *gaps], []
    for completed in impute_repeatedly(table, beside, n_imputations=n_imputations, seed=seed):
        fits.append(fit.estimate(np.column_stack([*whole.values(), completed])))
    freedom = float(int(events.sum()) - len(names))
    terms = tuple(
        pool(
            name,
            [float(coefficients[k]) for coefficients, _ in fits],
            [float(errors[k]) for _, errors in fits],
            max(1.0, freedom),
        )
        for k, name in enumerate(names)
    )
    return PooledCox(terms, times.size, int(events.sum()), int(np.isnan(table).any(axis=1).sum()), len(fits))


def impute_repeatedly(
    table: NDArray[np.float64],
    beside: NDArray[np.float64],
    *,
    n_imputations: int = IMPUTATIONS,
    seed: int = 0,
) -> list[NDArray[np.float64]]:
    """Complete a table several times by chained equations with predictive mean matching.

    Parameters
    ----------
    table
        Shape (N, K), NaN where a value is missing.
    beside
        Shape (N, P): complete columns that help to predict.
    n_imputations, seed
        How many tables, and the seed of the draws.

    Returns
    -------
    list of NDArray[np.float64]
        Each of shape (N, K); a value that was there is as it was, and one that was not is some other patient's.

    Raises
    ------
    ValueError
        A column has fewer than two values.

    Notes
    -----
    Van Buuren, Flexible Imputation of Missing Data, algorithms 3.1 to 3.3: coefficients are drawn from their posterior,
    and the value is one of the five patients' whose prediction is nearest (mice's type 1 matching, its ridge of 1e-5).
    """
    gaps = np.isnan(table)
    if ((~gaps).sum(axis=0) < 2).any():
        raise ValueError("a variable with fewer than two values cannot be imputed")
    found = []
    for generator in (np.random.default_rng([seed, k]) for k in range(n_imputations)):
        filled = table.copy()
        for j in range(table.shape[1]):
            filled[gaps[:, j], j] = generator.choice(table[~gaps[:, j], j], int(gaps[:, j].sum()))
        for _ in range(CYCLES if gaps.any() else 0):
            for j in (int(k) for k in np.flatnonzero(gaps.any(axis=0))):
                others = np.column_stack([beside, np.delete(filled, j, axis=1)])
                filled[gaps[:, j], j] = _matched(filled[:, j], gaps[:, j], others, generator)
        found.append(filled)
    return found


def _matched(
    column: NDArray[np.float64], gap: NDArray[np.bool_], others: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return values of patients whose predictions are near those of the patients with a gap."""
    scale = others.std(axis=0)
    x = np.column_stack([np.ones(column.size), (others - others.mean(axis=0))[:, scale > 0] / scale[scale > 0]])
    known, y = x[~gap], column[~gap]
    square = known.T @ known
    inverse = np.linalg.inv(square + _RIDGE * np.diag(np.diag(square)))
    beta = inverse @ known.T @ y
    freedom = max(1, y.size - x.shape[1])
    spread = math.sqrt(float(((y - known @ beta) ** 2).sum()) / generator.chisquare(freedom))
    drawn = beta + spread * np.linalg.cholesky((inverse + inverse.T) / 2) @ generator.normal(size=beta.size)
    apart = np.abs((x[gap] @ drawn)[:, None] - (known @ beta)[None, :])
    # equal predictions in random order
    apart += generator.uniform(0, 1e-9, apart.shape)
    donors = np.argpartition(apart, min(DONORS, y.size) - 1, axis=1)[:, : min(DONORS, y.size)]
    return y[donors[np.arange(donors.shape[0]), generator.integers(donors.shape[1], size=donors.shape[0])]]


def _nelson_aalen(times: NDArray[np.float64], events: NDArray[np.bool_]) -> NDArray[np.float64]:
    at, died = np.unique(times[events], return_counts=True)
    risk = times.size - np.searchsorted(np.sort(times), at, side="left")
    return np.concatenate([[0.0], np.cumsum(died / risk)])[np.searchsorted(at, times, side="right")]


def _freedom(m: int, share: float, complete: float) -> float:
    if share <= 1e-12:  # between equal tables rounding is left
        return complete if math.isfinite(complete) else 1e9
    old = (m - 1) / share**2
    if not math.isfinite(complete):
        return old
    observed = (complete + 1) / (complete + 3) * complete * (1 - share)
    return old * observed / (old + observed)
