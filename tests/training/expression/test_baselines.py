"""Baselines in the evaluation: fitted on the model's own patients alone, each finding what it is made to find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from pdl1es.features.names import FEATURE_NAMES
from training.cohort.prepared import PreparedCohort, case_table, write_prepared_cohort
from training.expression import baselines
from training.expression.baselines import with_baselines
from training.expression.evaluate import evaluate
from training.reporting.expression_tables import expression_tables
from training.scoring.predictions import BASELINES, BOOSTING, CLINICAL_LOGISTIC, LASSO
from training.scoring.scored_cohort import BaselineFit, ScoredCohort, scored_cohort
from training.statistics.discrimination import Auc
from training.statistics.estimability import NotEstimable

TOLD_BY_LINE = 5


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """Fewer penalties and trees: what is tested does not depend on them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(baselines, "LARGEST_PENALTIES", (0.7, 0.4, 0.2))
        patched.setattr(baselines, "TREES", (20, 40))
        yield


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    """300 patients: age and one feature tell the label."""
    rng = np.random.default_rng(6)
    n = 300
    radiomics = rng.normal(size=(n, len(FEATURE_NAMES)))
    age = rng.normal(60, 10, n).round()
    logit = 1.5 * (age - 60) / 10 + 1.5 * radiomics[:, TOLD_BY_LINE]
    label = (rng.random(n) < expit(logit)).astype(float)
    radiomics[3, 7], radiomics[5, :4] = np.inf, np.nan
    split = np.where(np.arange(n) < 180, "train", np.where(np.arange(n) < 220, "validation", "test"))
    rows = [
        {
            "case_id": f"case-{k:03d}",
            "label": label[k],
            "split": str(split[k]),
            "age": float(age[k]) if k % 17 else None,
            "sex": float(rng.integers(2)),
            "smoking": float(rng.integers(3)),
            "family_history": float(rng.integers(2)),
            "volume_ml": float(np.exp(rng.normal(3, 1))),
        }
        for k in range(n)
    ]
    patches = np.zeros((n, 3, 112, 112), np.int16)
    folder = tmp_path_factory.mktemp("prepared")
    return write_prepared_cohort(folder, case_table(rows), patches, patches > 0, radiomics)


def scored(prepared: PreparedCohort, *, out_of_fold: bool = False) -> ScoredCohort:
    """Scores of a model that knows the one feature, as a run leaves them."""
    probability = expit(np.nan_to_num(prepared.radiomics[:, TOLD_BY_LINE]))
    table = pd.DataFrame(
        {
            "case_id": prepared.cases["case_id"],
            "split": prepared.cases["split"],
            "model": "PD-L1ES",
            "probability": probability,
            "logit": np.log(probability / (1 - probability)),
            **{f"imputed_{name}": 0.0 for name in ("age", "sex", "smoking", "family_history")},
        }
    )
    if out_of_fold:
        table["out_of_fold"] = np.where(prepared.cases["split"] == "test", np.nan, probability)
    return scored_cohort(prepared, table)


def areas(cohort: ScoredCohort, name: str = "Test") -> dict[str, float]:
    """Areas by model in one cohort."""
    found = evaluate(cohort.cases, cohort.predictions, cross_fitted=cohort.cross_fitted).cohorts[name].models
    return {model: entry.auc.value for model, entry in found.items() if isinstance(entry.auc, Auc)}


@pytest.fixture(scope="module")
def found(prepared: PreparedCohort) -> ScoredCohort:
    """The cohort with baselines. Do not change it."""
    return with_baselines(scored(prepared), prepared, seed=1)


def test_each_baseline_finds_what_is_planted_for_it(found: ScoredCohort) -> None:
    """Age is for the clinical model, the one feature, which PD-L1ES is here, for LASSO and boosting; noise is at 0.5."""
    test = areas(found)
    assert test[CLINICAL_LOGISTIC] > 0.65
    assert test[LASSO] > test["PD-L1ES"] - 0.08
    assert test[BOOSTING] > 0.58
    assert 0.35 < test["volume"] < 0.65


def test_they_stand_beside_the_comparators_with_delongs_test_against_the_model(found: ScoredCohort) -> None:
    evaluation = evaluate(found.cases, found.predictions, baselines=found.baselines)
    models = evaluation.cohorts["Test"].models
    assert list(models)[1:4] == list(BASELINES)
    for name in BASELINES:
        assert models[name].comparison is not None
        assert models[name].n == models["PD-L1ES"].n
    assert evaluation.baselines[LASSO] == found.baselines[LASSO]


def test_the_clinical_baseline_is_plain_logistic_regression(prepared: PreparedCohort, found: ScoredCohort) -> None:
    """Of patients without a missing value its coefficients are those of an unpenalised fit on the raw codes."""
    complete = prepared.subset(np.flatnonzero(np.isfinite(prepared.clinical).all(axis=1)))
    alone = with_baselines(scored(complete), complete)
    train = (complete.cases["split"] == "train").to_numpy()
    plain = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10000, solver="newton-cholesky")
    plain.fit(complete.clinical[train], complete.labels[train])
    expected = plain.predict_proba(complete.clinical)[:, 1]
    assert alone.predictions.probability[CLINICAL_LOGISTIC] == pytest.approx(expected, abs=1e-3)


def test_patients_who_are_not_trained_on_change_no_baseline(prepared: PreparedCohort, found: ScoredCohort) -> None:
    """Other labels, ages and features of validation and test patients leave every other score as it was."""
    outside = (prepared.cases["split"] != "train").to_numpy()
    cases = prepared.cases.copy()
    cases.loc[outside, "label"] = 1 - cases.loc[outside, "label"]
    cases.loc[outside, "age"] = 20.0
    radiomics = prepared.radiomics.copy()
    radiomics[outside] *= -3
    other = replace(prepared, cases=cases, radiomics=radiomics)
    again = with_baselines(scored(other), other, seed=1)
    for name in BASELINES:
        assert np.array_equal(
            again.predictions.probability[name][~outside], found.predictions.probability[name][~outside]
        )
    assert again.baselines == found.baselines


def test_scores_of_fitted_patients_are_out_of_fold_where_the_models_are(prepared: PreparedCohort) -> None:
    """A recipe that cross-fits is compared with cross-fitted baselines: with shuffled labels none remembers."""
    rng = np.random.default_rng(0)
    cases = prepared.cases.copy()
    cases["label"] = rng.permutation(cases["label"])
    shuffled = replace(prepared, cases=cases).subset(np.arange(60, 180))
    remembered = areas(with_baselines(scored(shuffled), shuffled), "Training")
    apart = areas(with_baselines(scored(shuffled, out_of_fold=True), shuffled), "Training")
    assert remembered[BOOSTING] > 0.8
    assert 0.2 < apart[BOOSTING] < 0.65
    assert 0.2 < apart[LASSO] < 0.65


def test_a_cohort_that_nothing_was_fitted_on_has_no_baseline_and_says_why(prepared: PreparedCohort) -> None:
    cases = prepared.cases.copy()
    cases["split"] = None
    external = replace(prepared, cases=cases)
    table = scored(external)
    found = with_baselines(table, external)
    for name in BASELINES:
        reason = found.baselines[name]
        assert isinstance(reason, NotEstimable)
        assert "no patient here is one that a model was fitted on" in reason.reason
    assert set(found.predictions.probability) == set(table.predictions.probability)


def test_too_few_patients_of_a_class_are_told(prepared: PreparedCohort) -> None:
    chosen = [np.flatnonzero(prepared.labels == label)[:count] for label, count in ((0, 30), (1, 3))]
    few = prepared.subset(np.concatenate(chosen))
    found = with_baselines(scored(few), few)
    reason = found.baselines[LASSO]
    assert isinstance(reason, NotEstimable)
    assert "a class has 3 training patients" in reason.reason


def test_what_was_chosen_is_told(found: ScoredCohort) -> None:
    lasso, boosting = found.baselines[LASSO], found.baselines[BOOSTING]
    assert isinstance(lasso, BaselineFit)
    assert isinstance(boosting, BaselineFit)
    assert lasso.n == boosting.n == 180
    assert 1 <= lasso.features < 200
    assert lasso.chosen["penalty"] in (0.7, 0.4, 0.2)
    assert boosting.chosen["trees"] in (20, 40)


def test_areas_of_fitted_patients_are_marked_as_resubstitution(prepared: PreparedCohort, found: ScoredCohort) -> None:
    def marked(cohort: ScoredCohort) -> dict[tuple[str, str], str]:
        evaluation = evaluate(cohort.cases, cohort.predictions, cross_fitted=cohort.cross_fitted)
        rows = expression_tables(evaluation).discrimination.rows
        return {(row[0], row[1]): row[4].partition("), ")[2] for row in rows}

    fitted = marked(found)
    for model in ("PD-L1ES", *BASELINES, "volume"):
        assert fitted["Training", model] == "resubstitution"
        assert fitted["Pooled", model] == "partly resubstitution"
        assert fitted["Test", model] == fitted["Validation", model] == ""
    assert set(marked(scored(prepared, out_of_fold=True)).values()) == {""}
