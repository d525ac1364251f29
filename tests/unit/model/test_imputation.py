"""Imputation of missing clinical variables: the method's rule, by hand and by properties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pdl1es.model.imputation import ReferenceProfiles, build_profiles, impute

NAN = float("nan")
MEAN = np.array([60.0, 0.6, 0.5, 0.1])


def profiles(*rows: tuple[float, float, float, float, float]) -> ReferenceProfiles:
    """Rows of (age, sex, smoking, family history, count)."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return ReferenceProfiles(table[:, :4], table[:, 4], MEAN)


def cohort(seed: int, size: int = 300) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            rng.normal(59, 11, size).round(),
            rng.integers(0, 2, size),
            rng.choice((0, 1, 2), size, p=(0.5, 0.4, 0.1)),
            rng.integers(0, 2, size),
        ],
        axis=1,
    ).astype(np.float64)


def test_known_values_are_never_changed() -> None:
    known = np.array([71.0, 1.0, 2.0, 0.0])
    assert np.array_equal(impute(known, profiles((60, 0, 0, 0, 5))), known)


def test_three_nearest_rows_are_weighted_by_one_over_distance() -> None:
    """Ages 1, 2 and 4 years away: smoking 2, 1, 0 gives (2/1 + 1/2 + 0/4) / (1 + 1/2 + 1/4) = 10/7; 9 years is too far."""
    table = profiles((61, 1, 2, 0, 1), (58, 1, 1, 0, 1), (64, 1, 0, 0, 1), (69, 1, 2, 1, 1))
    assert impute(np.array([60, 1, NAN, 0]), table)[2] == pytest.approx(10 / 7, abs=1e-15)


def test_every_row_tied_with_the_third_is_a_donor() -> None:
    """One row 1 year away, three rows 2 years away: all four count, (2*1 + (0 + 1 + 1)/2) / (1 + 3/2) = 6/5."""
    table = profiles((61, 1, 2, 0, 1), (62, 1, 0, 0, 1), (58, 1, 1, 0, 1), (58, 1, 1, 0, 1))
    assert impute(np.array([60, 1, NAN, 0]), table)[2] == pytest.approx(6 / 5, abs=1e-15)


def test_a_profile_stands_for_as_many_rows_as_patients_share_it() -> None:
    """Three patients share the nearest profile, so nothing farther is among the three nearest rows."""
    table = profiles((61, 1, 2, 0, 3), (62, 1, 0, 0, 50))
    assert impute(np.array([60, 1, NAN, 0]), table)[2] == 2.0
    # with two, the next profile is needed: (2 * 2/1 + 50 * 0/2) / (2/1 + 50/2)
    table = profiles((61, 1, 2, 0, 2), (62, 1, 0, 0, 50))
    assert impute(np.array([60, 1, NAN, 0]), table)[2] == pytest.approx(4 / 27, abs=1e-15)


def test_rows_at_no_distance_alone_count_and_count_equally() -> None:
    table = profiles((60, 1, 2, 0, 5), (60, 1, 0, 0, 15), (61, 1, 1, 0, 40))
    assert impute(np.array([60, 1, NAN, 0]), table)[2] == pytest.approx(0.5, abs=1e-15)


def test_without_any_known_variable_the_training_mean_is_taken() -> None:
    assert np.array_equal(impute(np.full(4, NAN), profiles((60, 1, 2, 0, 5))), MEAN)


def test_without_any_profile_the_training_mean_is_taken() -> None:
    assert np.array_equal(impute(np.array([70.0, NAN, 1.0, NAN]), profiles()), [70.0, 0.6, 1.0, 0.1])


def test_variables_that_the_patient_lacks_do_not_count_in_the_distance() -> None:
    """Family history differs in every row, and is not known here."""
    table = profiles((60, 1, 2, 1, 5), (61, 1, 0, 0, 5))
    assert impute(np.array([60, 1, NAN, NAN]), table).tolist() == [60, 1, 2, 1]


def test_the_order_of_the_cohorts_rows_changes_no_bit() -> None:
    table = cohort(1)
    table[::17, 2] = NAN
    queries = cohort(2, 50)
    queries[np.random.default_rng(3).random(queries.shape) < 0.4] = NAN
    reference = build_profiles(table)
    for seed in range(5):
        shuffled = build_profiles(np.random.default_rng(seed).permutation(table))
        for query in queries:
            assert impute(query, shuffled).tobytes() == impute(query, reference).tobytes()


def test_the_order_of_profiles_changes_no_bit() -> None:
    table = build_profiles(cohort(4), min_count=1)
    order = np.random.default_rng(5).permutation(len(table.counts))
    shuffled = ReferenceProfiles(table.values[order], table.counts[order], table.training_mean)
    for query in cohort(6, 200):
        query[np.random.default_rng(int(query[0])).integers(4)] = NAN
        assert impute(query, shuffled).tobytes() == impute(query, table).tobytes()


@pytest.mark.parametrize("known", list(itertools.product((True, False), repeat=4)))
def test_an_imputed_value_lies_within_the_tables_range(known: tuple[bool, ...]) -> None:
    table = build_profiles(cohort(7))
    low, high = table.values.min(axis=0), table.values.max(axis=0)
    for query in cohort(8, 25):
        filled = impute(np.where(known, query, NAN), table)
        inside = (filled >= low - 1e-9) & (filled <= high + 1e-9)
        assert (inside | np.array(known) | ~np.any(known)).all()


def test_no_profile_of_fewer_than_five_patients_is_kept() -> None:
    table = np.array([[60, 1, 0, 0]] * 5 + [[70, 1, 0, 0]] * 4, dtype=np.float64)
    kept = build_profiles(table)
    assert kept.values.tolist() == [[62, 1, 0, 0]]
    assert kept.counts.tolist() == [5]


def test_age_is_kept_as_the_middle_of_its_five_year_band() -> None:
    ages = [60, 61, 62, 63, 64, 65, 69, 69, 65, 66.9]
    table = np.array([[age, 1, 0, 0] for age in ages], dtype=np.float64)
    assert build_profiles(table).values[:, 0].tolist() == [62, 67]


def test_a_cohort_in_which_nobody_is_alike_leaves_only_the_means() -> None:
    table = np.array([[40, 0, 0, 0], [50, 1, 1, 0], [60, 1, 2, 1]], dtype=np.float64)
    kept = build_profiles(table)
    assert len(kept.counts) == 0
    assert impute(np.array([NAN, 1.0, 1.0, 0.0]), kept)[0] == 50.0


def test_rows_with_a_missing_value_count_towards_the_means_alone() -> None:
    table = np.array([[60, 1, 0, 0]] * 5 + [[80, NAN, 0, 0]] * 5, dtype=np.float64)
    kept = build_profiles(table)
    assert kept.counts.tolist() == [5]
    assert kept.training_mean.tolist() == [70, 1, 0, 0]


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (np.zeros((3, 3)), r"\(N, 4\)"),
        (np.full((3, 4), NAN), "missing in every row"),
        (np.array([[np.inf, 0, 0, 0]]), "infinite"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(table: np.ndarray, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        build_profiles(table)


@pytest.mark.parametrize(
    ("values", "counts", "mean"),
    [
        (np.zeros((2, 3)), np.ones(2), MEAN),
        (np.zeros((2, 4)), np.ones(3), MEAN),
        (np.zeros((2, 4)), np.array([1.0, 0.0]), MEAN),
        (np.full((2, 4), NAN), np.ones(2), MEAN),
        (np.zeros((2, 4)), np.ones(2), np.zeros(3)),
    ],
)
def test_reference_profiles_are_valid_once_made(values: np.ndarray, counts: np.ndarray, mean: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must|positive"):
        ReferenceProfiles(values, counts, mean)
