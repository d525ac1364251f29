"""Features under image perturbations: of the tumour that is scored, at a bounded cost, and never of other images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from pdl1es.features.names import FEATURE_NAMES
from training.cohort.case import CaseSource, PreparationSettings, content_digest
from training.cohort.prepared import PreparedCohort, case_table, write_prepared_cohort
from training.cohort.sources import case_sources
from training.cohort.volumes import ACQUISITION
from training.commands.cli import app
from training.controls import repeated_features
from training.controls.contour_change import contour_change, contour_in_words
from training.controls.repeated_features import (
    REPEATS_RECORD,
    RepeatedFeatures,
    RepeatedFeaturesError,
    draw_to_repeat,
    perturb_features,
    read_repeated_features,
)
from training.statistics.agreement import one_way_icc

VOLUME = "original_shape_MeshVolume"
SPLITS = ["train"] * 10 + ["validation"] * 2 + ["test"] * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen textured balls of several sizes in lung, with their table, as a prepared cohort of their volumes alone."""
    folder = tmp_path_factory.mktemp("balls")
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[:44, :44, :44] - 22
    rows, lines, features = [], ["id,ct,seg,label,split"], []
    for k, split in enumerate(SPLITS):
        case = f"B{k:02d}"
        mask = z**2 + y**2 + x**2 <= (4.5 + 0.3 * k) ** 2
        texture = gaussian_filter(rng.normal(size=mask.shape), 1.0 + k % 3) * 300
        hu = np.where(mask, 40 + texture, -850 + 20 * rng.normal(size=mask.shape)).astype(np.int16)
        for name, values in (("ct", hu), ("mask", mask.astype(np.uint8))):
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(folder / f"{case}-{name}.nrrd"))
        lines.append(f"{case},{case}-ct.nrrd,{case}-mask.nrrd,{k % 2},{split}")
        features.append(np.where(np.array(FEATURE_NAMES) == VOLUME, np.count_nonzero(mask), 0.0))
        source = CaseSource(case, folder / f"{case}-ct.nrrd", folder / f"{case}-mask.nrrd", dict.fromkeys(ACQUISITION))
        rows.append({"case_id": case, "label": float(k % 2), "split": split, "content_digest": content_digest(source)})
    (folder / "cohort.csv").write_text("\n".join(lines) + "\n")
    patches = np.zeros((len(rows), 3, 112, 112), np.int16)
    write_prepared_cohort(folder / "prepared", case_table(rows), patches, patches > 0, np.stack(features))
    return folder


@pytest.fixture(scope="module")
def measured(folder: Path) -> Path:
    """The command's own result: ten training patients, two perturbations each, without a cluster."""

    def here(function: Callable[..., Any], tasks: Mapping[str, Any], workers: int | None) -> Iterator[tuple[str, Any]]:
        return ((name, function(task)) for name, task in tasks.items())

    arguments = ["cohort", "perturb", str(folder / "cohort.csv"), str(folder / "prepared"), str(folder / "repeats")]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(repeated_features, "run_on_cluster", here)
        found = CliRunner().invoke(app, [*arguments, "--patients", "10", "--per-patient", "2", "--kinds", "NRTV"])
    assert found.exit_code == 0, found.output
    assert "the volume differs from that drawn by" in found.output
    return folder / "repeats"


def test_size_holds_under_perturbations_and_noise_features_do_not(folder: Path, measured: Path) -> None:
    """What the literature agrees on: the tumour's volume is stable where its contour changes by 15 %."""
    cohort = PreparedCohort.load(folder / "prepared")
    repeats = read_repeated_features(measured, cohort)
    assert repeats.values.shape == (10, 2, len(FEATURE_NAMES))
    value, _, _ = one_way_icc(repeats.values)
    assert value[FEATURE_NAMES.index(VOLUME)] > 0.8
    assert np.nanmin(value) < 0.5


def test_the_perturbed_tumour_is_the_one_that_is_scored(folder: Path, measured: Path) -> None:
    cohort = PreparedCohort.load(folder / "prepared")
    repeats = read_repeated_features(measured, cohort)
    column = FEATURE_NAMES.index(VOLUME)
    for case, values in zip(repeats.case_ids, repeats.values, strict=True):
        own = cohort.radiomics[cohort.case_ids.index(case), column]
        assert values[:, column] == pytest.approx(own, rel=0.5)
        assert len(set(values[:, column])) == 2


def test_the_change_of_the_contour_is_told_for_small_and_large_tumours(folder: Path) -> None:
    """By hand: four tumours of 1 to 14 mL whose perturbed volumes are known, in another order than the cohort's."""
    cohort = PreparedCohort.load(folder / "prepared")
    column = FEATURE_NAMES.index(VOLUME)
    radiomics = cohort.radiomics.copy()
    radiomics[:4, column] = [14000.0, 1000.0, 2000.0, 8000.0]
    values = np.zeros((4, 2, len(FEATURE_NAMES)))
    values[:, :, column] = [[7200, 8800], [1500, 500], [13160, 14840], [2600, 1400]]
    named = tuple(cohort.case_ids[row] for row in (3, 1, 0, 2))
    found = contour_change(RepeatedFeatures(named, (), values, "drawn"), replace(cohort, radiomics=radiomics))
    np.testing.assert_allclose(found.volume_ml, [1, 2, 8, 14])
    np.testing.assert_allclose(found.change, [0.5, 0.3, 0.1, 0.06])
    said = contour_in_words(found, "NTVC")
    assert "by 40 % in the smaller half (1 to 2 mL) and by 8 % in the larger half (8 to 14 mL)" in said
    assert "supervoxels of about 500 mm3, whatever the size of the tumour" in said
    assert "supervoxels" not in contour_in_words(found, "NRTV")


def test_a_second_call_computes_nothing_again(folder: Path, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = PreparedCohort.load(folder / "prepared")
    first = read_repeated_features(measured, cohort)
    part = cohort.subset(np.flatnonzero(np.isin(cohort.case_ids, first.case_ids)))
    monkeypatch.setattr(repeated_features, "run_on_cluster", lambda function, tasks, workers: iter(dict(tasks)))
    again = perturb_features(
        part, case_sources(folder / "cohort.csv"), PreparationSettings(), measured, kinds="NRTV", per_patient=2
    )
    assert again.digest() == first.digest()


def test_features_of_other_images_are_refused(folder: Path, measured: Path) -> None:
    cohort = PreparedCohort.load(folder / "prepared")
    repeats = read_repeated_features(measured, cohort)
    cases = cohort.cases.copy()
    cases["content_digest"] = "0" * 64
    with pytest.raises(RepeatedFeaturesError, match="other images"):
        repeats.of(cases)


def test_features_of_another_method_are_refused(folder: Path, measured: Path, tmp_path: Path) -> None:
    for name in ("repeats.parquet", REPEATS_RECORD):
        (tmp_path / name).write_bytes((measured / name).read_bytes())
    record = json.loads((tmp_path / REPEATS_RECORD).read_text())
    (tmp_path / REPEATS_RECORD).write_text(json.dumps({**record, "method_digest": "0"}))
    with pytest.raises(RepeatedFeaturesError, match="another version's method"):
        read_repeated_features(tmp_path, PreparedCohort.load(folder / "prepared"))
    with pytest.raises(RepeatedFeaturesError, match="cohort perturb"):
        read_repeated_features(folder, PreparedCohort.load(folder / "prepared"))


def test_who_is_drawn_depends_on_seed_and_pseudonym_alone(folder: Path) -> None:
    cohort = PreparedCohort.load(folder / "prepared")
    rows = np.arange(len(cohort)) % 4 > 0
    drawn = draw_to_repeat(cohort.cases, rows, 8, 1)
    assert rows[drawn].all()
    assert len(set(drawn)) == 8
    turned = cohort.cases.iloc[::-1].reset_index(drop=True)
    again = draw_to_repeat(turned, rows[::-1], 8, 1)
    assert set(turned["case_id"].iloc[again]) == set(cohort.cases["case_id"].iloc[drawn])


@pytest.mark.parametrize(("kinds", "per_patient", "told"), [("XY", 3, "letters of"), ("NT", 1, "two perturbations")])
def test_what_cannot_be_asked_for_is_a_sentence(
    folder: Path, tmp_path: Path, kinds: str, per_patient: int, told: str
) -> None:
    cohort = PreparedCohort.load(folder / "prepared")
    with pytest.raises(RepeatedFeaturesError, match=told):
        perturb_features(replace(cohort), {}, PreparationSettings(), tmp_path, kinds=kinds, per_patient=per_patient)
    with pytest.raises(RepeatedFeaturesError, match="no patient could be perturbed"):
        perturb_features(cohort, {}, PreparationSettings(), tmp_path)
