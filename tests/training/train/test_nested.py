"""Nested cross-validation: planted truth is found, and noise that a choice outside the folds would flatter is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.training.drawn_cohorts import drawn_cohort
from training.cohort.prepared import PreparedCohort
from training.controls.repeated_features import RepeatedFeatures
from training.train.config import FeatureFilters, TrainingConfig
from training.train.nested import LINEAR, NestedRecipe, nested_cross_validation

CONFIG = TrainingConfig(
    recipe="label-free", deep_strengths=(3.0,), radiomic_strengths=(0.3,), clinical_strengths=(0.3,), folds=3
)
QUICK = NestedRecipe(CONFIG)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    """Eighty patients, 32 of them high, whose values say nothing."""
    return drawn_cohort(tmp_path_factory.mktemp("noise"), 80, signal=0.0)


@pytest.fixture(scope="module")
def effect(tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    """Eighty patients, 60 of whose features tell."""
    return drawn_cohort(tmp_path_factory.mktemp("effect"), 80, signal=1.0)


def test_noise_stays_noise_and_every_seed_is_told(noise: PreparedCohort) -> None:
    """1316 features of noise on 80 patients: selected on all of them the best would tell the classes apart."""
    found = nested_cross_validation(noise, QUICK, 2, seed=3)
    assert 0.3 < found.mean < 0.65
    assert found.lowest <= found.mean <= found.highest
    assert found.lowest < found.highest
    values = [area.value for area in found.areas]
    assert found.standard_deviation == pytest.approx(np.std(values, ddof=1))
    assert (found.n, found.n_positive) == (80, 32)
    assert found.seeds == (3, 4)
    assert len(found.selected) == len(found.strengths) == 10


def test_a_planted_effect_is_found(effect: PreparedCohort) -> None:
    found = nested_cross_validation(effect, QUICK, 1)
    assert found.mean > 0.9
    assert np.isnan(found.standard_deviation)


def test_what_a_frozen_network_sees_counts(noise: PreparedCohort) -> None:
    deep = np.random.default_rng(1).normal(size=(80, 6)) + 1.5 * noise.labels[:, None]
    found = nested_cross_validation(noise, replace(QUICK, deep=deep), 1)
    assert found.mean > 0.85
    assert found.with_network
    assert set(found.strengths[0]) == {"deep", "radiomic", "clinical"}


def test_a_deep_feature_chosen_by_the_label_of_one_fold_helps_no_other(noise: PreparedCohort) -> None:
    """2,000 random features: a choice of the best on all patients would tell the classes apart, a ridge within does not."""
    deep = np.random.default_rng(2).normal(size=(80, 2000))
    assert 0.25 < nested_cross_validation(noise, replace(QUICK, deep=deep), 1).mean < 0.7


def test_the_runs_filters_are_inside_every_fold(effect: PreparedCohort) -> None:
    """Two copies of each telling feature: one is kept. Features that do not repeat are selected in no fold."""
    values = effect.radiomics.copy()
    values[:, 60:100] = values[:, :40] * 1.5 + 2
    doubled = replace(effect, radiomics=values)
    plain = nested_cross_validation(doubled, QUICK, 1)
    config = CONFIG.model_copy(update={"filters": FeatureFilters(largest_correlation=0.95)})
    uncorrelated = nested_cross_validation(doubled, NestedRecipe(config), 1)
    assert all(few < all_of_them for few, all_of_them in zip(uncorrelated.selected, plain.selected, strict=True))

    rng = np.random.default_rng(4)
    again = np.repeat(doubled.radiomics[:, None], 3, axis=1)
    again += rng.normal(0, 0.01, again.shape)
    again[:, :, :100] = rng.normal(10, 3, (80, 3, 100))
    repeats = RepeatedFeatures(tuple(doubled.case_ids), (), again, "drawn")
    filtered = nested_cross_validation(doubled, replace(QUICK, repeats=repeats), 1)
    assert max(filtered.selected) < min(plain.selected) / 2


def test_one_patient_in_two_rows_is_refused(effect: PreparedCohort) -> None:
    patches = effect.patches.copy()
    patches[7] = patches[3]
    with pytest.raises(ValueError, match="the same images stand in two splits or folds"):
        nested_cross_validation(replace(effect, patches=patches), QUICK, 1)


def test_patients_of_the_quality_gates_take_no_part(effect: PreparedCohort) -> None:
    split = np.full(80, None, dtype=object)
    split[:10] = "gate"
    assert nested_cross_validation(replace(effect, cases=effect.cases.assign(split=split)), QUICK, 1).n == 70


def test_a_class_too_small_for_the_folds_is_refused(effect: PreparedCohort) -> None:
    with pytest.raises(ValueError, match="labels need at least 10 of each class, got 8 positive"):
        nested_cross_validation(effect.subset(np.arange(80) < 20), LINEAR, 1)
