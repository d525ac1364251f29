"""Performance at a fixed time: R's riskRegression, survival and rms give the same numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from dcurves import dca
from numpy.typing import NDArray

from tests.training.statistics.r_values import RValues
from training.statistics.concordance import concordance, uno_concordance
from training.statistics.cox import cox
from training.statistics.decision_at_time import decision_at_time
from training.statistics.estimability import NotEstimable
from training.statistics.fixed_time import area_at_time, brier_at_time, calibration_at_time
from training.statistics.predicted_risk import BaselineHazard, cross_fitted_risks
from training.statistics.restricted_mean import compare_restricted_means, restricted_mean
from training.statistics.survival import kaplan_meier

NAMES = ("age", "sex", "ph.ecog")
MOMENTS = (180, 365, 500)


def _predictor(table: pd.DataFrame) -> NDArray[np.float64]:
    columns = {name: table[name] for name in NAMES}
    return cox(table["time"], table["status"], columns).linear_predictor(columns)


@pytest.fixture(scope="module")
def without_ties(lung_with_ecog: pd.DataFrame) -> pd.DataFrame:
    """Each patient a thousandth of a day later than the one before, as the script of R does it."""
    order = np.lexsort((1 - lung_with_ecog["status"], lung_with_ecog["time"]))
    table = lung_with_ecog.iloc[order]
    return table.assign(time=table["time"] + np.arange(1, len(table) + 1) / 1000)


@pytest.mark.parametrize("until", [500, 883])
def test_unos_index_and_error_are_those_of_r(lung_with_ecog: pd.DataFrame, r: RValues, until: int) -> None:
    found = uno_concordance(lung_with_ecog["time"], lung_with_ecog["status"], _predictor(lung_with_ecog), until)
    assert [found.c_index.value, found.standard_error] == pytest.approx(r[f"uno {until}"], rel=1e-8)


def test_without_censoring_unos_index_is_harrells() -> None:
    rng = np.random.default_rng(3)
    time, risk = rng.exponential(size=60), rng.normal(size=60)
    event = np.ones(60)
    assert uno_concordance(time, event, risk).c_index.value == pytest.approx(
        concordance(time, event, risk).c_index.value, abs=1e-12
    )


def test_unos_index_does_not_move_with_the_censoring_as_harrells_does() -> None:
    """A score that tells early events and not late ones: heavy early censoring flatters Harrell's index alone."""
    rng = np.random.default_rng(5)
    n = 4000
    score = rng.normal(size=n)
    time = np.where(rng.random(n) < 0.5, rng.exponential(np.exp(-score)), 3 + rng.exponential(size=n))
    whole = uno_concordance(time, np.ones(n), score, 4.0).c_index.value
    end = rng.exponential(1.5, n)
    seen, event = np.minimum(time, end), time <= end
    assert abs(uno_concordance(seen, event, score, 4.0).c_index.value - whole) < 0.03
    assert concordance(seen, event, score).c_index.value - whole > 0.04


def test_areas_and_brier_scores_at_a_time_and_their_errors_are_those_of_r(
    without_ties: pd.DataFrame, r: RValues
) -> None:
    time, event, predictor = without_ties["time"], without_ties["status"], _predictor(without_ties)
    areas = [area_at_time(time, event, predictor, at) for at in MOMENTS]
    assert [a.area.value for a in areas] == pytest.approx(r["area"], rel=1e-10)
    assert [a.standard_error for a in areas] == pytest.approx(r["area error"], rel=1e-8)
    baseline = BaselineHazard(time, event, predictor)
    scores = [brier_at_time(time, event, baseline.risk(predictor, at), at) for at in MOMENTS]
    assert [s.brier.value for s in scores] == pytest.approx(r["brier"], rel=1e-7)
    assert [s.standard_error for s in scores] == pytest.approx(r["brier error"], rel=1e-6)
    assert [s.null for s in scores] == pytest.approx(r["brier null"], rel=1e-10)


def test_predicted_risks_with_ties_are_those_of_survfit(lung_with_ecog: pd.DataFrame, r: RValues) -> None:
    predictor = _predictor(lung_with_ecog)
    baseline = BaselineHazard(lung_with_ecog["time"], lung_with_ecog["status"], predictor)
    for at in MOMENTS:
        assert baseline.risk(predictor[:20], at) == pytest.approx(r[f"risk {at}"], rel=1e-8)


def test_slope_at_a_time_is_that_of_r(lung_with_ecog: pd.DataFrame, r: RValues) -> None:
    risk = 1 - np.exp(-np.exp(0.5 * _predictor(lung_with_ecog) - 0.5))
    found = calibration_at_time(lung_with_ecog["time"], lung_with_ecog["status"], risk, 365)
    assert not isinstance(found.slope, NotEstimable)
    error = (found.slope.upper - found.slope.lower) / 2 / 1.959963984540054
    assert [found.slope.value, error] == pytest.approx(r["slope at time"], rel=1e-8)
    assert sum(group.n for group in found.groups) == len(risk)
    curve = kaplan_meier(lung_with_ecog["time"], lung_with_ecog["status"])
    assert found.observed.value == pytest.approx(1 - curve.at(365).value)


def test_restricted_means_are_those_of_survfit(lung_with_ecog: pd.DataFrame, r: RValues) -> None:
    table = lung_with_ecog
    found = compare_restricted_means(table["time"], table["status"], table["sex"] == 2, 500)
    means, errors = r["restricted mean"], r["restricted mean error"]
    assert [found.lower.mean.value, found.upper.mean.value] == pytest.approx(means, rel=1e-12)
    assert [found.lower.standard_error, found.upper.standard_error] == pytest.approx(errors, rel=1e-10)
    assert found.difference.value == pytest.approx(means[1] - means[0])


def test_a_limit_beyond_the_follow_up_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody was observed until 10: the last patient left at 4"):
        restricted_mean([1, 2, 4], [1, 1, 0], 10)
    assert restricted_mean([1, 2, 3], [1, 1, 1], 10).mean.value == pytest.approx(2)


def test_crossing_hazards_that_no_hazard_ratio_tells_have_another_restricted_mean() -> None:
    """Half die at 1 and half at 9, against all at 4: both means follow by hand."""
    time, event = [1, 1, 9, 9, 4, 4, 4, 4], [1] * 8
    found = compare_restricted_means(time, event, [1, 1, 1, 1, 0, 0, 0, 0], 8)
    assert (found.upper.mean.value, found.lower.mean.value) == (4.5, 4.0)


def test_net_benefit_at_a_time_is_that_of_dcurves(lung_with_ecog: pd.DataFrame) -> None:
    table = lung_with_ecog[["time", "status"]].astype(float).reset_index(drop=True)
    predictor = _predictor(lung_with_ecog)
    risk = BaselineHazard(table["time"], table["status"], predictor).risk(predictor, 365)
    thresholds = np.array([0.3, 0.45, 0.6])
    theirs = dca(
        data=table.assign(risk=risk), outcome="status", modelnames=["risk"], thresholds=thresholds,
        time=365, time_to_outcome_col="time",
    )  # fmt: skip
    found = decision_at_time(table["time"], table["status"], {"risk": risk}, 365, thresholds, n_resamples=50)
    for curve, name in zip(found.curves, ("all", "risk"), strict=True):
        expected = theirs[theirs["model"] == name].sort_values("threshold")["net_benefit"].to_numpy()
        assert curve.net_benefit == pytest.approx(expected, rel=1e-9)
        assert (curve.lower <= curve.net_benefit).all()
        assert (curve.net_benefit <= curve.upper).all()


def test_cross_fitted_risks_do_not_know_their_patients() -> None:
    """Twenty variables of noise: on its own patients the model seems to tell them apart, cross-fitted it does not."""
    rng = np.random.default_rng(2)
    n = 150
    covariates = {f"x{k}": column for k, column in enumerate(rng.normal(size=(20, n)))}
    time, event = rng.exponential(size=n), rng.random(n) < 0.7
    own = cox(time, event, covariates).linear_predictor(covariates)
    (risk,) = cross_fitted_risks(time, event, covariates, [0.7])
    assert area_at_time(time, event, own, 0.7).area.value > 0.65
    assert area_at_time(time, event, risk, 0.7).area.lower < 0.5 < area_at_time(time, event, risk, 0.7).area.upper + 0.1
    assert brier_at_time(time, event, risk, 0.7).scaled < 0.05


def test_what_follow_up_does_not_hold_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="nobody had the event by 5"):
        area_at_time([10, 12], [1, 1], [0.1, 0.2], 5)
    with pytest.raises(ValueError, match="nobody is under observation without the event after 20"):
        brier_at_time([10, 12], [1, 1], [0.1, 0.2], 20)
