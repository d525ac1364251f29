"""Forgets what is known of studies that were removed long ago, so that no table grows for ever."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Engine, Table, delete, func, select

from gateway.fetch.notes import FETCHES
from gateway.objects.tables import STUDIES
from gateway.send.commitment import COMMITMENTS
from gateway.send.delivery import DELIVERIES
from gateway.workflow.runs import ACTIVE
from gateway.workflow.tables import CLINICAL_VERSIONS, REMOVED_REPORTS, RESULT_FILES, RESULTS, RUNS, STUDY_DEFECTS

_AT_ONCE: Final = 500
"""Studies in one transaction: a bound on its length, and on the parameters of a statement."""


def forget_records(engine: Engine, before: datetime) -> int:
    """Forget the runs, results and deliveries of studies that have no objects any more and of which nothing has happened since.

    Old requests for storage commitment and versions of the clinical table but the last go too. A study that is sent again after that is
    a new one: its report names the former one only where an archive gives it.

    Parameters
    ----------
    engine
        The gateway's database.
    before
        Nothing has happened since this time, UTC.

    Returns
    -------
    int
        Studies that were forgotten.
    """
    forgotten = 0
    while studies := _old(engine, before):
        with engine.begin() as connection:
            digests = select(RESULTS.c.digest).where(RESULTS.c.study_instance_uid.in_(studies))
            connection.execute(delete(RESULT_FILES).where(RESULT_FILES.c.digest.in_(digests)))
            for table in _OF_STUDIES:
                connection.execute(delete(table).where(table.c.study_instance_uid.in_(studies)))
        forgotten += len(studies)
    with engine.begin() as connection:
        connection.execute(delete(COMMITMENTS).where(COMMITMENTS.c.requested_at < before))
        last = select(func.max(CLINICAL_VERSIONS.c.number)).scalar_subquery()
        connection.execute(
            delete(CLINICAL_VERSIONS).where(CLINICAL_VERSIONS.c.seen_at < before, CLINICAL_VERSIONS.c.number < last)
        )
    return forgotten


_OF_STUDIES: Final[tuple[Table, ...]] = (DELIVERIES, RESULTS, REMOVED_REPORTS, RUNS, FETCHES, STUDY_DEFECTS)


def _old(engine: Engine, before: datetime) -> list[str]:
    """Return some of the studies that are forgotten: removed, ended, and nothing new."""
    there = select(STUDIES.c.study_instance_uid)
    open_ = select(RUNS.c.study_instance_uid).where((RUNS.c.updated_at >= before) | RUNS.c.state.in_(ACTIVE))
    kept = select(RESULTS.c.study_instance_uid).where(RESULTS.c.purged_at.is_(None) | (RESULTS.c.purged_at >= before))
    sending = select(DELIVERIES.c.study_instance_uid).where(DELIVERIES.c.state.in_(("waiting", "sent")))
    query = select(RUNS.c.study_instance_uid).distinct()
    for others in (there, open_, kept, sending):
        query = query.where(RUNS.c.study_instance_uid.not_in(others))
    with engine.connect() as connection:
        return list(connection.execute(query.limit(_AT_ONCE)).scalars())
