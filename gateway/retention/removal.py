"""Looks at what is known of every study, and removes those that may go."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import Engine, func, select

from gateway.clock import utc_now
from gateway.database import read_only
from gateway.objects.store import ObjectStore
from gateway.objects.tables import OBJECTS, STUDIES
from gateway.records import StudyKey
from gateway.retention.rules import RetentionRules, StoredStudy, StudyEnd, studies_to_remove
from gateway.send.delivery_tables import DELIVERIES
from gateway.send.reconcile import remove_refiled
from gateway.workflow.results import ResultStore
from gateway.workflow.runs import ACTIVE
from gateway.workflow.tables import RESULTS, RUNS

logger = logging.getLogger("pdl1es.gateway.retention")


def stored_studies(engine: Engine) -> tuple[StoredStudy, ...]:
    """Return what retention needs to know of every study that has objects on disk.

    Parameters
    ----------
    engine
        The gateway's database.

    Returns
    -------
    tuple of StoredStudy
        A study is delivered where no run of it is active or parked, it has a current result that was handed over, no
        destination of that was withheld, and every delivery of it is confirmed.
    """
    with read_only(engine).connect() as connection:
        sizes = connection.execute(
            select(STUDIES.c.study_instance_uid, STUDIES.c.last_received_at, func.sum(OBJECTS.c.size))
            .join(OBJECTS, OBJECTS.c.study_instance_uid == STUDIES.c.study_instance_uid)
            .group_by(STUDIES.c.study_instance_uid, STUDIES.c.last_received_at)
        ).all()
        run = set(connection.execute(select(RUNS.c.study_instance_uid)).scalars())
        open_run = set(
            connection.execute(select(RUNS.c.study_instance_uid).where(RUNS.c.state.in_((*ACTIVE, "parked")))).scalars()
        )
        handed = {
            row.study_instance_uid
            for row in connection.execute(select(RESULTS).where(RESULTS.c.superseded_by.is_(None)))
            if row.withheld == []
        }
        not_there = set(
            connection.execute(
                select(DELIVERIES.c.study_instance_uid).where(DELIVERIES.c.state != "committed")
            ).scalars()
        )

    def end(study: str) -> StudyEnd:
        if study not in run:
            return "unfinished"
        return "delivered" if study in handed and study not in open_run | not_there else "undelivered"

    return tuple(StoredStudy(StudyKey(row[0]), row[1], int(row[2]), end(row[0])) for row in sizes)


def remove_study(study: StudyKey, objects: ObjectStore, results: ResultStore, copies: Path) -> int:
    """Remove a study's objects and results; that they existed stays known, so that a resend is not run again.

    Parameters
    ----------
    study
        Which.
    objects, results
        The stores.
    copies
        Where the copies lie that were filed under other values (`gateway.send.reconcile`).

    Returns
    -------
    int
        How many objects it had.
    """
    for note in results.of_study(study):
        if not note.purged:
            results.purge(note.result.digest)
            remove_refiled(note.result.digest, copies)
    return objects.purge(study)


def remove_what_may_go(
    engine: Engine, objects: ObjectStore, results: ResultStore, copies: Path, rules: RetentionRules
) -> int:
    """Remove the studies that may go now.

    Parameters
    ----------
    engine
        The gateway's database.
    objects, results
        The stores.
    copies
        As for `remove_study`.
    rules
        Section ``retention``.

    Returns
    -------
    int
        Studies that were removed.
    """
    going = studies_to_remove(stored_studies(engine), rules, now=utc_now(), free=objects.space.free_bytes())
    for study in going:
        count = remove_study(study, objects, results, copies)
        logger.info("a study of %d objects was removed by the retention rules", count, extra={"study": study})
    return len(going)


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
