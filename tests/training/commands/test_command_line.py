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
