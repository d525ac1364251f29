"""A prepared cohort holds what the chain computes, whatever failed, and whenever the run was stopped."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from distributed import LocalCluster
from pydicom import dcmread
from pydicom.misc import is_dicom
from typer.testing import CliRunner

import pdl1es.chain
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.model.fusion import FusionModel
from pdl1es.run import run_study
from pdl1es.settings import DEFAULT_FILE, load_settings
from tests.training.cohort.rewritten_study import rewritten
from tests.training.cohort.two_patients import two
from training.cohort.case import (
    CaseSource,
    PreparationSettings,
    content_digest,
    prepare_case,
    stat_digest,
)
from training.cohort.prepare import Failure, prepare_cohort
from training.cohort.prepared import PreparedCohort
from training.cohort.table import CheckedTable, read_cohort, write_cohort
from training.commands.cli import app
from training.figures.flow_chart import FlowChart
from training.scoring.cohort_scores import score_cohort

SETTINGS = PreparationSettings()


def folder_of(cohort: PreparedCohort) -> Path:
    """Where a cohort that was written lies."""
    assert cohort.folder is not None
    return cohort.folder


def _asked_at_the_scanner(synthetic: Path, prepared: PreparedCohort, folder: Path) -> tuple[Path, PreparedCohort]:
    """Return a study without ``clinical.json`` whose header says that the patient smokes, and a table that knows no more."""
    study = folder / "study"
    shutil.copytree(synthetic / "images" / "E0001", study)
    (study / "clinical.json").unlink()
    for path in study.rglob("*"):
        if path.is_file() and is_dicom(path):
            header = dcmread(path)
            header.SmokingStatus = "YES"
            header.save_as(path)
    with (synthetic / "cohort.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["id"] == "E0001")
    for column in ("ct", "seg"):
        row[column] = str(synthetic / row[column]) if row[column] else ""
    row |= {"smoking": "smoker", "family_history": ""}
    (folder / "cohort.csv").write_bytes(write_cohort([row]))
    cache = folder_of(prepared) / "cache"
    table = read_cohort(folder / "cohort.csv")
    return study, prepare_cohort(table, folder / "prepared", SETTINGS, cache_folder=cache, workers=1)


@pytest.mark.parametrize("values", ["from clinical.json", "from the header"])
def test_a_study_scored_by_the_chain_and_the_same_case_of_the_cohort_are_equal_bit_for_bit(
    synthetic: Path,
    prepared: PreparedCohort,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: str,
) -> None:
    """Features and patches as the chain computed them; the score of the cohort's own scoring to 1e-5.

    In the header a smoker has no grade, and the family history is missing.
    """
    seen: dict[str, Any] = {}

    def watched(module: Any, name: str) -> None:
        function = getattr(module, name)

        def call(*arguments: Any, **options: Any) -> Any:
            found = function(*arguments, **options)
            seen.setdefault(name, found)  # the contour as it was drawn comes first, then those that differ from it
            return found

        monkeypatch.setattr(module, name, call)

    study, cohort = synthetic / "images" / "E0001", prepared
    if values == "from the header":
        study, cohort = _asked_at_the_scanner(synthetic, prepared, tmp_path)
    watched(pdl1es.chain, "extract_radiomics")
    watched(pdl1es.chain, "extract_patches")
    models = repository / "models"
    outcome = run_study(study, tmp_path / "out", settings=load_settings(DEFAULT_FILE), model_folder=models)
    assert outcome.refusal is None
    place = cohort.case_ids.index("E0001")
    np.testing.assert_array_equal(cohort.radiomics[place], seen["extract_radiomics"].values)
    np.testing.assert_array_equal(cohort.patches[place], seen["extract_patches"].hu)
    np.testing.assert_array_equal(cohort.masks[place], seen["extract_patches"].mask)

    scored = score_cohort(models / "pdl1es", cohort.subset(np.array([place]))).iloc[0]
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert scored["probability"] == pytest.approx(result["assessment"]["score"], abs=1e-5)
    if values == "from the header":
        assert np.isnan(cohort.clinical[place, 3])
        assert not cohort.smoking_graded[place]
        grade = FusionModel.load(models / "pdl1es").metadata.smoker_grade
        assert scored["imputed_smoking"] == pytest.approx(grade)
        plain = score_cohort(models / "pdl1es", prepared.subset(np.array([prepared.case_ids.index("E0001")]))).iloc[0]
        assert scored["probability"] != pytest.approx(plain["probability"], abs=1e-5)


@pytest.mark.parametrize("orientation", ["LPS", "RPI", "SAR"])
def test_the_same_pixels_as_dicom_or_nrrd_give_the_same_patches_and_features_bit_for_bit(
    synthetic: Path, prepared: PreparedCohort, tmp_path: Path, orientation: str
) -> None:
    """Rewritten by SimpleITK; upside down and with other axes, too."""
    made = prepare_case(rewritten(synthetic, tmp_path, ".nrrd", orientation), SETTINGS)
    place = prepared.case_ids.index("E0001")
    np.testing.assert_array_equal(made.patches, prepared.patches[place])
    np.testing.assert_array_equal(made.mask, prepared.masks[place])
    np.testing.assert_array_equal(made.radiomics, prepared.radiomics[place])


def test_nifti_differs_from_dicom_by_the_rounding_of_its_header_alone(
    synthetic: Path, prepared: PreparedCohort, tmp_path: Path
) -> None:
    """NIfTI has positions in single precision: a few values out of a thousand round to the neighbouring HU."""
    made = prepare_case(rewritten(synthetic, tmp_path, ".nii.gz", "LPS"), SETTINGS)
    place = prepared.case_ids.index("E0001")
    difference = np.abs(made.patches.astype(int) - prepared.patches[place])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.005
    relative = np.abs(made.radiomics - prepared.radiomics[place]) / (np.abs(prepared.radiomics[place]) + 1e-9)
    assert np.nanmedian(relative) < 1e-4


def test_the_table_of_cases_holds_what_headers_and_table_say(synthetic: Path, prepared: PreparedCohort) -> None:
    row = prepared.cases.set_index("case_id").loc["E0001"]
    assert row["slice_thickness_mm"] == 5.0
    assert row["manufacturer"]
    assert row["scanner_model"]
    assert row["tube_current_ma"] > 50
    assert row["volume_ml"] > 0
    assert prepared.manifest["truth"] == "truth.json"
    assert (folder_of(prepared) / "truth.csv").read_bytes() == (synthetic / "truth.csv").read_bytes()
    chart = prepared.manifest["flow_chart"]
    drawn = FlowChart(chart["screened"], tuple(map(tuple, chart["exclusions"])), tuple(map(tuple, chart["cohorts"])))
    assert drawn.screened == 4


def test_a_patient_that_fails_is_a_row_and_the_others_are_prepared(synthetic: Path, tmp_path: Path) -> None:
    """A CT that is no volume, a mask of a few voxels, a smooth kernel, and one that is whole."""
    lines = (synthetic / "cohort.csv").read_text().splitlines()
    patient = next(line for line in lines if line.startswith("E0002"))
    for name in ("E0002", "E0003", "E0004", "E0005"):
        shutil.copytree(synthetic / "images" / "E0002", tmp_path / "images" / name)
    (tmp_path / "images" / "E0002" / "ct.nrrd").write_bytes(b"no volume")
    mask_file = tmp_path / "images" / "E0003" / "mask.nrrd"
    image = SimpleITK.ReadImage(str(mask_file))
    values = SimpleITK.GetArrayFromImage(image)
    voxel = np.argwhere(values)[len(np.argwhere(values)) // 2]
    values[:] = 0
    values[tuple(voxel)] = 1
    small = SimpleITK.GetImageFromArray(values)
    small.CopyInformation(image)
    SimpleITK.WriteImage(small, str(mask_file))
    smooth = patient.replace("E0002", "E0004").split(",")
    smooth[lines[0].split(",").index("convolution_kernel")] = "B30f"
    smooth[lines[0].split(",").index("manufacturer")] = "SIEMENS"
    whole = (patient.replace("E0002", name) for name in ("E0002", "E0003", "E0005"))
    rows = [lines[0], *whole, ",".join(smooth)]
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")

    made = prepare_cohort(read_cohort(tmp_path / "cohort.csv"), tmp_path / "out", SETTINGS, workers=2)
    assert made.case_ids == ("E0005",)
    failures = made.failures.set_index("case_id")
    assert failures["code"].to_dict() == {
        "E0002": "VOLUME",
        "E0003": "TUMOUR_TOO_SMALL",
        "E0004": "SMOOTH_KERNEL",
    }
    chart = made.manifest["flow_chart"]
    assert chart["screened"] == 4
    assert sum(count for _, count in chart["exclusions"]) == 3
    assert ["Smooth reconstruction kernel", 1] in chart["exclusions"]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.training.cohort.two_patients import two
from training.cohort.case import PreparationSettings
from training.cohort.prepare import prepare_cohort

def kill(done, total):
    if done == 1:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    prepare_cohort(two(Path(sys.argv[1])), Path(sys.argv[2]), PreparationSettings(), workers=1, progress=kill)
"""


def test_killed_and_started_again_it_goes_on_and_ends_the_same(
    synthetic: Path, prepared: PreparedCohort, repository: Path, tmp_path: Path
) -> None:
    """The process is killed outright when one of two patients is ready; what was kept is not computed again."""
    table, out, script = two(synthetic / "cohort.csv"), tmp_path / "out", tmp_path / "killed.py"
    cache = folder_of(prepared) / "cache"
    whole = prepare_cohort(table, tmp_path / "whole", SETTINGS, cache_folder=cache, truth=synthetic)
    script.write_text(KILLED)
    run = subprocess.run(
        [sys.executable, str(script), str(synthetic / "cohort.csv"), str(out)],
        env={**os.environ, "PYTHONPATH": str(repository)},
        stderr=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in out.glob("cache/cases/*.npz")}
    assert len(kept) == 1
    assert not (out / "manifest.json").exists()

    told: list[int] = []
    again = prepare_cohort(
        table,
        out,
        SETTINGS,
        workers=1,
        truth=synthetic,
        sources=(),
        progress=lambda done, total: told.append(done),
    )
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert told[-1] == len(whole) == 2
    for name in ("patches", "masks", "radiomics"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    for name in ("cases.parquet", "radiomics.parquet", "patches.npz", "manifest.json", "failures.parquet"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_corrected_table_computes_no_image_again_and_other_settings_compute_all(
    synthetic: Path, prepared: PreparedCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import training.cohort.prepare as module

    asked: list[int] = []

    def count(function: Any, items: Any, **_: Any) -> Any:
        asked.append(len(items))
        return iter(())

    monkeypatch.setattr(module, "run_on_cluster", count)
    table = read_cohort(synthetic / "cohort.csv")
    corrected = type(table)(
        tuple(row.model_copy(update={"age": 77.0}) for row in table.rows), (), (), table.screened, ()
    )
    cache = folder_of(prepared) / "cache"
    made = prepare_cohort(corrected, tmp_path / "a", SETTINGS, cache_folder=cache)
    assert set(made.cases["age"]) == {77.0}
    stricter = SETTINGS.model_copy(
        update={"protocol": SETTINGS.protocol.model_copy(update={"maximum_slice_thickness_mm": 3.0})}
    )
    prepare_cohort(table, tmp_path / "b", stricter, cache_folder=cache)
    assert asked == [0, len(table.rows)]


def test_a_damaged_entry_of_the_cache_is_computed_again(
    synthetic: Path, prepared: PreparedCohort, tmp_path: Path
) -> None:
    table, cache = two(synthetic / "cohort.csv"), tmp_path / "cache"
    shutil.copytree(folder_of(prepared) / "cache", cache)
    digest = prepared.cases.set_index("case_id").loc[table.rows[0].id, "content_digest"]
    (damaged,) = cache.glob(f"cases/{digest}-*.npz")
    damaged.write_bytes(damaged.read_bytes()[:1000])
    again = prepare_cohort(table, tmp_path / "out", SETTINGS, cache_folder=cache, workers=1)
    rows = [prepared.case_ids.index(row.id) for row in table.rows]
    np.testing.assert_array_equal(again.radiomics, prepared.radiomics[rows])
    assert damaged.stat().st_size > 1000


def test_the_workers_of_another_scheduler_give_the_same_bits(
    synthetic: Path, prepared: PreparedCohort, tmp_path: Path
) -> None:
    table = read_cohort(synthetic / "cohort.csv")
    one = CheckedTable(table.rows[1:2], (), (), 1, ())
    here = prepared.subset(np.array([prepared.case_ids.index(table.rows[1].id)]))
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        there = prepare_cohort(one, tmp_path / "there", SETTINGS, scheduler=cluster.scheduler_address, workers=None)
    np.testing.assert_array_equal(there.radiomics, here.radiomics)
    np.testing.assert_array_equal(there.patches, here.patches)


def _shared_volumes(synthetic: Path, folder: Path) -> CaseSource:
    """Copy a patient's CT and mask volumes into a folder of the test's own."""
    for name in ("ct.nrrd", "mask.nrrd"):
        shutil.copy(synthetic / "images" / "E0002" / name, folder / name)
    return CaseSource("X", folder / "ct.nrrd", folder / "mask.nrrd", {})


def test_a_ct_and_a_mask_that_change_places_are_another_input(synthetic: Path, tmp_path: Path) -> None:
    """Otherwise a table in which both columns were exchanged stays refused after it is corrected."""
    right = _shared_volumes(synthetic, tmp_path)
    wrong = CaseSource("X", tmp_path / "mask.nrrd", tmp_path / "ct.nrrd", {})
    assert content_digest(wrong) != content_digest(right)
    assert stat_digest(wrong) != stat_digest(right)


def test_exchanged_columns_are_prepared_once_they_are_corrected(synthetic: Path, tmp_path: Path) -> None:
    line = "A,{},{},50\n".format
    ct, mask = (f"images/E0002/{name}.nrrd" for name in ("ct", "mask"))
    shutil.copytree(synthetic / "images" / "E0002", tmp_path / "images" / "E0002")
    table = tmp_path / "cohort.csv"
    table.write_text("id,ct,seg,pdl1_tps\n" + line(mask, ct))
    wrong = prepare_cohort(read_cohort(table), tmp_path / "out", SETTINGS, workers=1)
    assert list(wrong.failures["code"]) == ["VOLUME"]
    table.write_text("id,ct,seg,pdl1_tps\n" + line(ct, mask))
    assert prepare_cohort(read_cohort(table), tmp_path / "out", SETTINGS, workers=1).case_ids == ("A",)


def test_the_data_of_a_detached_header_are_part_of_the_input(synthetic: Path, tmp_path: Path) -> None:
    source = _shared_volumes(synthetic, tmp_path)
    image = SimpleITK.ReadImage(str(source.ct))
    SimpleITK.WriteImage(image, str(tmp_path / "ct.nhdr"))
    detached = CaseSource("X", tmp_path / "ct.nhdr", source.seg, {})
    before = content_digest(detached)
    data = next(path for path in tmp_path.iterdir() if path.name.startswith("ct.raw"))
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    assert content_digest(detached) != before


def test_exchanged_entries_of_the_cache_are_computed_again(
    synthetic: Path, prepared: PreparedCohort, tmp_path: Path
) -> None:
    """An entry names its key: files that were renamed, of cases as of contents, are not taken for each other."""
    table, cache = two(synthetic / "cohort.csv"), tmp_path / "cache"
    rows = [prepared.case_ids.index(row.id) for row in table.rows]
    for folder in ("cases", "content"):
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(folder_of(prepared) / "cache", cache)
        if folder == "cases":
            names = [next((cache / folder).glob(f"{prepared.cases['content_digest'][row]}-*")) for row in rows]
        else:
            names = [cache / folder / stat_digest(CaseSource.of(row)) for row in table.rows]
        first, second = (name.read_bytes() for name in names)
        names[0].write_bytes(second)
        names[1].write_bytes(first)
        again = prepare_cohort(table, tmp_path / folder, SETTINGS, cache_folder=cache, workers=1)
        np.testing.assert_array_equal(again.radiomics, prepared.radiomics[rows])


def test_a_kept_failure_names_its_key() -> None:
    kept = Failure("volume", "VOLUME", "no volume")
    assert Failure.from_bytes(kept.to_bytes("a"), "a") == kept
    for content in (kept.to_bytes("b"), b"{}", b"[]", b"no JSON"):
        with pytest.raises(ValueError, match=r"key|damaged|Expecting"):
            Failure.from_bytes(content, "a")


def test_a_mask_on_another_grid_is_resampled_by_its_own_geometry_and_told(synthetic: Path, tmp_path: Path) -> None:
    """The same tumour on a grid of half the spacing keeps its volume within a few per cent; its own grid warns of nothing."""
    source = _shared_volumes(synthetic, tmp_path)
    plain = prepare_case(source, SETTINGS)
    assert "MASK_GRID_DIFFERS" not in [warning.code for warning in plain.warnings]
    mask = SimpleITK.ReadImage(str(source.seg))
    finer = SimpleITK.Resample(
        mask,
        [2 * n - 2 for n in mask.GetSize()[:2]] + [mask.GetSize()[2]],
        SimpleITK.Transform(),
        SimpleITK.sitkNearestNeighbor,
        mask.GetOrigin(),
        [s / 2 for s in mask.GetSpacing()[:2]] + [mask.GetSpacing()[2]],
        mask.GetDirection(),
    )
    SimpleITK.WriteImage(finer, str(tmp_path / "finer.nrrd"))
    told = prepare_case(CaseSource("X", source.ct, tmp_path / "finer.nrrd", {}), SETTINGS)
    (warning,) = (each for each in told.warnings if each.code == "MASK_GRID_DIFFERS")
    assert "look whether it is this patient's" in warning.message
    assert told.facts["volume_ml"] == pytest.approx(plain.facts["volume_ml"], rel=0.06)


def test_a_mask_that_does_not_lie_within_its_ct_is_refused(synthetic: Path, tmp_path: Path) -> None:
    source = _shared_volumes(synthetic, tmp_path)
    mask = SimpleITK.ReadImage(str(source.seg))
    mask.SetOrigin([value + 1000 for value in mask.GetOrigin()])
    SimpleITK.WriteImage(mask, str(tmp_path / "far.nrrd"))
    with pytest.raises(Refusal) as refused:
        prepare_case(CaseSource("X", source.ct, tmp_path / "far.nrrd", {}), SETTINGS)
    assert refused.value.code is RefusalCode.SEGMENT_OUTSIDE_VOLUME


def test_prepare_names_who_failed_and_where_the_rest_stands(synthetic: Path, tmp_path: Path) -> None:
    shutil.copytree(synthetic / "images" / "E0002", tmp_path / "images")
    (tmp_path / "broken.nrrd").write_bytes(b"no volume")
    (tmp_path / "cohort.csv").write_text("id,ct,seg,pdl1_tps\nA,broken.nrrd,images/mask.nrrd,50\n", encoding="utf-8")
    ended = CliRunner().invoke(
        app, ["cohort", "prepare", str(tmp_path / "cohort.csv"), str(tmp_path / "out"), "--workers", "1"]
    )
    assert ended.exit_code == 0
    assert "A: VOLUME: .nrrd file cannot be read as a volume" in ended.stdout
    assert "failures.csv" in ended.stdout
    with (tmp_path / "out" / "failures.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["case_id"] for row in csv.DictReader(file)] == ["A"]


def test_the_rims_features_are_those_of_the_same_case(synthetic: Path, prepared: PreparedCohort) -> None:
    """Pretraining needs them: a cohort without them cannot be pretrained on."""
    assert prepared.rim is not None
    row = two(synthetic / "cohort.csv").rows[0]
    made = prepare_case(CaseSource.of(row), SETTINGS)
    np.testing.assert_array_equal(prepared.rim[prepared.case_ids.index(row.id)], made.rim)
