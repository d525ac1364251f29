"""Cox's proportional hazards model with Efron's ties, its tests, and its calibration on other patients."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from lifelines import CoxPHFitter
from lifelines.exceptions import ConvergenceError, ConvergenceWarning
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from training.statistics.arrays import Estimate, Z, follow_up
from training.statistics.cox_model import CoxModel, NoFiniteEstimate, chi_square_test, wald_term
from training.statistics.efron import covariate_matrix, efron_steps

LINEAR_PREDICTOR: Final = "linear_predictor"


@dataclass(frozen=True, slots=True)
class CoxCalibration:
    """Calibration of a Cox model's linear predictor on patients that it was not fitted on.

    Attributes
    ----------
    slope
        1 where it is right; below 1 the model exaggerates differences between patients; at 0 it has no information on
        them.
    statistic, p_value
        Wald's, of a slope of 1.
    model
        Cox's model with the linear predictor alone, which the slope is of.
    """

    slope: Estimate
    statistic: float
    p_value: float
    model: CoxModel


def cox(time: ArrayLike, event: ArrayLike, covariates: Mapping[str, ArrayLike]) -> CoxModel:
    """Fit Cox's model (J R Stat Soc B 1972; 34: 187-220) with Efron's handling of ties (JASA 1977; 72: 557-565).

    Parameters
    ----------
    time, event
        Shape (N,).
    covariates
        Columns of shape (N,) by name.

    Returns
    -------
    CoxModel

    Raises
    ------
    NoFiniteEstimate
        The likelihood rises without end: a group without events, a covariate that orders the events perfectly.
    ValueError
        NaN, columns of different length, no event, no covariate, a constant one, or one that others determine.

    Notes
    -----
    lifelines fits; what it does not report (the score test) is computed from Efron's steps below.
    """
    times, events = follow_up(time, event)
    x = covariate_matrix(covariates, times.size)
    if not events.any():
        raise ValueError("Cox's model needs an event, and nobody had one")
    names = list(covariates)
    centre = x.mean(axis=0)
    # standardised: lifelines takes a covariate of small numbers, as scores that differ by 0.001, for a constant one
    scale = x.std(axis=0)
    fitter = _fit(times, events, (x - centre) / scale, names)
    beta = fitter.params_.to_numpy(dtype=np.float64) / scale
    covariance = fitter.variance_matrix_.to_numpy(dtype=np.float64) / np.outer(scale, scale)
    with np.errstate(invalid="ignore"):  # without a maximum rounding may leave a variance below 0; it is refused next
        errors = np.sqrt(np.diag(covariance))
    _refuse_infinite(names, errors * x.std(axis=0))
    at_zero = efron_steps(times, events, x - centre, np.zeros(beta.size))
    at_fit = efron_steps(times, events, x - centre, beta)
    score = (at_zero.covariates - at_zero.mean).sum(axis=0)
    freedom = beta.size
    return CoxModel(
        terms=tuple(wald_term(name, float(b), float(e)) for name, b, e in zip(names, beta, errors, strict=True)),
        centre=centre,
        covariance=covariance,
        log_likelihood=at_fit.log_likelihood,
        null_log_likelihood=at_zero.log_likelihood,
        likelihood_ratio_test=chi_square_test(2 * (at_fit.log_likelihood - at_zero.log_likelihood), freedom),
        wald_test=chi_square_test(float(beta @ np.linalg.solve(covariance, beta)), freedom),
        score_test=chi_square_test(float(score @ np.linalg.solve(at_zero.variance.sum(axis=0), score)), freedom),
        n=times.size,
        n_events=int(events.sum()),
    )


def cox_calibration(time: ArrayLike, event: ArrayLike, linear_predictor: ArrayLike) -> CoxCalibration:
    """Fit the slope of an earlier model's linear predictor (Royston and Altman, BMC Med Res Methodol 2013; 13: 33).

    Parameters
    ----------
    time, event
        Shape (N,).
    linear_predictor
        Of the earlier model, shape (N,).

    Returns
    -------
    CoxCalibration

    Raises
    ------
    ValueError
        As `cox`.
    """
    model = cox(time, event, {LINEAR_PREDICTOR: linear_predictor})
    term = model.terms[0]
    slope, error = term.coefficient, term.standard_error
    statistic = (slope - 1) / error
    interval = Estimate(slope, slope - Z * error, slope + Z * error)
    return CoxCalibration(interval, statistic, 2 * float(norm.sf(abs(statistic))), model)


def _fit(
    times: NDArray[np.float64], events: NDArray[np.bool_], x: NDArray[np.float64], names: list[str]
) -> CoxPHFitter:
    columns = [f"x{k}" for k in range(len(names))]
    table = pd.DataFrame(x, columns=columns).assign(time=times, event=events)
    fitter = CoxPHFitter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            # lifelines' relative tolerance of the likelihood stops while a coefficient near 0 is off in its third digit
            fitter.fit(table, "time", "event", fit_options={"precision": 1e-20, "r_precision": 0.0})
        except (ConvergenceError, ConvergenceWarning) as error:
            raise NoFiniteEstimate(
                f"no finite hazard ratio of {', '.join(names)}: a group may have no events, or a covariate orders the "
                "events perfectly"
            ) from error
    return fitter


def _refuse_infinite(names: list[str], standardised_errors: NDArray[np.float64]) -> None:
    """Refuse where the likelihood is flat: with one event or more on each side the error is about 2 at the most."""
    for name, error in zip(names, standardised_errors, strict=True):
        if not error < 10:
            raise NoFiniteEstimate(f"no finite hazard ratio of {name}: a group may have no events")
