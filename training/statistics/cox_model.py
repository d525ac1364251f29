"""A fitted Cox model: its terms, its tests, and the linear predictor of a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, norm

from training.statistics.arrays import Estimate, Test, Z, finite_vector


class NoFiniteEstimate(ValueError):
    """The data hold no finite hazard ratio: a group without events, an order that a covariate predicts perfectly."""


@dataclass(frozen=True, slots=True)
class CoxTerm:
    """One covariate: coefficient (log hazard ratio per unit), its standard error, the hazard ratio, Wald's Z and P."""

    name: str
    coefficient: float
    standard_error: float
    hazard_ratio: Estimate
    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class CoxModel:
    """A fitted model.

    Attributes
    ----------
    terms
        In the order of the covariates.
    centre
        float64, shape (P,): the cohort's means, at which the linear predictor is 0.
    covariance
        float64, shape (P, P), of the coefficients.
    log_likelihood, null_log_likelihood
        Partial, Efron's.
    likelihood_ratio_test, wald_test, score_test
        Of all covariates together.
    n, n_events
        Patients.
    """

    terms: tuple[CoxTerm, ...]
    centre: NDArray[np.float64]
    covariance: NDArray[np.float64]
    log_likelihood: float
    null_log_likelihood: float
    likelihood_ratio_test: Test
    wald_test: Test
    score_test: Test
    n: int
    n_events: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the covariates."""
        return tuple(term.name for term in self.terms)

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """Shape (P,)."""
        return np.array([term.coefficient for term in self.terms])

    def term(self, name: str) -> CoxTerm:
        """Return one covariate's term; KeyError where there is none of that name."""
        for term in self.terms:
            if term.name == name:
                return term
        raise KeyError(name)

    def linear_predictor(self, covariates: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
        """Return the log hazard relative to a patient at the cohort's means, shape (N,).

        Raises
        ------
        ValueError
            A covariate of the model is missing, or has a NaN.
        """
        missing = [name for name in self.names if name not in covariates]
        if missing:
            raise ValueError(f"the model needs the covariate {missing[0]}")
        columns = [finite_vector(covariates[name], name) for name in self.names]
        return (np.column_stack(columns) - self.centre) @ self.coefficients


def wald_term(name: str, coefficient: float, error: float) -> CoxTerm:
    """Return a covariate's term with Wald's interval and test.

    Parameters
    ----------
    name
        Of the covariate.
    coefficient, error
        Log hazard ratio per unit, and its standard error.

    Returns
    -------
    CoxTerm
    """
    with np.errstate(over="ignore"):  # per unit of a covariate that differs in small decimals it may be infinite
        ratio = Estimate(*(float(np.exp(coefficient + k * Z * error)) for k in (0, -1, 1)))
    statistic = coefficient / error
    return CoxTerm(name, coefficient, error, ratio, statistic, 2 * float(norm.sf(abs(statistic))))


def chi_square_test(statistic: float, freedom: int) -> Test:
    """Return a chi-square statistic with its P.

    Parameters
    ----------
    statistic
        Not negative.
    freedom
        Degrees of freedom.

    Returns
    -------
    Test
    """
    return Test(statistic, freedom, float(chi2.sf(statistic, freedom)))
