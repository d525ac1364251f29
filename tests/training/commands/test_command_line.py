"""The commands that train: what goes wrong is told in a sentence, with the exit code of whoever can put it right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from training import reproduce
from training.cohort.prepared import PreparedCohort
from training.commands.cli import app
from training.commands.train import show_areas
from training.errors import FailedError, UsageError
from training.export import ExportError
from training.release import export_run
from training.train import run, side_by_side

SENTENCE = "the process that trained RM ended with exit code 1; give the same command again to go on"


def _raising(error: Exception) -> object:
    def fail(*arguments: object, **options: object) -> NoReturn:
        raise error

    return fail


def _ending(*arguments: str | Path) -> tuple[int, str]:
    """Return the exit code and what was printed; a traceback fails the test."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def test_a_network_that_fails_side_by_side_is_a_sentence_with_a_remedy(
    cohort: PreparedCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run_side_by_side", _raising(side_by_side.SideBySideError(SENTENCE)))
    options = ["--side-by-side", "2", "--layers", "small", "--accelerator", "cpu"]
    code, output = _ending("train", cohort.folder or "", tmp_path, *options)
    assert code == 1
    assert f"Error: {SENTENCE}" in output


@pytest.mark.parametrize("error", [side_by_side.SideBySideError, reproduce.ReproductionError])
def test_a_step_of_a_reproduction_that_fails_ends_in_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[FailedError]
) -> None:
    monkeypatch.setattr(reproduce.Reproduction, "run", _raising(error(SENTENCE)))
    code, output = _ending("reproduce", tmp_path, "--small", "--side-by-side", "2")
    assert code == 1
    assert f"Error: {SENTENCE}" in output


@pytest.mark.parametrize(("error", "expected"), [(ExportError, 1), (UsageError, 2)])
def test_an_export_that_fails_ends_in_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception], expected: int
) -> None:
    monkeypatch.setattr(export_run, "read_run", _raising(error(SENTENCE)))
    code, output = _ending("export", tmp_path, tmp_path / "model")
    assert code == expected
    assert f"Error: {SENTENCE}" in output


def test_help_and_options_need_no_library_that_the_commands_work_with() -> None:
    program = (
        "import sys; from training.commands.cli import app\n"
        "from typer.testing import CliRunner\n"
        "for command in ((), ('cohort', 'synthesise'), ('train',), ('report',), ('reproduce',)):\n"
        "    assert CliRunner().invoke(app, [*command, '--help']).exit_code == 0\n"
        "print(sorted({'torch', 'pandas', 'matplotlib', 'scipy', 'numpy', 'lightning', 'onnx', 'jinja2'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[-2] == "[]"


def test_the_table_of_areas_fits_a_terminal_of_80_columns_and_breaks_no_interval(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    area = {"value": 0.691, "lower": 0.587, "upper": 0.794}
    document = {
        "auc": dict.fromkeys(("train", "validation", "test"), area),
        "epochs": 120,
        "epochs_planned": 140,
        "patches_per_second": 12.0,
        "waiting_for_data": 0.013,
    }
    show_areas({"networks": {"PD-L1ES": document}, "redivisions": {"1": {"PD-L1ES": document}}, "fitted": {}})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.count("0.69 (0.59-0.79)") for line in lines if "0.69" in line] == [3, 3]
    assert sum("120 of 140 epochs" in line for line in lines) == 2
