"""How every command prints and ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pdl1es.console import labelled, progress_bar, say, usage_error
from pdl1es.exit_code import ExitCode


def test_a_usage_error_is_printed_as_it_is_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    raised = usage_error("column [bold]age[/] of [/data/cohort.csv] is no number")
    assert raised.exit_code == ExitCode.USAGE
    assert int(ExitCode.USAGE) == 2
    captured = capsys.readouterr()
    assert captured.err == "Error: column [bold]age[/] of [/data/cohort.csv] is no number\n"
    assert captured.out == ""


def test_lines_are_neither_wrapped_nor_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/data/" + "a folder [red] of a long name/" * 12
    say(path)
    labelled("note", path)
    assert capsys.readouterr().out == f"{path}\nnote {path}\n"


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Preparing") as told:
        told(2, 3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Preparing" in captured.err
    assert "2/3" in captured.err


def test_a_command_that_prints_nothing_does_not_load_rich() -> None:
    program = "import sys, pdl1es.console; print(sorted({'rich', 'numpy', 'pydicom'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
