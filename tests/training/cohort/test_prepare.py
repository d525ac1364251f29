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

import pdl1es.chain
from pdl1es.dicom.pixels.hounsfield import read_ct_slice
from pdl1es.model.fusion import FusionModel
from pdl1es.run import run_study
from pdl1es.settings import DEFAULT_FILE, load_settings
from tests.training.cohort.two_patients import two
from training.cohort.case import CaseSource, PreparationSettings, prepare_case, read_case
from training.cohort.prepare import prepare_cohort
from training.cohort.prepared import PreparedCohort
from training.cohort.table import CheckedTable, read_cohort, write_cohort
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


def _rewritten(synthetic: Path, folder: Path, suffix: str, orientation: str) -> CaseSource:
    """Write the DICOM study as a pair of volumes, stored in the given orientation."""
    case = read_case(CaseSource("E0001", synthetic / "images" / "E0001", None, {}), SETTINGS)
    hu = np.stack([read_ct_slice(s) for s in case.ct.slices]).astype(np.int16)
    first, second = case.ct.slices[0].plane, case.ct.slices[1].plane
    mask = np.zeros(hu.shape, np.uint8)
    heights = np.array([s.plane.position[2] for s in case.ct.slices])
    for plane, frame in zip(case.mask.planes, case.mask.masks, strict=True):
        mask[int(np.argmin(np.abs(heights - plane.position[2])))] = frame
    paths = []
    for name, values in (("ct", hu), ("mask", mask)):
        image = SimpleITK.GetImageFromArray(values)
        image.SetOrigin(first.position)
        image.SetSpacing((first.column_spacing, first.row_spacing, second.position[2] - first.position[2]))
        paths.append(folder / f"{name}{suffix}")
        SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, orientation), str(paths[-1]))
    return CaseSource("X", paths[0], paths[1], {})


@pytest.mark.parametrize("orientation", ["LPS", "RPI", "SAR"])
def test_the_same_pixels_as_dicom_or_nrrd_give_the_same_patches_and_features_bit_for_bit(
    synthetic: Path, prepared: PreparedCohort, tmp_path: Path, orientation: str
) -> None:
    """Rewritten by SimpleITK; upside down and with other axes, too."""
    made = prepare_case(_rewritten(synthetic, tmp_path, ".nrrd", orientation), SETTINGS)
    place = prepared.case_ids.index("E0001")
    np.testing.assert_array_equal(made.patches, prepared.patches[place])
    np.testing.assert_array_equal(made.mask, prepared.masks[place])
    np.testing.assert_array_equal(made.radiomics, prepared.radiomics[place])


def test_nifti_differs_from_dicom_by_the_rounding_of_its_header_alone(
    synthetic: Path, prepared: PreparedCohort, tmp_path: Path
) -> None:
    """NIfTI has positions in single precision: a few values out of a thousand round to the neighbouring HU."""
    made = prepare_case(_rewritten(synthetic, tmp_path, ".nii.gz", "LPS"), SETTINGS)
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
