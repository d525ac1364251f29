"""The synthetic cohort's truth is what a reader can measure in the cohort itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from sklearn.metrics import roc_auc_score

from training.cohort.truth import (
    TrueModel,
    TruthSettings,
    bayes_logit,
    draw_labels,
    draw_patients,
    draw_survival,
    true_model,
)
from training.statistics.discrimination import auc


@pytest.fixture(scope="module")
def model() -> TrueModel:
    return true_model(TruthSettings())


@pytest.fixture(scope="module")
def patients(model: TrueModel) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    drawn = draw_patients(rng, 20_000)
    return pd.concat([drawn, draw_labels(rng, model, drawn)], axis=1)


def test_the_bayes_score_reaches_the_stated_auc_among_other_patients(model: TrueModel, patients: pd.DataFrame) -> None:
    """Patients that the statement was not computed from; the area by scikit-learn, the interval by DeLong."""
    stated = model.document()["bayes_auc"]
    measured = auc(patients["label"], patients["bayes_logit"])
    assert 0.76 <= stated <= 0.85
    assert measured.lower < stated < measured.upper
    assert measured.value == pytest.approx(roc_auc_score(patients["label"], patients["bayes_logit"]), abs=1e-12)


def test_each_factor_contributes_and_no_two_reach_what_three_do(model: TrueModel) -> None:
    area = model.attainable_auc
    assert min(area["border"], area["inner"], area["clinical"]) > 0.6
    assert max(area["border"], area["inner"], area["clinical"]) < 0.72
    assert area["border+inner+clinical"] - max(
        area["border+inner"], area["border+clinical"], area["inner+clinical"]
    ) == pytest.approx(0.04, abs=0.02)
    assert sum(model.document()["share_of_logit_variance"].values()) == pytest.approx(1)


def test_no_score_of_the_same_facts_ranks_patients_better(model: TrueModel, patients: pd.DataFrame) -> None:
    """A regression that is fitted and tested on the very same patients does not beat the Bayes score."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    facts = patients[["border", "inner", "known_age", "known_sex", "known_smoking", "known_family_history"]]
    half = len(facts) // 2
    fitted = HistGradientBoostingClassifier(max_depth=3, random_state=0).fit(facts[:half], patients["label"][:half])
    learned = roc_auc_score(patients["label"][half:], fitted.predict_proba(facts[half:])[:, 1])
    bayes = roc_auc_score(patients["label"][half:], patients["bayes_logit"][half:])
    assert bayes - 0.02 < learned <= bayes


def test_the_bayes_probability_is_calibrated_where_values_are_missing(model: TrueModel) -> None:
    """Of patients without smoking and family history, as many are high as their probabilities say."""
    rng = np.random.default_rng(8)
    drawn = draw_patients(rng, 40_000)
    drawn["known_smoking"] = np.nan
    drawn["known_family_history"] = np.nan
    labels = draw_labels(rng, model, drawn)
    probability = 1 / (1 + np.exp(-bayes_logit(model, drawn)))
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 1.0)):
        members = (probability >= low) & (probability < high)
        error = np.sqrt(probability[members].mean() / members.sum())
        assert labels["label"][members].mean() == pytest.approx(probability[members].mean(), abs=4 * error)


def test_marginals_are_those_of_the_papers_table_1() -> None:
    drawn = draw_patients(np.random.default_rng(2), 100_000)
    assert drawn["age"].mean() == pytest.approx(58.8, abs=0.2)
    assert drawn["age"].std() == pytest.approx(10.7, abs=0.2)
    assert drawn["sex"].mean() == pytest.approx(0.613, abs=0.01)
    shares = drawn["known_smoking"].value_counts(normalize=True, dropna=False)
    for grade, share in ((0.0, 0.460), (1.0, 0.398), (2.0, 0.101)):
        assert shares[grade] == pytest.approx(share, abs=0.01)
    assert drawn["known_smoking"].isna().mean() == pytest.approx(0.040, abs=0.005)
    assert (drawn["known_family_history"] == 1).mean() == pytest.approx(0.148, abs=0.01)
    assert drawn["known_family_history"].isna().mean() == pytest.approx(0.038, abs=0.005)
    treated = draw_patients(np.random.default_rng(3), 100_000, "immunotherapy")
    assert treated["sex"].mean() == pytest.approx(0.819, abs=0.01)
    assert (treated["smoking"] > 0).mean() == pytest.approx(0.777, abs=0.01)


def test_label_and_tps_agree_and_a_third_is_high(patients: pd.DataFrame) -> None:
    assert ((patients["pdl1_tps"] >= 50) == (patients["label"] == 1)).all()
    assert patients["pdl1_tps"].between(0, 100).all()
    assert patients["label"].mean() == pytest.approx(328 / 939, abs=0.015)


def test_a_cox_interval_holds_the_true_hazard_ratios_in_about_19_of_20_cohorts(model: TrueModel) -> None:
    """The paper's 94 patients, simulated 100 times, fitted by lifelines: 95 % intervals have to hold the truth.

    Between 88 and 100 of 100 is what a coverage of 0.95 gives with a probability of 0.998.
    """
    held = {"z": 0, "age": 0}
    truth = {"z": np.log(1.9), "age": np.log(1.15)}
    for seed in range(100):
        rng = np.random.default_rng([seed, 1])
        drawn = draw_patients(rng, 94, "immunotherapy")
        bayes = draw_labels(rng, model, drawn)["bayes_logit"].to_numpy()
        table = draw_survival(rng, model, bayes, drawn["age"].to_numpy())[["pfs_days", "progressed"]]
        table["z"] = (bayes - model.logit_mean) / model.logit_sd
        table["age"] = drawn["age"] / 10
        fitted = CoxPHFitter().fit(table, "pfs_days", "progressed")
        for name, beta in truth.items():
            held[name] += abs(fitted.params_[name] - beta) <= 1.96 * fitted.standard_errors_[name]
    assert min(held.values()) >= 88


def test_shares_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to one"):
        TruthSettings(shares=(0.5, 0.5, 0.5))
