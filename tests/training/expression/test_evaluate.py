"""Evaluation of expression: numbers by cohort, the operating point, and what tiny cohorts get."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from tests.training.drawn_patients import draw_cohort
from training.expression.characteristics import characteristics
from training.expression.evaluate import evaluate
from training.expression.results import (
    EXTERNAL,
    GATE,
    HELD_OUT,
    POOLED,
    TEST,
    TRAINING,
    VALIDATION,
    Evaluation,
    EvaluationSettings,
)
from training.known_truth.gates import expression_gates, hazard_gate
from training.scoring.predictions import Predictions, PredictionsError, predictions_of
from training.statistics.arrays import Estimate
from training.statistics.calibration import Calibration
from training.statistics.classification import youden_cut_off
from training.statistics.discrimination import Auc, auc, compare_paired
from training.statistics.estimability import NotEstimable
from training.statistics.strata import Stratification
from training.statistics.table_one import Categorical

Cohort = tuple[pd.DataFrame, Predictions]


@pytest.fixture(scope="module")
def evaluation(paper_sized: Cohort) -> Evaluation:
    return evaluate(*paper_sized)


def _rows(cohort: Cohort, *splits: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    cases, predictions = cohort
    rows = cases["split"].isin(splits).to_numpy()
    return cases["label"].to_numpy()[rows], {name: p[rows] for name, p in predictions.probability.items()}


def test_each_cohort_has_its_own_patients_and_immunotherapy_none(evaluation: Evaluation) -> None:
    sizes = {name: cohort.n for name, cohort in evaluation.cohorts.items()}
    assert sizes == {TRAINING: 750, VALIDATION: 93, TEST: 96, POOLED: 939, HELD_OUT: 189}
    fitted = [name for name, cohort in evaluation.cohorts.items() if cohort.fitted_here]
    assert fitted == [TRAINING, POOLED]


def test_areas_and_delong_are_those_of_the_statistics(evaluation: Evaluation, paper_sized: Cohort) -> None:
    label, scores = _rows(paper_sized, "test")
    models = evaluation.cohorts[TEST].models
    assert list(models) == ["PD-L1ES", "DLM", "RM", "CM"]
    assert models["PD-L1ES"].auc == auc(label, scores["PD-L1ES"])
    assert models["PD-L1ES"].comparison is None
    assert models["RM"].comparison == compare_paired(label, scores["PD-L1ES"], scores["RM"])


def test_the_operating_point_is_found_on_validation_alone(evaluation: Evaluation, paper_sized: Cohort) -> None:
    label, scores = _rows(paper_sized, "validation")
    assert evaluation.cut_off == youden_cut_off(label, scores["PD-L1ES"]).cut_off
    assert evaluation.cut_off_source == "Youden on validation"
    cases, predictions = paper_sized
    changed = cases.assign(label=np.where(cases["split"] == "test", 1 - cases["label"], cases["label"]))
    assert evaluate(changed, predictions).cut_off == evaluation.cut_off


def test_a_given_cut_off_is_the_one_used(paper_sized: Cohort) -> None:
    found = evaluate(*paper_sized, cut_off=0.42, cut_off_source="the exported model's own")
    assert (found.cut_off, found.cut_off_source) == (0.42, "the exported model's own")
    assert found.cohorts[TEST].classification.cut_off == 0.42  # type: ignore[union-attr]


def test_the_order_of_patients_and_models_changes_nothing(evaluation: Evaluation, paper_sized: Cohort) -> None:
    cases, predictions = paper_sized
    order = np.random.default_rng(1).permutation(len(cases))
    shuffled = Predictions(
        tuple(np.array(predictions.case_ids)[order]),
        {name: predictions.probability[name][order] for name in reversed(list(predictions.probability))},
    )
    again = evaluate(cases, shuffled)
    assert again.cohorts[TEST].models["DLM"].auc == evaluation.cohorts[TEST].models["DLM"].auc
    assert list(again.cohorts[TEST].models) == list(evaluation.cohorts[TEST].models)


def test_strata_are_those_of_the_paper_the_cohorts_own_median_sex_and_age(evaluation: Evaluation) -> None:
    strata = evaluation.strata[POOLED]
    assert set(strata) == {"manufacturer", "slice_thickness", "tube_current", "tube_current_at_median", "sex", "age"}
    thickness = strata["slice_thickness"]
    assert isinstance(thickness, Stratification)
    assert [s.level for s in thickness.strata] == ["< 5 mm", ">= 5 mm"]
    assert sum(s.n for s in thickness.strata) == 939
    assert [s.level for s in strata["sex"].strata] == ["female", "male"]  # type: ignore[union-attr]
    assert [s.level for s in strata["tube_current"].strata] == ["< 290 mA", ">= 290 mA"]  # type: ignore[union-attr]


def test_a_cohort_without_splits_is_external_and_has_no_operating_point_of_its_own() -> None:
    found = evaluate(*draw_cohort({None: 200}, seed=4))
    assert list(found.cohorts) == [EXTERNAL]
    assert isinstance(found.cut_off, NotEstimable)
    assert found.cut_off.reason == "there is no validation cohort"
    assert isinstance(found.cohorts[EXTERNAL].classification, NotEstimable)


def test_recalibration_undoes_a_known_shift_of_the_logit() -> None:
    """Scores whose logit is 0.5 + 1.6 times the truth's are brought back by intercept and slope; the order stays."""
    rng = np.random.default_rng(0)
    true = rng.normal(-0.5, 1.2, 4000)
    label = (rng.random(4000) < expit(true)).astype(float)
    cases, _ = draw_cohort({None: 4000})
    cases["label"] = label
    shifted = expit(0.5 + 1.6 * true)
    found = evaluate(cases, Predictions(tuple(cases["case_id"]), {"PD-L1ES": shifted})).recalibration[EXTERNAL]
    assert found.slope.slope == pytest.approx(1 / 1.6, abs=0.05)  # type: ignore[union-attr]
    assert np.abs(logit(found.slope.apply(shifted)) - true).max() < 0.35  # type: ignore[union-attr]
    assert found.brier_slope < found.brier_in_the_large < found.brier  # type: ignore[union-attr,operator]


def test_a_model_without_a_score_of_some_patients_is_compared_on_the_others(paper_sized: Cohort) -> None:
    cases, predictions = paper_sized
    partly = predictions.probability["PD-L1ES"].copy()
    partly[::3] = np.nan
    found = evaluate(cases, predictions.adding("shuffled voxels", partly), controls=("shuffled voxels",))
    model = found.cohorts[TEST].models["shuffled voxels"]
    assert (model.n, model.unscored) == (64, 32)
    assert model.comparison.difference.value == 0  # type: ignore[union-attr]
    control = found.controls["shuffled voxels"][TEST]
    assert (control.n, control.mean_change, control.p_value) == (64, 0.0, 1.0)  # type: ignore[union-attr]


@pytest.mark.parametrize("sizes", [{"train": 8, "validation": 2, "test": 1}, {"train": 30, "validation": 4, "test": 4}])
def test_a_tiny_cohort_gets_reasons_instead_of_an_error(sizes: dict[str | None, int]) -> None:
    found = evaluate(*draw_cohort(sizes, seed=2), EvaluationSettings(resamples=20))
    for cohort in found.cohorts.values():
        for model in cohort.models.values():
            assert isinstance(model.auc, Auc | NotEstimable)
            assert isinstance(model.calibration, Calibration | NotEstimable)
            assert not isinstance(model.auc, NotEstimable) or model.auc.reason


def test_nobody_to_evaluate_is_an_error_that_says_so() -> None:
    cases, predictions = draw_cohort({"prognosis": 5})
    with pytest.raises(ValueError, match="no patient has both a label and a score"):
        evaluate(cases.assign(label=np.nan), predictions)


def test_table_one_compares_the_training_cohort_with_each_other(paper_sized: Cohort) -> None:
    cases, _ = paper_sized
    table = characteristics(cases)
    assert table.n == {"Total": 939, TRAINING: 750, VALIDATION: 93, TEST: 96}
    sex = table.variables[1]
    assert isinstance(sex, Categorical)
    assert set(sex.tests) == {VALIDATION, TEST}
    assert sex.counts[TEST].sum() == 96


def test_a_smoker_of_unknown_grade_is_no_unknown_in_table_one() -> None:
    cases, _ = draw_cohort({"train": 60, "validation": 20, "test": 20})
    cases.loc[0:4, "smoking"] = np.nan
    cases.loc[0:4, "smoking_graded"] = False
    smoking = next(v for v in characteristics(cases).variables if v.name == "Smoking status")
    assert isinstance(smoking, Categorical)
    assert smoking.counts["Total"][smoking.levels.index("smoker of unknown grade")] == 5


def test_the_gates_say_whether_the_score_is_near_the_truth_and_above_the_comparators() -> None:
    cases, predictions = draw_cohort({"train": 100, "validation": 50, "test": 50, "gate": 1000}, seed=3)
    near = predictions.adding("Bayes", predictions.probability["PD-L1ES"])
    found = evaluate(cases, near, EvaluationSettings(resamples=20))
    gates = expression_gates(found, {"PD-L1ES": 0.76, "Bayes": 0.80})
    assert len(gates) == 4
    assert all(gate.holds for gate in gates)
    assert "expected 0.760 against 0.800, 0.040 behind; observed" in gates[0].found
    weak = dataclasses.replace(
        near, probability={**near.probability, "PD-L1ES": near.probability["CM"], "CM": near.probability["PD-L1ES"]}
    )
    below = evaluate(cases, weak, EvaluationSettings(resamples=20))
    assert [g.holds for g in expression_gates(below, {"PD-L1ES": 0.749, "Bayes": 0.80})] == [False] * 4
    assert [g.holds for g in expression_gates(found)] == [None, True, True, True], (
        "the labels' noise judges no distance"
    )
    assert expression_gates(evaluate(*draw_cohort({"train": 50, "validation": 20, "test": 20}))) == ()
    assert GATE == "Further test"


def test_the_hazard_gate_holds_where_the_interval_holds_the_truth() -> None:
    assert hazard_gate("x", Estimate(2.0, 1.5, 2.5), 1.9).holds is True
    assert hazard_gate("x", Estimate(2.0, 1.95, 2.5), 1.9).holds is False
    assert hazard_gate("x", NotEstimable("no event"), 1.9).holds is None


def test_a_table_of_predictions_is_checked_before_it_is_trusted() -> None:
    good = pd.DataFrame({"case_id": ["a", "b"], "model": "PD-L1ES", "logit": [0.0, 1.0]})
    assert predictions_of(good).probability["PD-L1ES"] == pytest.approx([0.5, expit(1.0)])
    with pytest.raises(PredictionsError, match="no column 'model'"):
        predictions_of(good.drop(columns="model"))
    with pytest.raises(PredictionsError, match="1 rows repeat a patient"):
        predictions_of(pd.concat([good, good.iloc[:1]]))
    with pytest.raises(PredictionsError, match="outside 0 to 1"):
        predictions_of(good.assign(probability=[0.1, 1.2]))
    with pytest.raises(PredictionsError, match="none of the cohort's patients"):
        predictions_of(good).aligned(["c"])
