"""Who trains, validates and tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.train.config import TrainingConfig
from training.train.division import (
    TEST,
    TRAIN,
    VALIDATION,
    DivisionError,
    check_images,
    divide,
    kept_apart,
    redivide,
)


def table(high: int, low: int, split: list[str | None] | None = None) -> pd.DataFrame:
    n = high + low
    return pd.DataFrame(
        {
            "case_id": [f"c{index:05d}" for index in range(n)],
            "split": pd.Series(split or [None] * n, dtype=object),
            "label": [1.0] * high + [0.0] * low,
            "content_digest": [f"{index:x}" for index in range(n)],
        }
    )


def count(division: np.ndarray) -> dict[str, int]:
    return {name: int((division == name).sum()) for name in (TRAIN, VALIDATION, TEST)}


def test_the_papers_patients_are_divided_as_in_the_paper() -> None:
    """939 patients, 328 of them high: 750, 93 and 96."""
    cases = table(328, 611)
    division = divide(cases, seed=0)
    assert count(division) == {TRAIN: 750, VALIDATION: 93, TEST: 96}
    shares = cases.groupby(division)["label"].mean()
    assert shares.to_numpy() == pytest.approx(328 / 939, abs=0.01)


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    cases = table(40, 60)
    shuffled = cases.sample(frac=1, random_state=1).reset_index(drop=True)
    by_case = dict(zip(cases["case_id"], divide(cases, 5), strict=True))
    assert dict(zip(shuffled["case_id"], divide(shuffled, 5), strict=True)) == by_case
    assert (divide(cases, 5) != divide(cases, 6)).any()


@pytest.mark.parametrize("high", range(3, 14))
def test_even_a_small_class_is_in_every_split(high: int) -> None:
    cases = table(high, 40)
    division = divide(cases, 0)
    assert {name: int((division[:high] == name).sum()) > 0 for name in (TRAIN, VALIDATION, TEST)} == {
        TRAIN: True,
        VALIDATION: True,
        TEST: True,
    }


def test_the_tables_own_split_is_kept() -> None:
    split: list[str | None] = ["train", "validation", "test", None, "prognosis"] * 8
    cases = table(15, 25, split)
    division = divide(cases, 0)
    assert division.tolist() == split


def test_patients_of_prognosis_and_gate_and_those_without_label_take_no_part() -> None:
    cases = table(20, 40, [None] * 50 + ["prognosis"] * 5 + ["gate"] * 5)
    cases.loc[[0, 30], "label"] = np.nan
    division = divide(cases, 0)
    assert division[50:].tolist() == ["prognosis"] * 5 + ["gate"] * 5
    assert [division[0], division[30]] == [None, None]
    assert sum(count(division).values()) == 48


def test_the_same_images_in_two_splits_are_refused() -> None:
    cases = table(40, 60)
    division = divide(cases, 0)
    train, test = (int(np.flatnonzero(division == name)[0]) for name in (TRAIN, TEST))
    cases.loc[test, "content_digest"] = cases.loc[train, "content_digest"]
    with pytest.raises(DivisionError, match="the same images"):
        divide(cases, 0)


def test_a_class_that_cannot_be_validated_is_refused() -> None:
    with pytest.raises(
        DivisionError, match="train needs patients of both classes, it has 5 with label 0, 0 with label 1"
    ):
        divide(table(2, 7), 0)


def test_a_redivision_changes_validation_and_test_and_never_training() -> None:
    cases = table(328, 611)
    first = divide(cases, 0)
    again = [redivide(cases, first, 0, number) for number in (1, 2)]
    for division in again:
        assert count(division) == count(first)
        assert ((division == TRAIN) == (first == TRAIN)).all()
        assert (division != first).any()
        assert cases["label"][division == VALIDATION].sum() == cases["label"][first == VALIDATION].sum()
    assert (again[0] != again[1]).any()


def test_images_of_one_patient_in_two_splits_are_refused_by_their_content() -> None:
    """Six pairs, each once in training and once in test: the names are told. Within one split they are no leak."""
    rng = np.random.default_rng(0)
    patches = rng.integers(-1000, 400, (20, 3, 28, 28)).astype(np.int16).repeat(4, axis=2).repeat(4, axis=3)
    patches[10:16] = patches[:6]
    names = [f"c{index:02d}" for index in range(20)]
    division = np.array([TRAIN] * 10 + [TEST] * 10, dtype=object)
    with pytest.raises(DivisionError, match=r"6 times: c00 and c10 \(0\.0 HU\), .* and 1 more"):
        check_images(patches, names, [division])
    assert check_images(patches, names, [np.array([TRAIN] * 20, dtype=object)]) == ()
    division[10:16] = None
    assert check_images(patches, names, [division]) == ()


def test_images_that_are_only_alike_in_two_splits_are_returned() -> None:
    rng = np.random.default_rng(0)
    patches = rng.integers(-1000, 400, (4, 3, 28, 28)).astype(np.int16).repeat(4, axis=2).repeat(4, axis=3)
    patches[3] = np.clip(patches[1] + 10, -1000, 400)
    (pair,) = check_images(patches, list("abcd"), [np.array([TRAIN, TRAIN, TEST, TEST], dtype=object)])
    assert (pair.first, pair.second) == (1, 3)


def test_one_patient_twice_in_what_is_scored_out_of_fold_is_refused_and_in_a_papers_split_is_not() -> None:
    patches = np.random.default_rng(0).integers(-1000, 400, (4, 3, 112, 112)).astype(np.int16)
    patches[1] = patches[0]
    division = np.array([TRAIN, TRAIN, VALIDATION, TEST], dtype=object)
    assert check_images(patches, list("abcd"), [kept_apart(division, TrainingConfig())]) == ()
    with pytest.raises(DivisionError, match=r"the same images stand in two splits or folds .*: a and b"):
        check_images(patches, list("abcd"), [kept_apart(division, TrainingConfig(recipe="label-free"))])
    # nobody is fitted on twice in the test patients
    moved = np.array([TEST, TEST, TRAIN, VALIDATION], dtype=object)
    assert check_images(patches, list("abcd"), [kept_apart(moved, TrainingConfig(recipe="label-free"))]) == ()


def test_one_patient_twice_in_test_is_refused_where_a_redivision_moves_one_of_them() -> None:
    patches = np.random.default_rng(0).integers(-1000, 400, (4, 3, 112, 112)).astype(np.int16)
    patches[3] = patches[2]
    first = np.array([TRAIN, VALIDATION, TEST, TEST], dtype=object)
    assert check_images(patches, list("abcd"), [first]) == ()
    again = np.array([TRAIN, TEST, VALIDATION, TEST], dtype=object)
    with pytest.raises(DivisionError, match="c and d"):
        check_images(patches, list("abcd"), [first, again])


def test_one_ct_with_another_contour_in_two_splits_is_refused() -> None:
    patches = np.random.default_rng(0).integers(-1000, 400, (4, 3, 112, 112)).astype(np.int16)
    scans = [("1", "2", "3"), ("4", "5"), None, ("3", "2")]
    apart = np.array([TRAIN, TRAIN, TEST, TEST], dtype=object)
    with pytest.raises(DivisionError, match=r"the same CT with another contour .* 1 times: a and d;"):
        check_images(patches, list("abcd"), [apart], scans=scans)
    together = np.array([TRAIN, TEST, TEST, TRAIN], dtype=object)
    assert check_images(patches, list("abcd"), [together], scans=scans) == ()
