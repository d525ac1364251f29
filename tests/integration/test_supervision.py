"""One deadline over a whole run, and what is left of a run that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pdl1es.errors import Refusal, RefusalCode
from pdl1es.library import score_study
from pdl1es.stopwatch import Stopwatch

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

PROGRAM = """
import ctypes, os, signal, sys
import pdl1es.chain
from pdl1es.command_line.cli import command_line

def instead(folder, limits):
    print("reached", flush=True)
    {what}

pdl1es.chain.scan_study = instead
command_line(["run", *sys.argv[1:]])
"""
HANGS_WITHOUT_LETTING_PYTHON_GO_ON = "ctypes.PyDLL(None).pause()"


def started(repository: Path, study: Path, out: Path, what: str, *options: str) -> subprocess.Popen[bytes]:
    """Start a run in which something happens in the place of reading the study."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(what=what), str(study), str(out), *options],
        env={**os.environ, "PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def result(out: Path) -> dict[str, Any]:
    return json.loads((out / "result.json").read_text(encoding="utf-8"))


@pytest.fixture
def study(phantom_study: PhantomStudy) -> Path:
    return phantom_study.folder


def test_a_run_past_its_time_is_refused_even_where_a_library_never_returns(
    repository: Path, study: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "app.yaml"
    settings.write_text("limits: {seconds_total: 4}", encoding="utf-8")
    run = started(repository, study, tmp_path / "out", HANGS_WITHOUT_LETTING_PYTHON_GO_ON, "--config", str(settings))
    _, told = run.communicate()
    assert run.returncode == 3
    assert b"seconds_total = 4" in told
    assert result(tmp_path / "out")["refusal"]["code"] == "LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    ("what", "exit_code", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 3, "refused"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 1, "failed"),
        ("raise MemoryError", 3, "refused"),
    ],
    ids=["killed", "crashed", "no memory"],
)
def test_what_ends_the_runs_process_is_told_in_its_result(
    repository: Path, study: Path, tmp_path: Path, what: str, exit_code: int, status: str
) -> None:
    """The operating system kills what needs more memory than there is."""
    run = started(repository, study, tmp_path / "out", what)
    run.communicate()
    assert run.returncode == exit_code
    assert result(tmp_path / "out")["status"] == status
    if status == "refused":
        assert result(tmp_path / "out")["refusal"]["code"] == "MEMORY_EXCEEDED"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_ends_the_command_ends_the_run(
    repository: Path, study: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run = started(repository, study, tmp_path / "out", "print(os.getpid(), flush=True); signal.pause()")
    assert run.stdout is not None
    assert run.stdout.readline() == b"reached\n"
    child = int(run.stdout.readline())
    run.send_signal(number)
    run.communicate()
    assert run.returncode == (128 + number if number == signal.SIGTERM else -number)
    assert not Path(f"/proc/{child}").exists() or _zombie(child)
    assert list((tmp_path / "out").iterdir()) == []


def _zombie(process: int) -> bool:
    """Tell whether a process has ended, and waits for its parent."""
    for _ in range(6000):
        try:
            if Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_the_library_looks_at_the_time_between_the_steps(study: Path) -> None:
    with pytest.raises(Refusal, match="seconds_total") as refused:
        score_study(study, settings={"limits": {"seconds_total": 1e-9}})
    assert refused.value.code is RefusalCode.LIMIT_EXCEEDED


def test_a_stopwatch_without_a_limit_never_refuses() -> None:
    watch = Stopwatch()
    with watch.timed("anything"):
        pass
    assert list(watch.seconds) == ["anything"]
