"""Logistic regression with a ridge strength for each group of variables."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve
from scipy.special import expit

from training.statistics.arrays import binary_vector

ITERATIONS: Final = 100
TOLERANCE: Final = 1e-8
"""Largest distance of a patient's residual from its stationary value, in probability, at which the fit has converged."""
_LEAST_WEIGHT: Final = 1e-12
_ROUNDING: Final = 1e-13
"""Of the objective: near the minimum a step changes it by less."""
Groups = Mapping[str, NDArray[np.float64]]
"""Variables by group, each of shape (N, K_g)."""
Strengths = Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class GroupedRidge:
    """A fitted model: the logit is ``intercept + sum_g values_g . weights_g``.

    Attributes
    ----------
    intercept
        Not penalised.
    weights
        By group, float64, shape (K_g,).
    strengths
        By group.
    """

    intercept: float
    weights: dict[str, NDArray[np.float64]]
    strengths: dict[str, float]

    def logit(self, groups: Groups) -> NDArray[np.float64]:
        """Return the logit of N patients, float64, shape (N,).

        Parameters
        ----------
        groups
            As it was fitted on.

        Returns
        -------
        NDArray[np.float64]
        """
        patients = len(next(iter(groups.values())))
        parts = (groups[name] @ weights for name, weights in self.weights.items())
        return sum(parts, np.full(patients, self.intercept))


def fit_grouped_ridge(groups: Groups, labels: ArrayLike, strengths: Strengths) -> GroupedRidge:
    """Fit the model.

    Parameters
    ----------
    groups
        Standardised variables of N patients; there may be more variables than patients.
    labels
        Shape (N,), 0 and 1.
    strengths
        Above 0, by group.

    Returns
    -------
    GroupedRidge

    Raises
    ------
    ValueError
        A strength is not positive, or one class is missing.
    RuntimeError
        The fit did not converge.

    Notes
    -----
    It minimises ``mean(log(1 + exp(-s * logit))) + sum_g strength_g / 2 * |weights_g|^2`` with s = -1, 1 (le Cessie and
    van Houwelingen, Appl Stat 1992; 41: 191-201, with a strength per group) by Newton's method in the space of the
    patients, where each step costs N^3 whatever the number of variables. The minimum is unique.
    """
    positive = _both_classes(labels)
    grams = {name: values @ values.T for name, values in groups.items()}
    dual, intercept = _solve(_kernel(grams, strengths), positive)
    weights = {name: values.T @ dual / strengths[name] for name, values in groups.items()}
    return GroupedRidge(intercept, weights, {name: float(strengths[name]) for name in groups})


@dataclass(frozen=True, slots=True)
class ChosenStrengths:
    """What cross-validation chose.

    Attributes
    ----------
    strengths
        By group: of the smallest deviance.
    deviance
        Mean over patients of minus twice the log-likelihood, each by a model that was fitted without them.
    tried
        Every combination with its deviance, in the order of the grid.
    """

    strengths: dict[str, float]
    deviance: float
    tried: tuple[tuple[dict[str, float], float], ...]


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutFold:
    """One fold's variables: standardised by the fold's own training patients.

    Attributes
    ----------
    training, held_out
        Variables by group.
    labels, held_out_labels
        Of either.
    """

    training: Groups
    labels: NDArray[np.float64]
    held_out: Groups
    held_out_labels: NDArray[np.float64]


def choose_strengths(folds: Sequence[HeldOutFold], grid: Mapping[str, Sequence[float]]) -> ChosenStrengths:
    """Choose the strengths by the deviance of patients that were held out.

    Parameters
    ----------
    folds
        Each patient is held out once. A fold in which a group has no variable goes without the group.
    grid
        Strengths to try by group; all combinations are.

    Returns
    -------
    ChosenStrengths
        Of equal deviances the first in the grid's order.

    Raises
    ------
    ValueError, RuntimeError
        As of `fit_grouped_ridge`.
    """
    names = list(grid)
    combinations = [dict(zip(names, values, strict=True)) for values in itertools.product(*grid.values())]
    sums = np.zeros(len(combinations))
    patients = 0
    for fold in folds:
        positive = _both_classes(fold.labels)
        grams = {name: values @ values.T for name, values in fold.training.items()}
        across = {name: fold.held_out[name] @ values.T for name, values in fold.training.items()}
        sign = np.where(fold.held_out_labels > 0, -1.0, 1.0)
        patients += sign.size
        for number, strengths in enumerate(combinations):
            dual, intercept = _solve(_kernel(grams, strengths), positive)
            logit = _kernel(across, strengths) @ dual + intercept
            sums[number] += 2 * np.logaddexp(0.0, sign * logit).sum()
    deviances = sums / patients
    best = int(np.argmin(deviances))
    return ChosenStrengths(
        combinations[best],
        float(deviances[best]),
        tuple((strengths, float(deviance)) for strengths, deviance in zip(combinations, deviances, strict=True)),
    )


def _both_classes(labels: ArrayLike) -> NDArray[np.bool_]:
    positive = binary_vector(labels, "labels")
    if positive.all() or not positive.any():
        raise ValueError("one class only: there is nothing to tell apart")
    return positive


def _kernel(grams: Groups, strengths: Strengths) -> NDArray[np.float64]:
    for name in grams:
        if not strengths[name] > 0:
            raise ValueError(f"the strength of {name} must be above 0, got {strengths[name]}")
    return sum((gram / strengths[name] for name, gram in grams.items()), np.zeros(next(iter(grams.values())).shape))


def _solve(kernel: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Return the dual coefficients, shape (N,), and the intercept; at the minimum a coefficient is ``(y - p) / N``."""
    n = len(positive)
    dual = np.zeros(n)
    intercept = float(np.log(positive.mean() / (1 - positive.mean())))
    ones = np.ones(n)
    objective = _objective(kernel, dual, intercept, positive)
    for _ in range(ITERATIONS):
        logit = kernel @ dual + intercept
        probability = expit(logit)
        residual = (positive - probability) / n
        if max(np.abs(dual - residual).max(), abs(residual.sum())) * n < TOLERANCE:
            return dual, intercept
        weight = np.maximum(probability * (1 - probability) / n, _LEAST_WEIGHT)
        both = solve(kernel + np.diag(1 / weight), np.column_stack([logit + residual / weight, ones]), assume_a="pos")
        next_intercept = float(both[:, 0].sum() / both[:, 1].sum())
        next_dual = both[:, 0] - next_intercept * both[:, 1]
        # A full step almost always lowers the objective; where it does not, a part of it does.
        step = 1.0
        while True:
            tried = dual + step * (next_dual - dual), intercept + step * (next_intercept - intercept)
            reached = _objective(kernel, *tried, positive)
            if reached <= objective + _ROUNDING or step < 1e-6:
                break
            step /= 2
        dual, intercept = tried
        objective = reached
    raise RuntimeError(f"the fit did not converge in {ITERATIONS} steps")


def _objective(
    kernel: NDArray[np.float64], dual: NDArray[np.float64], intercept: float, positive: NDArray[np.bool_]
) -> float:
    part = kernel @ dual
    sign = np.where(positive, -1.0, 1.0)
    return float(np.logaddexp(0.0, sign * (part + intercept)).mean() + dual @ part / 2)
