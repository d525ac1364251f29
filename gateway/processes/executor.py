"""The executor: ``python -m gateway.processes.executor``. It judges what arrived, has it scored, stores the results and sends them.

One of them runs for a gateway; a lock in the gateway's folder sees to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.arrival.digest import objects_digest
from gateway.arrival.judge import ArrivalJudge
from gateway.clock import utc_now
from gateway.fetch.archive_watch import ArchiveWatch
from gateway.fetch.fetcher import Fetcher
from gateway.health.readiness import NOTICES
from gateway.memory import give_back_memory, limit_arenas
from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.peers.faults import PeerFaults
from gateway.processes.arrivals import header_of
from gateway.processes.deliveries import DeliveryThreads, sending_plan
from gateway.processes.setup import (
    CLINICAL_FOLDER,
    COPIES_FOLDER,
    OBJECTS_FOLDER,
    RESULTS_FOLDER,
    WORK_FOLDER,
    ProcessParts,
    begin_process,
    keep_doing,
)
from gateway.records import StoredResult
from gateway.retention.records import forget_records
from gateway.retention.removal import StudyStores, remove_old_tables, remove_what_may_go, room_notice
from gateway.send.rules import NOTHING_TO_SEND
from gateway.send.sender import Sender
from gateway.worker.messages import WorkerReady
from gateway.worker.pool import WorkerError, WorkerPool
from gateway.workflow.clinical_table import ClinicalWatch
from gateway.workflow.defects import DefectBook, StudyGuard
from gateway.workflow.digest import settings_digest
from gateway.workflow.durable import RunContext, RunExecutor, RunQueue, workflow_id
from gateway.workflow.results import ResultStore
from gateway.workflow.runner import RunServices
from gateway.workflow.runs import RunInput, RunLedger
from gateway.workflow.watch import StudyWatch, WatchParts, clinical_part, is_as_asked, row_digest
from pdl1es.exit_code import ExitCode
from pdl1es.settings import load_settings

logger = logging.getLogger("pdl1es.gateway.executor")

LOCK_FILE: Final = "executor.lock"
_WATCH_SECONDS: Final = 0.2
_RETENTION_SECONDS: Final = 60.0
_CLOCKS_AGREE: Final = timedelta(seconds=60)
WORKFLOWS_KEPT: Final = timedelta(days=7)
"""How long DBOS's notes on a workflow that has ended stay: the ledger of runs knows how it ended, and nothing reads them again."""


class _Executor:
    """Everything that the executor's threads share."""

    def __init__(self, parts: ProcessParts, ready: WorkerReady, pool: WorkerPool) -> None:
        settings, engine = parts.settings, parts.engine
        self.parts, self.pool, self.ready = parts, pool, ready
        self.objects = ObjectStore(settings.folder / OBJECTS_FOLDER, engine, settings.storage.limits)
        self.objects.index.longest_wait = timedelta(seconds=settings.arrival.quiet_seconds) + _CLOCKS_AGREE
        self.results = ResultStore(engine, settings.folder / RESULTS_FOLDER)
        self.ledger = RunLedger(engine)
        self.clinical = ClinicalWatch(engine, settings.folder / CLINICAL_FOLDER, settings.clinical)
        self.application = load_settings(settings.application.config_file)
        self.fetcher = Fetcher(settings.fetch, engine, self.objects)
        self.archives = ArchiveWatch(self.fetcher.archives, PeerFaults(engine), self.archive_answers)
        self.judge = ArrivalJudge(
            self.objects,
            InFlight(engine),
            self.application,
            settings.arrival,
            archive_until=self.fetcher.unanswered_until,
        )
        self.copies = settings.folder / COPIES_FOLDER
        self.sender = Sender(settings.send, engine, identity_of=self.fetcher.current_identity, copies=self.copies)
        self.deliveries = DeliveryThreads(
            self.sender, self.results, settings.send, allow_demonstration=settings.allow_demonstration
        )
        self.dbos = RunExecutor(settings.workflow_database_url)
        self._retained = time.monotonic()
        self._notice = ""

    def watch(self, queue: RunQueue) -> StudyWatch:
        """Return the watch over what arrives."""
        return StudyWatch(
            WatchParts(
                index=self.objects.index,
                judge=self.judge,
                objects_of=self.objects.objects_of,
                header_of=partial(header_of, self.objects),
                ledger=self.ledger,
                queue=queue,
                guard=StudyGuard(DefectBook(self.parts.engine)),
                clinical=self.clinical,
                rules=self.parts.settings.runs,
                model_sha256=self.ready.model_sha256,
                settings=settings_digest(self.application),
                executing=lambda note: workflow_id(note.input.digest, note.round) in self.dbos.executing(),
                waiting=lambda arrival: self.fetcher.ask(arrival.study, utc_now()),
            )
        )

    def context(self) -> RunContext:
        """Return what the durable steps work with."""
        work = self.parts.settings.folder / WORK_FOLDER
        work.mkdir(exist_ok=True)
        services = RunServices(
            objects=self.objects,
            results=self.results,
            scorer=self.pool,
            work_folder=work,
            objects_digest=objects_digest,
            earlier_reports=self.fetcher.earlier_reports if self.parts.settings.fetch.archives else None,
        )
        return RunContext(
            services=services,
            ledger=self.ledger,
            rules=self.parts.settings.runs,
            training_data=self.ready.training_data,
            clinical=lambda study: clinical_part(self.clinical, header_of(self.objects, study)),
            hand_over=self.hand_over,
            as_asked=self.as_asked,
        )

    def as_asked(self, run: RunInput) -> bool:
        """Tell whether what would go into a run now is what it was asked for."""
        row = row_digest(
            None if self.clinical.current is None else clinical_part(self.clinical, header_of(self.objects, run.study))
        )
        return is_as_asked(
            run,
            self.ledger,
            clinical=row,
            model=self.ready.model_sha256,
            settings=settings_digest(self.application),
        )

    def hand_over(self, stored: StoredResult) -> None:
        """Plan a result's deliveries; what is withheld is told in the log and kept with the result."""
        settings = self.parts.settings
        plan = sending_plan(
            stored,
            self.objects.objects_of(stored.study),
            settings.send,
            training_data=self.ready.training_data,
            allow_demonstration=settings.allow_demonstration,
        )
        self.sender.begin(stored, plan)
        withheld = [f"{one.destination}: {one.reason}" for one in plan.withheld if one.reason != NOTHING_TO_SEND]
        self.results.handed_over(stored.digest, withheld)
        names = ", ".join(one.destination for one in plan.shipments)
        logger.info("a result goes to %s", names or "no destination", extra={"study": stored.study})
        for line in withheld:
            logger.warning("nothing is sent to %s", line, extra={"study": stored.study})

    def archive_answers(self) -> None:
        """Let all that waits for an archive go on."""
        self.fetcher.archive_answers()
        if count := self.ledger.archive_answers():
            logger.info("an archive answers: runs that go on: %d", count)

    def detail(self) -> Mapping[str, Any]:
        """Return what the heartbeat says."""
        alive, busy = self.pool.alive, self.pool.busy
        problems = [] if alive else ["no worker can be started; the log says why"]
        if defects := self.fetcher.failing:
            problems.append(f"fetching fails by a defect for studies: {defects}; the log has the places")
        return {
            "workers": {"busy": busy, "idle": max(0, alive - busy)},
            "worker_restarts": dict(self.pool.restarts),
            "model": f"{self.ready.model_name} {self.ready.model_version}",
            "training_data": self.ready.training_data,
            "clinical_problem": self.clinical.problem,
            "problems": problems,
            NOTICES: [self._notice] if self._notice else [],
        }

    def look(self, watch: StudyWatch, queue: RunQueue) -> bool:
        """Do once what the watch does, and now and then what retention does."""
        if self.pool.has_changed:
            logger.warning("the model or app.yaml have changed: the executor ends, and begins anew with them")
            self.parts.ended.set()
            return False
        try:
            return watch.look() > 0
        finally:
            # Whatever befalls the one, the other is done.
            if time.monotonic() - self._retained > _RETENTION_SECONDS:
                self._retained = time.monotonic()
                self._retain(queue)

    def _retain(self, queue: RunQueue) -> None:
        """Remove what may go, and forget what nobody needs any more, on disk and in memory."""
        engine, rules = self.parts.engine, self.parts.settings.retention
        stores = StudyStores(self.objects, self.results, self.copies)
        remove_what_may_go(stores, rules)
        before, self._notice = self._notice, room_notice(stores, rules)
        if self._notice and not before:
            logger.warning("%s", self._notice)
        if self.clinical.current is not None and isinstance(rules.delivered_days, float):
            remove_old_tables(
                self.parts.settings.folder / CLINICAL_FOLDER,
                self.clinical.current.sha256,
                older_than=time.time() - rules.delivered_days * 86400,
            )
        if isinstance(rules.records_days, float):
            forget_records(engine, utc_now() - timedelta(days=rules.records_days))
        queue.forget(utc_now() - WORKFLOWS_KEPT)
        give_back_memory()


def _lock(folder: Path) -> int:
    """Take the lock; the operating system gives it back when this process ends, however it does."""
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _workers(parts: ProcessParts) -> tuple[WorkerPool, WorkerReady] | None:
    """Start the workers; where they cannot load, say so and try again until they can, or the process is stopped."""
    application = parts.settings.application
    pause = 1.0
    while not parts.ended.is_set():
        pool = WorkerPool(
            parts.settings.workers, application.config_file, application.model_folder, parts.settings.folder
        )
        try:
            return pool, pool.start()
        except WorkerError as error:
            logger.error("%s; tried again", error)
            pool.stop()
            with parts.heartbeat(lambda: {"problems": ["the workers cannot load; the log says why"]}):
                parts.ended.wait(pause)
            pause = min(60.0, pause * 2)
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the executor until SIGTERM.

    Returns
    -------
    int
        Exit code.
    """
    limit_arenas()
    parts = begin_process(arguments, "executor")
    if parts is None:
        return ExitCode.REPORT_WRITTEN
    with contextlib.ExitStack() as stack:
        try:
            stack.callback(os.close, _lock(parts.settings.folder))
        except BlockingIOError:
            logger.error("another executor works in this folder")
            return ExitCode.USAGE
        found = _workers(parts)
        if found is None:
            return ExitCode.REPORT_WRITTEN
        executor = _Executor(parts, found[1], found[0])
        stack.callback(executor.objects.close)
        stack.enter_context(parts.heartbeat(executor.detail))
        _execute(executor, parts.ended)
    return ExitCode.REPORT_WRITTEN


def _execute(executor: _Executor, ended: threading.Event) -> None:
    settings = executor.parts.settings
    executor.dbos.launch(executor.context(), at_once=settings.workers.count)
    queue = RunQueue(settings.workflow_database_url)
    watch = executor.watch(queue)
    executor.deliveries.start()
    executor.fetcher.start()
    executor.archives.start()
    logger.info("ready: the model was trained on %s data", executor.ready.training_data)
    keep_doing("looking at what arrived", lambda: executor.look(watch, queue), ended, _WATCH_SECONDS)
    logger.info("stopping: what runs may finish within %d s", settings.stop_seconds)
    until = time.monotonic() + settings.stop_seconds
    executor.archives.stop()
    for part in (executor.fetcher, executor.deliveries, executor.dbos):
        part.stop(max(0.0, until - time.monotonic()))
    executor.pool.stop()
    queue.close()


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # A run that did not finish in time holds its thread: it is gone on with after the next start.
    os._exit(code)
