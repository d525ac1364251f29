"""Checks that every analysis makes of its arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm

LEVEL = 0.95
"""Coverage of every interval, as the paper's."""

Z = float(norm.ppf(0.5 + LEVEL / 2))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; NaN in all three where the data hold no finite estimate."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Test:
    """A test statistic, its degrees of freedom and its two-sided P."""

    __test__ = False  # tells pytest that this class holds no tests

    statistic: float
    degrees_of_freedom: float
    p_value: float


NO_ESTIMATE = Estimate(float("nan"), float("nan"), float("nan"))


def logit_interval(value: float, error: float, quantile: float = Z) -> tuple[float, float]:
    """Return a 95 % interval that is normal on the scale of log-odds, so that it lies within 0 and 1.

    Parameters
    ----------
    value
        A share between 0 and 1, neither of them.
    error
        Its standard error, on its own scale.
    quantile
        Of the distribution that the interval is of; the normal one's by default.

    Returns
    -------
    tuple of float
        Lower and upper limit.
    """
    middle, half = float(logit(value)), quantile * error / (value * (1 - value))
    return float(expit(middle - half)), float(expit(middle + half))


def finite_vector(values: ArrayLike, name: str, length: int | None = None) -> NDArray[np.float64]:
    """Return a float64 vector that is known to be finite.

    Parameters
    ----------
    values
        To check.
    name
        Of the column, for messages.
    length
        That it must have; any where None.

    Returns
    -------
    NDArray[np.float64]
        Shape (N,).

    Raises
    ------
    ValueError
        Not one-dimensional, empty, of another length than the other columns, or with a NaN or an infinity: no analysis
        drops patients silently.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be numbers, got {np.asarray(values, dtype=object).dtype} that are not"
        ) from error
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a vector with at least one value, got shape {array.shape}")
    if length is not None and array.size != length:
        raise ValueError(f"{name} has {array.size} values where the other columns have {length}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(f"{name} has {bad.size} values that are missing or infinite, the first in row {bad[0]}")
    return array


def binary_vector(values: ArrayLike, name: str, length: int | None = None) -> NDArray[np.bool_]:
    """Return a boolean vector from 0 and 1 or False and True.

    Parameters
    ----------
    values
        To check: 0 and 1, or booleans.
    name
        Of the column, for messages.
    length
        That it must have; any where None.

    Returns
    -------
    NDArray[np.bool_]
        Shape (N,).

    Raises
    ------
    ValueError
        As `finite_vector`, or a value other than 0 and 1.
    """
    array = finite_vector(values, name, length)
    other = np.setdiff1d(array, (0.0, 1.0))
    if other.size:
        raise ValueError(f"{name} must hold 0 and 1 only, got {other[0]:g}")
    return array == 1.0


def labels_of_both_classes(labels: ArrayLike, smallest: int = 1) -> NDArray[np.bool_]:
    """Return labels that hold at least ``smallest`` patients of each class.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    smallest
        Patients that each class needs.

    Returns
    -------
    NDArray[np.bool_]
        Shape (N,), true for 1.

    Raises
    ------
    ValueError
        As `binary_vector`, or a class is too small.
    """
    array = binary_vector(labels, "labels")
    positive = int(array.sum())
    negative = array.size - positive
    if min(positive, negative) < smallest:
        raise ValueError(
            f"labels need at least {smallest} of each class, got {positive} positive and {negative} negative"
        )
    return array


def probability_vector(values: ArrayLike, name: str, length: int | None = None) -> NDArray[np.float64]:
    """Return a vector of probabilities.

    Parameters
    ----------
    values
        To check.
    name
        Of the column, for messages.
    length
        That it must have; any where None.

    Returns
    -------
    NDArray[np.float64]
        Shape (N,), 0 to 1.

    Raises
    ------
    ValueError
        As `finite_vector`, or a value outside 0 to 1.
    """
    array = finite_vector(values, name, length)
    if array.min() < 0 or array.max() > 1:
        raise ValueError(f"{name} must be probabilities, got values from {array.min():g} to {array.max():g}")
    return array


def follow_up(time: ArrayLike, event: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return follow-up times and whether the event was seen.

    Parameters
    ----------
    time
        Shape (N,): to the event or the end of follow-up.
    event
        Shape (N,): whether it was the event.

    Returns
    -------
    tuple[NDArray[np.float64], NDArray[np.bool_]]
        Times and events, each of shape (N,).

    Raises
    ------
    ValueError
        As `finite_vector` and `binary_vector`, or a negative time.
    """
    times = finite_vector(time, "time")
    if times.min() < 0:
        raise ValueError(f"time must not be negative, got {times.min():g} in row {int(times.argmin())}")
    return times, binary_vector(event, "event", times.size)


def causes_of_events(time: ArrayLike, status: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return follow-up times and the kind of the first event.

    Parameters
    ----------
    time
        Shape (N,): to the first event of either kind, or the end of follow-up.
    status
        Shape (N,): 0 censored, 1 the event, 2 the competing event.

    Returns
    -------
    tuple[NDArray[np.float64], NDArray[np.int64]]
        Times and kinds, each of shape (N,).

    Raises
    ------
    ValueError
        As `finite_vector`, a negative time, or another status.
    """
    times = finite_vector(time, "time")
    kinds = finite_vector(status, "status", times.size)
    if times.min() < 0:
        raise ValueError(f"time must not be negative, got {times.min():g} in row {int(times.argmin())}")
    other = np.setdiff1d(kinds, (0.0, 1.0, 2.0))
    if other.size:
        raise ValueError(f"status must be 0, 1 or 2, got {other[0]:g}")
    return times, kinds.astype(np.int64)
