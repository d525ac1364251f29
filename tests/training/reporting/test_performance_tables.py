"""The report's sections on how far the score can be trusted: what a reader finds there."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.training.drawn_patients import draw_cohort, imputed
from training.expression.evaluate import evaluate
from training.expression.performance import fairness_of
from training.expression.results import HELD_OUT, TEST, Evaluation, EvaluationSettings, NestedCrossValidation
from training.progression.analyse import NO_SCORE, analyse
from training.progression.followed import followed_cohort
from training.progression.performance import BOTH, CLINICAL, SCORE, RiskPerformance
from training.progression.results import Prognosis, PrognosisSettings
from training.reporting.content import ReportContent
from training.reporting.expression_performance import expression_performance_tables
from training.reporting.page import html_page
from training.reporting.progression_performance import performance_tables
from training.scoring.predictions import Predictions
from training.statistics.added_value import AddedValue
from training.statistics.classification import youden_cut_off
from training.statistics.discrimination import Auc
from training.statistics.estimability import NotEstimable
from training.statistics.fairness import Fairness
from training.statistics.multiple_imputation import PooledCox
from training.statistics.restricted_mean import RestrictedMeanComparison
from training.statistics.sample_size import development_size, parameters_allowed
from training.statistics.validation_sample_size import ValidationSize

Cohort = tuple[pd.DataFrame, Predictions]
FEW = PrognosisSettings(permutations=19, resamples=20, cut_off_resamples=20)


@pytest.fixture(scope="module")
def evaluation(paper_sized: Cohort) -> Evaluation:
    settings = EvaluationSettings(resamples=50, model_resamples=20, permutations=99)
    return evaluate(*paper_sized, settings, clinical=imputed(paper_sized[0]))


@pytest.fixture(scope="module")
def prognosis(paper_sized: Cohort) -> Prognosis:
    cases, predictions = paper_sized
    return analyse(followed_cohort(cases, predictions.probability["PD-L1ES"], imputed(cases)), FEW)


def test_only_patients_that_nothing_was_chosen_on_say_how_far_the_score_can_be_trusted(evaluation: Evaluation) -> None:
    assert list(evaluation.performance) == [TEST]
    assert list(evaluation.fairness) == [TEST, HELD_OUT]
    found = evaluation.performance[TEST]
    assert isinstance(found.added, AddedValue)
    assert (found.n, found.added.n) == (96, 96)
    assert found.added.permutation_p <= 0.02
    assert isinstance(found.needed, ValidationSize)
    assert found.needed.n > 96


def test_fairness_is_told_by_sex_age_smoking_and_scanner(evaluation: Evaluation) -> None:
    variables = evaluation.fairness[HELD_OUT]
    assert list(variables) == ["sex", "age", "smoking", "manufacturer"]
    sex = variables["sex"]
    assert isinstance(sex, Fairness)
    assert sum(group.n for group in sex.groups) == 189
    smoking = variables["smoking"]
    assert isinstance(smoking, Fairness)
    assert [group.level for group in smoking.groups] == ["ever", "never"]
    assert smoking.unknown > 0


def test_a_smoker_of_unknown_grade_is_a_smoker() -> None:
    cases, predictions = draw_cohort({"test": 80}, seed=3)
    cases["smoking"], cases["smoking_graded"] = np.nan, [False] * 40 + [True] * 40
    cases.loc[40:, "smoking"] = 0.0
    labels = cases["label"].to_numpy()
    found = fairness_of(cases, labels, predictions.probability["PD-L1ES"], 0.4)["smoking"]
    assert isinstance(found, Fairness)
    assert [(group.level, group.n) for group in found.groups] == [("ever", 40), ("never", 40)]


def test_the_cut_offs_interval_holds_it(evaluation: Evaluation, paper_sized: Cohort) -> None:
    cases, predictions = paper_sized
    rows = (cases["split"] == "validation").to_numpy()
    own = youden_cut_off(cases["label"].to_numpy()[rows], predictions.probability["PD-L1ES"][rows]).cut_off
    found = evaluation.operating_point_interval
    assert not isinstance(found, NotEstimable)
    assert found.value == own
    assert found.lower <= own <= found.upper
    assert found.upper - found.lower > 0.05


def test_as_many_parameters_are_allowed_as_the_formula_gives_back() -> None:
    assert parameters_allowed(300, 0.4, 0.2) == 0  # the overall risk alone needs 369
    for n in (400, 750, 3000):
        allowed = parameters_allowed(n, 0.4, 0.2)
        assert development_size(0.4, allowed, 0.2).n <= n < development_size(0.4, allowed + 1, 0.2).n


def test_progression_at_fixed_times_is_by_models_that_do_not_know_the_patient(prognosis: Prognosis) -> None:
    found = prognosis.performance
    assert list(found.models) == [CLINICAL, SCORE, BOTH]
    both = found.models[BOTH]
    assert isinstance(both, RiskPerformance)
    assert list(both.at) == ["180", "365"]
    assert not isinstance(both.concordance, NotEstimable)
    assert isinstance(found.added, AddedValue)
    assert isinstance(found.imputed, PooledCox)
    assert found.imputed.n_incomplete > 0
    names = [term.name for term in found.imputed.terms]
    assert names == ["pdl1es", "age", "sex", "smoking", "family_history"]
    assert all(isinstance(means, RestrictedMeanComparison) for means in prognosis.restricted_means.values())
    assert set(prognosis.restricted_means) == set(prognosis.groupings)


def test_the_page_folds_what_is_long_and_shows_what_is_asked_first(
    evaluation: Evaluation, prognosis: Prognosis
) -> None:
    page = re.sub("[ \n]+", " ", html_page(ReportContent("Title", None, {}, evaluation, prognosis)))
    visible = re.sub("<details>.*?</details>", "", page)
    for shown in ("PD-L1ES alone shuffled", "Uno's C-index", "ICI (95 % CI)", "corrected for optimism"):
        assert shown.replace("'", "&#39;") in visible or shown in visible
    for folded in ("Sex: do they differ?", "treating everybody", "Restricted mean time", "candidate parameter"):
        assert folded in page
        assert folded not in visible


def test_without_a_score_the_clinical_variables_are_still_told() -> None:
    cases, _ = draw_cohort({None: 120}, seed=2)
    found = analyse(followed_cohort(cases, None, imputed(cases)), FEW)
    assert isinstance(found.performance.models[CLINICAL], RiskPerformance)
    assert found.performance.models[SCORE] == found.performance.added == NO_SCORE
    tables = performance_tables(found)
    assert tables.added == f"not estimable: {NO_SCORE.reason}"
    assert tables.restricted_means == "No model has scored these patients."


def test_follow_up_that_ends_before_a_day_leaves_the_other_day() -> None:
    cases, predictions = draw_cohort({None: 150}, seed=6)
    short = cases["pfs_days"] > 300
    cases.loc[short, ["pfs_days", "progressed"]] = [300.0, 0.0]
    found = analyse(followed_cohort(cases, predictions.probability["PD-L1ES"], imputed(cases)), FEW).performance
    model = found.models[SCORE]
    assert isinstance(model, RiskPerformance)
    assert not isinstance(model.at["180"].area, NotEstimable)
    assert model.at["365"].area == NotEstimable("nobody is under observation without the event after 365")
    assert isinstance(found.decision["365"], NotEstimable)


NESTED = NestedCrossValidation(
    recipe="paper",
    with_network=False,
    network_seconds=None,
    seeds=(4, 5),
    areas=(Auc(0.71, 0.6, 0.8, 0.003, 30, 54), Auc(0.69, 0.58, 0.78, 0.003, 30, 54)),
    calibrations=(NotEstimable("constant"), NotEstimable("constant")),
    mean=0.70,
    standard_deviation=0.0141,
    lowest=0.69,
    highest=0.71,
    selected=(3,) * 4 + (5,) * 6,
    strengths=({"radiomic": 0.3, "clinical": 1.0},) * 9 + ({"radiomic": 3.0, "clinical": 1.0},),
    n=84,
    n_positive=30,
)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"recipe": "paper", "network_seconds": 720.0},
            ("have to be trained 10 times; one took 720 s here, all would take 2.0 h", "not PD-L1ES's own performance"),
        ),
        ({"recipe": "paper"}, ("have to be trained 10 times. So this",)),
        (
            {"recipe": "label-free", "with_network": True},
            ("pretrained once, without any label", "never a label of theirs"),
        ),
        ({"recipe": "label-free"}, ("did not fit PD-L1ES, so that no network takes part",)),
        ({"recipe": None}, ("The model takes no part",)),
    ],
)
def test_the_report_says_what_was_nested_and_what_was_not(
    evaluation: Evaluation, changes: dict[str, Any], told: tuple[str, ...]
) -> None:
    said = expression_performance_tables(replace(evaluation, nested=replace(NESTED, **changes))).nested
    assert "AUC 0.700, mean of 2 divisions of 84 labelled patients (30 of high expression)" in said
    assert "seeds (4 to 5) SD 0.014, from 0.690 to 0.710" in said
    assert "In the 10 outer folds 3 to 5 features were selected" in said
    assert "radiomic 0.3 to 3; clinical 1." in said
    for words in told:
        assert words in said


def test_one_division_has_no_spread_and_none_is_said_to_be_missing(evaluation: Evaluation) -> None:
    alone = replace(NESTED, seeds=(4,), areas=NESTED.areas[:1], standard_deviation=float("nan"))
    said = expression_performance_tables(replace(evaluation, nested=alone)).nested
    assert "mean of 1 division of 84" in said
    assert "one seed (4), so that no spread is known" in said
    assert "nan" not in said
    assert "--nested REPEATS" in expression_performance_tables(replace(evaluation, nested=None)).nested
