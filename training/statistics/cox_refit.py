"""Cox's model fitted again and again: for shuffles, resamples and folds of the same patients."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.statistics.arrays import follow_up
from training.statistics.cox_model import NoFiniteEstimate
from training.statistics.efron import has_full_rank

_NEWTON_STEPS: Final = 30
_FAR_APART: Final = 50.0
"""Beyond a hazard ratio of exp(50) the estimate counts as infinite: the likelihood has no maximum."""


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
        if information is None or not (scale > 0).all() or not has_full_rank(information):
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
