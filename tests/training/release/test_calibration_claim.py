"""A score is called a probability only where enough patients have shown that it is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from tests.training.drawn_patients import draw_cohort
from training.expression.evaluate import evaluate
from training.release.calibration_claim import CalibrationClaim, TestedCalibration, calibration_claim
from training.release.cut_offs import model_cut_offs, read_cut_offs, write_cut_offs
from training.scoring.predictions import Predictions
from training.statistics.calibration import calibration
from training.statistics.estimability import NotEstimable


def _tested(labels: np.ndarray, scores: np.ndarray, *, synthetic: bool = False) -> TestedCalibration:
    return TestedCalibration.of(calibration(labels, scores), synthetic=synthetic)


def _drawn(n: int = 600, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Draw patients whose score is the very probability of their label."""
    rng = np.random.default_rng(seed)
    score = expit(rng.normal(-0.6, 1.2, n))
    return (rng.random(n) < score).astype(float), score


def test_enough_patients_and_right_intercept_and_slope_make_a_probability() -> None:
    labels, scores = _drawn()
    claim = calibration_claim(True, _tested(labels, scores))
    assert claim.holds
    events = int(labels.sum())
    assert f"on {events} test patients with high expression and {600 - events} without" in claim.reason
    assert claim.reason.startswith("Calibration was tested: ")


def test_a_model_of_phantoms_is_never_calibrated() -> None:
    tested = _tested(*_drawn())
    for trained_on_patients, synthetic in ((False, True), (False, False), (True, True)):
        claim = calibration_claim(trained_on_patients, tested.model_copy(update={"synthetic": synthetic}))
        assert not claim.holds
        assert "synthetic phantoms" in claim.reason


@pytest.mark.parametrize(("events", "non_events", "holds"), [(100, 100, True), (99, 400, False), (400, 99, False)])
def test_fewer_than_100_of_either_class_prove_nothing(events: int, non_events: int, holds: bool) -> None:
    tested = TestedCalibration(
        synthetic=False,
        events=events,
        non_events=non_events,
        intercept=(0.1, -0.2, 0.4),
        slope=(0.9, 0.7, 1.1),
    )
    claim = calibration_claim(True, tested)
    assert claim.holds == holds
    assert f"{events} test patients with high expression and {non_events} without" in claim.reason
    if not holds:
        assert "needs 100 of each" in claim.reason


@pytest.mark.parametrize(
    ("intercept", "slope"),
    [
        ((0.30, 0.05, 0.55), (1.0, 0.8, 1.2)),
        ((-0.30, -0.55, -0.05), (1.0, 0.8, 1.2)),
        ((0.0, -0.2, 0.2), (0.60, 0.45, 0.75)),
        ((0.0, -0.2, 0.2), (1.50, 1.10, 1.90)),
        ((0.0, -0.2, 0.2), None),
    ],
    ids=["scores too low", "scores too high", "scores too extreme", "scores too timid", "no finite slope"],
)
def test_an_interval_without_the_right_value_is_named_with_its_figures(
    intercept: tuple[float, float, float], slope: tuple[float, float, float] | None
) -> None:
    claim = calibration_claim(
        True, TestedCalibration(synthetic=False, events=150, non_events=250, intercept=intercept, slope=slope)
    )
    assert not claim.holds
    assert claim.reason.startswith("The score is no probability: on 150 test patients")
    assert f"{intercept[0]:.2f} (95 % CI {intercept[1]:.2f} to {intercept[2]:.2f}) where 0 is right" in claim.reason
    wanted = "not finite" if slope is None else f"{slope[0]:.2f} (95 % CI {slope[1]:.2f} to {slope[2]:.2f})"
    assert f"the slope {wanted} where 1 is right" in claim.reason
    assert claim.reason.isascii()


def test_scores_that_are_too_extreme_are_found_out_on_drawn_patients() -> None:
    labels, scores = _drawn()
    assert not calibration_claim(True, _tested(labels, expit(2.0 * logit(scores)))).holds


def test_what_was_not_measured_is_not_claimed() -> None:
    claim = calibration_claim(True, NotEstimable("there is no test split"))
    assert claim == CalibrationClaim(
        False, "The score is no probability: its calibration was not measured: there is no test split."
    )


def test_the_papers_test_split_is_too_small(paper_sized: tuple[pd.DataFrame, Predictions], tmp_path: Path) -> None:
    """96 patients: whatever the intervals hold."""
    write_cut_offs(tmp_path / "cut_offs.json", model_cut_offs(evaluate(*paper_sized), None, synthetic=False))
    tested = read_cut_offs(tmp_path / "cut_offs.json").calibration
    assert tested is not None
    claim = calibration_claim(True, tested)
    assert not claim.holds
    assert "needs 100 of each" in claim.reason


def test_only_the_test_split_counts() -> None:
    """Validation chose the epoch, and a cohort without a split is another hospital's."""
    for sizes in ({"train": 100, "validation": 400}, {None: 500}):
        found = model_cut_offs(evaluate(*draw_cohort(sizes)), None, synthetic=False)
        assert found.calibration is None
        assert found.not_estimable["calibration"] == "there is no test split"
    found = model_cut_offs(evaluate(*draw_cohort({"train": 100, "validation": 50, "test": 400})), None, synthetic=True)
    assert found.calibration is not None
    assert found.calibration.synthetic
    assert found.calibration.events + found.calibration.non_events == 400
