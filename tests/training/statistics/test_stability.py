"""Features that hold: ICC(1,1) against R, and what is left of correlated features."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.training.statistics.test_agreement import SHROUT_AND_FLEISS
from training.statistics.agreement import one_way_icc
from training.statistics.stability import FEWEST_PATIENTS, feature_stability, without_correlated

R_SCRIPT = """
library(psych)
n <- 12; k <- 3; i <- rep(1:n, times = k); j <- rep(1:k, each = n)
x <- matrix(10 * sin(i) + 3 * cos(7 * i * j) + 0.5 * j, ncol = k)
ICC(x, lmer = FALSE)$results["Single_raters_absolute", ]   # and of Shrout and Fleiss's table 2
"""
"""R 4.2.2, psych 2.2.9."""


def test_icc_1_1_and_its_limits_are_r_s() -> None:
    i, j = np.arange(1, 13)[:, None], np.arange(1, 4)[None]
    drawn = 10 * np.sin(i) + 3 * np.cos(7 * i * j) + 0.5 * j
    for table, expected in (
        (np.array(SHROUT_AND_FLEISS, dtype=float), [0.165741768405, -0.1329323248748, 0.722560062328]),
        (drawn, [0.930955402090, 0.833570342402, 0.977528336410]),
    ):
        found = one_way_icc(np.stack([table, -5 * table + 1e4], axis=-1))
        assert np.array(found)[:, 0] == pytest.approx(expected, abs=1e-10)
        # another unit, far from zero, is the same feature
        assert np.array(found)[:, 1] == pytest.approx(expected, abs=1e-8)


def test_a_patient_without_a_value_leaves_that_feature_alone() -> None:
    rng = np.random.default_rng(2)
    measured = rng.normal(size=(20, 1, 2)) + 0.3 * rng.normal(size=(20, 3, 2))
    gap = measured.copy()
    gap[4, 1, 0] = np.nan
    found = np.array(one_way_icc(gap))
    assert found[:, 1] == pytest.approx(np.array(one_way_icc(measured))[:, 1])
    assert found[:, 0] == pytest.approx(np.array(one_way_icc(np.delete(measured, 4, axis=0)))[:, 0])


def test_what_never_varies_was_not_shown_to_be_stable() -> None:
    measured = np.full((12, 3, 1), 4.25)
    found = feature_stability(measured)
    assert np.isnan(found.icc).all()
    assert not found.holds(0.0).any()


def test_the_lower_limit_decides_and_not_the_value() -> None:
    """A feature of true ICC 0.8 is no good one in few patients, and is one in many."""
    rng = np.random.default_rng(5)
    few, many = (
        rng.normal(size=(n, 1, 1)) * np.sqrt(0.85) + rng.normal(size=(n, 2, 1)) * np.sqrt(0.15) for n in (12, 2000)
    )
    assert feature_stability(few).icc[0] > 0.75
    assert not feature_stability(few).holds(0.75)[0]
    assert feature_stability(many).holds(0.75)[0]


def test_a_handful_of_patients_is_refused() -> None:
    with pytest.raises(ValueError, match=f"9 of the training patients .* {FEWEST_PATIENTS} or more"):
        feature_stability(np.zeros((9, 4, 3)))


def test_of_correlated_features_the_most_wanted_stays_and_no_two_that_stay_are_correlated() -> None:
    rng = np.random.default_rng(5)
    factor = rng.normal(size=(200, 3))
    # three of each factor: itself, a monotone change of it, and a noisy one
    values = np.hstack([factor, np.exp(3 * factor), factor + 0.05 * rng.normal(size=factor.shape)])
    values[7, 2] = np.inf
    order = [8, 3, 0, 4, 5, 1, 2, 6, 7]
    stands = without_correlated(values, order, 0.9)
    kept = [column for column in order if stands[column] == column]
    assert kept == [8, 3, 4]
    assert stands == {8: 8, 5: 8, 2: 8, 3: 3, 0: 3, 6: 3, 4: 4, 1: 4, 7: 4}
    correlation = np.abs(spearmanr(values[:, kept]).statistic)
    assert correlation[np.triu_indices(3, 1)].max() < 0.9


def test_uncorrelated_features_all_stay() -> None:
    values = np.random.default_rng(6).normal(size=(100, 20))
    assert without_correlated(values, range(20), 0.9) == {column: column for column in range(20)}
    assert without_correlated(values, [], 0.9) == {}
