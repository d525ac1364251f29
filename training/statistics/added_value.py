"""What a score adds to the clinical variables: likelihood ratio, and the score alone shuffled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import chi2

from training.statistics.arrays import Test, finite_vector, follow_up, labels_of_both_classes
from training.statistics.cox import cox
from training.statistics.cox_refit import CoxRefit
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.resampling import OptimismBootstrap, cox_optimism, logistic_optimism

_STEPS: Final = 50
_SEPARATED: Final = 30.0
"""Beyond such log-odds on the scale of a standard deviation the estimate counts as infinite."""


@dataclass(frozen=True, slots=True)
class AddedValue:
    """The clinical variables alone, and with the score, both fitted on these patients.

    Attributes
    ----------
    likelihood_ratio
        Test of the score's coefficient beside the clinical variables', one degree of freedom.
    permutation_p
        Share of shuffles whose likelihood ratio is as large (the observed one counts as one of them). Only that part
        of the score is shuffled which the clinical variables do not tell (Potter, Stat Med 2005; 24: 693-708), so that
        the score stays as related to them as it is.
    n_permutations
        Shuffles.
    share_of_information
        Likelihood ratio of the clinical variables alone over that of both (Harrell's adequacy index): 1 where the score
        adds nothing.
    clinical, both
        Area or C-index, and slope, corrected for being fitted and measured on the same patients.
    n, n_events
        Patients, and those with high expression or with the event.
    """

    likelihood_ratio: Test
    permutation_p: float
    n_permutations: int
    share_of_information: float
    clinical: OptimismBootstrap | NotEstimable
    both: OptimismBootstrap | NotEstimable
    n: int
    n_events: int


def logistic_coefficients(covariates: NDArray[np.float64], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fit a logistic regression without penalty by Newton's method.

    Parameters
    ----------
    covariates
        Shape (N, P).
    labels
        Shape (N,).

    Returns
    -------
    NDArray[np.float64]
        Intercept and coefficients, shape (P + 1,).

    Raises
    ------
    ValueError
        One class only, a constant covariate or one that others determine, or classes that a line separates.
    """
    if labels.all() or not labels.any():
        raise ValueError("one class only")
    centre, scale = covariates.mean(axis=0), covariates.std(axis=0)
    if not (scale > 0).all():
        raise ValueError("a variable is the same for every patient, so it tells nothing")
    x = np.column_stack([np.ones(labels.size), (covariates - centre) / scale])
    if np.linalg.matrix_rank(x, tol=1e-7 * np.sqrt(labels.size)) < x.shape[1]:
        raise ValueError("one variable is determined by the others")
    beta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        probability = expit(x @ beta)
        weight = np.maximum(probability * (1 - probability), 1e-12)
        step = np.linalg.solve((x * weight[:, None]).T @ x, x.T @ (labels - probability))
        step /= max(1.0, float(np.abs(step).max()) / 5)
        beta = beta + step
        if np.abs(beta).max() > _SEPARATED:
            break
        if np.abs(step).max() < 1e-10:
            slopes = beta[1:] / scale
            return np.concatenate([[beta[0] - slopes @ centre], slopes])
    raise ValueError("the variables separate the classes, so there is no finite estimate")


def added_to_logistic(
    labels: ArrayLike,
    clinical: NDArray[np.float64],
    score: ArrayLike,
    *,
    n_permutations: int = 2000,
    n_resamples: int = 200,
    seed: int = 0,
) -> AddedValue:
    """Test what a score adds to the clinical variables in telling a label.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    clinical
        Shape (N, K).
    score
        Shape (N,), best in log-odds.
    n_permutations
        Shuffles.
    n_resamples
        Of the bootstrap that corrects areas.
    seed
        Of either.

    Returns
    -------
    AddedValue

    Raises
    ------
    ValueError
        As `logistic_coefficients`, or NaN.
    """
    positive = labels_of_both_classes(labels)
    values = finite_vector(score, "score", positive.size)
    own = _own_part(clinical, values)

    def log_likelihood(covariates: NDArray[np.float64]) -> float:
        beta = logistic_coefficients(covariates, positive)
        predictor = beta[0] + covariates @ beta[1:]
        return -float(np.logaddexp(0, np.where(positive, -predictor, predictor)).sum())

    share = positive.mean()
    nothing = float(positive.size * (share * np.log(share) + (1 - share) * np.log(1 - share)))
    return _added(
        log_likelihood,
        nothing,
        clinical,
        values,
        own,
        lambda part: logistic_optimism(positive, logistic_coefficients, part, n_resamples=n_resamples, seed=seed),
        n_permutations,
        seed,
        int(positive.sum()),
    )


def added_to_cox(
    time: ArrayLike,
    event: ArrayLike,
    clinical: NDArray[np.float64],
    score: ArrayLike,
    *,
    n_permutations: int = 2000,
    n_resamples: int = 200,
    seed: int = 0,
) -> AddedValue:
    """Test what a score adds to the clinical variables in telling the time to an event.

    Parameters
    ----------
    time, event
        Shape (N,).
    clinical
        Shape (N, K).
    score
        Shape (N,).
    n_permutations
        Shuffles.
    n_resamples
        Of the bootstrap that corrects C-indices.
    seed
        Of either.

    Returns
    -------
    AddedValue

    Raises
    ------
    ValueError
        As `cox.cox`.
    """
    times, events = follow_up(time, event)
    values = finite_vector(score, "score", times.size)
    own = _own_part(clinical, values)
    # says in words what cannot be fitted, which the fast fits below do not
    first = cox(times, events, {str(k): column for k, column in enumerate(clinical.T)})
    cox(times, events, {**{str(k): column for k, column in enumerate(clinical.T)}, "score": values})
    fit = CoxRefit(times, events)
    return _added(
        fit.log_likelihood,
        first.null_log_likelihood,
        clinical,
        values,
        own,
        lambda part: cox_optimism(times, events, part, n_resamples=n_resamples, seed=seed),
        n_permutations,
        seed,
        int(events.sum()),
    )


def _added(
    log_likelihood: Callable[[NDArray[np.float64]], float],
    nothing: float,
    clinical: NDArray[np.float64],
    score: NDArray[np.float64],
    own: NDArray[np.float64],
    optimism: Callable[[NDArray[np.float64]], OptimismBootstrap],
    n_permutations: int,
    seed: int,
    n_events: int,
) -> AddedValue:
    alone = log_likelihood(clinical)
    both = log_likelihood(np.column_stack([clinical, own]))
    statistic = max(0.0, 2 * (both - alone))
    generator = np.random.default_rng(seed)
    as_large = 1
    for _ in range(n_permutations):
        shuffled = own[generator.permutation(own.size)]
        # rounding must not decide between equal values
        as_large += 2 * (log_likelihood(np.column_stack([clinical, shuffled])) - alone) >= statistic - 1e-9
    return AddedValue(
        likelihood_ratio=Test(statistic, 1, float(chi2.sf(statistic, 1))),
        permutation_p=as_large / (n_permutations + 1),
        n_permutations=n_permutations,
        share_of_information=(alone - nothing) / (both - nothing) if both > nothing else float("nan"),
        clinical=estimated(optimism, clinical),
        both=estimated(optimism, np.column_stack([clinical, score])),
        n=own.size,
        n_events=n_events,
    )


def _own_part(clinical: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a linear model of the clinical variables leaves of the score; a model with both fits as well by it."""
    design = np.column_stack([np.ones(score.size), clinical])
    left = score - design @ np.linalg.lstsq(design, score, rcond=None)[0]
    if left.std() <= 1e-9 * max(1.0, float(np.abs(score).max())):
        raise ValueError("the clinical variables determine the score, so it can add nothing")
    return left / left.std()
