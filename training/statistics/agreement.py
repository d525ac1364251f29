"""Agreement of a test with its repetition: ICC, repeatability, limits of agreement, groups that flip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import f as f_distribution
from scipy.stats import t

from training.statistics.arrays import LEVEL, Estimate, Z, finite_vector
from training.statistics.classification import Proportion, proportion

_ROUNDING: Final = 1e-24
"""Squares that add up to less than this share of the largest square vary by rounding alone."""


@dataclass(frozen=True, slots=True)
class Repeatability:
    """A measurement repeated once on the same patients (RIDER-like pairs).

    Attributes
    ----------
    n
        Patients.
    icc
        ICC(2,1): agreement of single measurements, repetitions a random sample.
    bias
        Mean of second less first, with a 95 % interval.
    limits_of_agreement
        Bland and Altman's: 95 % of differences lie within, if they are normal.
    within_patient_deviation
        Root mean square of the within-patient standard deviations, in the measurement's unit.
    repeatability_coefficient
        The difference that 95 % of repetitions stay below: 1.96 x root 2 x the within-patient deviation (QIBA's RC).
    concordance_correlation
        Lin's.
    """

    n: int
    icc: Estimate
    bias: Estimate
    limits_of_agreement: tuple[float, float]
    within_patient_deviation: float
    repeatability_coefficient: float
    concordance_correlation: float


@dataclass(frozen=True, slots=True)
class GroupRepeatability:
    """Groups by a cut-off on both occasions: the share of patients that changed sides, and Cohen's kappa."""

    flipped: Proportion
    kappa: float


def icc(ratings: ArrayLike) -> Estimate:
    """Return ICC(2,1) with its 95 % interval: two-way random, absolute agreement, a single measurement.

    Parameters
    ----------
    ratings
        Shape (N, K): patients by repetitions, without gaps.

    Returns
    -------
    estimate
        NaN in all where all ratings are the same: nothing varies, so there is nothing to correlate.

    Raises
    ------
    ValueError
        Fewer than two patients or repetitions, or NaN.

    Notes
    -----
    Shrout and Fleiss, Psychol Bull 1979; 86: 420-428; intervals as there and in McGraw and Wong, Psychol Methods 1996;
    1: 30-46 (Satterthwaite's degrees of freedom).
    """
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"ratings need two patients and two repetitions or more, got shape {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("ratings have missing or infinite values")
    value, lower, upper = (float(x[0]) for x in _icc(table[None]))
    return Estimate(value, lower, upper)


def icc_of_features(
    first: ArrayLike, second: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return ICC(2,1) of many features at once.

    Parameters
    ----------
    first, second
        Shape (N, F): the same patients on two occasions. A patient with a NaN in a feature leaves that feature.

    Returns
    -------
    value, lower, upper
        float64, shape (F,); NaN where fewer than two patients remain or nothing varies.

    Raises
    ------
    ValueError
        Shapes differ.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 2 or one.shape != two.shape:
        raise ValueError(f"both occasions must have the same patients and features, got {one.shape} and {two.shape}")
    pairs = np.stack([one, two], axis=-1).transpose(1, 0, 2)
    complete = np.isfinite(pairs).all(axis=(1, 2))
    result = np.full((3, pairs.shape[0]), np.nan)
    if complete.any() and one.shape[0] >= 2:
        result[:, complete] = _icc(pairs[complete])
    for k in np.flatnonzero(~complete):
        left = pairs[k][np.isfinite(pairs[k]).all(axis=1)]
        if left.shape[0] >= 2:
            result[:, k] = np.stack(_icc(left[None]))[:, 0]
    return result[0], result[1], result[2]


def one_way_icc(
    measured: ArrayLike,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return ICC(1,1) of many features at once: one-way random, absolute agreement, a single measurement.

    Parameters
    ----------
    measured
        Shape (N, K, F): K measurements of F features of the same N patients, in any order. A patient with a NaN in a feature
        leaves that feature.

    Returns
    -------
    value, lower, upper
        float64, shape (F,), the limits of 95 % intervals; NaN where fewer than two patients remain or nothing varies.

    Raises
    ------
    ValueError
        There are fewer than two patients or measurements.

    Notes
    -----
    Shrout and Fleiss, Psychol Bull 1979; 86: 420-428; exact intervals by F as there. Zwanenburg et al., Sci Rep 2019; 9: 614
    take this form for test and retest, and for image perturbations.
    """
    values = np.asarray(measured, dtype=np.float64)
    if values.ndim != 3 or min(values.shape[:2]) < 2:
        raise ValueError(f"ICC needs two patients and two measurements or more, got shape {values.shape}")
    tables = values.transpose(2, 0, 1)
    complete = np.isfinite(tables).all(axis=(1, 2))
    result = np.full((3, len(tables)), np.nan)
    if complete.any():
        result[:, complete] = _one_way(tables[complete])
    for place in np.flatnonzero(~complete):
        left = tables[place][np.isfinite(tables[place]).all(axis=1)]
        if len(left) >= 2:
            result[:, place] = np.stack(_one_way(left[None]))[:, 0]
    return result[0], result[1], result[2]


def repeatability(first: ArrayLike, second: ArrayLike) -> Repeatability:
    """Return how well a measurement repeats.

    Parameters
    ----------
    first, second
        Shape (N,): the same patients on two occasions.

    Returns
    -------
    Repeatability

    Raises
    ------
    ValueError
        Fewer than two patients, NaN, columns of different length.

    Notes
    -----
    Bland and Altman, Lancet 1986; 327: 307-310; Raunig et al., Stat Methods Med Res 2015; 24: 27-67 (QIBA); Lin,
    Biometrics 1989; 45: 255-268 (with n in its denominators).
    """
    one = finite_vector(first, "first")
    two = finite_vector(second, "second", one.size)
    if one.size < 2:
        raise ValueError("repeatability needs two patients or more, got 1")
    difference = two - one
    bias, spread = float(difference.mean()), float(difference.std(ddof=1))
    half = float(t.ppf(0.5 + LEVEL / 2, one.size - 1)) * spread / math.sqrt(one.size)
    within = math.sqrt(float((difference**2).mean()) / 2)
    moment = float(one.var() + two.var() + bias**2)
    covariance = float(((one - one.mean()) * (two - two.mean())).mean())
    return Repeatability(
        n=one.size,
        icc=icc(np.column_stack([one, two])),
        bias=Estimate(bias, bias - half, bias + half),
        limits_of_agreement=(bias - Z * spread, bias + Z * spread),
        within_patient_deviation=within,
        repeatability_coefficient=Z * math.sqrt(2) * within,
        concordance_correlation=2 * covariance / moment if moment > 0 else math.nan,
    )


def group_repeatability(first: ArrayLike, second: ArrayLike, cut_off: float) -> GroupRepeatability:
    """Return how many patients change sides of a cut-off, with Wilson's interval, and Cohen's kappa (1960).

    Parameters
    ----------
    first, second
        Shape (N,): the same patients on two occasions.
    cut_off
        Above it lies the upper group.

    Returns
    -------
    GroupRepeatability

    Raises
    ------
    ValueError
        NaN, or columns of different length.
    """
    one = finite_vector(first, "first") > cut_off
    two = finite_vector(second, "second", one.size) > cut_off
    agreed = float((one == two).mean())
    by_chance = float(one.mean() * two.mean() + (1 - one.mean()) * (1 - two.mean()))
    kappa = (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan
    return GroupRepeatability(proportion(int((one != two).sum()), one.size), kappa)


def _one_way(tables: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return value, lower and upper limit, each of shape (F,), of tables of shape (F, N, K)."""
    n, k = tables.shape[1:]
    # centred first, because large values would cost the differences their digits
    centred = tables - tables.mean(axis=(1, 2), keepdims=True)
    patient = centred.mean(axis=2)
    bms = k * (patient**2).sum(axis=1) / (n - 1)
    wms = ((centred - patient[:, :, None]) ** 2).sum(axis=(1, 2)) / (n * (k - 1))
    tail = 0.5 + LEVEL / 2
    above = float(f_distribution.ppf(tail, n - 1, n * (k - 1)))
    below = float(f_distribution.ppf(tail, n * (k - 1), n - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (bms - wms) / (bms + (k - 1) * wms)
        lower = (bms - above * wms) / (bms + (k - 1) * above * wms)
        upper = (below * bms - wms) / (below * bms + (k - 1) * wms)
    constant = (centred**2).sum(axis=(1, 2)) <= _ROUNDING * np.maximum(np.abs(tables).max(axis=(1, 2)) ** 2, 1e-300)
    value, lower, upper = (np.where(constant, np.nan, x) for x in (value, lower, upper))
    return value, lower, upper


def _icc(tables: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return value, lower and upper limit, each of shape (F,), of tables of shape (F, N, K)."""
    n, k = tables.shape[1:]
    # centred first, because large values would cost the differences their digits
    centred = tables - tables.mean(axis=(1, 2), keepdims=True)
    patient, occasion = centred.mean(axis=2), centred.mean(axis=1)
    total = (centred**2).sum(axis=(1, 2))
    between = k * (patient**2).sum(axis=1)
    across = n * (occasion**2).sum(axis=1)
    rest = np.maximum(((centred - patient[:, :, None] - occasion[:, None, :]) ** 2).sum(axis=(1, 2)), 0)
    bms, jms, ems = between / (n - 1), across / (k - 1), rest / ((n - 1) * (k - 1))
    tail = 0.5 + LEVEL / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (bms - ems) / (bms + (k - 1) * ems + k * (jms - ems) / n)
        fj = jms / ems
        a = k * value * fj + n * (1 + (k - 1) * value) - k * value
        b = (k * value * fj) ** 2 / (k - 1) + (n * (1 + (k - 1) * value) - k * value) ** 2 / ((n - 1) * (k - 1))
        freedom = np.where(np.isfinite(fj), a**2 / b, k - 1)
        above = f_distribution.ppf(tail, n - 1, freedom)
        below = f_distribution.ppf(tail, freedom, n - 1)
        shared = k * jms + (k * n - k - n) * ems
        lower = n * (bms - above * ems) / (above * shared + n * bms)
        upper = n * (below * bms - ems) / (shared + n * below * bms)
    constant = total <= _ROUNDING * np.maximum(np.abs(tables).max(axis=(1, 2)) ** 2, 1e-300)
    value, lower, upper = (np.where(constant, np.nan, x) for x in (value, lower, upper))
    return value, lower, upper
