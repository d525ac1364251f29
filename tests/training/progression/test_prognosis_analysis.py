"""Analysis of progression: groups, models, what is exported, and the truth within the interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pdl1es.clinical import TREATMENTS, VARIABLES
from tests.training.drawn_patients import draw_cohort, imputed
from training.expression.evaluate import evaluate
from training.progression.analyse import analyse, exported_risk
from training.progression.followed import FollowedCohort, ModelRisk, followed_cohort
from training.progression.results import (
    ALL,
    Grouping,
    Prognosis,
    PrognosisSettings,
    RiskModelResult,
    panels,
    risk_names,
    upper_is_worse,
)
from training.release.cut_offs import ModelCutOffs, model_cut_offs, read_cut_offs, write_cut_offs
from training.reporting.document import plain_value
from training.reporting.progression_tables import progression_tables
from training.scoring.predictions import Predictions
from training.statistics.arrays import Estimate
from training.statistics.concordance import concordance
from training.statistics.cox import CoxCalibration, cox
from training.statistics.cox_model import CoxModel
from training.statistics.estimability import NotEstimable
from training.statistics.prognosis import GroupComparison, compare_groups
from training.statistics.xtile import CutOffSearch

QUICK = PrognosisSettings(permutations=10, resamples=5, cut_off_resamples=5)
Cohort = tuple[pd.DataFrame, Predictions]


def _followed(cohort: Cohort) -> FollowedCohort:
    cases, predictions = cohort
    return followed_cohort(cases, predictions.probability["PD-L1ES"], imputed(cases))


@pytest.fixture(scope="module")
def prognosis(paper_sized: Cohort) -> Prognosis:
    return analyse(_followed(paper_sized), QUICK)


def test_only_patients_with_follow_up_and_a_score_are_analysed_and_the_others_counted(paper_sized: Cohort) -> None:
    cases, predictions = paper_sized
    score = predictions.probability["PD-L1ES"].copy()
    rows = np.flatnonzero(cases["split"] == "prognosis")
    score[rows[0]] = np.nan
    unfollowed = cases.copy()
    unfollowed.loc[rows[1:3], "pfs_days"] = np.nan
    found = followed_cohort(unfollowed, score, imputed(cases))
    assert found.time.size == 94 - 3
    assert found.left_out == {
        "in the training or validation split": 0,
        "without follow-up": 2,
        "without a score": 1,
    }


def test_patients_who_fitted_the_model_are_left_out_and_counted_where_no_split_is_named_prognosis() -> None:
    """Their scores know their labels: a cut-off or a hazard ratio of theirs would flatter the model."""
    cases, predictions = draw_cohort({"train": 60, "validation": 10, "test": 12, None: 8}, seed=6)
    score = predictions.probability["PD-L1ES"]
    found = followed_cohort(cases, score, imputed(cases))
    assert found.time.size == 20
    assert found.left_out["in the training or validation split"] == 70
    others = cases["split"].isin(["train", "validation"]).to_numpy()
    changed = followed_cohort(cases.assign(pfs_days=np.where(others, 1.0, cases["pfs_days"])), score, imputed(cases))
    assert np.array_equal(changed.time, found.time)
    with pytest.raises(ValueError, match="all 70 patients with follow-up trained or validated the model"):
        followed_cohort(cases[others], score[others], imputed(cases)[others])


def test_a_cohort_without_splits_is_analysed_whole() -> None:
    found = _followed(draw_cohort({None: 30}))
    assert found.time.size == 30
    assert sum(found.left_out.values()) == 0


def test_groups_are_those_of_each_cut_off(prognosis: Prognosis, paper_sized: Cohort) -> None:
    assert prognosis.exported == {}
    cohort = _followed(paper_sized)
    assert set(prognosis.groupings) == {"X-tile", "median", "paper"}
    median = prognosis.groupings["median"].groups
    assert isinstance(median, GroupComparison)
    assert cohort.score is not None
    expected = compare_groups(cohort.time, cohort.event, cohort.score > np.median(cohort.score))
    assert median.hazard_ratio == expected.hazard_ratio
    assert median.lower.n == median.upper.n == 47
    assert prognosis.groupings["paper"].cut_off == 0.66


def test_an_exported_models_cut_off_is_tested_beside_the_cohorts_own(paper_sized: Cohort) -> None:
    found = analyse(_followed(paper_sized), QUICK, model_cut_off=0.3)
    assert found.groupings["model"].cut_off == 0.3
    assert found.groupings["model"].source == "the exported model's, from other patients"


def _exported_risks(cohort: Cohort, slope: float) -> dict[str, ModelRisk]:
    """What a model would say whose linear predictor is the logarithm of the hazard over ``slope``."""
    age = imputed(cohort[0])[:, 0]
    predictor = 0.02 * (age - 59) / slope
    return {"clinical": ModelRisk(predictor, 0.05, "high risk", "low risk")}


@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_an_exported_cox_model_is_checked_on_patients_that_it_was_not_fitted_on(slope: float) -> None:
    """A predictor that spreads patients twice as far as they are has a calibration slope of one half."""
    cohort = draw_cohort({None: 3000}, seed=7, log_hazard_ratio=0.0)
    cases, predictions = cohort
    risks = _exported_risks(cohort, slope)
    followed = followed_cohort(cases, predictions.probability["PD-L1ES"], imputed(cases), risks)
    clinical = exported_risk(followed, followed.model_risks["clinical"])
    predictor = risks["clinical"].linear_predictor
    assert isinstance(clinical.calibration, CoxCalibration)
    assert clinical.calibration.slope.lower < slope < clinical.calibration.slope.upper
    assert (clinical.calibration.p_value < 0.001) == (slope == 0.5)
    assert clinical.concordance == concordance(followed.time, followed.event, predictor)
    assert clinical.grouping.cut_off == 0.05
    assert isinstance(clinical.grouping.groups, GroupComparison)
    assert clinical.grouping.groups.upper.n == (predictor > 0.05).sum()
    assert (clinical.n, clinical.unknown, clinical.above) == (3000, 0, "high risk")


def test_an_exported_cox_model_says_of_how_many_it_says_nothing(paper_sized: Cohort) -> None:
    cases, predictions = paper_sized
    predictor = np.where(np.arange(len(cases)) % 2, np.nan, 0.01 * imputed(cases)[:, 0])
    nothing = np.full(len(cases), np.nan)
    risks = {"clinical": ModelRisk(predictor, 0.6), "fusion": ModelRisk(nothing, 1.0)}
    followed = followed_cohort(cases, predictions.probability["PD-L1ES"], imputed(cases), risks)
    found = analyse(followed, QUICK).exported
    assert plain_value(found["clinical"]) == plain_value(exported_risk(followed, followed.model_risks["clinical"]))
    assert (found["clinical"].n, found["clinical"].unknown) == (47, 47)
    assert found["fusion"].calibration == NotEstimable("the exported model gives no patient a risk")


def test_a_table_without_images_is_analysed_by_measured_pd_l1_and_clinical_variables() -> None:
    """As cBioPortal's: no score, nobody's family history known, smokers of unknown grade."""
    cases, _ = draw_cohort({None: 240}, seed=8)
    smoker = (cases["smoking"] > 0).to_numpy()
    table = cases.drop(columns="split").assign(
        family_history=np.nan, smoking=np.where(smoker, np.nan, 0.0), smoking_graded=~smoker
    )
    clinical = imputed(cases)
    clinical[:, 2], clinical[:, 3] = np.where(smoker, 1.2, 0.0), 0.15
    followed = followed_cohort(table, None, clinical)
    found = analyse(followed, QUICK)
    assert followed.score is None
    assert isinstance(found.expression, Grouping)
    assert isinstance(found.expression.groups, GroupComparison)
    assert isinstance(found.clinical, RiskModelResult)
    assert found.clinical.fit.model.names == ("age", "sex", "smoking")
    smoking = found.clinical_variables["smoking"]
    assert isinstance(smoking.groups, GroupComparison)
    assert smoking.groups.upper.n == smoker.sum()
    assert found.univariable["family_history"] == NotEstimable("family_history was measured of nobody")
    for missing in (found.search, found.held_out, found.fusion, found.multivariable, found.continuous_concordance):
        assert missing == NotEstimable("there is no score: no model has scored these patients")
    assert found.groupings == {}
    assert set(found.with_each.values()) == {found.search}


def test_a_hazards_check_stands_beside_every_cox_model(prognosis: Prognosis) -> None:
    pairs = (
        (prognosis.univariable, prognosis.univariable_hazards),
        (prognosis.with_each, prognosis.with_each_hazards),
        (prognosis.with_each_continuous, prognosis.with_each_continuous_hazards),
        ({ALL: prognosis.multivariable}, {ALL: prognosis.multivariable_hazards}),
    )
    for models, checks in pairs:
        assert set(models) == set(checks)
        for name, model in models.items():
            assert isinstance(model, CoxModel)
            assert set(checks[name].by_term) == set(model.names)  # type: ignore[union-attr]


def test_the_score_stands_with_each_clinical_variable_in_turn(prognosis: Prognosis, paper_sized: Cohort) -> None:
    cohort = _followed(paper_sized)
    assert {name: model.names for name, model in prognosis.with_each.items()} == {  # type: ignore[union-attr]
        name: ("pdl1es", name) for name in VARIABLES
    }
    assert cohort.score is not None
    expected = cox(cohort.time, cohort.event, {"pdl1es": cohort.score, "age": cohort.clinical[:, 0]})
    assert prognosis.with_each_continuous["age"].term("age") == expected.term("age")  # type: ignore[union-attr]


def test_curves_by_measured_pd_l1_and_by_treatment_are_there(prognosis: Prognosis) -> None:
    grouping = prognosis.expression
    assert not isinstance(grouping, NotEstimable)
    assert set(panels(grouping.groups, grouping.by_treatment)) == {ALL, *TREATMENTS[:2]}


def test_each_clinical_variable_is_analysed_on_those_of_whom_it_was_measured(prognosis: Prognosis) -> None:
    assert set(prognosis.clinical_variables) == set(VARIABLES)
    age = prognosis.clinical_variables["age"]
    assert isinstance(age.search, CutOffSearch)
    assert age.n < 94  # some ages are missing
    assert prognosis.clinical_variables["sex"].n == 94


def test_the_fusion_model_is_fitted_on_the_score_and_the_clinical_predictor(prognosis: Prognosis) -> None:
    assert isinstance(prognosis.clinical, RiskModelResult)
    assert isinstance(prognosis.fusion, RiskModelResult)
    assert prognosis.clinical.fit.model.names == VARIABLES
    assert prognosis.fusion.fit.model.names == ("pdl1es", "clinical_risk")
    assert isinstance(prognosis.multivariable, CoxModel)
    assert prognosis.multivariable.names == ("pdl1es", *VARIABLES)


def test_exported_coefficients_give_every_patients_risk_again(
    prognosis: Prognosis, paper_sized: Cohort, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What the ONNX graph computes from cut_offs.json is what the Cox models gave."""
    path = tmp_path_factory.mktemp("cut-offs") / "cut_offs.json"
    write_cut_offs(path, model_cut_offs(evaluate(*paper_sized), prognosis, synthetic=False))
    found = read_cut_offs(path)
    terms = found.cox_terms()
    assert terms is not None
    assert terms.fusion_coefficients is not None
    assert terms.clinical_means is not None
    assert terms.fusion_means is not None
    cohort = _followed(paper_sized)
    assert cohort.score is not None
    assert terms.clinical_coefficients is not None
    clinical = (cohort.clinical - terms.clinical_means) @ terms.clinical_coefficients
    fusion = (np.column_stack([cohort.score, clinical]) - terms.fusion_means) @ terms.fusion_coefficients
    assert isinstance(prognosis.clinical, RiskModelResult)
    assert isinstance(prognosis.fusion, RiskModelResult)
    assert clinical == pytest.approx(prognosis.clinical.fit.risk, abs=1e-12)
    assert fusion == pytest.approx(prognosis.fusion.fit.risk, abs=1e-12)
    assert found.calibration is not None
    assert found.calibration.events + found.calibration.non_events == 96
    assert not found.calibration.synthetic
    assert found.expression is not None
    assert not found.not_estimable


def test_a_variable_that_does_not_differ_is_in_no_model_and_no_cox_model_is_exported_without_it() -> None:
    """Immunotherapy cohorts may be of men alone; a model file has a place for all four variables."""
    cases, predictions = draw_cohort({"prognosis": 94}, seed=2)
    found = analyse(_followed((cases.assign(sex=1.0), predictions)), QUICK)
    assert isinstance(found.clinical, RiskModelResult)
    assert found.clinical.fit.model.names == ("age", "smoking", "family_history")
    assert found.univariable["sex"] == NotEstimable("sex is the same for every patient, so it has no hazard ratio")
    cut_offs = model_cut_offs(None, found, synthetic=False)
    assert cut_offs.clinical is cut_offs.fusion is None
    assert cut_offs.not_estimable["fusion"].startswith("the clinical model holds only age, smoking, family_history")
    assert cut_offs.progression is not None


def test_the_direction_of_risk_is_the_datas() -> None:
    """A higher score means longer survival here, so the group above the cut-off is the low-risk one."""
    found = analyse(_followed(draw_cohort({"prognosis": 200}, seed=5, log_hazard_ratio=-1.5)), QUICK)
    cut_offs = model_cut_offs(None, found, synthetic=False)
    assert cut_offs.progression is not None
    assert (cut_offs.progression.above, cut_offs.progression.below) == ("low risk", "high risk")
    assert upper_is_worse(found.groupings["X-tile"].groups) is False
    assert risk_names(True) == ("high risk", "low risk")


@pytest.mark.parametrize("n", [1, 3, 8])
def test_a_handful_of_patients_gets_reasons_instead_of_an_error(n: int) -> None:
    found = analyse(_followed(draw_cohort({"prognosis": n}, seed=1)), QUICK)
    assert found.n == n
    cut_offs = model_cut_offs(None, found, synthetic=False)
    assert (cut_offs.clinical is None) == ("clinical" in cut_offs.not_estimable)
    assert "expression" in cut_offs.not_estimable


def test_nobody_progressed_is_a_reason_too() -> None:
    cases, predictions = draw_cohort({"prognosis": 20})
    found = analyse(_followed((cases.assign(progressed=0.0), predictions)), QUICK)
    assert isinstance(found.search, NotEstimable)
    assert found.search.reason == "a cut-off needs an event, and nobody had one"
    assert model_cut_offs(None, found, synthetic=False).progression is None
    assert ModelCutOffs().cox_terms() is None


def test_every_cut_off_chosen_on_these_patients_has_an_interval(prognosis: Prognosis) -> None:
    assert set(prognosis.cut_offs) == {"X-tile", "median", "age", "clinical", "fusion"}
    for name, found in (("X-tile", prognosis.search), ("age", prognosis.clinical_variables["age"].search)):
        interval = prognosis.cut_offs[name]
        assert isinstance(interval, Estimate)
        assert isinstance(found, CutOffSearch)
        assert interval.value == found.cut_off
        assert interval.lower < interval.upper
    for name, model in (("clinical", prognosis.clinical), ("fusion", prognosis.fusion)):
        assert isinstance(model, RiskModelResult)
        interval = prognosis.cut_offs[name]
        assert isinstance(interval, Estimate)
        assert interval.value == model.fit.search.cut_off
    tables = progression_tables(prognosis)
    assert [row[0] for row in tables.cut_offs.rows][:2] == ["PD-L1ES, X-tile", "PD-L1ES, median"]
    assert tables.resamples == "5 resamples of the patients, seed 0"
    assert plain_value(prognosis)["settings"]["cut_off_resamples"] == 5
