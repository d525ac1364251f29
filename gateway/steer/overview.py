"""What the gateway knows of its studies, put together for a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, Table, func, select, union_all

from gateway.database import read_only
from gateway.logs import StudyHash
from gateway.objects.tables import CONFLICTS, OBJECTS, STUDIES
from gateway.records import StudyKey
from gateway.send.delivery import DeliveryBook
from gateway.send.delivery_tables import DeliveryDetail
from gateway.workflow.defects import Defect, DefectBook
from gateway.workflow.results import ResultNote, ResultStore
from gateway.workflow.runs import ACTIVE, RUN_STATES, RunLedger, RunNote
from gateway.workflow.tables import RUNS

HASH_DIGITS = 16
REMOVED: Final = ("removed after delivery", "removed, never sent", "purged")
"""States of a study whose current result was removed, and of one that a person removed before it had one."""
NOT_RUN_AGAIN: Final = (
    "The same input gives no second report: sent again the study is not run again, and its result cannot be sent; a corrected contour or "
    "clinical row gives a report of its own"
)


class UnknownStudyError(LookupError):
    """No study has this UID or hash, or several have."""


@dataclass(frozen=True, slots=True)
class StudyOverview:
    """A study.

    Attributes
    ----------
    study
        Which.
    hash
        By which the log names it.
    objects, conflicts
        On disk, and kept aside.
    last_received_at
        UTC; None where its objects were removed.
    runs, results, deliveries
        All of them, oldest first.
    senders
        Name of the source and calling AE title (empty where it came otherwise) of what is on disk.
    defects
        For which it cannot be judged.
    """

    study: StudyKey
    hash: str
    objects: int
    conflicts: int
    last_received_at: datetime | None
    runs: tuple[RunNote, ...]
    results: tuple[ResultNote, ...]
    deliveries: tuple[DeliveryDetail, ...]
    senders: tuple[tuple[str, str], ...] = ()
    defects: tuple[Defect, ...] = ()

    @property
    def state(self) -> str:
        """In one word: what it waits for, or how it ended."""
        if self.defects:
            return "defect"
        if not self.runs:
            return "arriving"
        last = self.runs[-1]
        if not self.objects and last.state == "stale":
            return "purged"
        if last.state != "done":
            return {"again": "waits for its next try", "stale": "arriving"}.get(last.state, last.state)
        current = [
            one for one in self.deliveries if self.results and one.delivery.digest == self.results[-1].result.digest
        ]
        states = {one.delivery.state for one in current}
        if self.results and self.results[-1].purged:
            if states == {"committed"}:
                return "removed after delivery"
            return "purged" if states or self.results[-1].removed_by != "retention" else "removed, never sent"
        if not states:
            return "withheld" if self.results and self.results[-1].withheld else "stored"
        return next(state for state in ("purged", "dead", "waiting", "sent", "committed") if state in states)

    @property
    def is_removed(self) -> bool:
        """Whether nothing of it is here any more, and nothing is to be done with it."""
        waits = any(run.state in (*ACTIVE, "parked") for run in self.runs)
        return not (self.objects or self.conflicts or waits) and all(note.purged for note in self.results)

    @property
    def result(self) -> str:
        """The current result in a word: ``scored``, or the refusal's code; with what is withheld of it, and why."""
        if not self.results:
            return ""
        note = self.results[-1]
        withheld = "; ".join(f"withheld from {line}" for line in note.withheld) if not note.purged else ""
        return f"{note.result.refusal or 'scored'}{f'; {withheld}' if withheld else ''}"


class Overview:
    """Reads the gateway's database.

    Parameters
    ----------
    engine
        The database.
    results_folder
        Where the results lie.
    study_hash
        Names studies as the log does.
    """

    def __init__(self, engine: Engine, results_folder: Path, study_hash: StudyHash) -> None:
        self.engine = engine
        self.results = ResultStore(engine, results_folder)
        self.ledger = RunLedger(engine)
        self.book = DeliveryBook(engine)
        self.defects = DefectBook(engine)
        self._hash = study_hash

    def studies(self, limit: int) -> tuple[StudyOverview, ...]:
        """Return the studies, what came last first, also those of which runs and results alone are known any more.

        Parameters
        ----------
        limit
            At most so many.

        Returns
        -------
        tuple of StudyOverview
        """
        there = select(STUDIES.c.study_instance_uid.label("uid"), STUDIES.c.last_received_at.label("at"))
        gone = (
            select(RUNS.c.study_instance_uid.label("uid"), func.max(RUNS.c.created_at).label("at"))
            .where(RUNS.c.study_instance_uid.not_in(select(STUDIES.c.study_instance_uid)))
            .group_by(RUNS.c.study_instance_uid)
        )
        every = union_all(there, gone).subquery()
        with read_only(self.engine).connect() as connection:
            uids = connection.execute(select(every.c.uid).order_by(every.c.at.desc()).limit(limit)).scalars().all()
        return tuple(self.study(StudyKey(uid)) for uid in uids)

    def study(self, study: StudyKey) -> StudyOverview:
        """Return one study."""
        uid = study.study_instance_uid
        with read_only(self.engine).connect() as connection:
            objects = _count(connection, OBJECTS, uid)
            conflicts = _count(connection, CONFLICTS, uid)
            received = connection.execute(
                select(STUDIES.c.last_received_at).where(STUDIES.c.study_instance_uid == uid)
            ).scalar_one_or_none()
            came = select(OBJECTS.c.source, OBJECTS.c.calling_ae_title).where(OBJECTS.c.study_instance_uid == uid)
            senders = connection.execute(came.distinct().order_by(*came.selected_columns)).all()
        return StudyOverview(
            study,
            self._hash.of(study),
            objects,
            conflicts,
            received,
            self.ledger.of_study(study),
            self.results.of_study(study),
            self.book.of_study(uid),
            tuple((row.source, row.calling_ae_title) for row in senders),
            self.defects.of_study(study),
        )

    def named(self, name: str) -> StudyKey:
        """Return the study of a UID, or of the hash that the log has.

        Parameters
        ----------
        name
            Study Instance UID, or 16 hexadecimal digits.

        Returns
        -------
        StudyKey

        Raises
        ------
        UnknownStudyError
            There is none.
        """
        with read_only(self.engine).connect() as connection:
            known = set(connection.execute(select(STUDIES.c.study_instance_uid)).scalars())
        known |= {note.input.study.study_instance_uid for note in self.ledger.in_states(*RUN_STATES)}
        if name in known:
            return StudyKey(name)
        found = [uid for uid in known if self._hash.of(StudyKey(uid)) == name.lower()]
        if len(name) != HASH_DIGITS or len(found) != 1:
            raise UnknownStudyError(f"no study has the UID or the hash {name}")
        return StudyKey(found[0])


def _count(connection: Connection, table: Table, uid: str) -> int:
    return int(
        connection.execute(
            select(func.count()).select_from(table).where(table.c.study_instance_uid == uid)
        ).scalar_one()
    )
