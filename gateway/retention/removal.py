"""Looks at what is known of every study, and removes those that may go."""

from __future__ import annotations

import fcntl
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, delete, func, select

from gateway.clock import utc_now
from gateway.database import read_only
from gateway.fetch.notes import FETCHES
from gateway.objects.in_flight import InFlight
from gateway.objects.locks import held_file
from gateway.objects.store import ObjectStore
from gateway.objects.tables import OBJECTS, STUDIES
from gateway.records import StudyKey
from gateway.retention.rules import RetentionRules, StoredStudy, StudyEnd, studies_to_remove, want_of_room
from gateway.send.delivery import ENDED, end_deliveries
from gateway.send.delivery_tables import DELIVERIES
from gateway.send.reconcile import remove_refiled
from gateway.workflow.results import ResultStore
from gateway.workflow.runs import ACTIVE, withdraw_runs
from gateway.workflow.tables import RESULTS, RUNS

logger = logging.getLogger("pdl1es.gateway.retention")

PATIENCE_SECONDS: Final = 10.0
_OPEN_RUNS: Final = (*ACTIVE, "parked")
_NOT_ENDED: Final = DELIVERIES.c.state.not_in(ENDED)


def stored_studies(engine: Engine) -> tuple[StoredStudy, ...]:
    """Return what retention needs to know of every study that has objects on disk.

    Parameters
    ----------
    engine
        The gateway's database.

    Returns
    -------
    tuple of StoredStudy
        A study is delivered where no run of it is active or parked, it has a current result that was handed over, no destination of that
        was withheld, it went to one destination at least, and every delivery is confirmed; or its result was removed before, and it came
        again. It is unsent where its result went to none.
    """
    with read_only(engine).connect() as connection:
        sizes = connection.execute(
            select(STUDIES.c.study_instance_uid, STUDIES.c.last_received_at, func.sum(OBJECTS.c.size))
            .join(OBJECTS, OBJECTS.c.study_instance_uid == STUDIES.c.study_instance_uid)
            .group_by(STUDIES.c.study_instance_uid, STUDIES.c.last_received_at)
        ).all()
        run = set(connection.execute(select(RUNS.c.study_instance_uid)).scalars())
        open_run = set(
            connection.execute(select(RUNS.c.study_instance_uid).where(RUNS.c.state.in_(_OPEN_RUNS))).scalars()
        )
        confirmed = set(
            connection.execute(select(DELIVERIES.c.digest).where(DELIVERIES.c.state == "committed")).scalars()
        )
        ends = {
            row.study_instance_uid: _end_of(row, row.digest in confirmed)
            for row in connection.execute(select(RESULTS).where(RESULTS.c.superseded_by.is_(None)))
        }
        not_there = set(connection.execute(select(DELIVERIES.c.study_instance_uid).where(_NOT_ENDED)).scalars())

    def end(study: str) -> StudyEnd:
        if study not in run:
            return "unfinished"
        return "undelivered" if study in open_run | not_there else ends.get(study, "undelivered")

    return tuple(StoredStudy(StudyKey(row[0]), row[1], int(row[2]), end(row[0])) for row in sizes)


def _end_of(result: Row[Any], confirmed: bool) -> StudyEnd:
    """Return how far a current result has come, of which no delivery is open."""
    if result.purged_at is not None:
        return "delivered"
    if result.withheld != []:
        return "undelivered"
    return "delivered" if confirmed else "unsent"


class StudyBusyError(RuntimeError):
    """A study cannot be removed now, and nothing of it was: what works on it, and what to do."""


@dataclass(frozen=True, slots=True)
class StudyStores:
    """Where a study lies.

    Attributes
    ----------
    objects, results
        The stores.
    copies
        Where the copies lie that were filed under other values (`gateway.send.reconcile`).
    """

    objects: ObjectStore
    results: ResultStore
    copies: Path


def remove_study(
    study: StudyKey,
    stores: StudyStores,
    *,
    delivered_only: bool,
    executor_runs: bool = True,
    patience_seconds: float = PATIENCE_SECONDS,
) -> int:
    """Remove a study's objects and results; that they existed stays known, so that a resend is not run again.

    What is still to be done with it ends in the same transaction: runs that wait are stale, so that the study is run where it is sent
    again before it had a result; deliveries that are not confirmed are purged.

    Parameters
    ----------
    study
        Which.
    stores
        Where it lies.
    delivered_only
        Whether it goes only where nothing is to be done with it any more: the retention rules. Else a person asks for it.
    executor_runs
        Whether a run that the ledger calls running can be in a worker.
    patience_seconds
        How long an attempt to send one of its results is waited for, s.

    Returns
    -------
    int
        How many objects it had.

    Raises
    ------
    StudyBusyError
        It is being run or sent, or objects of it are coming.
    """
    notes = stores.results.of_study(study)
    if not delivered_only and InFlight(stores.objects.index.engine).count(study, utc_now()):
        raise StudyBusyError("objects of it are coming in or being fetched; ask again when its sender has finished")

    def end(connection: Connection) -> None:
        if delivered_only and _is_open(connection, study):
            raise StudyBusyError("something was asked for with it meanwhile")
        if not withdraw_runs(connection, study, utc_now(), also_running=not executor_runs):
            raise StudyBusyError(
                "a worker scores it; ask again when `pdl1es gateway show` says that the run has ended, which takes at most "
                "workers.deadline_seconds"
            )
        if _digests_of(connection, study) != {note.result.digest for note in notes}:
            raise StudyBusyError("a result of it was stored just now; ask again")
        end_deliveries(connection, [note.result.digest for note in notes], utc_now())
        connection.execute(delete(FETCHES).where(FETCHES.c.study_instance_uid == study.study_instance_uid))

    with ExitStack() as held:
        try:
            for note in notes:  # an attempt ends before its files go: no set is sent half
                held.enter_context(held_file(note.result.folder, fcntl.LOCK_EX, patience_seconds))
        except BlockingIOError as error:
            raise StudyBusyError("a result of it is being sent; ask again when the attempt has ended") from error
        stores.results.purge(notes, end, by="retention" if delivered_only else "person")
        for note in notes:
            remove_refiled(note.result.digest, stores.copies)
    return stores.objects.purge(study)


def _is_open(connection: Connection, study: StudyKey) -> bool:
    """Tell whether something is to be done with a study yet: a run, or a delivery."""
    uid = study.study_instance_uid
    runs = select(RUNS.c.digest).where(RUNS.c.study_instance_uid == uid, RUNS.c.state.in_(_OPEN_RUNS))
    sending = select(DELIVERIES.c.digest).where(DELIVERIES.c.study_instance_uid == uid, _NOT_ENDED)
    return any(connection.execute(query).first() is not None for query in (runs, sending))


def _digests_of(connection: Connection, study: StudyKey) -> set[str]:
    query = select(RESULTS.c.digest).where(RESULTS.c.study_instance_uid == study.study_instance_uid)
    return set(connection.execute(query).scalars())


def remove_what_may_go(stores: StudyStores, rules: RetentionRules) -> int:
    """Remove the studies that may go now.

    Parameters
    ----------
    stores
        Where they lie.
    rules
        Section ``retention``.

    Returns
    -------
    int
        Studies that were removed.
    """
    stored = stored_studies(stores.objects.index.engine)
    removed = 0
    for study in studies_to_remove(stored, rules, now=utc_now(), free=stores.objects.space.free_bytes()):
        try:
            count = remove_study(study, stores, delivered_only=True, patience_seconds=0.0)
        except StudyBusyError:
            continue  # it is looked at again in a minute
        logger.info("a study of %d objects was removed by the retention rules", count, extra={"study": study})
        removed += 1
    return removed


def room_notice(stores: StudyStores, rules: RetentionRules) -> str:
    """Return what to do where room runs short because results are kept that went nowhere: see `want_of_room`.

    Parameters
    ----------
    stores
        Where the studies lie.
    rules
        Section ``retention``.

    Returns
    -------
    str
        Empty where there is room.
    """
    free = stores.objects.space.free_bytes()
    return (
        want_of_room(stored_studies(stores.objects.index.engine), rules, free=free) if free < rules.free_bytes else ""
    )


def remove_old_tables(folder: Path, keep: str | None, *, older_than: float) -> int:
    """Remove versions of the clinical table that are not in use and older than delivered studies are kept.

    Parameters
    ----------
    folder
        Where they lie.
    keep
        SHA-256 of the version in use; None where there is none.
    older_than
        Time in s since 1970 before which they were written.

    Returns
    -------
    int
        Files that were removed.
    """
    removed = 0
    for file in folder.glob("*.csv"):
        if file.stem != keep and file.stat().st_mtime < older_than:
            file.unlink(missing_ok=True)
            removed += 1
    return removed
