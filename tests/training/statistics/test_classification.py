"""Classification at a cut-off: counts, intervals and Youden's choice."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from training.statistics.classification import classify, proportion, youden_cut_off


def test_youdens_cut_off_is_that_of_proc(subarachnoid: pd.DataFrame) -> None:
    """pROC 1.18.0: coords(roc, "best", best.method = "youden")."""
    first = youden_cut_off(subarachnoid["poor"], subarachnoid["s100b"])
    second = youden_cut_off(subarachnoid["poor"], subarachnoid["ndka"])
    assert [first.cut_off, first.sensitivity, first.specificity, first.index] == pytest.approx(
        [0.205, 0.634146341463415, 0.805555555555556, 0.43970189701897], rel=1e-12
    )
    assert [second.cut_off, second.sensitivity, second.specificity, second.index] == pytest.approx(
        [11.08, 0.707317073170732, 0.513888888888889, 0.22120596205962], rel=1e-12
    )


def test_the_cut_off_sorts_its_own_cohort_as_it_says(subarachnoid: pd.DataFrame) -> None:
    chosen = youden_cut_off(subarachnoid["poor"], subarachnoid["s100b"])
    found = classify(subarachnoid["poor"], subarachnoid["s100b"], chosen.cut_off)
    assert found.sensitivity.value == pytest.approx(chosen.sensitivity)
    assert found.specificity.value == pytest.approx(chosen.specificity)


def test_seven_of_ten_has_the_intervals_that_r_gives() -> None:
    """R 4.2.2: prop.test(7, 10, correct = FALSE) and binom.test(7, 10)."""
    wilson, exact = proportion(7, 10), proportion(7, 10, "Clopper-Pearson")
    assert [wilson.lower, wilson.upper] == pytest.approx([0.39677814746115, 0.89220873259370], rel=1e-12)
    assert [exact.lower, exact.upper] == pytest.approx([0.34754714994000, 0.93326048882227], rel=1e-12)


def test_a_score_at_the_cut_off_is_negative() -> None:
    found = classify([1, 1, 0, 0], [0.66, 0.67, 0.66, 0.1], 0.66)
    assert (found.true_positive, found.false_negative, found.false_positive, found.true_negative) == (1, 1, 0, 2)


def test_all_measures_follow_from_the_four_counts() -> None:
    labels = np.repeat([1, 1, 0, 0], [30, 10, 5, 55])
    scores = np.repeat([1.0, 0.0, 1.0, 0.0], [30, 10, 5, 55])
    found = classify(labels, scores, 0.5)
    measured = (
        found.sensitivity,
        found.specificity,
        found.positive_predictive_value,
        found.negative_predictive_value,
        found.accuracy,
    )
    assert [(m.numerator, m.denominator) for m in measured] == [(30, 40), (55, 60), (30, 35), (55, 65), (85, 100)]
    assert found.positive_likelihood_ratio == pytest.approx(9.0)
    assert found.negative_likelihood_ratio == pytest.approx(0.25 / (55 / 60))


def test_one_class_alone_has_no_sensitivity() -> None:
    found = classify([0, 0, 0], [0.1, 0.2, 0.9], 0.5)
    assert math.isnan(found.sensitivity.value)
    assert found.specificity.value == pytest.approx(2 / 3)


def test_equal_choices_go_to_the_higher_sensitivity() -> None:
    chosen = youden_cut_off([0, 1, 0, 1], [1, 2, 3, 4])
    assert (chosen.cut_off, chosen.sensitivity, chosen.specificity) == (1.5, 1.0, 0.5)


def test_constant_scores_have_no_cut_off() -> None:
    with pytest.raises(ValueError, match="every score is the same"):
        youden_cut_off([0, 1, 0, 1], [0.4] * 4)


def test_a_cut_off_between_neighbouring_floats_still_parts_them() -> None:
    low = 0.1
    high = float(np.nextafter(low, 1))
    chosen = youden_cut_off([0, 0, 1, 1], [low, low, high, high])
    assert classify([0, 0, 1, 1], [low, low, high, high], chosen.cut_off).accuracy.value == 1.0


def test_a_share_of_more_than_all_is_refused() -> None:
    with pytest.raises(ValueError, match="4 of 3"):
        proportion(4, 3)


def test_a_cut_off_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        classify([0, 1], [0.1, 0.2], math.nan)
