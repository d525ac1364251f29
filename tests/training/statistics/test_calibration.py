"""Calibration: known truths are found again, and recalibration repairs what it should."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss, roc_auc_score

from training.statistics.calibration import calibration, calibration_bins, recalibrate, recalibrate_in_the_large


@pytest.fixture(scope="module")
def cohort() -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """4,000 patients whose labels are drawn from the probabilities beside them."""
    rng = np.random.default_rng(7)
    truth = expit(rng.normal(-0.6, 1.0, size=4000))
    return rng.random(4000) < truth, truth


def test_slope_intercept_and_errors_are_those_of_r(reference: Path) -> None:
    """R 4.2.2: glm(y ~ qlogis(p), binomial) and glm(y ~ offset(qlogis(p)), binomial) on dcurves' df_binary."""
    table = pd.read_csv(reference / "df_binary.csv")
    found = calibration(table["cancer"], table["cancerpredmarker"])
    half = 1.959963984540054
    assert found.slope.value == pytest.approx(1.0000000287048, rel=1e-9)
    assert found.slope.upper - found.slope.value == pytest.approx(half * 0.095752806356845, rel=1e-6)
    assert found.intercept.value == pytest.approx(0.0, abs=1e-6)
    assert found.intercept.upper - found.intercept.value == pytest.approx(half * 0.175892227665689, rel=1e-6)
    assert found.in_the_large.value == pytest.approx(0.0, abs=1e-6)
    assert found.in_the_large.upper - found.in_the_large.value == pytest.approx(half * 0.12467777742862, rel=1e-6)


def test_true_probabilities_are_calibrated(cohort: tuple[NDArray[np.bool_], NDArray[np.float64]]) -> None:
    found = calibration(*cohort)
    assert found.slope.lower <= 1 <= found.slope.upper
    assert found.in_the_large.lower <= 0 <= found.in_the_large.upper
    assert found.brier == pytest.approx(brier_score_loss(*cohort))
    inside = [b.observed.lower <= b.mean_score <= b.observed.upper for b in found.bins]
    assert sum(inside) >= 8
    assert sum(b.observed.denominator for b in found.bins) == 4000


def test_overconfident_scores_have_a_slope_below_one(cohort: tuple[NDArray[np.bool_], NDArray[np.float64]]) -> None:
    labels, truth = cohort
    found = calibration(labels, expit(2 * logit(truth) + 1.5))
    assert found.slope.value == pytest.approx(0.5, abs=0.05)
    assert found.in_the_large.upper < 0
    assert found.observed_to_expected < 1


def test_recalibration_repairs_both_levels(cohort: tuple[NDArray[np.bool_], NDArray[np.float64]]) -> None:
    labels, truth = cohort
    distorted = expit(2 * logit(truth) + 0.5)
    repaired = recalibrate(labels, distorted).apply(distorted)
    found = calibration(labels, repaired)
    assert [found.slope.value, found.intercept.value, found.in_the_large.value] == pytest.approx([1, 0, 0], abs=1e-6)
    assert roc_auc_score(labels, repaired) == pytest.approx(roc_auc_score(labels, distorted))


def test_recalibration_in_the_large_makes_the_mean_score_the_prevalence(
    cohort: tuple[NDArray[np.bool_], NDArray[np.float64]],
) -> None:
    labels, truth = cohort
    distorted = expit(logit(truth) + 1.5)
    change = recalibrate_in_the_large(labels, distorted)
    assert change.slope == 1.0
    assert change.intercept == pytest.approx(-1.5, abs=0.1)
    assert change.apply(distorted).mean() == pytest.approx(labels.mean(), abs=1e-9)


def test_the_prevalence_as_everybodys_score_is_worth_nothing() -> None:
    found = calibration([1, 0, 0, 0], [0.25] * 4)
    assert (found.scaled_brier, found.observed_to_expected) == (0.0, 1.0)
    assert math.isnan(found.slope.value)
    assert len(found.bins) == 1


def test_separated_classes_have_no_slope_and_cannot_be_recalibrated_by_it() -> None:
    labels, scores = [0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9]
    assert math.isnan(calibration(labels, scores).slope.value)
    with pytest.raises(ValueError, match="in the large instead"):
        recalibrate(labels, scores)


def test_scores_of_exactly_zero_and_one_do_not_break_it() -> None:
    found = calibration([0, 1, 0, 1, 1], [0.0, 1.0, 0.7, 0.4, 0.9])
    assert math.isfinite(found.slope.value)


def test_equal_scores_never_part() -> None:
    bins = calibration_bins([0, 1, 0, 1, 1, 0], [0.2, 0.2, 0.2, 0.2, 0.2, 0.9], n_bins=3)
    assert [b.observed.denominator for b in bins] == [5, 1]


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 1], [0.2, 0.3], "1 of each class"),
        ([0, 1], [0.2, 1.3], "probabilities, got values from 0.2 to 1.3"),
        ([0, 1], [0.2, np.nan], "missing or infinite"),
    ],
)
def test_unfit_columns_are_refused(labels: list[int], scores: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibration(labels, scores)


def test_extreme_scores_have_the_intercept_at_which_events_expected_are_those_seen() -> None:
    """statsmodels' undamped steps end at -9e14 here, and call it converged."""
    scores = np.array([1e-6] * 3 + [1 - 1e-6] * 9)
    labels = np.array([1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = calibration(labels, scores, 1).in_the_large
    assert expit(logit(scores) + found.value).sum() == pytest.approx(3, abs=1e-9)
    assert found.lower < found.value < found.upper


def test_calibration_in_the_large_is_statsmodels_where_that_converges(
    cohort: tuple[NDArray[np.bool_], NDArray[np.float64]],
) -> None:
    labels, scores = cohort
    family = sm.families.Binomial()
    fit = sm.GLM(labels.astype(float), np.ones((labels.size, 1)), family=family, offset=logit(scores)).fit(tol=1e-12)
    found = calibration(labels, scores).in_the_large
    assert found.value == pytest.approx(fit.params[0], abs=1e-10)
    assert found.upper - found.value == pytest.approx(1.959963984540054 * fit.bse[0], rel=1e-8)
