"""What the paper's printed numbers imply, recomputed: ``python -m training.paper_arithmetic`` prints every table.

The paper is Tian et al., Theranostics 2021; 11(5): 2098-2107. `docs/paper-read-critically.md` holds the same tables
with an interpretation; a test compares both.
"""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, ttest_ind_from_stats

from training.statistics.arrays import Estimate, Z
from training.statistics.discrimination import hanley_mcneil_variance
from training.statistics.table_one import CategoricalTest, compare_counts
from training.statistics.xtile import miller_siegmund_p


@dataclass(frozen=True, slots=True)
class PrintedCategory:
    """One categorical variable of Table 1: counts by level in training, validation and test, and the two P printed."""

    name: str
    training: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    p_validation: float
    p_test: float


@dataclass(frozen=True, slots=True)
class PrintedAge:
    """Mean and standard deviation of age in a cohort, years, with the P printed against training."""

    cohort: str
    mean: float
    standard_deviation: float
    n: int
    p_value: float


@dataclass(frozen=True, slots=True)
class PrintedAuc:
    """An area with its printed interval, and the number of patients (or patches) that it may rest on."""

    name: str
    area: Estimate
    n_positive: int
    n_negative: int


@dataclass(frozen=True, slots=True)
class PrintedHazardRatio:
    """A univariable Cox result with its printed P, and the medians of the two groups, days."""

    name: str
    ratio: Estimate
    p_value: float
    median_high: float
    median_low: float


TABLE_ONE = (
    PrintedCategory("Gender", (455, 295), (58, 35), (63, 33), 0.838, 0.408),
    PrintedCategory("Smoking status", (348, 300, 74, 28), (43, 36, 11, 3), (41, 38, 10, 7), 0.938, 0.409),
    PrintedCategory("Family history of cancer", (610, 113, 27), (79, 11, 3), (75, 15, 6), 0.686, 0.437),
    PrintedCategory("PD-L1 expression", (261, 489), (33, 60), (34, 62), 0.988, 0.995),
)
AGE_TRAINING = (58.9, 10.7, 750)
AGES = (PrintedAge("validation", 58.0, 10.3, 93, 0.462), PrintedAge("test", 59.0, 11.3, 96, 0.892))

_TRAINING, _PATCHES, _VALIDATION, _TEST = (261, 489), (783, 1467), (33, 60), (34, 62)
AREAS = (
    PrintedAuc("training, 750 patients", Estimate(0.78, 0.75, 0.80), *_TRAINING),
    PrintedAuc("training, 2,250 patches", Estimate(0.78, 0.75, 0.80), *_PATCHES),
    PrintedAuc("validation", Estimate(0.71, 0.59, 0.81), *_VALIDATION),
    PrintedAuc("test", Estimate(0.76, 0.66, 0.85), *_TEST),
    PrintedAuc("first re-division, training, 750 patients", Estimate(0.79, 0.77, 0.82), *_TRAINING),
    PrintedAuc("first re-division, training, 2,250 patches", Estimate(0.79, 0.77, 0.82), *_PATCHES),
    PrintedAuc("first re-division, validation", Estimate(0.73, 0.61, 0.85), *_VALIDATION),
    PrintedAuc("first re-division, test", Estimate(0.76, 0.67, 0.87), *_TEST),
    PrintedAuc("second re-division, training, 750 patients", Estimate(0.77, 0.74, 0.80), *_TRAINING),
    PrintedAuc("second re-division, training, 2,250 patches", Estimate(0.77, 0.74, 0.80), *_PATCHES),
    PrintedAuc("second re-division, validation", Estimate(0.74, 0.60, 0.86), *_VALIDATION),
    PrintedAuc("second re-division, test", Estimate(0.75, 0.66, 0.84), *_TEST),
)

HAZARD_RATIOS = (
    PrintedHazardRatio("PD-L1ES", Estimate(2.57, 1.22, 5.44), 0.010, 183, 363),
    PrintedHazardRatio("clinical model", Estimate(2.09, 1.05, 4.18), 0.032, 172, 257),
    PrintedHazardRatio("fusion model", Estimate(3.53, 1.86, 6.72), 0.001, 122, 363),
)
"""The fusion model's P is printed as '< 0.001'; 0.001 is its upper end."""

C_INDEX = Estimate(0.66, 0.48, 0.83)

COUNTS = (
    ("screened less poor CT less incomplete", 2094 - 824 - 331, 939),
    ("training + validation + test", 750 + 93 + 96, 939),
    ("immunotherapy: alone + with chemotherapy", 51 + 43, 94),
    ("immunotherapy: histologies", 50 + 33 + 7 + 2 + 2, 94),
    ("immunotherapy: smokers + others", 73 + 21, 94),
)
"""What is counted, the sum, and the printed total."""


def category_tests(row: PrintedCategory) -> tuple[CategoricalTest, CategoricalTest]:
    """Return the chi-square tests of training against validation and against test from the printed counts."""
    validation, test = compare_counts(row.training, row.validation), compare_counts(row.training, row.test)
    if validation is None or test is None:
        raise ValueError(f"{row.name} has a single level")
    return validation, test


def age_p_range(row: PrintedAge) -> Estimate:
    """Return Student's P from the printed means and deviations, and the range that their rounding leaves open."""
    mean, deviation, n = AGE_TRAINING

    def p(a: float, b: float, c: float, d: float) -> float:
        return float(
            ttest_ind_from_stats(mean + a, deviation + b, n, row.mean + c, row.standard_deviation + d, row.n).pvalue
        )

    every = [p(*shift) for shift in itertools.product((-0.05, 0.0, 0.05), repeat=4)]
    return Estimate(p(0, 0, 0, 0), min(every), max(every))


def hanley_mcneil_interval(row: PrintedAuc) -> Estimate:
    """Return the interval that an area of that size has with that many cases and controls."""
    half = Z * math.sqrt(hanley_mcneil_variance(row.area.value, row.n_positive, row.n_negative))
    return Estimate(row.area.value, row.area.value - half, row.area.value + half)


def log_hazard_error(row: PrintedHazardRatio) -> float:
    """Return the standard error of the log hazard ratio that the printed interval implies."""
    return math.log(row.ratio.upper / row.ratio.lower) / (2 * Z)


def wald_p(row: PrintedHazardRatio) -> float:
    """Return Wald's P that the printed hazard ratio and its interval imply."""
    return 2 * float(norm.sf(abs(math.log(row.ratio.value)) / log_hazard_error(row)))


def fewest_events(row: PrintedHazardRatio) -> int:
    """Return the fewest events that allow so narrow an interval: 4 / se2, reached with two groups of equal size.

    The information on a log hazard ratio is about events x share x (1 - share) (Schoenfeld, Biometrika 1981; 68: 316).
    """
    return math.ceil(4 / log_hazard_error(row) ** 2)


def p_after_search(p_value: float, smallest_share: float = 0.1) -> float:
    """Return the log-rank P at the best of all cut-offs, corrected for the search (Miller and Siegmund 1982).

    Cut-offs that leave at least ``smallest_share`` of the patients on either side are taken to have been tried.

    Parameters
    ----------
    p_value
        Of the best cut-off, uncorrected.
    smallest_share
        Of the patients on either side of a cut-off.

    Returns
    -------
    float
        0 to 1.
    """
    return miller_siegmund_p(float(norm.isf(p_value / 2)), smallest_share, 1 - smallest_share)


def c_index_p() -> float:
    """Return the two-sided P against a C-index of one half that the printed interval implies."""
    error = (C_INDEX.upper - C_INDEX.lower) / (2 * Z)
    return 2 * float(norm.sf((C_INDEX.value - 0.5) / error))


def largest_c_index(hazard_ratio: float) -> float:
    """Return the largest C-index that two groups can have under proportional hazards, ties counted half.

    At most half of the pairs are of different groups, and of these the worse group fails first in HR / (1 + HR); all
    other pairs are ties.
    """
    return 0.5 + (hazard_ratio / (1 + hazard_ratio) - 0.5) / 2


def tables() -> str:
    """Return every table in Markdown."""
    return "\n".join(
        [
            "| sum | is | printed |",
            "|---|---:|---:|",
            *(f"| {name} | {is_} | {printed} |" for name, is_, printed in COUNTS),
            "",
            "| Table 1 | against | P from the printed counts | P printed | smallest expected count |",
            "|---|---|---:|---:|---:|",
            *(
                f"| {row.name} | {cohort} | {test.p_value:.3f} | {printed:.3f} | {test.smallest_expected:.1f} |"
                for row in TABLE_ONE
                for cohort, test, printed in zip(
                    ("validation", "test"), category_tests(row), (row.p_validation, row.p_test), strict=True
                )
            ),
            "",
            "| age, training against | Student's P from the printed means | range that rounding leaves | P printed |",
            "|---|---:|---:|---:|",
            *(
                f"| {row.cohort} | {p.value:.3f} | {p.lower:.3f} to {p.upper:.3f} | {row.p_value:.3f} |"
                for row in AGES
                for p in (age_p_range(row),)
            ),
            "",
            "| AUC | interval printed | interval by Hanley and McNeil | width printed | width implied |",
            "|---|---|---|---:|---:|",
            *(
                f"| {row.name}: {row.area.value:.2f} | {row.area.lower:.2f} to {row.area.upper:.2f} "
                f"| {implied.lower:.2f} to {implied.upper:.2f} | {row.area.upper - row.area.lower:.2f} "
                f"| {implied.upper - implied.lower:.2f} |"
                for row in AREAS
                for implied in (hanley_mcneil_interval(row),)
            ),
            "",
            "| Cox model | hazard ratio | middle of its interval | Wald P implied | P printed | fewest events implied "
            "| ratio of medians |",
            "|---|---|---:|---:|---:|---:|---:|",
            *(
                f"| {row.name} | {row.ratio.value} ({row.ratio.lower} to {row.ratio.upper}) "
                f"| {math.sqrt(row.ratio.lower * row.ratio.upper):.2f} | {wald_p(row):.4f} | {_printed(row)} "
                f"| {fewest_events(row)} | {row.median_low / row.median_high:.2f} |"
                for row in HAZARD_RATIOS
            ),
            "",
            "| Cox model | P printed | after the search, groups of 10 % or more | groups of 25 % or more |",
            "|---|---:|---:|---:|",
            *(
                f"| {row.name} | {_printed(row)} | {p_after_search(row.p_value):.3f} "
                f"| {p_after_search(row.p_value, 0.25):.3f} |"
                for row in HAZARD_RATIOS
            ),
            "",
            "| C-index printed | standard error implied | P against 0.5 implied | largest of two groups with HR 2.57 |",
            "|---|---:|---:|---:|",
            f"| {C_INDEX.value} ({C_INDEX.lower} to {C_INDEX.upper}) | {(C_INDEX.upper - C_INDEX.lower) / (2 * Z):.3f} "
            f"| {c_index_p():.3f} | {largest_c_index(HAZARD_RATIOS[0].ratio.value):.2f} |",
            "",
            "| difference of AUC | Z | two-sided P |",
            "|---|---:|---:|",
            *_differences(),
        ]
    )


def _printed(row: PrintedHazardRatio) -> str:
    return "< 0.001" if row.p_value <= 0.001 else f"{row.p_value:.3f}"


def _differences() -> list[str]:
    by_name = {row.name: row for row in AREAS}
    lines = []
    for first, second in (("training, 750 patients", "validation"), ("training, 750 patients", "test")):
        one, two = by_name[first], by_name[second]
        error = math.sqrt(
            sum(hanley_mcneil_variance(row.area.value, row.n_positive, row.n_negative) for row in (one, two))
        )
        z = (one.area.value - two.area.value) / error
        lines.append(f"| {first} less {second} | {z:.2f} | {2 * float(norm.sf(abs(z))):.2f} |")
    return lines


if __name__ == "__main__":
    np.seterr(all="raise")
    sys.stdout.write(tables() + "\n")
