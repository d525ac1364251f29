"""The commands that train: what goes wrong is told in a sentence, with the exit code of whoever can put it right."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from training import reproduce
from training.cohort.prepared import PreparedCohort
from training.commands.cli import app
from training.train import run, side_by_side

SENTENCE = "the process that trained RM ended with exit code 1; give the same command again to go on"


def _failing(*arguments: object, **options: object) -> NoReturn:
    raise side_by_side.SideBySideError(SENTENCE)


def test_a_network_that_fails_side_by_side_is_a_sentence_with_a_remedy(
    cohort: PreparedCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run_side_by_side", _failing)
    options = ["--side-by-side", "2", "--layers", "small", "--accelerator", "cpu"]
    result = CliRunner().invoke(app, ["train", str(cohort.folder), str(tmp_path), *options])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert f"Error: {SENTENCE}" in " ".join(result.output.split())


def test_a_reproduction_in_which_one_fails_ends_in_the_same_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce.Reproduction, "run", _failing)
    result = CliRunner().invoke(app, ["reproduce", str(tmp_path), "--small", "--side-by-side", "2"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert f"Error: {SENTENCE}" in " ".join(result.output.split())
