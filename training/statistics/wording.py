"""Numbers and results as text for readers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from training.statistics.arrays import Estimate
from training.statistics.classification import Proportion
from training.statistics.concordance import Concordance
from training.statistics.discrimination import Auc
from training.statistics.estimability import NotEstimable
from training.statistics.prognosis import GroupComparison

NOT_ESTIMABLE = "not estimable"
Result = TypeVar("Result")


def said(result: Result | NotEstimable | None, wording: Callable[[Result], str]) -> str:
    """Return a result in words, or 'not estimable' with the reason.

    Parameters
    ----------
    result
        Or `NotEstimable`, or None.
    wording
        Makes words of a result.

    Returns
    -------
    str
    """
    if result is None:
        return NOT_ESTIMABLE
    if isinstance(result, NotEstimable):
        return f"{NOT_ESTIMABLE}: {result.reason}"
    return wording(result)


def number(value: float, digits: int = 2) -> str:
    """Return a number, or a dash for NaN and infinity.

    Parameters
    ----------
    value
        Any float.
    digits
        After the point.

    Returns
    -------
    str
    """
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def interval(estimate: Estimate | Auc | Proportion | Any, digits: int = 2) -> str:
    """Return a value with its 95 % interval.

    Parameters
    ----------
    estimate
        With ``value``, ``lower`` and ``upper``.
    digits
        After the point.

    Returns
    -------
    str
    """
    if math.isnan(estimate.value):
        return NOT_ESTIMABLE
    return f"{number(estimate.value, digits)} ({number(estimate.lower, digits)} to {number(estimate.upper, digits)})"


def p_value(p: float) -> str:
    """Return a P value with three decimals; below 0.001 only that."""
    if math.isnan(p):
        return "P –"
    return "P < 0.001" if p < 0.001 else f"P = {p:.3f}"


def days(estimate: Estimate) -> str:
    """Return a median time with its interval; a limit that the curve does not reach is open."""
    if math.isnan(estimate.value):
        return "not reached"
    low, high = (number(value, 0) if math.isfinite(value) else "" for value in (estimate.lower, estimate.upper))
    return f"{estimate.value:.0f} ({low}–{high})"


def c_index(found: Concordance) -> str:
    """Return a C-index with its interval."""
    return f"C-index {interval(found.c_index)}"


def comparison(groups: GroupComparison) -> str:
    """Return hazard ratio, P, C-index and medians of two groups, upper against lower."""
    ratio = groups.hazard_ratio
    parts = ["no finite HR" if isinstance(ratio, NotEstimable) else f"HR {interval(ratio)}"]
    if not isinstance(groups.log_rank, NotEstimable):
        parts.append(f"log-rank {p_value(groups.log_rank.test.p_value)}")
    if not isinstance(groups.model, NotEstimable):
        parts.append(f"Wald {p_value(groups.model.terms[0].p_value)}")
    if not isinstance(groups.concordance, NotEstimable):
        parts.append(c_index(groups.concordance))
    parts.append(f"median PFS {days(groups.upper.median)} against {days(groups.lower.median)} days")
    return "; ".join(parts)
