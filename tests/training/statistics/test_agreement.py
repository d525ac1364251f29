"""Agreement: Shrout and Fleiss's own table, and what repeatability promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from training.statistics.agreement import group_repeatability, icc, icc_of_features, repeatability

SHROUT_AND_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
"""Table 2 of their paper, Psychol Bull 1979; 86: 420-428: six targets, four judges."""


def test_shrout_and_fleiss_find_their_own_value_and_r_the_same_limits() -> None:
    """R 4.2.2, psych 2.2.9: ICC(x, lmer = FALSE), ICC2."""
    found = icc(SHROUT_AND_FLEISS)
    assert round(found.value, 2) == 0.29
    assert [found.value, found.lower, found.upper] == pytest.approx(
        [0.2897637795, 0.01878651337, 0.7610843696], rel=1e-8
    )


def test_many_features_at_once_are_each_feature_alone() -> None:
    rng = np.random.default_rng(16)
    truth = rng.normal(size=(30, 4)) * 1e6
    first, second = truth + rng.normal(size=(30, 4)) * 3e5, truth + rng.normal(size=(30, 4)) * 3e5
    first[3, 2] = np.nan
    value, lower, upper = icc_of_features(first, second)
    alone = icc(np.column_stack([first[:, 0], second[:, 0]]))
    assert [value[0], lower[0], upper[0]] == pytest.approx([alone.value, alone.lower, alone.upper])
    kept = np.arange(30) != 3
    assert value[2] == pytest.approx(icc(np.column_stack([first[kept, 2], second[kept, 2]])).value)


def test_a_feature_that_never_varies_has_no_icc() -> None:
    first = np.column_stack([np.full(5, 3.7), np.arange(5.0)])
    value, _, _ = icc_of_features(first, first)
    assert math.isnan(value[0])
    assert value[1] == 1


def test_repeatability_coefficient_bounds_95_of_100_differences() -> None:
    rng = np.random.default_rng(17)
    truth = rng.normal(0.5, 0.15, size=2000)
    first, second = truth + rng.normal(0, 0.05, 2000), truth + rng.normal(0, 0.05, 2000)
    found = repeatability(first, second)
    assert found.within_patient_deviation == pytest.approx(0.05, rel=0.05)
    assert np.mean(np.abs(second - first) < found.repeatability_coefficient) == pytest.approx(0.95, abs=0.01)
    assert found.icc.value == pytest.approx(0.15**2 / (0.15**2 + 0.05**2), abs=0.02)
    assert found.icc.lower < found.icc.value < found.icc.upper
    assert found.bias.lower < 0 < found.bias.upper


def test_a_shift_costs_agreement() -> None:
    first = np.arange(10.0)
    found = repeatability(first, first + 2)
    assert (found.bias.value, found.limits_of_agreement) == (2.0, (2.0, 2.0))
    assert found.concordance_correlation == pytest.approx(2 * 8.25 / (8.25 + 8.25 + 4))
    assert found.icc.value < 1


def test_flipped_groups_are_counted_against_the_cut_off() -> None:
    first, second = [0.1, 0.7, 0.66, 0.9, 0.2], [0.2, 0.6, 0.67, 0.95, 0.1]
    found = group_repeatability(first, second, 0.66)
    assert (found.flipped.numerator, found.flipped.denominator) == (2, 5)
    groups = [[x > 0.66 for x in column] for column in (first, second)]
    assert found.kappa == pytest.approx(cohen_kappa_score(*groups))


def test_unfit_ratings_are_refused() -> None:
    with pytest.raises(ValueError, match="got shape"):
        icc(np.array([[1, 2]]))
    with pytest.raises(ValueError, match="missing or infinite"):
        icc(np.array([[1, 2], [3, np.nan]]))
    with pytest.raises(ValueError, match="got 1"):
        repeatability([1], [2])
    with pytest.raises(ValueError, match="same patients and features"):
        icc_of_features([[1, 2]], [[1, 2], [3, 4]])
