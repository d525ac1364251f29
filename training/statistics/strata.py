"""Strata: whether the score works for every manufacturer, slice thickness and tube current (paper, supplement Figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2

from training.statistics.arrays import Test, finite_vector, labels_of_both_classes
from training.statistics.discrimination import Auc, auc

SLICE_THICKNESS_CUT_MM = 5.0
TUBE_CURRENT_CUT_MA = 290.0
"""The paper's median."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """One level of one stratum: patients, positives, and the area where both classes have two patients or more."""

    level: str
    n: int
    n_positive: int
    auc: Auc | None


@dataclass(frozen=True, slots=True)
class Stratification:
    """One variable.

    Attributes
    ----------
    name
        Of the variable.
    strata
        By level, in order of name or, for cut numbers, low before high.
    unknown
        Patients without the value: they are counted and left out.
    heterogeneity
        Whether the areas differ at all: Cochran's Q of the areas by their DeLong variances, chi-square with one degree
        of freedom fewer than levels that have an area. None with fewer than two such levels, or without any variance.
    """

    name: str
    strata: tuple[Stratum, ...]
    unknown: int
    heterogeneity: Test | None


def stratify(name: str, labels: ArrayLike, scores: ArrayLike, levels: Sequence[str | None]) -> Stratification:
    """Return the area in each level of a variable; None is unknown.

    Parameters
    ----------
    name
        Of the variable.
    labels
        Shape (N,), 0 and 1.
    scores
        Shape (N,).
    levels
        One per patient; None is unknown.

    Returns
    -------
    Stratification

    Raises
    ------
    ValueError
        One class only in the whole cohort, columns of different length, NaN scores.
    """
    positive = labels_of_both_classes(labels)
    values = finite_vector(scores, "scores", positive.size)
    if len(levels) != positive.size:
        raise ValueError(f"{name} has {len(levels)} values where the labels have {positive.size}")
    column = np.array(["" if level is None else level for level in levels], dtype=object)
    known = np.array([level is not None for level in levels])
    strata = []
    for level in sorted({level for level in levels if level is not None}):
        member = known & (column == level)
        cases = int(positive[member].sum())
        enough = min(cases, int(member.sum()) - cases) >= 2
        area = auc(positive[member], values[member]) if enough else None
        strata.append(Stratum(level, int(member.sum()), cases, area))
    return Stratification(name, tuple(strata), int((~known).sum()), _heterogeneity(strata))


def stratify_by_cut(
    name: str, labels: ArrayLike, scores: ArrayLike, values: ArrayLike, cut: float | None = None, unit: str = ""
) -> Stratification:
    """Return the area below a cut and from the cut on; NaN is unknown; without a cut, the median of the known values.

    Parameters
    ----------
    name
        Of the variable.
    labels, scores
        Shape (N,).
    values
        Shape (N,); NaN is unknown.
    cut
        From it on a patient is in the upper stratum; the median where None.
    unit
        Of the values.

    Returns
    -------
    Stratification

    Raises
    ------
    ValueError
        As `stratify`, or no value is known.
    """
    column = np.asarray(values, dtype=np.float64)
    known = column[np.isfinite(column)]
    if known.size == 0:
        raise ValueError(f"{name} is known of no patient")
    at = float(np.median(known)) if cut is None else cut
    suffix = f" {unit}" if unit else ""
    # '<' sorts before '>='
    levels = [None if not np.isfinite(v) else f"< {at:g}{suffix}" if v < at else f">= {at:g}{suffix}" for v in column]
    return stratify(name, labels, scores, levels)


def _heterogeneity(strata: Sequence[Stratum]) -> Test | None:
    areas = [s.auc for s in strata if s.auc is not None and s.auc.variance > 0]
    if len(areas) < 2 or any(s.auc is not None and s.auc.variance <= 0 for s in strata):
        return None
    value = np.array([a.value for a in areas])
    weight = 1 / np.array([a.variance for a in areas])
    pooled = float((weight * value).sum() / weight.sum())
    q = float((weight * (value - pooled) ** 2).sum())
    return Test(q, len(areas) - 1, float(chi2.sf(q, len(areas) - 1)))
