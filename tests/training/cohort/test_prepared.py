"""A prepared cohort comes back as it was written, and one that cannot be trusted is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pdl1es.features.names import FEATURE_NAMES
from tests.training.drawn_cohorts import drawn_cohort
from training.cohort.prepared import (
    PreparedCohort,
    PreparedCohortError,
    case_table,
    cohort_digest,
    write_prepared_cohort,
)


def _written(folder: Path, n: int = 5) -> PreparedCohort:
    rng = np.random.default_rng(3)
    splits = ["train", "train", "validation", "test", None]
    rows = [
        {
            "case_id": f"C{i}",
            "split": splits[i],
            "label": i % 2,
            "age": 60.0 + i,
            "warnings": ["THICK_SLICES"] * (i % 2),
        }
        for i in reversed(range(n))
    ]
    radiomics = rng.standard_normal((n, len(FEATURE_NAMES)))
    radiomics[2, 7] = np.nan
    return write_prepared_cohort(
        folder,
        case_table(rows),
        rng.integers(-1000, 400, (n, 3, 112, 112)).astype(np.int16),
        rng.random((n, 3, 112, 112)) > 0.5,
        radiomics,
        manifest={"seed": 3},
    )


def test_a_cohort_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = _written(tmp_path)
    read = PreparedCohort.load(tmp_path)
    assert read.case_ids == ("C0", "C1", "C2", "C3", "C4")
    np.testing.assert_array_equal(read.patches, written.patches)
    np.testing.assert_array_equal(read.masks, written.masks)
    np.testing.assert_array_equal(read.radiomics, written.radiomics)
    np.testing.assert_array_equal(read.clinical, written.clinical)
    assert list(read.cases["warnings"].iloc[1]) == ["THICK_SLICES"]
    assert read.manifest["seed"] == 3


def test_a_split_keeps_the_rows_of_a_patient_together(tmp_path: Path) -> None:
    cohort = _written(tmp_path)
    test = cohort.subset("test")
    assert test.case_ids == ("C3",)
    np.testing.assert_array_equal(test.patches[0], cohort.patches[3])
    np.testing.assert_array_equal(test.radiomics[0], cohort.radiomics[3])
    assert cohort.subset(np.array([4, 0])).case_ids == ("C4", "C0")
    with pytest.raises(PreparedCohortError, match="unknown split"):
        cohort.subset("tests")


def test_a_cohort_of_another_method_is_refused(tmp_path: Path) -> None:
    _written(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "method_digest": "0" * 64}))
    with pytest.raises(PreparedCohortError, match="prepare"):
        PreparedCohort.load(tmp_path)


def test_an_interrupted_write_is_no_cohort(tmp_path: Path) -> None:
    _written(tmp_path)
    (tmp_path / "patches.npz").unlink()
    with pytest.raises(PreparedCohortError, match="no whole prepared cohort"):
        PreparedCohort.load(tmp_path)


def test_one_patient_is_one_row() -> None:
    cases = case_table([{"case_id": "A"}, {"case_id": "A"}])
    patches = np.zeros((2, 3, 112, 112), np.int16)
    with pytest.raises(PreparedCohortError, match="twice"):
        PreparedCohort(cases, patches, patches > 0, np.zeros((2, len(FEATURE_NAMES))), cases, {})


def test_patients_of_pretraining_are_neither_trained_on_nor_scored(tmp_path: Path) -> None:
    cohort = drawn_cohort(tmp_path / "all", 20)
    cases = cohort.cases.assign(split=["pretrain"] * 5 + [None] * 15)
    rest = replace(cohort, cases=cases).without_pretraining()
    assert rest.case_ids == cohort.case_ids[5:]
    assert cohort_digest(replace(cohort, cases=cases)) == cohort_digest(rest)


def test_rim_features_are_read_back_and_a_cohort_without_them_has_none(tmp_path: Path) -> None:
    cohort = drawn_cohort(tmp_path / "without", 4)
    assert PreparedCohort.load(tmp_path / "without").rim is None
    rim = np.random.default_rng(0).normal(size=cohort.radiomics.shape)
    write_prepared_cohort(tmp_path / "with", cohort.cases, cohort.patches, cohort.masks, cohort.radiomics, rim=rim)
    read = PreparedCohort.load(tmp_path / "with")
    assert read.rim is not None
    np.testing.assert_array_equal(read.rim, rim)
    np.testing.assert_array_equal(read.subset(np.array([2, 0])).rim, rim[[2, 0]])
    (tmp_path / "with" / "rim.parquet").unlink()
    with pytest.raises(PreparedCohortError, match=r"rim\.parquet"):
        PreparedCohort.load(tmp_path / "with")
