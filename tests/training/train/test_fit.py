"""What is fitted before the network: which features are kept, how values are imputed and standardised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from pdl1es.features.names import FEATURE_NAMES
from training.cohort.prepared import PreparedCohort
from training.fit import (
    coded_clinical,
    fit_preprocessing,
    imputation_difference,
    impute_all,
    read_fitted,
    select_features,
    smoker_grade,
    write_fitted,
)

NAN = float("nan")


def clinical_rows(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [rng.integers(50, 70, n), rng.integers(2, size=n), rng.integers(3, size=n), rng.integers(2, size=n)]
    ).astype(np.float64)


def features_with(column: np.ndarray) -> np.ndarray:
    """Features that are all constant but the first."""
    features = np.full((len(column), len(FEATURE_NAMES)), 7.0)
    features[:, 0] = column
    return features


def test_the_test_gives_the_textbooks_p_value() -> None:
    """Hollander and Wolfe (1973), permeability of the human chorioamnion: U = 35 of 10 and 5, here without ties."""
    term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    early = [1.15, 0.88, 0.90, 0.74, 1.21]
    selection = select_features(features_with(np.array(term + early)), np.array([1.0] * 10 + [0.0] * 5))
    z = (35 - 25 - 0.5) / np.sqrt(10 * 5 * 16 / 12)
    assert selection.p_values[0] == pytest.approx(2 * norm.sf(z), rel=1e-12)
    assert selection.selected == ()


def test_features_that_differ_are_kept_and_constant_ones_never() -> None:
    labels = np.repeat([0.0, 1.0], 30)
    selection = select_features(features_with(np.arange(60.0)), labels)
    assert selection.selected == (0,)
    assert len(selection.constant) == len(FEATURE_NAMES) - 1
    assert np.isnan(selection.p_values[1:]).all()


def test_a_feature_that_varies_by_rounding_alone_is_constant() -> None:
    """It would separate the classes perfectly, and its z-score would be noise."""
    labels = np.repeat([0.0, 1.0], 30)
    selection = select_features(features_with(1.0 + 1e-13 * np.arange(60)), labels)
    assert selection.selected == ()
    assert 0 in selection.constant


@pytest.mark.parametrize(("missing", "kept"), [(3, True), (4, False)])
def test_a_feature_that_more_than_a_twentieth_of_the_patients_lack_is_not_used(missing: int, kept: bool) -> None:
    labels = np.repeat([0.0, 1.0], 30)
    column = np.arange(60.0)
    column[:missing] = (NAN, np.inf, NAN, -np.inf)[:missing]
    selection = select_features(features_with(column), labels)
    assert (0 in selection.selected) is kept
    assert (0 in selection.incomplete) is not kept


def test_without_correction_about_a_twentieth_of_noise_is_kept_and_with_holm_none() -> None:
    rng = np.random.default_rng(1)
    noise, labels = rng.normal(size=(200, len(FEATURE_NAMES))), np.repeat([0.0, 1.0], 100)
    kept = len(select_features(noise, labels).selected)
    # 1316 x 0.05 = 66, standard deviation 8
    assert 40 < kept < 92
    assert select_features(noise, labels, correction="holm").selected == ()
    assert select_features(noise, labels, correction="benjamini-hochberg").selected == ()


def test_labels_of_one_class_or_missing_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="one class only"):
        select_features(features_with(np.arange(9.0)), np.ones(9))
    with pytest.raises(ValueError, match="0 or 1"):
        select_features(features_with(np.arange(3.0)), np.array([0, 1, NAN]))


def test_the_grade_of_an_ungraded_smoker_follows_the_training_share() -> None:
    """Of the paper's Table 1: 39.8 % occasionally, 10.1 % constantly."""
    table = clinical_rows(1000)
    table[:, 2] = np.repeat([0.0, 1.0, 2.0, NAN], (461, 398, 101, 40))
    assert smoker_grade(table) == pytest.approx(1 + 0.101 / (0.398 + 0.101))
    coded = coded_clinical(table, np.arange(1000) < 999, 1.2)
    assert coded[999, 2] == 1.2
    assert np.array_equal(coded[:999], table[:999], equal_nan=True)


def test_training_values_have_mean_0_and_deviation_1_after_standardisation() -> None:
    rng = np.random.default_rng(2)
    table, labels = clinical_rows(100), np.repeat([0.0, 1.0], 50)
    table[rng.random(table.shape) < 0.05] = NAN
    features = rng.normal(5, 3, (100, len(FEATURE_NAMES)))
    features[::40, :] = NAN
    fitted = fit_preprocessing(table, features, labels)
    z = (features[:, fitted.selected] - fitted.radiomic_mean) / fitted.radiomic_sd
    assert np.nanmean(z, axis=0) == pytest.approx(0, abs=1e-12)
    assert np.nanstd(z, axis=0) == pytest.approx(1)
    clinical = (impute_all(table, fitted.profiles) - fitted.clinical_mean) / fitted.clinical_sd
    assert clinical.mean(axis=0) == pytest.approx(0, abs=1e-12)
    assert clinical.std(axis=0) == pytest.approx(1)


def test_no_profile_of_fewer_than_five_patients_enters_the_model() -> None:
    table = np.array([[61.0, 1, 0, 0]] * 5 + [[62.0, 0, 2, 1]] * 4 + [[NAN, 0, 1, 1]] * 9)
    fitted = fit_preprocessing(table, features_with(np.arange(18.0)), np.tile([0.0, 1.0], 9))
    assert fitted.profiles.values.tolist() == [[62.0, 1, 0, 0]]
    assert fitted.profiles.counts.tolist() == [5.0]


def test_the_difference_from_exact_imputation_is_that_of_the_two_tables() -> None:
    """Nine of 61 years and one of 64 share sex and history: exact donors are 61, the shared profile says 62."""
    table = np.array([[61.0, 1, 0, 0]] * 9 + [[64.0, 1, 0, 0]] + [[71.0, 0, 1, 1]] * 5 + [[NAN, 1, 0, 0]])
    labels = np.tile([0.0, 1.0], 8)
    fitted = fit_preprocessing(table, features_with(np.arange(16.0)), labels)
    age, *others = imputation_difference(table, None, fitted)
    # exact: all ten at distance 0, their mean is 61.3
    assert age.missing == 1
    assert (age.mean, age.largest) == pytest.approx((0.7, 0.7))
    assert [(item.missing, item.largest) for item in others] == [(0, 0.0)] * 3


def test_the_order_of_patients_decides_nothing(cohort: PreparedCohort) -> None:
    order = np.random.default_rng(3).permutation(len(cohort))
    one = fit_preprocessing(cohort.clinical, cohort.radiomics, cohort.labels)
    other = fit_preprocessing(cohort.clinical[order], cohort.radiomics[order], cohort.labels[order])
    assert one.selected == other.selected
    assert one.radiomic_mean == pytest.approx(other.radiomic_mean, rel=1e-12)
    assert np.array_equal(one.profiles.values, other.profiles.values)


def test_a_variable_that_is_the_same_in_everybody_is_named() -> None:
    table = clinical_rows(60)
    table[:, 1] = 1.0
    with pytest.raises(ValueError, match="one value only of sex"):
        fit_preprocessing(table, features_with(np.arange(60.0)), np.tile([0.0, 1.0], 30))


def test_what_was_fitted_is_the_same_after_writing_and_reading(cohort: PreparedCohort, tmp_path: Path) -> None:
    fitted = fit_preprocessing(cohort.clinical, cohort.radiomics, cohort.labels)
    write_fitted(tmp_path / "fitted.npz", fitted)
    again = read_fitted(tmp_path / "fitted.npz")
    assert again.selected == fitted.selected
    assert again.smoker_grade == fitted.smoker_grade
    for name in ("clinical_mean", "clinical_sd", "radiomic_mean", "radiomic_sd"):
        assert np.array_equal(getattr(again, name), getattr(fitted, name))
    assert np.array_equal(again.profiles.counts, fitted.profiles.counts)
