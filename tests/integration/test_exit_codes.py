"""What a command's exit code says where the fault lies around the study: environment, output, standard output."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from pydicom.uid import UID

from pdl1es.dicom.pixels.hounsfield import read_ct_slice
from tests.integration.chain_runs import Score

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

Command = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def command(repository: Path) -> Command:
    """Run the command line in a process of its own."""

    def run(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(repository), **more.pop("env", {})}
        line = [sys.executable, "-m", "pdl1es.command_line.cli", *map(str, arguments)]
        more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return subprocess.run(line, env=environment, cwd=repository, check=False, **more)

    return run


def test_a_full_standard_output_changes_nothing_of_a_report_that_was_written(
    command: Command, phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    with Path("/dev/full").open("wb") as full:
        done = command("run", phantom_study.folder, tmp_path / "out", stdout=full)
    assert done.returncode == 0
    assert (tmp_path / "out" / "result.json").is_file()
    assert b"what was to be shown is lost" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_pipe_whose_reader_has_gone_changes_nothing_of_the_verdict(
    command: Command, phantom_study: PhantomStudy
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = command("inspect", phantom_study.folder, stdout=gone)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("epoch", ["tomorrow", "-1", "9" * 5000])
def test_a_clock_that_is_none_is_an_error_of_usage(
    command: Command, phantom_study: PhantomStudy, tmp_path: Path, epoch: str
) -> None:
    done = command("run", phantom_study.folder, tmp_path / "out", env={"SOURCE_DATE_EPOCH": epoch})
    assert done.returncode == 2
    assert b"SOURCE_DATE_EPOCH" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_phantom_that_cannot_be_written_is_an_error_of_usage(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    done = command("phantom", tmp_path / "file" / "study")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_study_that_goes_away_while_it_is_read_is_refused_and_told_so(
    score: Score, phantom_study: PhantomStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "study"
    shutil.copytree(phantom_study.folder, study)

    def gone(*arguments: Any) -> Any:
        shutil.rmtree(study, ignore_errors=True)
        return read_ct_slice(*arguments)

    monkeypatch.setattr("pdl1es.chain.read_ct_slice", gone)
    assert score(study).code == "INPUT_UNREADABLE"


def test_the_refusal_of_a_study_with_an_object_of_a_private_class_gets_its_report(
    score: Score, phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    """Siemens' syngo stores such objects beside its CT; they call themselves CT too."""
    study = tmp_path / "study"
    shutil.copytree(phantom_study.folder / "CT", study)
    private = pydicom.dcmread(next(study.iterdir()))
    private.SOPClassUID = private.file_meta.MediaStorageSOPClassUID = UID("1.3.12.2.1107.5.9.1")
    private.SOPInstanceUID = private.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.1")  # before all images
    private.save_as(study / "private.dcm")
    done = score(study, report_refusals=True)
    assert done.code == "NO_SEG"
    assert done.report.CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID == private.StudyInstanceUID
