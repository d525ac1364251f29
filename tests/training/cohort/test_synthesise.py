"""A synthetic cohort is the same for the same seed, goes on where it stopped, and lets the chain see its factors."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pdl1es.grid.resample import CROP_MARGIN_MM
from training.cohort.case import CaseSource, PreparationSettings, read_case
from training.cohort.synthesise import (
    SynthesisError,
    SynthesisSettings,
    draw_cohort,
    scanned_settings,
    stratified_division,
    synthesise_cohort,
    synthetic_cases,
)
from training.cohort.table import read_cohort
from training.cohort.truth import TruthSettings, true_model
from training.commands.cli import app

SMALL = SynthesisSettings(expression=1, prognosis=1, gate=0, seed=4)


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    synthesise_cohort(folder, SMALL, workers=2)
    return folder


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers_and_interruptions(small: Path, tmp_path: Path) -> None:
    """The second run is stopped after its first case, and finished by another one."""

    class StoppedError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        synthesise_cohort(tmp_path, SMALL, workers=1, progress=stop)
    assert not (tmp_path / "cohort.csv").exists()
    seen: list[int] = []
    synthesise_cohort(tmp_path, SMALL, workers=1, progress=lambda done, total: seen.append(done))
    assert seen[0] >= 1
    assert _digests(tmp_path) == _digests(small)


def test_another_cohort_is_not_mixed_into_the_same_folder(small: Path) -> None:
    with pytest.raises(SynthesisError, match="seed"):
        synthesise_cohort(small, replace(SMALL, seed=5))


def test_shares_that_do_not_add_up_are_an_error_of_usage(tmp_path: Path) -> None:
    arguments = ["cohort", "synthesise", str(tmp_path / "c"), "--shares", "0.5", "0.5", "0.5"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "add up to one" in result.output
    assert not (tmp_path / "c").exists()


def test_a_larger_cohort_begins_with_the_smaller_ones_patients() -> None:
    model = true_model(TruthSettings())
    few, many = (draw_cohort(SynthesisSettings(n, 3, 3), model).drop(columns="split") for n in (4, 9))
    pd.testing.assert_frame_equal(
        few[few["case_id"].str.startswith("E")].reset_index(drop=True), many.iloc[:4].reset_index(drop=True)
    )


def test_the_table_passes_its_own_check_and_tells_what_the_truth_tells(small: Path) -> None:
    checked = read_cohort(small / "cohort.csv")
    assert checked.faults == ()
    assert checked.warnings == ()
    truth = pd.read_csv(small / "truth.csv")
    assert [row.id for row in checked.rows] == list(truth["case_id"])
    assert [row.high_expression for row in checked.rows] == list(truth["label"])
    document = json.loads((small / "truth.json").read_text())
    assert 0.76 <= document["bayes_auc"] <= 0.85


def test_the_small_field_holds_all_that_the_method_looks_at(small: Path) -> None:
    """Around every mask lies the whole margin of the grid, so that the crop is that of a full scan."""
    for row in read_cohort(small / "cohort.csv").rows:
        volume = read_case(CaseSource.of(row), PreparationSettings()).resampled().volume
        for axis in range(3):
            occupied = np.flatnonzero(volume.mask.any(axis=tuple(a for a in range(3) if a != axis)))
            assert occupied[0] == CROP_MARGIN_MM
            assert volume.mask.shape[axis] - 1 - occupied[-1] == CROP_MARGIN_MM


def test_patients_of_pretraining_have_images_and_no_outcome_and_change_nobody_else(tmp_path: Path, small: Path) -> None:
    table = read_cohort(synthesise_cohort(tmp_path, SynthesisSettings(0, 0, 0, pretrain=2), workers=1))
    assert table.faults == ()
    assert [(row.id, row.split, row.pdl1_tps, row.high_expression) for row in table.rows] == [
        ("U0001", "pretrain", None, None),
        ("U0002", "pretrain", None, None),
    ]
    assert read_case(CaseSource.of(table.rows[0]), PreparationSettings()).resampled().volume.mask.any()
    model = true_model(SMALL.truth)
    without, beside = draw_cohort(SMALL, model), draw_cohort(replace(SMALL, pretrain=3), model)
    pd.testing.assert_frame_equal(without, beside[beside["split"] != "pretrain"][without.columns])


def test_scanners_are_a_hospitals_mix_of_sharp_kernels() -> None:
    """Several manufacturers, some slices of 5 mm, a median tube current of about 290 mA (the paper's strata)."""
    settings = SynthesisSettings(200, 0, 0, seed=1)
    cohort = draw_cohort(settings, true_model(settings.truth))
    scanners = [scanned_settings(case) for case in synthetic_cases(settings, cohort)]
    assert {scanner.manufacturer for scanner in scanners} == {"SIEMENS", "GE MEDICAL SYSTEMS", "Philips", "TOSHIBA"}
    assert all(scanner.kernel_properties.sharp for scanner in scanners)
    assert np.median([scanner.tube_current_ma for scanner in scanners]) == pytest.approx(290, abs=15)
    assert 0.15 < np.mean([scanner.slice_thickness_mm >= 5 for scanner in scanners]) < 0.35


def test_the_division_has_the_papers_sizes_and_every_part_its_share_of_high_expression() -> None:
    labels = np.array([1] * 328 + [0] * 611)
    division = pd.Series(stratified_division(np.random.default_rng(0), labels))
    assert division.value_counts().to_dict() == {"train": 750, "test": 96, "validation": 93}
    shares = pd.Series(labels).groupby(division).mean()
    assert (abs(shares - 328 / 939) < 0.012).all()
    other = stratified_division(np.random.default_rng(1), labels)
    assert list(division) != other
