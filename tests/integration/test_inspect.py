"""`pdl1es inspect`: what a PACS administrator sees, on any terminal, and what a program reads.

That its verdict is a run's is tested on every study that these tests make, where they are run (`assert_inspection_agrees`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

LABEL = "肺腫瘤 GTV"
NAMES = ("Mustermann", "Erika", "HMO-4711", "1957", "Knäuel")
"""Of a patient: none of them in what a program reads."""


def inspect(study: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a shell does, on a terminal of 80 columns."""
    repository = Path(__file__).resolve().parents[2]
    surroundings = {"PATH": os.environ["PATH"], "PYTHONPATH": str(repository), "COLUMNS": "80", **environment}
    command = [sys.executable, "-m", "pdl1es.command_line.cli", "inspect", str(study), *options]
    return subprocess.run(command, capture_output=True, env=surroundings)


def document(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """What the command printed for a program; every byte of it is ASCII."""
    found: dict[str, Any] = json.loads(done.stdout.decode("ascii"))
    return found


@pytest.fixture(scope="module")
def study(phantom_study: PhantomStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom study of a named patient with a Chinese label, a smooth kernel, a broken file and a text file."""
    folder = tmp_path_factory.mktemp("named") / "study"
    shutil.copytree(phantom_study.folder, folder)
    for path in folder.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Mustermann^Erika", "HMO-4711", "19570312"
        ds.SeriesDescription = "Thorax Mustermann"
        if ds.Modality == "SEG":
            ds.SegmentSequence[0].SegmentLabel = LABEL
            ds.SegmentSequence[0].SegmentDescription = "Knäuel"
        else:
            ds.ConvolutionKernel = "B30f"
        ds.save_as(path)
    (folder / "Mustermann.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00")
    (folder / "notes Mustermann.txt").write_text("nothing", encoding="utf-8")
    return folder


LOCALES = {
    "Latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ASCII": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "UTF-8": {"PYTHONIOENCODING": "utf-8"},
    "Shift-JIS": {"PYTHONIOENCODING": "shift_jis"},
}


@pytest.mark.parametrize("name", LOCALES)
def test_a_label_of_another_script_is_shown_in_any_locale(study: Path, tmp_path: Path, name: str) -> None:
    settings = tmp_path / "app.yaml"
    settings.write_text("report:\n  show_free_text: true\n", encoding="utf-8")
    done = inspect(study, "--config", str(settings), **LOCALES[name])
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    shown = done.stdout.decode(LOCALES[name].get("PYTHONIOENCODING", "ascii"))
    escaped = LABEL.encode("ascii", "backslashreplace").decode()
    assert (LABEL if name in ("UTF-8", "Shift-JIS") else escaped) in shown


def test_lines_fit_80_columns_and_uids_are_whole(study: Path) -> None:
    lines = inspect(study).stdout.decode().splitlines()
    assert max(map(len, lines)) <= 80
    headers = [pydicom.dcmread(path, stop_before_pixels=True, force=True) for path in study.rglob("*.dcm")]
    (header,) = (header for header in headers if header.get("Modality") == "SEG")
    shown = {line.strip() for line in lines}
    assert str(header.SOPInstanceUID) in shown
    assert {str(header.ReferencedSeriesSequence[0].SeriesInstanceUID), str(header.SeriesInstanceUID)} <= shown


def test_what_was_left_out_found_and_would_be_withheld_is_told(study: Path) -> None:
    text = inspect(study).stdout.decode()
    assert "1 file left out" in text
    assert "Mustermann.dcm" in text
    assert "age: clinical.json of the study" in text
    assert "SMOOTH_KERNEL" in text
    assert "withheld the score would be reported without its groups" in text
    assert "This study would be scored" in text


def test_a_program_reads_the_same_and_no_word_of_the_patient(study: Path) -> None:
    done = inspect(study, "--json")
    found = document(done)
    assert done.returncode == found["exit_code"] == 0
    assert (found["verdict"], found["refusal"]) == ("scored", None)
    assert found["withheld_by"] == ["SMOOTH_KERNEL"]
    assert [series["modality"] for series in found["series"] if series["chosen"]] == ["CT"]
    assert [segment["number"] for segment in found["segments"] if segment["chosen"]] == [1]
    assert found["study"]["left_out"][0]["files"] == 1
    assert found["clinical"]["smoking"] == "clinical.json of the study"
    words = (*NAMES, LABEL, "Thorax", "notes")
    assert [word for word in words if word in json.dumps(found, ensure_ascii=False)] == []


def test_a_refused_study_is_told_in_both_ways_with_exit_code_3(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    shutil.copytree(phantom_study.folder, tmp_path / "study")
    for path in (tmp_path / "study").rglob("*.dcm"):
        if pydicom.dcmread(path, stop_before_pixels=True).Modality == "SEG":
            path.unlink()
    shown, read = inspect(tmp_path / "study"), inspect(tmp_path / "study", "--json")
    found = document(read)
    assert (shown.returncode, read.returncode, found["exit_code"]) == (3, 3, 3)
    assert found["refusal"]["code"] == "NO_SEG"
    assert found["refusal"]["found"].endswith("modalities found: CT")
    assert found["refusal"]["tag"] is None
    assert "modalities found: CT" in " ".join(shown.stdout.decode().split())
    assert found["withheld_by"] == found["warnings"] == []


def test_a_folder_above_the_limits_is_refused_in_json_too(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    settings = tmp_path / "app.yaml"
    settings.write_text("limits:\n  max_files: 3\n", encoding="utf-8")
    done = inspect(phantom_study.folder, "--json", "--config", str(settings))
    found = document(done)
    assert (done.returncode, found["refusal"]["code"], found["study"]) == (3, "LIMIT_EXCEEDED", None)


def test_clinical_data_are_read_as_a_run_reads_them(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    shutil.copytree(phantom_study.folder, tmp_path / "study")
    given = tmp_path / "given.json"
    given.write_text('{"age": 61}', encoding="utf-8")
    sources = document(inspect(tmp_path / "study", "--json", "--clinical", str(given)))["clinical"]
    assert sources["age"] == "clinical file"
    (tmp_path / "study" / "clinical.json").write_text('{"age": 900}', encoding="utf-8")
    found = document(inspect(tmp_path / "study", "--json"))
    assert (found["exit_code"], found["refusal"]["code"]) == (3, "CLINICAL_INVALID")
    given.write_text('{"age": 900}', encoding="utf-8")
    assert inspect(tmp_path / "study", "--clinical", str(given)).returncode == 2


def test_a_refusal_for_a_program_repeats_no_label(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    shutil.copytree(phantom_study.folder, tmp_path / "study")
    for path in (tmp_path / "study").rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        if ds.Modality == "SEG":
            kind = ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
            kind.CodeValue, kind.CodeMeaning = "80891009", "Heart of Erika"
            ds.SegmentSequence[0].SegmentLabel = "Mustermann"
            ds.save_as(path)
    found = document(inspect(tmp_path / "study", "--json"))
    assert (found["exit_code"], found["refusal"]["code"]) == (3, "NO_TUMOUR_SEGMENT")
    assert [name for name in NAMES if name in json.dumps(found)] == []
