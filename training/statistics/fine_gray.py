"""Fine and Gray's model: hazard ratios of the subdistribution, which order the cumulative incidences of groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.statistics.arrays import Test, causes_of_events
from training.statistics.cox_model import CoxTerm, NoFiniteEstimate, chi_square_test, wald_term
from training.statistics.efron import covariate_matrix, has_full_rank

EVENT: Final = 1
COMPETING: Final = 2
_STEPS: Final = 50
_FAR_APART: Final = 50.0

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SubdistributionModel:
    """A fitted model.

    Attributes
    ----------
    terms
        In the order of the covariates; a ratio above 1 goes with a higher cumulative incidence.
    covariance
        float64, shape (P, P), of the coefficients: robust, with the part of the censoring weights.
    log_likelihood, null_log_likelihood
        Pseudo-likelihoods, Breslow's ties.
    wald_test
        Of all covariates together.
    n, n_events, n_competing
        Patients.
    """

    terms: tuple[CoxTerm, ...]
    covariance: Values
    log_likelihood: float
    null_log_likelihood: float
    wald_test: Test
    n: int
    n_events: int
    n_competing: int


def fine_gray(time: ArrayLike, status: ArrayLike, covariates: Mapping[str, ArrayLike]) -> SubdistributionModel:
    """Fit a proportional hazards model of the subdistribution (Fine and Gray, JASA 1999; 94: 496-509).

    Parameters
    ----------
    time
        Shape (N,): to the first event of either kind, or the end of follow-up.
    status
        Shape (N,): 0 censored, 1 the event, 2 the competing event.
    covariates
        Columns of shape (N,) by name.

    Returns
    -------
    SubdistributionModel

    Raises
    ------
    NoFiniteEstimate
        The likelihood rises without end.
    ValueError
        NaN, columns of different length, another status, no event, or covariates that cannot be told apart.

    Notes
    -----
    A patient with the competing event stays at risk, with the weight that censoring would have left them; censoring may not
    depend on the covariates. Errors are the paper's, as those of R's ``cmprsk::crr``.
    """
    times, kinds = causes_of_events(time, status)
    x = covariate_matrix(covariates, times.size)
    if not (kinds == EVENT).any():
        raise ValueError("Fine and Gray's model needs an event, and nobody had one")
    scale = x.std(axis=0)
    risk = _RiskSets(times, kinds, (x - x.mean(axis=0)) / scale)
    beta = risk.fitted()
    inverse = np.linalg.inv(risk.information(beta))
    influence = risk.residuals(beta) @ inverse
    covariance = influence.T @ influence / np.outer(scale, scale)
    errors = np.sqrt(np.diag(covariance))
    slopes = beta / scale
    return SubdistributionModel(
        terms=tuple(wald_term(name, float(b), float(e)) for name, b, e in zip(covariates, slopes, errors, strict=True)),
        covariance=covariance,
        log_likelihood=risk.log_likelihood(beta),
        null_log_likelihood=risk.log_likelihood(np.zeros_like(beta)),
        wald_test=chi_square_test(float(slopes @ np.linalg.solve(covariance, slopes)), beta.size),
        n=times.size,
        n_events=int((kinds == EVENT).sum()),
        n_competing=int((kinds == COMPETING).sum()),
    )


class _RiskSets:
    """Everybody's weight in the risk set at each of K times of the event, and what a coefficient makes of them.

    Shapes: times, kinds (N,); x (N, P), standardised; weight (N, K).
    """

    def __init__(self, times: Values, kinds: NDArray[np.int64], x: Values) -> None:
        self._times, self._kinds, self._x = times, kinds, x
        self._own = kinds == EVENT
        self._at, self._count = np.unique(times[self._own], return_counts=True)
        before = self._uncensored_before()
        gone = (kinds == COMPETING)[:, None] & (times[:, None] < self._at)
        left = before(self._at)[None, :] / before(times)[:, None]
        self._weight = np.where(times[:, None] >= self._at, 1.0, np.where(gone, left, 0.0))

    def fitted(self) -> Values:
        """Return the coefficients by Newton's method."""
        beta = np.zeros(self._x.shape[1])
        for _ in range(_STEPS):
            information = self.information(beta)
            if not has_full_rank(information) or np.ptp(self._x @ beta) > _FAR_APART:
                break
            step = np.linalg.solve(information, self._score(beta))
            step = step / max(1.0, float(np.abs(step).max()))
            beta = beta + step
            if np.abs(step).max() < 1e-10:
                return beta
        raise NoFiniteEstimate("no finite hazard ratio of the subdistribution: a group may have no events")

    def log_likelihood(self, beta: Values) -> float:
        eta = self._x @ beta
        return float(eta[self._own].sum() - self._count @ np.log(np.exp(eta) @ self._weight))

    def information(self, beta: Values) -> Values:
        share, mean = self._shares(beta)
        p = self._x.shape[1]
        products = np.einsum("ni,nj->nij", self._x, self._x).reshape(-1, p * p)
        square = (self._count @ (share.T @ products)).reshape(p, p)
        return np.asarray(square - (mean * self._count[:, None]).T @ mean)

    def residuals(self, beta: Values) -> Values:
        """Return each patient's part of the score, shape (N, P), with their part of the censoring weights."""
        share, mean = self._shares(beta)
        # what each patient was expected to contribute at each time: weight x hazard ratio x baseline step
        expected = share * self._count
        score = np.zeros_like(self._x)
        place = np.searchsorted(self._at, self._times[self._own])
        score[self._own] = self._x[self._own] - mean[place]
        score -= expected.sum(axis=1)[:, None] * self._x - expected @ mean
        return score + self._of_censoring(expected, mean)

    def _shares(self, beta: Values) -> tuple[Values, Values]:
        """Return each patient's share of the risk set at each time, (N, K), and the covariates' mean there, (K, P)."""
        risk = self._weight * np.exp(self._x @ beta)[:, None]
        share = risk / risk.sum(axis=0)
        return share, share.T @ self._x

    def _score(self, beta: Values) -> Values:
        return np.asarray(self._x[self._own].sum(axis=0) - self._count @ self._shares(beta)[1])

    def _of_censoring(self, expected: Values, mean: Values) -> Values:
        """Return what the estimated weights add: a patient's martingale of censoring, times what it does to the score."""
        lost = np.unique(self._times[self._kinds == 0])
        if not lost.size:
            return np.zeros_like(self._x)
        at_risk = (self._times[:, None] >= lost).sum(axis=0)
        # of those with the competing event before u, what they add to the score from u on
        effect = np.zeros((lost.size, self._x.shape[1]))
        for k, moment in enumerate(lost):
            gone = (self._kinds == COMPETING) & (self._times < moment)
            later = self._at >= moment
            part = expected[np.ix_(gone, later)]
            effect[k] = part.sum(axis=1) @ self._x[gone] - part.sum(axis=0) @ mean[later]
        steps = effect / at_risk[:, None]
        censored = np.array([((self._times == moment) & (self._kinds == 0)).sum() for moment in lost])
        own = (self._kinds == 0)[:, None] & (self._times[:, None] == lost)
        compensated = (self._times[:, None] >= lost) * (censored / at_risk)
        return np.asarray((own - compensated) @ steps)

    def _uncensored_before(self) -> _Step:
        lost, count = np.unique(self._times[self._kinds == 0], return_counts=True)
        at_risk = (self._times[:, None] >= lost).sum(axis=0)
        return _Step(lost, np.concatenate([[1.0], np.cumprod(1 - count / np.maximum(at_risk, 1))]))


@dataclass(frozen=True, slots=True)
class _Step:
    """The Kaplan-Meier curve of staying uncensored, just before a time."""

    at: Values
    value: Values

    def __call__(self, times: Values) -> Values:
        return np.asarray(self.value[np.searchsorted(self.at, times, side="left")])
