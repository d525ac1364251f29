"""Scanners in the evaluation: a planted difference is found and taken out, and one that goes with expression is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pdl1es.features.names import FEATURE_NAMES
from training.cohort.prepared import PreparedCohort, case_table, write_prepared_cohort
from training.expression.scanners import with_scanner_differences
from training.reporting.scanner_tables import scanner_tables
from training.scoring.predictions import Predictions
from training.scoring.scanner_differences import ScannerDifferences
from training.scoring.scored_cohort import ScoredCohort
from training.statistics.estimability import NotEstimable

CLASSES = np.array([name.split("_")[1] for name in FEATURE_NAMES])
GLCM = CLASSES == "glcm"


def cohort(folder: Path, *, confounded: bool) -> PreparedCohort:
    """240 patients of two scanners: every GLCM feature is shifted and spread on one of them, no other is."""
    rng = np.random.default_rng(3)
    n = 240
    label = (np.arange(n) % 5 < 2).astype(float)
    second = rng.random(n) < (np.where(label == 1, 0.85, 0.15) if confounded else 0.5)
    radiomics = rng.normal(size=(n, len(FEATURE_NAMES)))
    radiomics[:, :14] += 1.5 * label[:, None]
    radiomics[np.ix_(second, np.flatnonzero(GLCM))] *= 1.5
    radiomics[np.ix_(second, np.flatnonzero(GLCM))] += 2.0
    rows = [
        {
            "case_id": f"case-{k:03d}",
            "label": label[k],
            "split": "train" if k < 160 else "test",
            "manufacturer": "GE" if second[k] else "SIEMENS",
        }
        for k in range(n)
    ]
    patches = np.zeros((n, 3, 112, 112), np.int16)
    return write_prepared_cohort(folder, case_table(rows), patches, patches > 0, radiomics)


def looked_at(prepared: PreparedCohort, by: str = "manufacturer") -> ScannerDifferences | NotEstimable | None:
    """What the evaluation carries."""
    none = Predictions(prepared.case_ids, {"PD-L1ES": np.full(len(prepared), 0.5)})
    scored = ScoredCohort(prepared.cases, none, prepared.clinical, (), synthetic=False)
    return with_scanner_differences(scored, prepared, by).scanners


def test_a_planted_scanner_difference_is_found_and_taken_out(tmp_path: Path) -> None:
    found = looked_at(cohort(tmp_path, confounded=False))
    assert isinstance(found, ScannerDifferences)
    glcm, others = found.families["glcm"], found.families["glrlm"]
    assert glcm.training_before == glcm.test_before == glcm.features == GLCM.sum()
    assert glcm.training_after == 0
    assert glcm.test_after is not None
    assert glcm.test_after < 0.1 * glcm.features
    # among 336 that do differ, 5 % false discoveries may be of other classes
    assert others.training_before is not None
    assert others.training_before < 0.05 * others.features
    assert others.training_after == 0
    # what tells expression and is no scanner's stays
    assert found.families["shape"].associated_before == found.families["shape"].associated_after == 14
    assert found.confounding > 0.05
    assert "go together" not in scanner_tables(found).notes


def test_a_difference_that_goes_with_expression_is_told(tmp_path: Path) -> None:
    """The scanner's difference looks like expression's before, and shape's true association shrinks after."""
    found = looked_at(cohort(tmp_path, confounded=True))
    assert isinstance(found, ScannerDifferences)
    assert found.families["glcm"].associated_before > 0.9 * GLCM.sum()
    assert found.families["glcm"].associated_after < 0.1 * GLCM.sum()
    assert found.confounding < 1e-6
    tables = scanner_tables(found)
    assert "Scanner and expression go together in these patients" in tables.notes
    assert tables.families is not None
    assert [row[0] for row in tables.families.rows] == list(found.families)


def test_test_patients_of_another_scanner_are_counted_and_left_out(tmp_path: Path) -> None:
    prepared = cohort(tmp_path, confounded=False)
    cases = prepared.cases.copy()
    cases.loc[cases.index[-20:], "manufacturer"] = "Philips"
    found = looked_at(replace(prepared, cases=cases))
    assert isinstance(found, ScannerDifferences)
    assert found.unknown_in_test == 20
    assert "20 test patients are of another scanner" in scanner_tables(found).notes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"manufacturer": None}, "no training patient's manufacturer is known"),
        ({"split": None}, "no patient here is one"),
    ],
)
def test_without_scanners_or_training_patients_the_reason_stands_there(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    prepared = cohort(tmp_path, confounded=False)
    cases = prepared.cases.assign(**{name: pd.Series([value] * 240, dtype=object) for name, value in change.items()})
    found = looked_at(replace(prepared, cases=cases))
    assert isinstance(found, NotEstimable)
    assert reason in found.reason
    assert reason in scanner_tables(found).notes


@pytest.mark.parametrize(
    ("by", "column"), [("model", "scanner_model"), ("kernel", "convolution_kernel"), ("site", "site")]
)
def test_scanners_are_told_apart_by_what_is_chosen(tmp_path: Path, by: str, column: str) -> None:
    """The maker is the same everywhere; the planted difference goes with the other column, however it is spelt."""
    prepared = cohort(tmp_path, confounded=False)
    second = (prepared.cases["manufacturer"] == "GE").to_numpy()
    names = np.where(second, np.where(np.arange(240) % 2, "B60f", "b60F "), "B70f")
    other = replace(prepared, cases=prepared.cases.assign(**{"manufacturer": "X", column: names}))
    found = looked_at(other, by)
    assert isinstance(found, ScannerDifferences)
    assert len(found.patients) == 2
    assert found.families["glcm"].training_before == GLCM.sum()
    assert found.families["glcm"].training_after == 0
    assert f"Training patients by {by}: " in scanner_tables(found).notes
    alone = looked_at(other)
    assert isinstance(alone, NotEstimable)
    assert "(X 160)" in alone.reason


def test_too_small_and_unnamed_batches_are_told(tmp_path: Path) -> None:
    prepared = cohort(tmp_path, confounded=False)
    cases = prepared.cases.copy()
    cases.loc[:6, "manufacturer"], cases.loc[7:8, "manufacturer"] = "Philips", None
    found = looked_at(replace(prepared, cases=cases))
    assert isinstance(found, ScannerDifferences)
    assert (found.left_out, found.unnamed) == ({"Philips": 7}, 2)
    notes = scanner_tables(found).notes
    assert "Left out, because a mean and a spread need 10 training patients or more: Philips (7)." in notes
    assert "Of 2 training patients the manufacturer is not known." in notes
