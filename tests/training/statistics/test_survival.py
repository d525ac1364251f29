"""Kaplan-Meier and log-rank: R's survival 3.5 gives the same numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter

from training.statistics.survival import kaplan_meier, log_rank, median_follow_up

# R 4.2.2, survival 3.5-3: summary(survfit(Surv(time, status) ~ sex, data = lung), times = c(180, 365, 730)), with the
# default conf.type "log" and with "log-log": survival, its error, lower and upper limit
LOG = {
    1: [
        (89, 0.644465001542, 0.040786425085, 0.569284189871, 0.72957434196),
        (35, 0.336087834639, 0.043423588842, 0.260900503790, 0.43294294550),
        (7, 0.078124091267, 0.027647509281, 0.039043735497, 0.15632145743),
    ],
    2: [
        (71, 0.84240170559, 0.038680958931, 0.769899809608, 0.92173114569),
        (30, 0.52646303019, 0.059736853990, 0.421486340829, 0.65758553790),
        (6, 0.18723249791, 0.062067902270, 0.097770181878, 0.35855521181),
    ],
}
LOG_LOG = {
    1: [(0.558412473005, 0.71801359816), (0.252729143328, 0.42130216822), (0.035203884451, 0.14338961800)],
    2: [(0.748380916153, 0.90350430428), (0.403579823267, 0.63531623282), (0.084659653227, 0.32083267687)],
}


@pytest.mark.parametrize("sex", [1, 2])
def test_curve_and_its_log_interval_are_those_of_r(lung: pd.DataFrame, sex: int) -> None:
    group = lung[lung["sex"] == sex]
    curve = kaplan_meier(group["time"], group["status"])
    for time, (at_risk, survival, error, lower, upper) in zip((180, 365, 730), LOG[sex], strict=True):
        found = curve.at(time)
        assert [found.value, found.lower, found.upper] == pytest.approx([survival, lower, upper], rel=1e-9)
        k = int(np.searchsorted(curve.times, time, side="right")) - 1
        assert curve.standard_error[k] == pytest.approx(error, rel=1e-9)
        assert curve.number_at_risk(time) == at_risk


@pytest.mark.parametrize("sex", [1, 2])
def test_log_log_interval_is_that_of_r_and_of_lifelines(lung: pd.DataFrame, sex: int) -> None:
    group = lung[lung["sex"] == sex]
    curve = kaplan_meier(group["time"], group["status"], "log-log")
    for time, limits in zip((180, 365, 730), LOG_LOG[sex], strict=True):
        assert [curve.at(time).lower, curve.at(time).upper] == pytest.approx(limits, rel=1e-9)
    theirs = KaplanMeierFitter().fit(group["time"], group["status"])
    assert np.allclose(curve.survival, theirs.survival_function_.to_numpy().ravel())
    assert np.allclose(curve.lower[:-1], theirs.confidence_interval_.to_numpy()[:-1, 0])


def test_medians_are_those_of_r(lung: pd.DataFrame) -> None:
    """R's survfit prints 270 (212 to 310) and 426 (348 to 550); with log-log 270 (210 to 306) and 426 (345 to 524)."""
    printed = {"log": [(270, 212, 310), (426, 348, 550)], "log-log": [(270, 210, 306), (426, 345, 524)]}
    for transform, rows in printed.items():
        for sex, row in zip((1, 2), rows, strict=True):
            group = lung[lung["sex"] == sex]
            median = kaplan_meier(group["time"], group["status"], transform).median  # type: ignore[arg-type]  # a literal
            assert (median.value, median.lower, median.upper) == row


def test_median_follow_up_is_rs_median_of_the_turned_curve(lung: pd.DataFrame) -> None:
    """R: survfit(Surv(time, status == 1) ~ 1, data = lung) prints 588 (511 to 1010)."""
    found = median_follow_up(lung["time"], lung["status"])
    assert (found.value, found.lower, found.upper) == (588, 511, 1010)


def test_shared_reference_says_what_the_constants_say(reference: Path) -> None:
    text = (reference / "survival_reference.txt").read_text()
    assert "180     89      49 0.644465001542 0.040786425085 0.569284189871 0.72957434196" in text


def test_log_rank_of_two_groups_is_that_of_r(lung: pd.DataFrame) -> None:
    found = log_rank(lung["time"], lung["status"], lung["sex"].to_numpy())
    assert found.observed.tolist() == [112, 53]
    assert found.expected == pytest.approx([91.58173903, 73.41826097], rel=1e-9)
    assert [found.test.statistic, found.test.p_value] == pytest.approx([10.326741955, 0.00131116452], rel=1e-8)


def test_log_rank_of_four_groups_is_that_of_r(veteran: pd.DataFrame) -> None:
    """R 4.2.2, survival 3.5-3: survdiff(Surv(time, status) ~ celltype, data = veteran)."""
    found = log_rank(veteran["time"], veteran["status"], veteran["celltype"].to_numpy())
    assert found.groups == ("adeno", "large", "smallcell", "squamous")
    assert found.expected == pytest.approx([15.693764614, 34.549478386, 30.102079327, 47.654677672], rel=1e-9)
    assert found.test.p_value == pytest.approx(1.27124594e-05, rel=1e-8)
    assert found.test.degrees_of_freedom == 3


def test_a_curve_without_events_stays_at_one_and_has_no_median() -> None:
    curve = kaplan_meier([10, 20, 30], [0, 0, 0])
    assert curve.survival.tolist() == [1, 1, 1, 1]
    assert curve.at(25).lower == 1
    assert math.isnan(curve.median.value)


def test_a_curve_that_reaches_zero_has_no_interval_there() -> None:
    curve = kaplan_meier([1, 2], [1, 1])
    assert curve.survival.tolist() == [1, 0.5, 0]
    assert math.isnan(curve.upper[-1])
    assert curve.median.value == 1.5  # the middle of the step at one half


def test_a_patient_censored_at_an_event_is_still_at_risk_of_it() -> None:
    curve = kaplan_meier([5, 5, 9], [1, 0, 0])
    assert curve.at(5).value == pytest.approx(2 / 3)
    assert (curve.at_risk[1], curve.events[1], curve.censored[1]) == (3, 1, 1)


def test_an_event_on_day_zero_counts() -> None:
    assert kaplan_meier([0, 10], [1, 0]).at(0).value == 0.5


def test_risk_table_counts_patients_just_before_each_time() -> None:
    curve = kaplan_meier([100, 200, 200, 300], [1, 0, 1, 1])
    assert [curve.number_at_risk(t) for t in (0, 100, 101, 200, 201, 300, 301)] == [4, 4, 3, 3, 1, 1, 0]


@pytest.mark.parametrize(
    ("time", "event", "message"),
    [
        ([1, np.nan], [1, 0], "missing or infinite"),
        ([1, -2], [1, 0], "must not be negative, got -2 in row 1"),
        ([1, 2], [1, 2], "0 and 1 only"),
        ([1, 2], [1], "1 values where the other columns have 2"),
        ([], [], "at least one value"),
    ],
)
def test_unfit_follow_up_is_refused(time: list[float], event: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kaplan_meier(time, event)


def test_log_rank_without_events_or_with_one_group_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody had one"):
        log_rank([1, 2], [0, 0], ["a", "b"])
    with pytest.raises(ValueError, match="two groups or more, got 1"):
        log_rank([1, 2], [1, 0], ["a", "a"])
