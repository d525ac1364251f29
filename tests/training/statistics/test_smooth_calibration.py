"""Distance from a smooth calibration curve: R's val.prob gives the same numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit

from tests.training.statistics.r_values import RValues
from training.statistics.arrays import Test
from training.statistics.estimability import NotEstimable
from training.statistics.fairness import fairness, odds_of_errors
from training.statistics.smooth_calibration import brier_interval, smooth_calibration


@pytest.fixture(scope="module")
def risks(cirrhosis: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Death, and the miscalibrated risk of it that the script of R has."""
    label = (cirrhosis["kind"] == 1).to_numpy(dtype=float)
    design = sm.add_constant(np.column_stack([cirrhosis["age"], np.log(cirrhosis["bili"])]))
    fit = sm.GLM(label, design, family=sm.families.Binomial()).fit(tol=1e-14)
    return label, expit(0.8 * design @ fit.params + 0.2)


def test_distances_are_those_of_r(risks: tuple[NDArray[np.float64], NDArray[np.float64]], r: RValues) -> None:
    found = smooth_calibration(*risks, n_resamples=50)
    expected = r["val.prob"]
    assert [found.ici.value, found.e90.value, found.largest] == pytest.approx(expected[:3], rel=1e-6)
    assert found.e50.value == pytest.approx(r["e50"][0], rel=1e-6)
    assert brier_interval(*risks).value == pytest.approx(expected[3], rel=1e-8)
    assert found.ici.lower < found.ici.value < found.ici.upper


def test_the_interval_of_the_brier_score_covers() -> None:
    """Of 300 cohorts of 100 patients about 95 % hold the score that very many patients have."""
    rng = np.random.default_rng(6)
    truth = expit(rng.normal(size=(300, 100)))
    expected = float((truth * (1 - truth)).mean())
    inside = 0
    for row in truth:
        found = brier_interval(rng.random(row.size) < row, row)
        inside += found.lower <= expected <= found.upper
    assert 0.91 <= inside / 300 <= 0.98


def test_a_handful_of_patients_has_no_curve() -> None:
    with pytest.raises(ValueError, match="a smooth curve needs 20 patients, got 4"):
        smooth_calibration([0, 1, 0, 1], [0.1, 0.9, 0.4, 0.3])


def test_the_calibration_of_groups_is_compared_as_in_r(
    risks: tuple[NDArray[np.float64], NDArray[np.float64]], cirrhosis: pd.DataFrame, r: RValues
) -> None:
    label, risk = risks
    found = fairness("Treatment", label, risk, [str(k) for k in cirrhosis["trt"]], 0.4)
    assert isinstance(found.calibration_test, Test)
    assert found.calibration_test.statistic == pytest.approx(r["calibration by treatment"][0], rel=1e-5)
    assert found.calibration_test.degrees_of_freedom == 2


def test_a_group_whose_risks_are_too_low_is_found() -> None:
    """Women's log-odds are one too low: their high expression is missed more often, and calibration differs."""
    rng = np.random.default_rng(8)
    n = 1200
    logit, woman = rng.normal(size=n), rng.random(n) < 0.5
    label = rng.random(n) < expit(logit)
    score = expit(logit - woman)
    found = fairness("Sex", label, score, ["female" if w else "male" for w in woman], 0.5)
    rates = [odds_of_errors(group) for group in found.groups]
    assert not any(isinstance(rate, NotEstimable) for rate in rates)
    (female_missed, female_alarms), (male_missed, male_alarms) = rates  # type: ignore[misc]
    assert female_missed.lower > male_missed.upper
    assert female_alarms.upper < male_alarms.lower
    assert found.false_negative_difference == pytest.approx(female_missed.value - male_missed.value)
    assert found.false_negative_p < 1e-6  # type: ignore[operator]
    assert found.calibration_test.p_value < 1e-6  # type: ignore[union-attr]


def test_groups_that_do_not_differ_and_what_cannot_be_known() -> None:
    found = fairness("Sex", [0, 1, 0, 1, 0], [0.1, 0.8, 0.2, 0.9, 0.3], ["f", "f", "m", "m", None], 0.5)
    assert found.unknown == 1
    assert found.false_negative_difference == 0
    assert found.false_negative_p == NotEstimable("every such patient is sorted alike, so no rates can differ")
    assert isinstance(found.calibration_test, NotEstimable)
    with pytest.raises(ValueError, match="Sex has 1 group here"):
        fairness("Sex", [0, 1], [0.1, 0.8], ["f", "f"], 0.5)
    nothing = fairness("Sex", [0, 1, 0, 1], [0.1, 0.8, 0.2, 0.9], ["f", "f", "m", "m"], NotEstimable("no cut-off"))
    assert nothing.false_positive_p == NotEstimable("no cut-off")
