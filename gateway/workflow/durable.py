"""The durable workflow of a run, by DBOS Transact: after a crash its finished steps are not repeated, and it goes on by itself.

A workflow is one *round* of a run: assemble, infer, store, hand over to the destinations. Where a worker crashes or hangs, the round
ends and the next one is put into the queue with a delay, so that no thread and no worker waits for it. After the last try the run is
parked. Whoever enqueues uses `RunQueue`, which executes nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from dbos import DBOS, DBOSClient, DBOSConfig, DBOSConfiguredInstance, EnqueueOptions
from sqlalchemy.exc import SQLAlchemyError

from gateway.database import note_made, open_workflow_database
from gateway.peers.failures import PeerError
from gateway.records import StoredResult, StudyKey
from gateway.worker.in_hand import ended_in_hand
from gateway.worker.pool import WorkerError
from gateway.workflow.clinical_table import ClinicalTable
from gateway.workflow.runner import RunPlan, RunServices, StaleRunError, assemble, clear, failure_of, infer, keep_result
from gateway.workflow.runs import ACTIVE, ARCHIVE, RunInput, RunLedger, RunNote
from gateway.workflow.settings import RunRules, wait_before

logger = logging.getLogger("pdl1es.gateway.workflow")

APPLICATION: Final = "pdl1es-gateway"
WORKFLOW_VERSION: Final = "1"
"""DBOS's application version: of these steps, not of the software, so that a newer software goes on with what an older one began.
It changes where steps come, go or change their order."""
RUN_QUEUE: Final = "runs"
_INSTANCE: Final = "gateway"
_WORKFLOW: Final = "run_study"
_URGENT, _ROUTINE = 1, 10
NO_TRY: Final = frozenset({ARCHIVE, "STORAGE", "OUTPUT_NOT_WRITABLE", "CHANGED"})
"""Failures of what the gateway stands on, not of the study: it waits until archive or disk are there again, and is not parked. After a
change of the model or of the patient's row its next round finds that it is stale."""
_ENDED: Final = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
_FORGOTTEN_AT_ONCE: Final = 500
_POLL_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 600.0
_OVERTAKEN: Final = "OVERTAKEN: another round works on this run, or none does"
_LONGEST_PAUSE: Final = 15.0

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the durable steps work with.

    Attributes
    ----------
    services
        The stores and the workers.
    ledger
        Of the runs.
    rules
        Section ``runs`` of ``gateway.yaml``.
    training_data
        Of the model that the workers have loaded.
    clinical
        Gives the clinical table with a study's patient id and accession number; None where there is no table.
    hand_over
        Plans the result's deliveries; called again it plans nothing twice.
    as_asked
        Tells whether clinical row, model and settings are those that a run was asked for (`gateway.workflow.watch.is_as_asked`): a
        result is never kept under the digest of another input.
    """

    services: RunServices
    ledger: RunLedger
    rules: RunRules
    training_data: str
    clinical: Callable[[StudyKey], tuple[ClinicalTable, str, str] | None]
    hand_over: Callable[[StoredResult], None]
    as_asked: Callable[[RunInput], bool] = lambda _run: True


def workflow_id(digest: str, round_number: int) -> str:
    """Return the name of a run's round: the same round is never started twice.

    Parameters
    ----------
    digest
        Of the run.
    round_number
        Which.

    Returns
    -------
    str
    """
    return f"{digest}-{round_number}"


def enqueue_options(digest: str, round_number: int, *, urgent: bool, delay_seconds: float = 0.0) -> EnqueueOptions:
    """Return how a round is put into the queue.

    Parameters
    ----------
    digest
        Of the run.
    round_number
        Which.
    urgent
        Whether it comes before others.
    delay_seconds
        How long it waits at least, s.

    Returns
    -------
    EnqueueOptions
    """
    options: EnqueueOptions = {
        "workflow_name": _WORKFLOW,
        "class_name": DurableRuns.__name__,
        "instance_name": _INSTANCE,
        "queue_name": RUN_QUEUE,
        "workflow_id": workflow_id(digest, round_number),
        "app_version": WORKFLOW_VERSION,
        "priority": _URGENT if urgent else _ROUTINE,
    }
    if delay_seconds > 0:
        options["delay_seconds"] = delay_seconds
    return options


@DBOS.dbos_class()
class DurableRuns(DBOSConfiguredInstance):
    """The workflow and its steps; an executor makes one before it launches DBOS.

    Parameters
    ----------
    context
        What the steps work with.
    """

    def __init__(self, context: RunContext) -> None:
        super().__init__(_INSTANCE)
        self._context = context
        self.executing: set[str] = set()
        """Names of the rounds that a thread of this process works on."""

    @DBOS.workflow(name=_WORKFLOW)
    def run_study(self, digest: str, round_number: int) -> str:
        """Run one round.

        Parameters
        ----------
        digest
            Of the run.
        round_number
            Which.

        Returns
        -------
        str
            How the round ended, as the ledger has it.
        """
        name = workflow_id(digest, round_number)
        self.executing.add(name)
        try:
            return self._steps(digest, round_number)
        finally:
            self.executing.discard(name)

    def _steps(self, digest: str, round_number: int) -> str:
        plan = DBOS.run_step({"name": "assemble"}, self._assemble, digest, round_number)
        if plan["end"] not in ("go on", "failed"):
            return str(plan["end"])
        tried = plan
        if not tried["failure"]:
            tried = DBOS.run_step({"name": "infer"}, self._infer, digest, round_number, plan)
        if not tried["failure"]:
            tried = DBOS.run_step({"name": "store"}, self._store, digest, round_number, tried)
        if tried["failure"]:
            again = DBOS.run_step({"name": "give back"}, self._give_back, digest, round_number, tried["failure"])
            if again["wait"] is None:
                return "parked"
            DBOS.enqueue_workflow_with_options(
                enqueue_options(digest, round_number + 1, urgent=again["urgent"], delay_seconds=again["wait"]),
                digest,
                round_number + 1,
            )
            return "again"
        DBOS.run_step({"name": "hand over"}, self._hand_over, digest, round_number, tried["seconds"])
        return "done"

    def _assemble(self, digest: str, round_number: int) -> dict[str, Any]:
        note = _patiently(self._context.ledger.find, digest)
        if note is None or note.round != round_number or note.state not in ACTIVE:
            return {"end": "overtaken"}
        try:
            plan = _patiently(self._put_together, note.input, round_number)
        except StaleRunError:
            _patiently(
                self._context.ledger.ended,
                digest,
                round_number,
                "stale",
                reason="STALE: what goes in has changed since",
            )
            clear(digest, self._context.services, round_number)
            return {"end": "stale"}
        except PeerError as error:
            # The archive is down: that is no try of the study, and it is asked until it answers.
            return {"end": "failed", "failure": f"{ARCHIVE}: {error}"}
        except OSError as error:
            return {"end": "failed", "failure": f"STORAGE: {error.strerror or type(error).__name__}"}
        return {
            "end": "go on",
            "failure": "",
            "folder": plan.folder,
            "when": plan.when.isoformat(),
            "clinical": plan.clinical,
        }

    def _put_together(self, run: RunInput, round_number: int) -> RunPlan:
        context = self._context
        if not context.as_asked(run):
            raise StaleRunError("clinical row, model or settings have changed since the run was asked for")
        return assemble(run, round_number, context.services, clinical=context.clinical(run.study))

    def _infer(self, digest: str, round_number: int, decided: dict[str, Any]) -> dict[str, Any]:
        # A round that is running already lost its executor: that is a try of the study only where its worker did not outlive it.
        is_try = self._note(digest).state != "running" or _patiently(ended_in_hand, Path(decided["folder"]))
        if not _patiently(self._context.ledger.began, digest, round_number, is_try=is_try):
            return {"failure": _OVERTAKEN}
        note = self._note(digest)
        if note.attempts > self._context.rules.attempts:
            return {"failure": "EXECUTOR_LOST: worker and executor ended together in every try"}
        if not _patiently(self._context.as_asked, note.input):
            return {"failure": "CHANGED: clinical row, model or settings are others now"}
        plan = RunPlan(decided["folder"], datetime.fromisoformat(decided["when"]), decided["clinical"])
        try:
            output, reply = infer(note.input, plan, self._context.services)
        except WorkerError as error:
            if error.end == "stopped":
                _never_return()
            return {
                "failure": f"CHANGED: {error}" if error.end == "changed" else f"WORKER_{error.end.upper()}: {error}"
            }
        except OSError as error:
            return {"failure": f"STORAGE: {error.strerror or type(error).__name__}"}
        return {"failure": failure_of(reply), "output": output, "seconds": reply.seconds}

    def _store(self, digest: str, round_number: int, tried: dict[str, Any]) -> dict[str, Any]:
        context, note = self._context, self._note(digest)
        if not _works_on(note, round_number):
            return {"failure": _OVERTAKEN}
        try:
            _patiently(keep_result, note.input, tried["output"], context.services, training_data=context.training_data)
        except (OSError, RuntimeError) as error:
            return {"failure": f"STORAGE: {error.strerror if isinstance(error, OSError) else error}"}
        return tried

    def _hand_over(self, digest: str, round_number: int, seconds: float) -> None:
        context = self._context
        if not _works_on(self._note(digest), round_number):
            return  # a person removed the study meanwhile, or an earlier try of this step went through
        stored = _patiently(context.services.results.find, digest)
        assert stored is not None  # the step before stored it
        _patiently(context.hand_over, stored)
        _patiently(context.ledger.ended, digest, round_number, "done", seconds=seconds)

    def _give_back(self, digest: str, round_number: int, failure: str) -> dict[str, Any]:
        """Note a failed try: the run's next round waits, or it is parked."""
        context, note = self._context, self._note(digest)
        clear(digest, context.services, round_number)
        given_back = note.round == round_number + 1 and note.state == "again"  # by an earlier try of this step
        if not given_back and (note.round != round_number or note.state not in ACTIVE):
            return {"wait": None}  # it was parked, removed or asked for again: that holds
        no_room = failure.partition(":")[0] in NO_TRY
        if given_back or no_room or note.attempts < context.rules.attempts:
            _patiently(context.ledger.ended, digest, round_number, "again", reason=failure, no_try=no_room)
            code = ": ".join(failure.split(": ")[: 2 if no_room else 1])
            logger.warning("a run waits for its next try: %s", code, extra={"study": note.input.study})
            return {"wait": wait_before(round_number + 1, context.rules), "urgent": note.input.urgent}
        _patiently(context.ledger.ended, digest, round_number, "parked", reason=failure)
        logger.error("a run is parked: %s", failure.partition(":")[0], extra={"study": note.input.study})
        return {"wait": None}

    def _note(self, digest: str) -> RunNote:
        note = _patiently(self._context.ledger.find, digest)
        assert note is not None  # the workflow is only enqueued for a run of the ledger
        return note


def _works_on(note: RunNote, round_number: int) -> bool:
    return note.state == "running" and note.round == round_number


def _patiently(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function until disk and database answer, at most for ten minutes: both come back by themselves or by a person."""
    deadline, pause = time.monotonic() + _PATIENCE_SECONDS, 0.2
    while True:
        try:
            return function(*args, **kwargs)
        except (OSError, SQLAlchemyError) as error:
            if time.monotonic() > deadline:
                raise
            logger.warning("disk or database does not answer (%s); tried again", type(error).__name__)
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)


def _never_return() -> None:
    """Hold the step until the process has ended, so that the step counts as not done and is repeated after the next start."""
    threading.Event().wait()


class RunQueue:
    """Puts runs into the queue; executes nothing.

    Parameters
    ----------
    url
        Of DBOS's system database, which an executor has made.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_workflow_database(url)
        self._client = DBOSClient(
            system_database_url=url, system_database_engine=self._engine, application_name=APPLICATION
        )

    def put(self, note: RunNote) -> None:
        """Put a run's current round into the queue; where it is there already, nothing happens."""
        options = enqueue_options(note.input.digest, note.round, urgent=note.input.urgent)
        self._client.enqueue(options, note.input.digest, note.round)

    def statuses(self, notes: Iterable[RunNote]) -> dict[str, str]:
        """Return DBOS's status of each run's current round by the run's digest; one that was never enqueued has none."""
        rounds = {workflow_id(note.input.digest, note.round): note.input.digest for note in notes}
        if not rounds:
            return {}
        found = self._client.list_workflows(workflow_ids=list(rounds), load_input=False, load_output=False)
        return {rounds[status.workflow_id]: status.status for status in found}

    def resume(self, note: RunNote) -> None:
        """Have a round's workflow executed again from its last finished step, because no thread works on it any more."""
        self._client.resume_workflow(workflow_id(note.input.digest, note.round), queue_name=RUN_QUEUE)

    def hasten(self, note: RunNote) -> None:
        """Let a round that waits for its time begin now."""
        self._client.set_workflow_delay(workflow_id(note.input.digest, note.round), delay_seconds=0.0)

    def forget(self, before: datetime) -> int:
        """Remove what DBOS keeps of workflows that ended, and have no further use.

        Parameters
        ----------
        before
            They ended before that time.

        Returns
        -------
        int
            How many were removed.
        """
        removed = 0
        while True:
            ended = self._client.list_workflows(
                status=list(_ENDED),
                completed_before=before.isoformat(),
                limit=_FORGOTTEN_AT_ONCE,
                load_input=False,
                load_output=False,
            )
            if not ended:
                return removed
            self._client.delete_workflows([one.workflow_id for one in ended])
            removed += len(ended)

    def close(self) -> None:
        """Give the database's connections back."""
        self._client.destroy()
        if self._engine is not None:
            self._engine.dispose()


class RunExecutor:
    """DBOS in this process: takes runs from the queue and goes on with those that a crash interrupted.

    Parameters
    ----------
    url
        Of DBOS's system database.
    name
        Names this executor; the same after a restart, so that it finds what it had begun.
    """

    def __init__(self, url: str, name: str = "executor") -> None:
        self._engine = open_workflow_database(url)
        self._config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": url,
            "application_version": WORKFLOW_VERSION,
            "executor_id": name,
            "log_level": "WARNING",
            "use_listen_notify": False,
        }
        if self._engine is not None:
            self._config["system_database_engine"] = self._engine
        self._runs: DurableRuns | None = None

    def executing(self) -> frozenset[str]:
        """Return the names of the rounds (`workflow_id`) that a thread of this process works on."""
        return frozenset() if self._runs is None else frozenset(self._runs.executing.copy())

    def launch(self, context: RunContext, *, at_once: int) -> None:
        """Begin to execute.

        Parameters
        ----------
        context
            What the steps work with.
        at_once
            Runs that are executed at the same time: one for each worker.
        """
        DBOS(config=self._config)
        self._runs = DurableRuns(context)
        DBOS.listen_queues([RUN_QUEUE])
        DBOS.launch()
        DBOS.register_queue(
            RUN_QUEUE, worker_concurrency=at_once, polling_interval_sec=_POLL_SECONDS, on_conflict="always_update"
        )
        if self._engine is not None:
            note_made(self._engine)

    def stop(self, seconds: float) -> None:
        """Take nothing more from the queue, and wait for what is running.

        Parameters
        ----------
        seconds
            At most so long; what has not ended then is gone on with after the next start.
        """
        DBOS.destroy(workflow_completion_timeout_sec=int(seconds))
        if self._engine is not None:
            self._engine.dispose()
