"""What was tried to fetch for each study, in the database: so that an archive is not asked again and again for the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, Connection, Engine, Integer, Row, String, Table, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.database import METADATA, UtcTime, read_only
from gateway.fetch.settings import FetchSettings
from gateway.peers.failures import PeerFailure
from gateway.records import StoredObject, StudyKey

FETCHES: Final = Table(
    "fetches",
    METADATA,
    Column("study_instance_uid", String(64), primary_key=True),
    Column("objects", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", UtcTime),
    Column("last_error", String(1000), nullable=False),
)
"""What was tried for each study since it had so many objects; ``next_at`` is NULL where nothing more is tried."""

LONGEST_WAIT: Final = timedelta(days=1)
"""No wait is longer: what lies further ahead was set before the clock stepped back."""
_LOOK_AGAIN: Final = timedelta(seconds=5)
_LOOK_AT_LATEST: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class FetchNote:
    """What was tried for a study.

    Attributes
    ----------
    objects
        How many objects it had then.
    attempts
        Tries since it had so many; those that found no archive at work are not counted.
    next_at
        When it is tried next, UTC; None where nothing more is tried before something arrives.
    last_error
        What the last attempt ended with; empty where it succeeded.
    """

    objects: int
    attempts: int
    next_at: datetime | None
    last_error: str

    @property
    def failure(self) -> PeerFailure | None:
        """How the archive failed at the last attempt; None where it answered."""
        return PeerFailure.__members__.get(self.last_error.partition(":")[0])


class FetchNotes:
    """The notes of all studies."""

    def __init__(self, engine: Engine) -> None:
        """Use a database that has its tables."""
        self._engine = engine
        self._reading = read_only(engine)

    def find(self, study: StudyKey) -> FetchNote | None:
        """Return what was tried for a study; None where nothing was."""
        with self._reading.begin() as connection:
            return _find(connection, study)

    def next_at(self, study: StudyKey) -> datetime | None:
        """Return when a study that was tried is tried again, UTC; None where it is not."""
        note = self.find(study)
        return None if note is None else note.next_at

    def unanswered_until(
        self, study: StudyKey, there: Sequence[StoredObject], settings: FetchSettings, now: datetime
    ) -> datetime | None:
        """Return until when an archive that has to be asked for the rest of a study has not answered.

        Parameters
        ----------
        study
            Which study.
        there
            Its objects.
        settings
            The section ``fetch`` of ``gateway.yaml``.
        now
            The time, UTC.

        Returns
        -------
        datetime or None
            When to look again; None where no archive completes the study, where one has answered, or where it is given up.
        """
        sources = {stored.source for stored in there}
        if not any(not one.sources or sources & set(one.sources) for one in settings.archives):
            return None
        note = self.find(study)
        if note is None or note.objects != len(there):
            return now + _LOOK_AGAIN
        if note.failure is None or note.next_at is None:
            return None
        return min(max(note.next_at, now + _LOOK_AGAIN), now + _LOOK_AT_LATEST)

    def hasten(self, now: datetime) -> tuple[StudyKey, ...]:
        """Have every study that waits for an archive that was down tried now.

        Parameters
        ----------
        now
            The time, UTC.

        Returns
        -------
        tuple of StudyKey
            Which.
        """
        table = FETCHES
        down = [table.c.last_error.startswith(f"{one.name}:") for one in PeerFailure if one.row.peer_down]
        waits = or_(*down) & (table.c.next_at > now)
        with self._engine.begin() as connection:
            uids = connection.execute(select(table.c.study_instance_uid).where(waits)).scalars().all()
            if uids:
                connection.execute(update(table).where(waits).values(next_at=now))
        return tuple(StudyKey(uid) for uid in uids)

    def forget(self, study: StudyKey) -> None:
        """Forget what was tried for a study: it is tried anew."""
        with self._engine.begin() as connection:
            connection.execute(delete(FETCHES).where(FETCHES.c.study_instance_uid == study.study_instance_uid))

    def is_due(self, study: StudyKey, objects: int, now: datetime) -> bool:
        """Return whether to try now.

        Parameters
        ----------
        study
            Which study.
        objects
            How many objects it has: each arrival begins anew.
        now
            The time.

        Returns
        -------
        bool
        """
        note = self.find(study)
        if note is None or note.objects != objects:
            return True
        return note.next_at is not None and not now < note.next_at <= now + LONGEST_WAIT

    def record(self, study: StudyKey, objects: int, *, error: str, now: datetime, settings: FetchSettings) -> None:
        """Note an attempt.

        Parameters
        ----------
        study
            Which study.
        objects
            How many objects it had before.
        error
            What the attempt ended with; empty where it succeeded.
        now
            The time.
        settings
            How often and when it is tried again. An archive that is down is asked until it is there: that costs no try.
        """
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        with self._engine.begin() as connection:
            before = _find(connection, study)
            failure = PeerFailure.__members__.get(error.partition(":")[0])
            is_down = failure is not None and failure.row.peer_down
            attempts = before.attempts if before is not None and before.objects == objects else 0
            attempts += not is_down
            # A study that is asked for still lacks something, also where the archive had no more of it just now: the archive
            # itself may be receiving it.
            is_over = attempts >= settings.attempts and not is_down
            values = {
                "objects": objects,
                "attempts": attempts,
                "next_at": None if is_over else now + timedelta(seconds=settings.again_seconds),
                "last_error": error[:1000],
            }
            connection.execute(
                insert(FETCHES)
                .values({"study_instance_uid": study.study_instance_uid} | values)
                .on_conflict_do_update(index_elements=["study_instance_uid"], set_=values)
            )


def _find(connection: Connection, study: StudyKey) -> FetchNote | None:
    query = select(FETCHES).where(FETCHES.c.study_instance_uid == study.study_instance_uid)
    row: Row[Any] | None = connection.execute(query).one_or_none()
    return None if row is None else FetchNote(row.objects, row.attempts, row.next_at, row.last_error)
