"""What a hospital is promised of the chain: the same tumour gives the same report, however the study is stored."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pdl1es.dicom.selection.rules import SegmentRules, SelectionRules
from pdl1es.settings import Settings
from tests.enhanced_ct import write_enhanced_ct
from tests.integration.chain_runs import WHEN, Score, Scored
from tests.odd_segmentations import GTV, HEART_SEGMENT, LUNGS_SEGMENT, write_odd_segmentation
from tests.odd_series import Storage, write_odd_series

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy
    from pdl1es.phantom.scanner import Scan


@pytest.fixture(scope="module")
def reference(phantom_study: PhantomStudy, score: Score) -> Scored:
    """The phantom study as it is, scored."""
    return score(phantom_study.folder)


@pytest.fixture(scope="module")
def as_shipped(phantom_study: PhantomStudy, score: Score, settings: Settings) -> Scored:
    """The same, with other contours as the settings that ship say."""
    return score(phantom_study.folder, contour_stability=settings.contour_stability)


def science(scored: Scored) -> dict[str, Any]:
    """Return what a result says of the tumour itself, without UIDs, sources and times."""
    assessment = scored.result["assessment"]
    kept = ("score", "slices", "contributions", "features", "groups")
    return {name: assessment[name] for name in kept} | {
        "tumour": assessment["tumour"],
        "roi": {name: assessment["roi"][name] for name in ("grid_z_mm", "rectangle_mm", "table_position_mm")},
    }


def stored_again(phantom_study: PhantomStudy, folder: Path, storage: Storage, scan: Scan | None = None) -> Path:
    """Write the phantom's CT and SEG in another way of storage."""
    scan = scan or phantom_study.scan
    series = write_odd_series(folder / "CT", scan, storage, key=folder.name)
    seg = folder / "SEG" / "t.dcm"
    write_odd_segmentation(seg, series.datasets, [series.frames_of(scan.mask)], key=f"{folder.name}/seg")
    shutil.copy(phantom_study.clinical_path, folder / "clinical.json")
    return folder


def test_a_study_gives_a_report_and_a_result_with_every_step_timed(reference: Scored) -> None:
    result = reference.result
    assert (reference.outcome.exit_code, result["status"]) == (0, "scored")
    assert 0 < result["assessment"]["score"] < 1
    assert [report["file"] for report in result["reports"]] == [f"{reference.report.SOPInstanceUID}.dcm"]
    assert set(result["seconds"]) >= {
        "study_loader", "series_selection", "resample", "roi_patches", "radiomics", "clinical_data", "fusion_model",
        "assessment", "structured_report",
    }  # fmt: skip
    assert sorted(path.name for path in reference.folder.iterdir()) == sorted(
        ["result.json", f"{reference.report.SOPInstanceUID}.dcm"]
    )


def test_the_same_study_scored_twice_gives_the_same_bytes(
    phantom_study: PhantomStudy, reference: Scored, score: Score
) -> None:
    again = score(phantom_study.folder)
    assert again.report_bytes == reference.report_bytes
    first, second = (
        {name: value for name, value in scored.result.items() if name != "seconds"} for scored in (reference, again)
    )
    assert first == second


def test_names_and_folders_of_files_change_nothing(
    phantom_study: PhantomStudy, reference: Scored, score: Score, tmp_path: Path
) -> None:
    for index, path in enumerate(sorted(phantom_study.folder.rglob("*.dcm"), reverse=True)):
        target = tmp_path / f"{index % 3}" / f"{index % 7}" / (f"IM{index}" if index % 2 else f"{index}.img")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(phantom_study.clinical_path, tmp_path / "clinical.json")
    (tmp_path / "notes.txt").write_text("not DICOM", encoding="utf-8")
    assert score(tmp_path).report_bytes == reference.report_bytes


@pytest.mark.parametrize(
    "storage",
    [
        pytest.param(Storage(order="head_first"), id="head first"),
        pytest.param(Storage(order="shuffled"), id="shuffled"),
        pytest.param(Storage(flip_rows=True, flip_columns=True), id="turned by 180 degrees"),
        pytest.param(Storage(flip_columns=True), id="mirrored columns"),
        pytest.param(Storage(transpose=True), id="transposed"),
        pytest.param(Storage(transfer_syntax_uid="1.2.840.10008.1.2.4.80"), id="JPEG-LS lossless"),
        pytest.param(Storage(transfer_syntax_uid="1.2.840.10008.1.2.5"), id="RLE"),
    ],
)
def test_how_the_same_slices_are_stored_changes_no_digit(
    phantom_study: PhantomStudy, reference: Scored, score: Score, tmp_path: Path, storage: Storage
) -> None:
    again = score(stored_again(phantom_study, tmp_path, storage))
    assert again.code == "scored"
    assert science(again) == science(reference)


def test_more_slices_above_and_below_change_no_digit(
    phantom_study: PhantomStudy, reference: Scored, score: Score, tmp_path: Path
) -> None:
    scan, more = phantom_study.scan, 100
    around = ((more, more), (0, 0), (0, 0))
    longer = dataclasses.replace(
        scan,
        hu=np.pad(scan.hu, around, constant_values=-1000),
        mask=np.pad(scan.mask, around),
        origin=(*scan.origin[:2], scan.origin[2] - more * scan.spacing[2]),
    )
    again = score(stored_again(phantom_study, tmp_path, Storage(), longer))
    assert science(again) == science(reference)


def test_an_enhanced_multiframe_ct_gives_the_same_digits(
    phantom_study: PhantomStudy, reference: Scored, score: Score, tmp_path: Path
) -> None:
    scan = phantom_study.scan
    enhanced = write_enhanced_ct(tmp_path / "ct.dcm", scan, key="enhanced")
    write_odd_segmentation(tmp_path / "seg.dcm", [enhanced], [scan.mask], key="enhanced/seg")
    shutil.copy(phantom_study.clinical_path, tmp_path / "clinical.json")
    again = score(tmp_path)
    assert again.code == "scored"
    assert science(again) == science(reference)


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_fractional_and_labelmap_segmentations_are_scored(
    phantom_study: PhantomStudy, reference: Scored, score: Score, tmp_path: Path, kind: Any
) -> None:
    shutil.copytree(phantom_study.folder, tmp_path / "study")
    (tmp_path / "study" / "SEG" / "tumour.dcm").unlink()
    write_odd_segmentation(
        tmp_path / "study" / "SEG" / "other.dcm",
        phantom_study.ct.datasets,
        [phantom_study.scan.mask],
        key=kind,
        segmentation_type=kind,
    )
    again = score(tmp_path / "study")
    assert again.code == "scored"
    assert science(again) == science(reference)


def test_heart_and_lungs_beside_the_tumour_are_left_alone(
    phantom_study: PhantomStudy, reference: Scored, score: Score, tmp_path: Path
) -> None:
    mask = phantom_study.scan.mask
    shutil.copytree(phantom_study.folder / "CT", tmp_path / "CT")
    shutil.copy(phantom_study.clinical_path, tmp_path / "clinical.json")
    heart, lungs = np.zeros_like(mask), np.zeros_like(mask)
    heart[10:40, 100:160, 100:160] = True
    lungs[5:45, 40:220, 30:100] = True
    write_odd_segmentation(
        tmp_path / "seg.dcm",
        phantom_study.ct.datasets,
        [heart, lungs, mask],
        segments=(HEART_SEGMENT, LUNGS_SEGMENT, GTV),
        key="organs",
    )
    again = score(tmp_path)
    assert again.result["assessment"]["selection"]["segment"]["label"] == "GTV-1"
    assert science(again) == science(reference)


def test_two_tumours_are_refused_unless_the_settings_choose(
    phantom_study: PhantomStudy, score: Score, settings: Settings, tmp_path: Path
) -> None:
    mask = phantom_study.scan.mask
    shutil.copytree(phantom_study.folder / "CT", tmp_path / "CT")
    small = np.zeros_like(mask)
    small[20:24, 60:70, 60:70] = True
    second = type(GTV)(label="GTV-2", tracking_id="GTV-2")
    write_odd_segmentation(
        tmp_path / "seg.dcm", phantom_study.ct.datasets, [small, mask], segments=(second, GTV), key="two"
    )
    assert score(tmp_path).code == "SEVERAL_TUMOUR_SEGMENTS"
    for rules in (SegmentRules(choose="largest"), SegmentRules(label="GTV-1"), SegmentRules(tracking_id="GTV-1")):
        chosen = score(tmp_path, selection=SelectionRules(segment=rules))
        assert chosen.result["assessment"]["selection"]["segment"]["label"] == "GTV-1"


def test_a_smooth_kernel_withholds_the_groups_and_the_report_says_why(
    phantom_study: PhantomStudy, score: Score, tmp_path: Path
) -> None:
    again = score(stored_again(phantom_study, tmp_path, Storage(replaced={"ConvolutionKernel": "B30f"})))
    groups = again.result["assessment"]["groups"]
    assert groups["risk"]["group"] is None
    assert groups["expression"]["group"] is None
    assert "kernel" in groups["withheld"]
    assert "withheld" in again.report.to_json()


def test_no_name_id_or_date_of_the_patient_is_in_the_result_or_in_a_log(
    phantom_study: PhantomStudy, score: Score, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = {
        "PatientName": "Zebrafink^Quendolin",
        "PatientID": "QX-77-SECRET",
        "PatientBirthDate": "19510207",
        "StudyDate": "20190317",
        "AccessionNumber": "ACC-9911",
        "SeriesDescription": "Zebrafink chest",
    }
    folder = stored_again(phantom_study, tmp_path, Storage(replaced=secrets))
    with caplog.at_level(logging.DEBUG):
        scored = score(folder)
        (folder / "SEG" / "t.dcm").unlink()
        refused = score(folder)
    assert (scored.code, refused.code) == ("scored", "NO_SEG")
    told = (scored.folder / "result.json").read_text() + (refused.folder / "result.json").read_text() + caplog.text
    for secret in ("Zebrafink", "QX-77", "19510207", "1951-02-07", "20190317", "2019-03-17", "ACC-9911"):
        assert secret not in told, secret
    assert str(scored.report.PatientName) == "Zebrafink^Quendolin"
    assert scored.report.AccessionNumber == "ACC-9911"


def test_a_malformed_file_costs_itself_and_is_told(
    phantom_study: PhantomStudy, reference: Scored, score: Score, tmp_path: Path
) -> None:
    shutil.copytree(phantom_study.folder, tmp_path / "study")
    whole = next((phantom_study.folder / "CT").iterdir()).read_bytes()
    (tmp_path / "study" / "broken.dcm").write_bytes(whole[:200])
    again = score(tmp_path / "study")
    assert science(again) == science(reference)
    assert [warning["code"] for warning in again.result["warnings"]].count("FILES_UNREADABLE") == 1
    assert sum(entry["files"] for entry in again.result["input"]["unreadable"]) == 1


def run_process(arguments: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_python_app_does_the_same_job_as_a_map_runs_it_and_imports_no_torch(
    phantom_study: PhantomStudy, as_shipped: Scored, repository: Path, tmp_path: Path
) -> None:
    watcher = tmp_path / "watch.py"
    watcher.write_text(
        "import atexit, runpy, sys\n"
        "@atexit.register\n"
        "def show():\n"
        "    heavy = {'torch', 'torchvision', 'cupy', 'lightning', 'onnx'}\n"
        "    print('HEAVY', sorted(heavy & {name.split('.')[0] for name in sys.modules}))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n",
        encoding="utf-8",
    )
    output = tmp_path / "out"
    done = run_process(
        [str(watcher), str(repository / "app")],
        {
            "HOLOSCAN_INPUT_PATH": str(phantom_study.folder),
            "HOLOSCAN_OUTPUT_PATH": str(output),
            "HOLOSCAN_MODEL_PATH": str(repository / "models"),
            "SOURCE_DATE_EPOCH": str(int(WHEN.timestamp())),
        },
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout
    assert Scored(as_shipped.outcome, output).report_bytes == as_shipped.report_bytes


def test_the_command_line_prints_score_group_warnings_and_the_report_and_says_nothing_else(
    phantom_study: PhantomStudy, as_shipped: Scored, repository: Path, tmp_path: Path
) -> None:
    done = run_process(
        ["-m", "pdl1es.command_line.cli", "run", str(phantom_study.folder), str(tmp_path / "out")],
        {"PYTHONPATH": str(repository), "COLUMNS": "200", "SOURCE_DATE_EPOCH": str(int(WHEN.timestamp()))},
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "DEMONSTRATION MODEL" in done.stdout
    assessment = as_shipped.result["assessment"]
    assert (
        f"{assessment['score']:.3f}, with contours 1 mm off {assessment['contour_stability']['lowest']:.3f}"
        in done.stdout
    )
    for warning in as_shipped.result["warnings"]:
        assert warning["code"] in done.stdout
    assert f"{as_shipped.report.SOPInstanceUID}.dcm" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["run", "no such folder", "out"], 2, "does not exist"),
        (["run", "{study}", "out", "--config", "{tmp}/wrong.yaml"], 2, "smooth_kernel"),
        (["run", "{study}", "out", "--clinical", "{tmp}/wrong.json"], 2, "age"),
        (["run", "{tmp}", "out"], 3, "NO_CT"),
        (["run", "{study}", "out", "--model", "{tmp}"], 3, "MODEL_UNFIT"),
        (["inspect", "{study}"], 0, "would be scored"),
        (["inspect", "{tmp}"], 3, "NO_CT"),
        (["phantom", "{tmp}/p", "--kernel", "Z99"], 2, "Z99"),
    ],
)
def test_exit_codes_tell_usage_refusal_and_success_apart(
    phantom_study: PhantomStudy,
    repository: Path,
    tmp_path: Path,
    arguments: list[str],
    exit_code: int,
    says: str,
) -> None:
    yaml = (repository / "app.yaml").read_text(encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text(yaml.replace("withhold_group", "perhaps"), encoding="utf-8")
    (tmp_path / "wrong.json").write_text(json.dumps({"age": 900}), encoding="utf-8")
    filled = [argument.format(study=phantom_study.folder, tmp=tmp_path) for argument in arguments]
    done = run_process(
        ["-m", "pdl1es.command_line.cli", *filled], {"PYTHONPATH": str(repository), "COLUMNS": "200"}, tmp_path
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("out/*.dcm"))
