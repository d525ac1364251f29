"""Cox's proportional hazards model with Efron's ties, its tests, and the check of its assumption."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from lifelines import CoxPHFitter
from lifelines.exceptions import ConvergenceError, ConvergenceWarning
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, norm

from training.statistics.arrays import Estimate, Test, Z, finite_vector, follow_up
from training.statistics.estimability import NotEstimable, estimated

TimeTransform = Literal["km", "identity", "rank"]
LINEAR_PREDICTOR: Final = "linear_predictor"
_NEWTON_STEPS: Final = 30
_FAR_APART: Final = 50.0
"""Beyond a hazard ratio of exp(50) the estimate counts as infinite: the likelihood has no maximum."""
_SINGULAR: Final = 1e-10
"""Smallest eigenvalue, of a matrix with ones on its diagonal, that rounding cannot have left of 0."""


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


@dataclass(frozen=True, slots=True)
class ProportionalHazards:
    """The check of proportional hazards: one test per covariate and one of all; a small P speaks against the model."""

    transform: TimeTransform
    by_term: dict[str, Test]
    overall: Test


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


class CoxRefit:
    """Cox's model of the same follow-up with other covariates, fast enough to be fitted for every shuffle of patients.

    Parameters
    ----------
    time, event
        Shape (N,).

    Raises
    ------
    ValueError
        NaN, columns of different length, or no event.
    """

    def __init__(self, time: ArrayLike, event: ArrayLike) -> None:
        times, self._events = follow_up(time, event)
        if not self._events.any():
            raise ValueError("Cox's model needs an event, and nobody had one")
        at, died = np.unique(times[self._events], return_counts=True)
        # from the last follow-up back, so that a risk set is a beginning of this order
        self._order = np.argsort(-times, kind="stable")
        self._at_risk = times.size - np.searchsorted(np.sort(times), at)
        self._dying = np.flatnonzero(self._events)[np.argsort(times[self._events], kind="stable")]
        self._first_dying = np.cumsum(died) - died
        # Efron: of d events at one time the l-th takes l/d of them out of the risk set
        self._step_time = np.repeat(np.arange(at.size), died)
        self._taken = (np.arange(self._dying.size) - self._first_dying[self._step_time]) / died[self._step_time]

    def linear_predictor(self, covariates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the fitted log hazard of each patient, shape (N,), up to a constant.

        Parameters
        ----------
        covariates
            Shape (N, P). Where the likelihood has no maximum, what the last step gave: the order of the patients is
            settled by then, and a cut-off needs no more.
        """
        return self._newton(covariates)[0]

    def coefficients(self, covariates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log hazard ratio per unit of each covariate, shape (P,).

        Parameters
        ----------
        covariates
            Shape (N, P).

        Raises
        ------
        NoFiniteEstimate
            The likelihood has no maximum.
        """
        return self.estimate(covariates)[0]

    def estimate(self, covariates: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return coefficients and their standard errors, each of shape (P,).

        Parameters
        ----------
        covariates
            Shape (N, P).

        Returns
        -------
        tuple of NDArray[np.float64]

        Raises
        ------
        NoFiniteEstimate
            The likelihood has no maximum, or covariates determine one another.
        """
        _, beta, scale, information = self._newton(covariates)
        if information is None or not (scale > 0).all() or not _invertible(information):
            raise NoFiniteEstimate("there is no finite hazard ratio")
        return beta / scale, np.sqrt(np.diag(np.linalg.inv(information))) / scale

    def log_likelihood(self, covariates: NDArray[np.float64]) -> float:
        """Return the largest partial log-likelihood, Efron's; where there is no maximum, that of the last step.

        Parameters
        ----------
        covariates
            Shape (N, P).

        Returns
        -------
        float
        """
        eta = self._newton(covariates)[0]
        highest = float(eta.max())
        risk = self._risk_sums(np.exp(eta - highest)[:, None])[:, 0]
        return float((eta[self._events] - highest).sum() - np.log(risk).sum())

    def _newton(
        self, covariates: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
        """Return log hazards, coefficients of the standardised covariates, their scale, and the information at the maximum.

        The information is None where the steps did not end.
        """
        x = covariates - covariates.mean(axis=0)
        scale = x.std(axis=0)
        x = x / np.where(scale > 0, scale, 1.0)
        n, p = x.shape
        products = np.einsum("ni,nj->nij", x, x).reshape(n, p * p)
        sums = np.column_stack([np.ones(n), x, products])
        total = x[self._events].sum(axis=0)
        beta = np.zeros(p)
        found = None
        for _ in range(_NEWTON_STEPS):
            eta = x @ beta
            if np.ptp(eta) > _FAR_APART:
                break
            moments = self._risk_sums(np.exp(eta - eta.max())[:, None] * sums)
            moments = moments[:, 1:] / moments[:, :1]
            mean, square = moments[:, :p], moments[:, p:].sum(axis=0).reshape(p, p)
            information = square - mean.T @ mean
            step = np.linalg.lstsq(information, total - mean.sum(axis=0), rcond=1e-12)[0]
            step = step / max(1.0, float(np.abs(step).max()))
            beta = beta + step
            if np.abs(step).max() < 1e-9:
                found = information
                break
        return x @ beta, beta, scale, found

    def _risk_sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of patients' values over each risk set of Efron's steps, one row per event."""
        at_risk = np.cumsum(values[self._order], axis=0)[self._at_risk - 1]
        dying = np.add.reduceat(values[self._dying], self._first_dying, axis=0)
        return at_risk[self._step_time] - self._taken[:, None] * dying[self._step_time]


@dataclass(frozen=True, slots=True)
class _Deaths:
    """Efron's steps, one per event: its time's index, the risk set's mean and variance of the covariates then."""

    times: NDArray[np.float64]
    step_time: NDArray[np.int64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    covariates: NDArray[np.float64]
    log_likelihood: float


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
    x = _design(covariates, times.size)
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
    at_zero = _deaths(times, events, x - centre, np.zeros(beta.size))
    at_fit = _deaths(times, events, x - centre, beta)
    score = (at_zero.covariates - at_zero.mean).sum(axis=0)
    freedom = beta.size
    return CoxModel(
        terms=tuple(_term(name, float(b), float(e)) for name, b, e in zip(names, beta, errors, strict=True)),
        centre=centre,
        covariance=covariance,
        log_likelihood=at_fit.log_likelihood,
        null_log_likelihood=at_zero.log_likelihood,
        likelihood_ratio_test=_chi_square(2 * (at_fit.log_likelihood - at_zero.log_likelihood), freedom),
        wald_test=_chi_square(float(beta @ np.linalg.solve(covariance, beta)), freedom),
        score_test=_chi_square(float(score @ np.linalg.solve(at_zero.variance.sum(axis=0), score)), freedom),
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


def proportional_hazards(
    time: ArrayLike,
    event: ArrayLike,
    covariates: Mapping[str, ArrayLike],
    transform: TimeTransform = "km",
    *,
    model: CoxModel | None = None,
) -> ProportionalHazards:
    """Test whether hazard ratios change with time, as R's ``cox.zph`` since survival 3.0 does.

    Parameters
    ----------
    time, event
        Shape (N,).
    covariates
        Columns of shape (N,) by name.
    transform
        Of time: ``km``, ``identity`` or ``rank``.
    model
        `cox` of the same patients and covariates, where it is known; it is fitted here otherwise.

    Returns
    -------
    ProportionalHazards

    Raises
    ------
    NoFiniteEstimate
        All events were at one time, or at all times but one the patients at risk had the same covariates.
    ValueError
        As `cox`.

    Notes
    -----
    Grambsch and Therneau, Biometrika 1994; 81: 515-526, as the exact score test of adding covariate x g(time) to the
    model. (lifelines' test is their approximation, which takes the risk sets' variance as constant; it gives other
    numbers.) g is 1 - Kaplan-Meier just before the event (``km``), the time itself, or its rank.
    """
    times, events = follow_up(time, event)
    if model is None:
        model = cox(times, events, covariates)
    x = _design(covariates, times.size) - model.centre
    deaths = _deaths(times, events, x, model.coefficients)
    if deaths.times.size < 2:
        raise NoFiniteEstimate("all events were at one time, so nothing can be said of hazards that change with time")
    g = _time_scale(times, events, deaths.times, transform)[deaths.step_time]
    g = g - g.mean()
    p = x.shape[1]
    score = np.concatenate([np.zeros(p), (g[:, None] * (deaths.covariates - deaths.mean)).sum(axis=0)])
    v = deaths.variance
    cross, square = np.einsum("s,sij->ij", g, v), np.einsum("s,sij->ij", g**2, v)
    information = np.block([[v.sum(axis=0), cross], [cross, square]])

    def test(added: list[int]) -> Test:
        kept = [*range(p), *(p + k for k in added)]
        part, within = score[kept], information[np.ix_(kept, kept)]
        if not _invertible(within):
            raise NoFiniteEstimate(
                f"nothing can be said of hazards of {', '.join(model.names[k] for k in added)} that change with time: "
                "patients at risk differed at too few of the times of events"
            )
        return _chi_square(float(part @ np.linalg.solve(within, part)), len(added))

    by_term = {name: test([k]) for k, name in enumerate(model.names)}
    return ProportionalHazards(transform, by_term, test(list(range(p))))


def hazards_of(
    time: ArrayLike, event: ArrayLike, covariates: Mapping[str, ArrayLike], model: CoxModel | NotEstimable
) -> ProportionalHazards | NotEstimable:
    """Return `proportional_hazards` of a fitted model, or why there is none.

    Parameters
    ----------
    time, event
        Shape (N,).
    covariates
        Columns of shape (N,) by name.
    model
        `cox` of the same patients and covariates, or the reason why it has no fit.

    Returns
    -------
    ProportionalHazards or NotEstimable
    """
    if isinstance(model, NotEstimable):
        return model
    return estimated(proportional_hazards, time, event, covariates, model=model)


def _design(covariates: Mapping[str, ArrayLike], n: int) -> NDArray[np.float64]:
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


def _deaths(
    times: NDArray[np.float64], events: NDArray[np.bool_], x: NDArray[np.float64], beta: NDArray[np.float64]
) -> _Deaths:
    """Walk back from the last event; of d events at one time the l-th takes l/d of them out of the risk set."""
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
    return _Deaths(
        distinct,
        np.array(step_time),
        np.array(means).reshape(-1, p),
        np.array(variances).reshape(-1, p, p),
        np.concatenate(rows),
        log_likelihood,
    )


def _moments(weight: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[np.float64, NDArray, NDArray]:
    return weight.sum(), weight @ x, (x * weight[:, None]).T @ x


def _invertible(information: NDArray[np.float64]) -> bool:
    """Return whether a positive semidefinite matrix has its full rank, whatever the units of its rows."""
    scale = np.sqrt(np.diag(information))
    if not (scale > 0).all():
        return False
    return bool(np.linalg.eigvalsh(information / np.outer(scale, scale))[0] > _SINGULAR)


def _time_scale(
    times: NDArray[np.float64], events: NDArray[np.bool_], at: NDArray[np.float64], transform: TimeTransform
) -> NDArray[np.float64]:
    if transform == "identity":
        return at
    if transform == "rank":
        # ranks of all patients' times, as in R: ties get their mean rank
        below = (times[:, None] < at).sum(axis=0)
        equal = (times[:, None] == at).sum(axis=0)
        return below + (equal + 1) / 2
    if transform != "km":
        raise ValueError(f"transform must be 'km', 'identity' or 'rank', got {transform!r}")
    risk = (times[:, None] >= at).sum(axis=0)
    died = ((times[:, None] == at) & events[:, None]).sum(axis=0)
    survival = np.cumprod(1 - died / risk)
    return 1 - np.concatenate([[1.0], survival[:-1]])


def _term(name: str, coefficient: float, error: float) -> CoxTerm:
    with np.errstate(over="ignore"):  # per unit of a covariate that differs in small decimals it may be infinite
        ratio = Estimate(*(float(np.exp(coefficient + k * Z * error)) for k in (0, -1, 1)))
    statistic = coefficient / error
    return CoxTerm(name, coefficient, error, ratio, statistic, 2 * float(norm.sf(abs(statistic))))


def _chi_square(statistic: float, freedom: int) -> Test:
    return Test(statistic, freedom, float(chi2.sf(statistic, freedom)))
