"""Warm workers: the chain's own bytes, and one worker's end harms nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.worker.in_hand import StudyInHand, ended_in_hand
from gateway.worker.messages import WorkerTask
from gateway.worker.pool import WorkerError, WorkerPool
from gateway.worker.settings import WorkerSettings
from pdl1es.run import run_study
from pdl1es.settings import DEFAULT_FILE, load_settings
from tests.waiting import until

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

OWNER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from gateway.worker.messages import WorkerTask
from gateway.worker.pool import WorkerPool
from gateway.worker.settings import WorkerSettings
pool = WorkerPool(WorkerSettings(), Path(sys.argv[1]), Path(sys.argv[2]))
pool.start()
print(*pool.processes, flush=True)
if len(sys.argv) > 3:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    pool.run(WorkerTask(study_folder=Path(sys.argv[3]), output_folder=Path(sys.argv[4]), when=when))
time.sleep(600)
"""


def running(process: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def make_pool(repository: Path) -> Iterator[Callable[..., WorkerPool]]:
    pools = []

    def make(**settings: Any) -> WorkerPool:
        pools.append(WorkerPool(WorkerSettings(**settings), DEFAULT_FILE, repository / "models"))
        return pools[-1]

    yield make
    for pool in pools:
        pool.stop()


def task(study: PhantomStudy, output: Path) -> WorkerTask:
    return WorkerTask(study_folder=study.folder, output_folder=output, when=WHEN)


def test_a_worker_writes_the_bytes_that_a_run_writes_study_after_study(
    make_pool: Callable[..., WorkerPool], phantom_study: PhantomStudy, repository: Path, tmp_path: Path
) -> None:
    run_study(
        phantom_study.folder,
        tmp_path / "run",
        settings=load_settings(DEFAULT_FILE),
        model_folder=repository / "models",
        when=WHEN,
    )
    (expected,) = (tmp_path / "run").glob("*.dcm")
    pool = make_pool()
    assert pool.start().training_data == "synthetic"
    for name in ("first", "second"):
        reply = pool.run(task(phantom_study, tmp_path / name))
        assert (reply.exit_code, reply.refusal, reply.fault, reply.written) == (0, None, None, True)
        assert (tmp_path / name / expected.name).read_bytes() == expected.read_bytes()
    assert len(set(pool.processes)) == 1


def test_a_refused_study_tells_its_code_and_the_worker_goes_on(
    make_pool: Callable[..., WorkerPool], phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    pool = make_pool()
    pool.start()
    refused = pool.run(WorkerTask(study_folder=tmp_path / "empty", output_folder=tmp_path / "refused", when=WHEN))
    assert (refused.exit_code, refused.refusal, refused.written) == (3, "NO_CT", True)
    assert pool.run(task(phantom_study, tmp_path / "out")).exit_code == 0


def test_a_worker_that_is_killed_fails_its_study_alone_and_is_replaced(
    make_pool: Callable[..., WorkerPool], phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    pool = make_pool()
    pool.start()
    (process,) = pool.processes
    os.kill(process, signal.SIGSTOP)
    failed: list[WorkerError] = []

    def run() -> None:
        with pytest.raises(WorkerError) as error:
            pool.run(task(phantom_study, tmp_path / "lost"))
        failed.append(error.value)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: pool.busy == 1)
    os.kill(process, signal.SIGKILL)
    thread.join()
    assert [error.end for error in failed] == ["crash"]
    assert "SIGKILL" in str(failed[0])
    assert pool.run(task(phantom_study, tmp_path / "again")).exit_code == 0
    assert process not in pool.processes
    assert pool.restarts["crash"] == 1


def test_a_worker_that_hangs_is_killed_at_the_deadline_and_replaced(
    make_pool: Callable[..., WorkerPool], phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    pool = make_pool(deadline_seconds=0.5)
    pool.start()
    (process,) = pool.processes
    os.kill(process, signal.SIGSTOP)
    with pytest.raises(WorkerError) as error:
        pool.run(task(phantom_study, tmp_path / "lost"))
    assert error.value.end == "deadline"
    until(lambda: not running(process))
    until(lambda: pool.processes != () and process not in pool.processes)


def test_a_worker_is_replaced_after_its_number_of_studies(
    make_pool: Callable[..., WorkerPool], phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    pool = make_pool(recycle_studies=1)
    pool.start()
    (first,) = pool.processes
    assert pool.run(task(phantom_study, tmp_path / "one")).exit_code == 0
    assert pool.run(task(phantom_study, tmp_path / "two")).exit_code == 0
    assert first not in pool.processes
    assert not running(first)
    assert pool.restarts["recycled"] == 2


def test_a_model_that_cannot_be_loaded_is_told_with_its_code(tmp_path: Path) -> None:
    pool = WorkerPool(WorkerSettings(), DEFAULT_FILE, tmp_path)
    with pytest.raises(WorkerError, match="MODEL_UNFIT") as error:
        pool.start()
    assert error.value.end == "start"
    assert pool.processes == ()


def test_workers_end_when_their_executor_is_killed(repository: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, DEFAULT_FILE, repository / "models"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=repository,
    ) as owner:
        assert owner.stdout is not None
        worker = int(owner.stdout.readline())
        assert running(worker)
        owner.kill()
    until(lambda: not running(worker))
    assert not running(worker)


def test_a_study_is_not_in_hand_any_more_where_its_worker_outlived_the_executor(
    phantom_study: PhantomStudy, repository: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "out.in-hand"
    arguments = [DEFAULT_FILE, repository / "models", phantom_study.folder, tmp_path / "out"]
    command = [sys.executable, "-c", OWNER, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository) as owner:
        assert owner.stdout is not None
        worker = int(owner.stdout.readline())
        until(lambda: mark.exists() or (tmp_path / "out").exists())
        owner.kill()
    until(lambda: not running(worker))
    assert not ended_in_hand(tmp_path)


def test_a_study_stays_in_hand_where_its_worker_ended_too_and_counts_once(tmp_path: Path) -> None:
    with StudyInHand().holding(tmp_path / "done"):
        assert (tmp_path / "done.in-hand").exists()
    assert not ended_in_hand(tmp_path), "it was done"
    held = StudyInHand().holding(tmp_path / "lost")
    held.__enter__()
    assert [ended_in_hand(tmp_path) for _ in range(2)] == [True, False]


def test_stopping_the_pool_tells_the_waiting_study_that_it_was_stopped(
    make_pool: Callable[..., WorkerPool], phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    pool = make_pool()
    pool.start()
    os.kill(pool.processes[0], signal.SIGSTOP)
    failed: list[str] = []

    def run() -> None:
        with pytest.raises(WorkerError) as error:
            pool.run(task(phantom_study, tmp_path / "lost"))
        failed.append(error.value.end)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: pool.busy == 1)
    (tmp_path / "lost.in-hand").touch()  # as by a worker that had got so far
    pool.stop()
    assert not ended_in_hand(tmp_path), "a stop is no try of the study"
    thread.join()
    assert failed == ["stopped"]


def test_a_worker_that_finds_another_model_or_app_yaml_is_not_used(repository: Path, tmp_path: Path) -> None:
    """Its results would be kept under the digest, and under the training data, of the former model."""
    config = tmp_path / "app.yaml"
    config.write_bytes(DEFAULT_FILE.read_bytes())
    pool = WorkerPool(WorkerSettings(recycle_studies=1), config, repository / "models")
    try:
        pool.start()
        assert not pool.has_changed
        config.write_bytes(DEFAULT_FILE.read_bytes() + b"\n# changed\n")
        (tmp_path / "empty").mkdir()
        pool.run(WorkerTask(study_folder=tmp_path / "empty", output_folder=tmp_path / "out", when=WHEN))
        until(lambda: pool.has_changed)
        with pytest.raises(WorkerError) as failed:
            pool.run(WorkerTask(study_folder=tmp_path / "empty", output_folder=tmp_path / "out", when=WHEN))
        assert failed.value.end == "changed"
    finally:
        pool.stop()
