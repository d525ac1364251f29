"""Filters of the selection in a run: planted unstable and repeated features fall out, by training patients alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pdl1es.features.names import FEATURE_NAMES
from tests.training.drawn_cohorts import drawn_cohort
from tests.training.train.conftest import CPU
from training.cohort.prepared import PreparedCohort, write_prepared_cohort
from training.controls.repeated_features import RepeatedFeatures, read_repeated_features
from training.fit import fit_preprocessing, select_features
from training.release.export_run import release
from training.train.config import ConfigurationError, FeatureFilters, Stage, TrainingConfig, read_configuration
from training.train.division import TRAIN, divide, fitted_on
from training.train.filters import filters_in_words, filters_of, with_repeats
from training.train.fitting import fit_on_training
from training.train.label_free import fit_linear_layer
from training.train.run import initial_network, train
from training.train.run_folder import RUN_FILE, TrainingError, read_run

UNSTABLE = slice(0, 30)
"""Half of the 60 features that tell the label: measured again, they have other values."""
CONFIG = TrainingConfig(models=("RM",), redivisions=0, layers="small", seed=3)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    """120 patients; feature 59 repeats feature 58, in another unit."""
    drawn = drawn_cohort(tmp_path_factory.mktemp("drawn"))
    radiomics = drawn.radiomics.copy()
    radiomics[:, 59] = np.exp(radiomics[:, 58] / 5)
    folder = tmp_path_factory.mktemp("cohort")
    return write_prepared_cohort(folder, drawn.cases, drawn.patches, drawn.masks, radiomics)


@pytest.fixture(scope="module")
def second(cohort: PreparedCohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Second scans of two thirds of the patients."""
    rng = np.random.default_rng(8)
    again = cohort.subset(np.arange(80))
    radiomics = again.radiomics + rng.normal(0, 0.3, again.radiomics.shape)
    radiomics[:, UNSTABLE] = rng.normal(10, 3, radiomics[:, UNSTABLE].shape)
    folder = tmp_path_factory.mktemp("second")
    write_prepared_cohort(folder, again.cases, again.patches, again.masks, radiomics)
    return folder


@pytest.fixture(scope="module")
def repeats(cohort: PreparedCohort, second: Path) -> RepeatedFeatures:
    """The pairs."""
    return read_repeated_features(second, cohort)


def test_planted_unstable_features_fall_out_and_stable_ones_stay(
    cohort: PreparedCohort, repeats: RepeatedFeatures
) -> None:
    division = divide(cohort.cases, CONFIG.seed)
    plain = fit_on_training(cohort, division, CONFIG)
    filtered = fit_on_training(cohort, division, CONFIG, repeats)
    assert len(set(range(30)) & set(plain.selected)) > 20
    assert not set(range(30)) & set(filtered.selected)
    assert set(filtered.selected) == {index for index in plain.selected if index >= 30}


def test_stability_is_that_of_training_patients_alone(cohort: PreparedCohort, repeats: RepeatedFeatures) -> None:
    """Whatever is measured again in validation and test patients changes nothing."""
    division = divide(cohort.cases, CONFIG.seed)
    training = cohort.subset(division == TRAIN)
    values = repeats.values.copy()
    outside = ~np.isin(repeats.case_ids, training.case_ids)
    assert outside.any()
    values[outside] = 1e6
    for given in (repeats, replace(repeats, values=values)):
        found = filters_of(CONFIG, given, training).stability
        assert found is not None
        assert found.n == (~outside).sum()
        expected = filters_of(CONFIG, repeats, training).stability
        assert expected is not None
        assert np.array_equal(found.lower, expected.lower, equal_nan=True)


def test_of_two_features_that_are_one_only_the_better_stays(cohort: PreparedCohort) -> None:
    config = CONFIG.model_copy(update={"filters": FeatureFilters(largest_correlation=0.9)})
    division = divide(cohort.cases, config.seed)
    plain, filtered = (fit_on_training(cohort, division, one) for one in (CONFIG, config))
    assert {58, 59} <= set(plain.selected)
    assert set(plain.selected) - set(filtered.selected) == {59}


def test_the_more_stable_of_two_stays_where_that_is_asked_for(
    cohort: PreparedCohort, repeats: RepeatedFeatures
) -> None:
    values = repeats.values.copy()
    values[:, 1, 58] += np.random.default_rng(0).normal(0, 1.0, len(values))
    filters = FeatureFilters(largest_correlation=0.9, prefer="stable")
    config = CONFIG.model_copy(update={"filters": filters})
    found = fit_on_training(cohort, divide(cohort.cases, 3), config, replace(repeats, values=values))
    assert 59 in found.selected
    assert 58 not in found.selected


def test_a_run_tells_what_stays_by_family_in_summary_and_card(
    cohort: PreparedCohort, second: Path, tmp_path: Path
) -> None:
    config = TrainingConfig(
        models=("PD-L1ES", "RM"),
        redivisions=0,
        layers="small",
        stages=(Stage(learning_rate=1e-3, epochs=1),),
        filters=FeatureFilters(largest_correlation=0.9),
    )
    train(cohort, tmp_path / "run", config, hardware=CPU, stability=second)
    record, fitted, summary = read_run(tmp_path / "run")
    told = summary["fitted"]["filters"]
    assert record.config.filters.stability == read_repeated_features(second, cohort).digest()
    assert told["stability"]["measurements"] == 2
    assert sum(counts["selected"] for counts in told["by_class"].values()) == len(fitted.selected)
    assert sum(counts["stable"] for counts in told["by_class"].values()) == told["stability"]["stable"]
    assert told["by_class"]["shape"] == {"features": 14, "stable": 0, "passed_the_test": 0, "selected": 0}
    assert told["correlation"]["passed_the_test"] == told["correlation"]["selected"] + 1
    release(tmp_path / "run", tmp_path / "model", cases=2)
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert filters_in_words(told) in card
    assert "--stability REPEATS" in card


def test_where_no_feature_passed_the_test_nothing_is_said_of_correlated_ones() -> None:
    told = {"largest_spearman": 0.9, "kept": "associated", "passed_the_test": 0, "selected": 0}
    assert filters_in_words({"correlation": told}) == (
        "No feature passed the test, so that none was looked at for correlation."
    )


def test_a_run_without_filters_keeps_the_record_that_it_had(cohort: PreparedCohort, tmp_path: Path) -> None:
    summary = train(
        cohort, tmp_path, CONFIG.model_copy(update={"stages": (CONFIG.stages[0],), "models": ("CM",)}), hardware=CPU
    )
    assert "filters" not in json.loads((tmp_path / RUN_FILE).read_text())["config"]
    assert "filters" not in summary["fitted"]


def test_each_fold_of_label_free_is_filtered_by_its_own_patients(
    cohort: PreparedCohort, repeats: RepeatedFeatures
) -> None:
    """The features that fall out do so in every fold, so that the out-of-fold scores are others."""
    config = TrainingConfig(recipe="label-free", layers="small", folds=3)
    division = divide(cohort.cases, 3)
    patients = cohort.subset(fitted_on(division, config))
    fitted = fit_on_training(cohort, division, config, repeats)
    assert not set(range(30)) & set(fitted.selected)
    network = initial_network(fitted, "RM", config)
    filtered = fit_linear_layer(network, patients, fitted, config, 0, repeats=repeats)
    plain = fit_linear_layer(network, patients, fitted, config, 0)
    assert not np.array_equal(filtered.out_of_fold, plain.out_of_fold)


def test_too_few_training_patients_measured_again_are_refused(
    cohort: PreparedCohort, repeats: RepeatedFeatures
) -> None:
    few = replace(repeats, case_ids=repeats.case_ids[:9], values=repeats.values[:9])
    with pytest.raises(TrainingError, match="of the training patients were measured again, and 10"):
        fit_on_training(cohort, divide(cohort.cases, 3), CONFIG, few)


def test_a_configuration_needs_the_very_measurements_that_it_names(repeats: RepeatedFeatures) -> None:
    config = CONFIG.model_copy(update={"filters": FeatureFilters(stability="0" * 64)})
    with pytest.raises(TrainingError, match="none were given"):
        with_repeats(config, None)
    with pytest.raises(TrainingError, match="those given have"):
        with_repeats(config, repeats)
    stable = CONFIG.model_copy(update={"filters": FeatureFilters(largest_correlation=0.9, prefer="stable")})
    with pytest.raises(TrainingError, match="--stability"):
        with_repeats(stable, None)


def test_options_and_file_make_one_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"filters": {"largest_correlation": 0.8}}')
    assert read_configuration(path, filters={"smallest_icc": 0.9}).filters == FeatureFilters(
        smallest_icc=0.9, largest_correlation=0.8
    )
    with pytest.raises(ConfigurationError, match="largest_correlation"):
        read_configuration(None, filters={"largest_correlation": 1.5})


def test_unstable_features_are_not_counted_among_the_tests(cohort: PreparedCohort, repeats: RepeatedFeatures) -> None:
    """A correction for many tests costs less where fewer are made."""
    filters = filters_of(CONFIG, repeats, cohort)
    found = select_features(cohort.radiomics, cohort.labels, correction="holm", filters=filters)
    assert set(range(30)) <= set(found.unstable)
    assert np.isnan(found.p_values[list(found.unstable)]).all()
    assert len(found.unstable) + len(found.constant) + np.isfinite(found.p_values).sum() == len(FEATURE_NAMES)
    fit_preprocessing(cohort.clinical, cohort.radiomics, cohort.labels, correction="holm", filters=filters)
