"""Table 1: characteristics of the cohorts, and whether they differ (paper, Table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2_contingency, ttest_ind

UNKNOWN = "Unknown"

STUDENT: Final = "Student"


@dataclass(frozen=True, slots=True)
class CategoricalTest:
    """Pearson's chi-square of two cohorts.

    Attributes
    ----------
    statistic, degrees_of_freedom, p_value
        With Yates' correction on 2 x 2.
    smallest_expected
        Patients expected in the emptiest cell: under 5, the chi-square distribution is a poor approximation.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float
    smallest_expected: float


@dataclass(frozen=True, slots=True)
class Categorical:
    """A categorical variable.

    Attributes
    ----------
    name
        Of the variable.
    levels
        As printed; ``Unknown`` comes last where somebody's value is missing.
    counts
        By cohort (``Total`` first): patients by level, int64, shape (L,).
    tests
        By cohort: the reference cohort against it. None where only one level occurs in both.
    """

    name: str
    levels: tuple[str, ...]
    counts: dict[str, NDArray[np.int64]]
    tests: dict[str, CategoricalTest | None]

    def percent(self, cohort: str) -> NDArray[np.float64]:
        """Return the shares of a cohort's patients by level, percent."""
        return 100 * self.counts[cohort] / self.counts[cohort].sum()


@dataclass(frozen=True, slots=True)
class Summary:
    """Of the known values: patients, mean, standard deviation (n - 1), median and quartiles; and the missing ones."""

    n: int
    missing: int
    mean: float
    standard_deviation: float
    median: float
    lower_quartile: float
    upper_quartile: float


@dataclass(frozen=True, slots=True)
class Continuous:
    """A continuous variable: summaries by cohort (``Total`` first), and two-sided P of the reference against each."""

    name: str
    summaries: dict[str, Summary]
    test: str
    p_values: dict[str, float]


@dataclass(frozen=True, slots=True)
class TableOne:
    """The table: patients by cohort (``Total`` first), the reference cohort, and the variables in order."""

    n: dict[str, int]
    reference: str
    variables: tuple[Categorical | Continuous, ...]


def compare_counts(first: ArrayLike, second: ArrayLike) -> CategoricalTest | None:
    """Test whether two cohorts have the same shares of each level.

    Parameters
    ----------
    first, second
        Shape (L,): patients by level. 'Unknown' is a level like the others; levels that nobody has are left out.

    Returns
    -------
    test
        None where fewer than two levels occur.

    Raises
    ------
    ValueError
        Negative or fractional counts, different numbers of levels, or an empty cohort.

    Notes
    -----
    Pearson 1900; Yates' correction for 2 x 2 (Suppl J R Stat Soc 1934; 1: 217-235), as R's ``chisq.test`` by default.
    """
    table = np.asarray([first, second], dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all() or (table < 0).any() or (table != np.round(table)).any():
        raise ValueError(
            "counts must be whole numbers of patients by level, 0 or more, the same levels in both cohorts"
        )
    if (table.sum(axis=1) == 0).any():
        raise ValueError("a cohort without patients cannot be compared")
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return None
    result = chi2_contingency(table, correction=True)
    return CategoricalTest(
        float(result.statistic), int(result.dof), float(result.pvalue), float(result.expected_freq.min())
    )


def categorical(
    name: str, values: Sequence[str | None], cohort: Sequence[str], reference: str, levels: Sequence[str]
) -> Categorical:
    """Count a categorical variable by cohort.

    Parameters
    ----------
    name
        Of the variable.
    values
        Length N: a level, or None for unknown.
    cohort
        Length N: each patient's cohort; their order in the table is that of first appearance.
    reference
        The cohort that the others are compared with.
    levels
        As they shall be printed.

    Returns
    -------
    Categorical

    Raises
    ------
    ValueError
        A value that is no level, columns of different length, or a reference without patients.
    """
    cohorts = _cohorts(len(values), name, cohort, reference)
    other = sorted({v for v in values if v is not None} - set(levels))
    if other:
        raise ValueError(f"{name} holds {other[0]!r}, which is none of {', '.join(levels)}")
    shown = (*levels, UNKNOWN) if any(v is None for v in values) else tuple(levels)
    code = np.array([shown.index(UNKNOWN if v is None else v) for v in values])
    counts = {c: np.bincount(code[member], minlength=len(shown)) for c, member in cohorts.items()}
    tests = {c: compare_counts(counts[reference], counts[c]) for c in _others(cohorts, reference)}
    return Categorical(name, tuple(shown), counts, tests)


def continuous(name: str, values: ArrayLike, cohort: Sequence[str], reference: str) -> Continuous:
    """Summarise a continuous variable by cohort, and compare means by Student's t test.

    Parameters
    ----------
    name
        Of the variable.
    values
        Shape (N,); NaN is unknown, counted and left out.
    cohort
        One name per patient.
    reference
        The cohort that the others are compared with.

    Returns
    -------
    Continuous

    Raises
    ------
    ValueError
        An infinite value, columns of different length, a reference without patients, or a cohort with fewer than two
        known values.
    """
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1 or np.isinf(column).any():
        raise ValueError(f"{name} must be a vector of finite numbers or NaN")
    cohorts = _cohorts(column.size, name, cohort, reference)
    known = {c: column[member & ~np.isnan(column)] for c, member in cohorts.items()}
    for c, numbers in known.items():
        if numbers.size < 2:
            raise ValueError(f"{name} is known of {numbers.size} patients of cohort {c}; two are needed")
    summaries = {c: _summary(known[c], int(member.sum()) - known[c].size) for c, member in cohorts.items()}
    p_values = {c: _p_of_means(known[reference], known[c]) for c in _others(cohorts, reference)}
    return Continuous(name, summaries, STUDENT, p_values)


def table_one(cohort: Sequence[str], reference: str, variables: Sequence[Categorical | Continuous]) -> TableOne:
    """Put variables together into a table.

    Parameters
    ----------
    cohort
        One name per patient.
    reference
        The cohort that the others are compared with.
    variables
        Made for these cohorts.

    Returns
    -------
    TableOne

    Raises
    ------
    ValueError
        A variable was made for other cohorts.
    """
    cohorts = _cohorts(len(cohort), "cohort", cohort, reference)
    for variable in variables:
        made_for = variable.counts if isinstance(variable, Categorical) else variable.summaries
        if list(made_for) != list(cohorts):
            raise ValueError(f"{variable.name} was counted for the cohorts {', '.join(made_for)}")
    return TableOne({c: int(member.sum()) for c, member in cohorts.items()}, reference, tuple(variables))


def _cohorts(n: int, name: str, cohort: Sequence[str], reference: str) -> dict[str, NDArray[np.bool_]]:
    if len(cohort) != n:
        raise ValueError(f"{name} has {n} values where the cohorts have {len(cohort)}")
    if reference not in set(cohort):
        raise ValueError(f"nobody is in the reference cohort {reference!r}")
    column = np.array(list(cohort), dtype=object)
    return {"Total": np.ones(n, dtype=bool)} | {c: column == c for c in dict.fromkeys(cohort)}


def _others(cohorts: dict[str, NDArray[np.bool_]], reference: str) -> list[str]:
    return [c for c in cohorts if c not in ("Total", reference)]


def _summary(values: NDArray[np.float64], missing: int) -> Summary:
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75])
    deviation = float(values.std(ddof=1))
    return Summary(values.size, missing, float(values.mean()), deviation, float(median), float(lower), float(upper))


def _p_of_means(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    if np.ptp(np.concatenate([first, second])) == 0:
        return 1.0  # all values are the same: there is no test statistic and no difference
    return float(ttest_ind(first, second).pvalue)
