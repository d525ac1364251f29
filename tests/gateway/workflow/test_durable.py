"""The durable workflow, in processes that are killed: what was begun is finished once, and what fails is parked with its reason."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.clock import utc_now
from gateway.workflow.durable import RunQueue
from gateway.workflow.results import ResultStore
from gateway.workflow.runs import RunLedger, RunNote, withdraw_runs
from pdl1es.run import run_study
from pdl1es.settings import DEFAULT_FILE, load_settings
from tests.gateway.workflow.stand_ins import (
    NOW,
    STUDY,
    ObjectsInFolder,
    digest_of,
    new_database,
    some_run,
    stored_object,
)
from tests.waiting import until


@pytest.fixture(scope="module")
def refused(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves that refused its study: the smallest whole result."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "study").mkdir()
    settings = load_settings(DEFAULT_FILE)
    run_study(folder / "study", folder / "out", settings=settings, model_folder=repository / "models", when=NOW)
    return folder / "out"


class Gateway:
    """The databases, and executors that are started and killed."""

    def __init__(self, folder: Path, refused: Path, repository: Path) -> None:
        self.folder, self.repository = folder, repository
        shutil.copytree(refused, folder / "scored")
        self.engine = new_database(folder)
        self.ledger = RunLedger(self.engine)
        self.executor: subprocess.Popen[str] | None = None
        (folder / "one.dcm").write_bytes(b"one")
        stored = stored_object("1.2.3.5", folder / "one.dcm")
        self.objects = digest_of(ObjectsInFolder([stored]).objects)

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.gateway.workflow.executor_process", str(self.folder)]
        self.executor = subprocess.Popen(command, cwd=self.repository, stdout=subprocess.PIPE, text=True)
        self.says("ready")

    def says(self, line: str) -> None:
        """Wait for a line of the executor."""
        assert self.executor is not None
        assert self.executor.stdout is not None
        assert self.executor.stdout.readline() == f"{line}\n"

    def end(self, *, kill: bool = True) -> int:
        assert self.executor is not None
        self.executor.kill() if kill else self.executor.terminate()
        return self.wait()

    def wait(self) -> int:
        assert self.executor is not None
        code = self.executor.wait()
        assert self.executor.stdout is not None
        self.executor.stdout.close()
        self.executor = None
        return code

    def ask(self, digest: str, *, urgent: bool = False) -> None:
        self.ledger.enter(some_run(digest, objects=self.objects, urgent=urgent))
        self.enqueue(self.note(digest))

    def enqueue(self, note: RunNote) -> None:
        queue = RunQueue(f"sqlite:///{self.folder / 'workflow.sqlite'}")
        queue.put(note)
        queue.close()

    @contextmanager
    def workflows(self) -> Iterator[sqlite3.Connection]:
        """Open DBOS's database; what is done is committed."""
        connection = sqlite3.connect(self.folder / "workflow.sqlite", timeout=60)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def note(self, digest: str) -> RunNote:
        found = self.ledger.find(digest)
        assert found is not None
        return found

    def lines(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text(encoding="utf-8").split() if file.exists() else []


@pytest.fixture
def gateway(tmp_path: Path, refused: Path, repository: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path, refused, repository)
    yield made
    if made.executor is not None:
        made.end()


def test_a_run_goes_on_after_its_executor_was_killed_and_ends_once(gateway: Gateway) -> None:
    (gateway.folder / "hold").touch()
    gateway.start()
    gateway.ask("d1")
    until(lambda: gateway.lines("tried") == ["d1"])
    assert gateway.note("d1").state == "running"
    gateway.end()
    (gateway.folder / "hold").unlink()
    gateway.start()
    until(lambda: gateway.note("d1").state == "done")
    assert gateway.lines("tried") == ["d1", "d1"]
    assert gateway.lines("handed") == ["d1"]
    assert not (gateway.folder / "work" / "d1").exists()
    store = ResultStore(gateway.engine, gateway.folder / "results")
    stored = store.find("d1")
    assert stored is not None
    assert stored.refusal == "NO_CT"
    store.verify(stored)


def test_a_run_whose_worker_crashes_waits_is_tried_again_and_parked_until_a_person_asks(gateway: Gateway) -> None:
    (gateway.folder / "crash").touch()
    gateway.start()
    gateway.ask("d1")
    until(lambda: gateway.note("d1").state == "parked")
    assert gateway.lines("tried") == ["d1", "d1"]
    assert gateway.note("d1").reason == "WORKER_CRASH: the worker's process ended: signal SIGSEGV"
    (gateway.folder / "crash").unlink()
    asked = gateway.ledger.asked_again("d1")
    assert asked is not None
    gateway.enqueue(asked)
    until(lambda: gateway.note("d1").state == "done")
    assert gateway.lines("handed") == ["d1"]


def test_a_run_waits_for_an_archive_that_is_down_and_is_not_parked_for_it(gateway: Gateway) -> None:
    (gateway.folder / "archive-down").touch()
    gateway.start()
    gateway.ask("d1")
    until(lambda: gateway.note("d1").round > 2)  # more rounds than a study has tries
    assert gateway.note("d1").reason.startswith("ARCHIVE: ")
    assert gateway.lines("tried") == []
    (gateway.folder / "archive-down").unlink()
    until(lambda: gateway.note("d1").state == "done")
    assert gateway.note("d1").reason == ""


def test_a_run_waits_for_a_disk_that_is_full_and_is_not_parked_for_it(gateway: Gateway) -> None:
    (gateway.folder / "disk-full").touch()
    gateway.start()
    gateway.ask("d1")
    until(lambda: gateway.note("d1").round > 2)
    assert gateway.note("d1").reason.startswith("OUTPUT_NOT_WRITABLE: ")
    (gateway.folder / "disk-full").unlink()
    until(lambda: gateway.note("d1").state == "done")
    assert gateway.note("d1").attempts == 1


def test_a_run_that_takes_its_executor_with_it_every_time_is_parked(gateway: Gateway) -> None:
    (gateway.folder / "harm").touch()
    for tries in (1, 2):
        gateway.start()
        if tries == 1:
            gateway.ask("d1")
        gateway.wait()
    gateway.start()
    until(lambda: gateway.note("d1").state == "parked")
    assert gateway.lines("tried") == ["d1", "d1"]
    assert gateway.note("d1").reason.startswith("EXECUTOR_LOST")


def test_a_run_whose_executor_is_killed_from_outside_is_not_parked_for_it(gateway: Gateway) -> None:
    (gateway.folder / "hold").touch()
    for kills in (1, 2, 3):
        gateway.start()
        if kills == 1:
            gateway.ask("d1")
        until(lambda kills=kills: len(gateway.lines("tried")) == kills)  # type: ignore[misc]
        gateway.end()
    (gateway.folder / "hold").unlink()
    gateway.start()
    until(lambda: gateway.note("d1").state == "done")
    assert gateway.note("d1").attempts == 1, "two are allowed"


def test_an_urgent_run_comes_before_those_that_waited_longer(gateway: Gateway) -> None:
    (gateway.folder / "hold").touch()
    gateway.start()
    gateway.ask("first")
    until(lambda: gateway.lines("tried") == ["first"])
    for digest in ("second", "third"):
        gateway.ask(digest)
    gateway.ask("stat", urgent=True)
    (gateway.folder / "hold").unlink()
    until(lambda: len(gateway.lines("handed")) == 4)
    assert gateway.lines("tried") == ["first", "stat", "second", "third"]


def test_stopping_waits_for_what_runs_and_begins_nothing_new(gateway: Gateway) -> None:
    (gateway.folder / "hold").touch()
    gateway.start()
    gateway.ask("first")
    until(lambda: gateway.lines("tried") == ["first"])
    gateway.ask("second")
    assert gateway.executor is not None
    gateway.executor.terminate()
    gateway.says("takes nothing more")
    (gateway.folder / "hold").unlink()
    assert gateway.end(kill=False) == 0
    assert gateway.note("first").state == "done"
    assert gateway.note("second").state == "queued"
    gateway.start()
    until(lambda: gateway.note("second").state == "done")


def test_a_run_whose_objects_changed_before_it_began_is_not_made(gateway: Gateway) -> None:
    gateway.start()
    gateway.ledger.enter(some_run("d1", objects="others"))
    gateway.enqueue(gateway.note("d1"))
    until(lambda: gateway.note("d1").state == "stale")
    assert gateway.lines("tried") == []


@pytest.mark.parametrize("asked_again", [False, True])
def test_a_run_that_was_ended_while_a_worker_had_it_stores_nothing_and_one_that_is_asked_for_anew_ends_once(
    gateway: Gateway, asked_again: bool
) -> None:
    """As where a person removes the study of a gateway that was stopped, and it comes again."""
    (gateway.folder / "hold").touch()
    gateway.start()
    gateway.ask("d1")
    until(lambda: gateway.lines("tried") == ["d1"])
    first = gateway.note("d1")
    with gateway.engine.begin() as connection:
        assert withdraw_runs(connection, STUDY, utc_now(), also_running=True)
    if asked_again:
        assert gateway.ledger.wanted_again("d1")
        gateway.enqueue(gateway.note("d1"))
    (gateway.folder / "hold").unlink()
    queue = RunQueue(f"sqlite:///{gateway.folder / 'workflow.sqlite'}")
    until(lambda: queue.statuses([first]) == {"d1": "SUCCESS"})
    queue.close()
    if asked_again:
        until(lambda: gateway.note("d1").state == "done")
        assert (gateway.note("d1").round, gateway.lines("tried"), gateway.lines("handed")) == (2, ["d1", "d1"], ["d1"])
    else:
        assert ResultStore(gateway.engine, gateway.folder / "results").find("d1") is None
        assert (gateway.note("d1").state, gateway.lines("handed")) == ("stale", [])
        with gateway.workflows() as connection:
            assert connection.execute("SELECT count(*) FROM workflow_status").fetchone() == (1,), "no further round"
    assert not (gateway.folder / "work" / "d1").exists()


def test_a_workflow_that_no_thread_works_on_any_more_goes_on_when_it_is_resumed(gateway: Gateway) -> None:
    """As after a database that failed while DBOS noted a step: the workflow is pending, and nobody executes it."""
    gateway.start()
    gateway.ask("d1")
    until(lambda: gateway.note("d1").state == "done")
    queue = RunQueue(f"sqlite:///{gateway.folder / 'workflow.sqlite'}")
    until(lambda: queue.statuses([gateway.note("d1")]) == {"d1": "SUCCESS"})
    with gateway.workflows() as connection:
        connection.execute("UPDATE workflow_status SET status = 'PENDING'")
        connection.execute("DELETE FROM operation_outputs WHERE function_name = 'hand over'")
    with gateway.engine.begin() as connection:
        connection.execute(text("UPDATE runs SET state = 'running'"))
    queue.resume(gateway.note("d1"))
    queue.close()
    until(lambda: gateway.note("d1").state == "done")
    assert gateway.lines("tried") == ["d1"], "what was finished is not done again"


def test_what_dbos_keeps_of_ended_workflows_is_removed_and_open_ones_go_on(gateway: Gateway) -> None:
    gateway.start()
    for digest in ("d1", "d2"):
        gateway.ask(digest)
    until(lambda: {gateway.note(digest).state for digest in ("d1", "d2")} == {"done"})
    (gateway.folder / "hold").touch()
    gateway.ask("d3")
    until(lambda: gateway.lines("tried") == ["d1", "d2", "d3"])
    url = f"sqlite:///{gateway.folder / 'workflow.sqlite'}"
    queue = RunQueue(url)
    until(lambda: set(queue.statuses([gateway.note("d1"), gateway.note("d2")]).values()) == {"SUCCESS"})
    assert queue.forget(utc_now() - timedelta(days=1)) == 0
    assert queue.forget(utc_now() + timedelta(seconds=1)) == 2
    queue.close()
    (gateway.folder / "hold").unlink()
    until(lambda: gateway.note("d3").state == "done")
    with gateway.workflows() as connection:
        left = {
            table: {name for (name,) in connection.execute(f"SELECT workflow_uuid FROM {table}")}
            for table in ("workflow_status", "workflow_input", "workflow_output", "operation_outputs")
        }
    assert set().union(*left.values()) <= {"d3-1"}
