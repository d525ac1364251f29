"""What a model's card states are the numbers of the analyses, and nothing where there are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from tests.training.drawn_patients import draw_cohort, imputed
from training.expression.evaluate import evaluate
from training.expression.results import Evaluation
from training.known_truth.gates import expression_gates
from training.progression.analyse import analyse
from training.progression.followed import followed_cohort
from training.progression.results import Prognosis, PrognosisSettings, RiskModelResult
from training.release.cut_offs import ModelCutOffs, model_cut_offs, read_cut_offs, write_cut_offs
from training.release.performance import Statement, performance_of
from training.scoring.predictions import BAYES, SIGNATURE, Predictions
from training.statistics.arrays import Estimate
from training.statistics.calibration import Calibration
from training.statistics.classification import Classification
from training.statistics.estimability import NotEstimable
from training.statistics.prognosis import GroupComparison
from training.statistics.survival import LogRank
from training.statistics.xtile import CutOffSearch

SIZES = {"train": 200, "validation": 60, "test": 80, "gate": 300, "prognosis": 94}


def of(cases: pd.DataFrame, predictions: Predictions) -> tuple[Evaluation, Prognosis]:
    followed = followed_cohort(cases, predictions.probability[SIGNATURE], imputed(cases))
    return evaluate(cases, predictions), analyse(
        followed, PrognosisSettings(permutations=50, resamples=5, cut_off_resamples=5)
    )


@pytest.fixture(scope="module")
def analysed() -> tuple[Evaluation, Prognosis]:
    """Patients with a Bayes score, further test cases among them."""
    cases, predictions = draw_cohort(SIZES)
    logits = predictions.logit(SIGNATURE)
    return of(cases, predictions.adding(BAYES, expit(1.1 * logits)))


def by_name(statements: tuple[Statement, ...], cohort: str) -> dict[str, Statement]:
    return {found.what: found for found in statements if found.cohort == cohort}


def test_operating_point_and_calibration_are_stated_on_test_and_further_test_alone(
    analysed: tuple[Evaluation, Prognosis],
) -> None:
    statements = performance_of(analysed[0], None).statements
    assert {found.cohort for found in statements} == {"Test", "Further test"}
    for name in ("Test", "Further test"):
        cohort = analysed[0].cohorts[name]
        found = by_name(statements, name)
        classified, calibrated = cohort.classification, cohort.models[SIGNATURE].calibration
        assert isinstance(classified, Classification)
        assert isinstance(calibrated, Calibration)
        sensitivity = found[f"sensitivity at {classified.cut_off:.3g}"]
        assert sensitivity.value == classified.true_positive / cohort.n_positive
        assert sensitivity.limits == (classified.sensitivity.lower, classified.sensitivity.upper)
        assert (sensitivity.patients, sensitivity.events) == (cohort.n, cohort.n_positive)
        for what, expected in (
            (f"specificity at {classified.cut_off:.3g}", classified.specificity),
            (f"positive predictive value at {classified.cut_off:.3g}", classified.positive_predictive_value),
            (f"negative predictive value at {classified.cut_off:.3g}", classified.negative_predictive_value),
            ("calibration slope (1 is right)", calibrated.slope),
            ("calibration intercept with the slope at 1 (0 is right)", calibrated.in_the_large),
            ("AUC of the score that knows the truth (Bayes)", cohort.models[BAYES].auc),
        ):
            assert not isinstance(expected, NotEstimable)
            assert found[what].value == expected.value
            assert found[what].limits == (expected.lower, expected.upper)
        assert found["Brier score"].value == calibrated.brier


def test_hazard_ratios_come_with_both_p_values_and_c_indices(analysed: tuple[Evaluation, Prognosis]) -> None:
    prognosis = analysed[1]
    found = by_name(performance_of(None, prognosis).statements, "Immunotherapy")
    assert isinstance(prognosis.search, CutOffSearch)
    assert isinstance(prognosis.clinical, RiskModelResult)
    assert isinstance(prognosis.fusion, RiskModelResult)
    signature = prognosis.groupings["X-tile"].groups
    assert isinstance(signature, GroupComparison)
    for name, groups, search in (
        ("PD-L1ES", signature, prognosis.search),
        ("clinical Cox model", prognosis.clinical.fit.groups, prognosis.clinical.fit.search),
        ("fusion Cox model", prognosis.fusion.fit.groups, prognosis.fusion.fit.search),
    ):
        ratio = found[f"{name}: hazard ratio above {search.cut_off:.3g}"]
        assert isinstance(groups.hazard_ratio, Estimate)
        assert ratio.value == groups.hazard_ratio.value
        assert (ratio.patients, ratio.events) == (prognosis.n, prognosis.n_events)
        naive = found[f"{name}: log-rank test, the search for the cut-off ignored"]
        after = found[f"{name}: log-rank test after the search"]
        assert isinstance(groups.log_rank, LogRank)
        assert (naive.value, after.value) == (groups.log_rank.test.p_value, search.p_permutation)
        assert naive.limits is after.limits is None
    assert found["PD-L1ES: C-index of the groups"].value != found["PD-L1ES: C-index of the score"].value
    assert found["fusion Cox model: C-index of its linear predictor"].value == (
        prognosis.fusion.fit.concordance.c_index.value
    )


def test_what_the_patients_do_not_hold_is_a_reason_and_never_a_number() -> None:
    """Nobody progressed, and the only test patients are of one class."""
    cases, predictions = draw_cohort({"train": 60, "validation": 40, "test": 6, "prognosis": 12})
    test = cases["split"] == "test"
    evaluation, prognosis = of(cases.assign(progressed=0.0, label=np.where(test, 1.0, cases["label"])), predictions)
    statements = performance_of(evaluation, prognosis).statements
    slope = by_name(statements, "Test")["calibration slope (1 is right)"]
    assert slope.value is None
    assert slope.words().startswith("not estimable: ")
    progression = by_name(statements, "Immunotherapy").values()
    assert all(found.value is None and found.reason for found in progression)


def test_a_file_holds_statements_and_gates_and_one_of_an_earlier_version_still_loads(
    analysed: tuple[Evaluation, Prognosis], tmp_path: Path
) -> None:
    gates = expression_gates(analysed[0])
    assert any("Bayes" in gate.claim for gate in gates)
    given = model_cut_offs(*analysed, synthetic=True, model="ab" * 32, gates=gates)
    write_cut_offs(tmp_path / "cut_offs.json", given)
    assert read_cut_offs(tmp_path / "cut_offs.json") == given
    assert given.performance is not None
    assert given.performance.gates == gates
    document = json.loads((tmp_path / "cut_offs.json").read_text())
    del document["performance"], document["model"]
    (tmp_path / "earlier.json").write_text(json.dumps(document))
    earlier = read_cut_offs(tmp_path / "earlier.json")
    assert isinstance(earlier, ModelCutOffs)
    assert (earlier.performance, earlier.model) == (None, None)
    assert earlier.progression == given.progression
