"""Table 1: the paper's own counts give the paper's own P values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind

from training.paper_arithmetic import TABLE_ONE, PrintedCategory, category_tests
from training.statistics.table_one import categorical, compare_counts, continuous, table_one


@pytest.mark.parametrize("row", TABLE_ONE, ids=lambda row: row.name)
def test_the_papers_eight_categorical_p_values_come_out_of_its_printed_counts(row: PrintedCategory) -> None:
    validation, test = category_tests(row)
    assert (round(validation.p_value, 3), round(test.p_value, 3)) == (row.p_validation, row.p_test)


def test_the_printed_counts_add_up_to_the_printed_cohorts() -> None:
    for row in TABLE_ONE:
        assert (sum(row.training), sum(row.validation), sum(row.test)) == (750, 93, 96)


def test_yates_correction_is_made_on_two_by_two_alone() -> None:
    """R 4.2.2: chisq.test(matrix(c(455, 295, 58, 35), 2)) gives 0.83835169922461."""
    found = compare_counts([455, 295], [58, 35])
    assert found is not None
    assert found.p_value == pytest.approx(0.83835169922461, rel=1e-12)
    wider = compare_counts([10, 20, 30], [30, 20, 10])
    assert wider is not None
    assert wider.statistic == pytest.approx(20.0)  # Pearson's, by hand: 4 x 10 squared / 20
    assert wider.smallest_expected == 20


def test_a_level_that_nobody_has_changes_nothing() -> None:
    assert compare_counts([5, 0, 7], [6, 0, 2]) == compare_counts([5, 7], [6, 2])
    assert compare_counts([5, 0], [6, 0]) is None


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [([1, 2], [-1, 2], "0 or more"), ([0, 0], [1, 2], "without patients"), ([1.5, 2], [1, 2], "whole numbers")],
)
def test_unfit_counts_are_refused(first: list[float], second: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_counts(first, second)


COHORT = ["training"] * 4 + ["validation"] * 3 + ["test"] * 3


def test_unknown_is_a_level_of_its_own_and_comes_last() -> None:
    values = ["no", "yes", None, "no", "yes", "yes", "no", None, "no", "yes"]
    found = categorical("family history", values, COHORT, "training", ("no", "yes"))
    assert found.levels == ("no", "yes", "Unknown")
    assert {c: n.tolist() for c, n in found.counts.items()} == {
        "Total": [4, 4, 2],
        "training": [2, 1, 1],
        "validation": [1, 2, 0],
        "test": [1, 1, 1],
    }
    assert found.tests["validation"] == compare_counts([2, 1, 1], [1, 2, 0])
    assert found.percent("training").tolist() == [50, 25, 25]


def test_means_are_compared_by_students_test() -> None:
    age = np.random.default_rng(15).normal(60, 10, size=10)
    one, two = age[:4], age[4:7]
    found = continuous("age", age, COHORT, "training")
    assert found.p_values["validation"] == pytest.approx(ttest_ind(one, two).pvalue)
    assert found.summaries["training"].mean == pytest.approx(one.mean())
    assert found.summaries["training"].standard_deviation == pytest.approx(one.std(ddof=1))


def test_an_unknown_age_is_counted_and_left_out() -> None:
    age = [50.0, np.nan, 60, 70, 1, 2, 3, 4, 5, 6]
    found = continuous("age", age, COHORT, "training").summaries["training"]
    assert (found.n, found.missing, found.mean, found.median) == (3, 1, 60, 60)


def test_the_table_knows_its_cohorts() -> None:
    sex = categorical("sex", ["male", "female"] * 5, COHORT, "training", ("male", "female"))
    found = table_one(COHORT, "training", [sex])
    assert found.n == {"Total": 10, "training": 4, "validation": 3, "test": 3}
    with pytest.raises(ValueError, match="sex was counted for the cohorts"):
        table_one(["training", "other"], "training", [sex])


def test_unfit_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="holds 'maybe'"):
        categorical("sex", ["maybe"] * 10, COHORT, "training", ("male", "female"))
    with pytest.raises(ValueError, match="nobody is in the reference cohort 'train'"):
        categorical("sex", ["male"] * 10, COHORT, "train", ("male", "female"))
    with pytest.raises(ValueError, match="known of 1 patients of cohort test"):
        continuous("age", [1, 2, 3, 4, 5, 6, 7, 8, np.nan, np.nan], COHORT, "training")
