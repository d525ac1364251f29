"""The Makefile: a target prepares what it needs and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import LONG_FILES


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_wheel_is_built_without_the_run_times_environment(repository: Path, tmp_path: Path) -> None:
    places = [f"VENV={tmp_path}/run-time", f"BUILD_VENV={tmp_path}/build-tools"]
    done = subprocess.run(
        ["make", "--dry-run", "wheel", *places], cwd=repository, capture_output=True, text=True, check=True
    )
    assert f"{tmp_path}/build-tools/bin/python -m pip" in done.stdout
    assert f"{tmp_path}/run-time" not in done.stdout


def test_the_tests_that_come_first_are_there(repository: Path) -> None:
    assert [name for name in LONG_FILES if not (repository / "tests" / name).exists()] == []
