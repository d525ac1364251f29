"""The store's index: which objects lie on disk, of which studies, and what arrived since a study was judged."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.database import read_only
from gateway.objects.tables import CONFLICTS, IN_FLIGHT, OBJECTS, STUDIES, StoredRow
from gateway.records import StoredObject, StudyKey

_FIELDS: Final = tuple(field.name for field in fields(StoredObject))


@dataclass(frozen=True, slots=True)
class StudyRow:
    """What the index knows of a study.

    Attributes
    ----------
    study
        Which study.
    first_received_at, last_received_at
        When its first and its last object were on disk, UTC.
    revision
        Counts what arrived.
    judged_revision
        The revision that was judged last; 0 for none.
    judge_at
        When it is judged again although nothing more arrives, UTC; None where it is not.
    """

    study: StudyKey
    first_received_at: datetime
    last_received_at: datetime
    revision: int
    judged_revision: int
    judge_at: datetime | None


class ObjectIndex:
    """The tables of the object store.

    Parameters
    ----------
    engine
        The gateway's database.
    longest_wait
        No study waits longer before it is judged again.
    """

    def __init__(self, engine: Engine, longest_wait: timedelta = timedelta(days=8)) -> None:
        self.engine = engine
        self.longest_wait = longest_wait
        self._reading = read_only(engine)
        # built once: building them costs more than running them
        self._add_objects = upsert_into(engine, OBJECTS).on_conflict_do_nothing()
        counted = upsert_into(engine, STUDIES)
        self._count_study = counted.on_conflict_do_update(
            index_elements=["study_instance_uid"],
            set_={
                "revision": STUDIES.c.revision + counted.excluded.revision,
                "last_received_at": counted.excluded.last_received_at,
            },
        ).returning(STUDIES.c.revision)
        self._mark = mark_statement(engine)

    def add(
        self, objects: Sequence[StoredObject], holders: Collection[tuple[str, StudyKey]], most: int | None = None
    ) -> bool:
        """Add objects whose files are in their places, in one transaction that is on disk when this returns.

        Parameters
        ----------
        objects
            Which.
        holders
            What is in flight: holder and study.
        most
            How many objects a study may have, whichever process takes them; None for any number.

        Returns
        -------
        bool
            False where an object's UID is in the index already, or a study would perhaps have too many: nothing was added then, and
            `add_each` tells them apart.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            The database does not answer.
        """
        with self.engine.connect() as connection:
            added = connection.execute(self._add_objects, _rows(objects)).rowcount
            # A revision is never less than the number of objects, and it is known without asking.
            fits = added == len(objects) and not _above(most, self._count(connection, objects, holders))
            connection.commit() if fits else connection.rollback()
            return fits

    def add_each(
        self, objects: Sequence[StoredObject], holders: Collection[tuple[str, StudyKey]], most: int | None = None
    ) -> dict[str, StoredObject]:
        """Add those objects whose UID is not in the index and whose study has room for them.

        Parameters
        ----------
        objects, holders, most
            As for `add`. What came last has no room first.

        Returns
        -------
        dict of str to StoredObject
            By SOP Instance UID the object that is in the index now: the one given, or an earlier one. None of a UID without room.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            The database does not answer.
        """
        fitting = list(objects)
        while fitting:
            with self.engine.connect() as connection:
                connection.execute(self._add_objects, _rows(fitting))
                uids = {stored.sop_instance_uid for stored in fitting}
                rows = connection.execute(select(OBJECTS).where(OBJECTS.c.sop_instance_uid.in_(uids)))
                firsts = {row.sop_instance_uid: _stored(row) for row in rows}
                added = [stored for stored in fitting if firsts[stored.sop_instance_uid] == stored]
                # The study's row is locked from here on: no other process adds to what is counted.
                above = _above(most, self._count(connection, added, holders))
                surplus = [one for study in above for one in _surplus(connection, study, added, most or 0)]
                if not surplus:
                    connection.commit()
                    return firsts
                connection.rollback()
            fitting = [stored for stored in fitting if stored not in surplus]
        return {}

    def withdraw(self, stored: StoredObject) -> None:
        """Remove an object's row: not one of another object of the same UID."""
        its = OBJECTS.c.sop_instance_uid == stored.sop_instance_uid
        with self.engine.begin() as connection:
            connection.execute(delete(OBJECTS).where(its, OBJECTS.c.path == stored.path.as_posix()))

    def knows(self, path: Path) -> bool:
        """Tell whether a file in its place, or one that was kept aside, is in the index."""
        uid = path.name.rsplit(".", 2)[0]
        with self._reading.connect() as connection:
            return any(
                connection.execute(
                    select(table.c.path).where(table.c.sop_instance_uid == uid, table.c.path == path.as_posix())
                ).first()
                is not None
                for table in (OBJECTS, CONFLICTS)
            )

    def newest(self, window: timedelta) -> tuple[StoredObject, ...]:
        """Return the objects that came at most so long before the last one."""
        with self._reading.connect() as connection:
            last = connection.execute(select(func.max(OBJECTS.c.received_at))).scalar_one_or_none()
            if last is None:
                return ()
            rows = connection.execute(select(OBJECTS).where(OBJECTS.c.received_at >= last - window))
            return tuple(_stored(row) for row in rows)

    def add_conflict(self, stored: StoredObject) -> None:
        """Add an object that was kept aside: the same one again changes nothing."""
        row = _row(stored)
        values = {column.name: row[column.name] for column in CONFLICTS.columns}
        with self.engine.begin() as connection:
            connection.execute(upsert_into(self.engine, CONFLICTS).on_conflict_do_nothing(), [values])

    def _count(
        self, connection: Connection, objects: Sequence[StoredObject], holders: Collection[tuple[str, StudyKey]]
    ) -> dict[str, int]:
        revisions: dict[str, int] = {}
        for study in sorted({stored.study_instance_uid for stored in objects}):
            times = [stored.received_at for stored in objects if stored.study_instance_uid == study]
            values = {
                "study_instance_uid": study,
                "first_received_at": min(times),
                "last_received_at": max(times),
                "revision": len(times),
                "judged_revision": 0,
                "judge_at": None,
            }
            revisions[study] = connection.execute(self._count_study, values).scalar_one()
        if objects:
            mark_in_flight(connection, self._mark, holders, max(stored.received_at for stored in objects))
        return revisions

    def objects_of(self, study: StudyKey) -> tuple[StoredObject, ...]:
        """Return a study's objects in the order of their SOP Instance UIDs."""
        query = select(OBJECTS).where(OBJECTS.c.study_instance_uid == study.study_instance_uid)
        with self._reading.connect() as connection:
            return tuple(_stored(row) for row in connection.execute(query.order_by(OBJECTS.c.sop_instance_uid)))

    def conflicts_of(self, study: StudyKey) -> tuple[Path, ...]:
        """Return where the objects lie that were kept aside, because their UID had other bytes already."""
        query = select(CONFLICTS.c.path).where(CONFLICTS.c.study_instance_uid == study.study_instance_uid)
        with self._reading.connect() as connection:
            return tuple(Path(path) for path in connection.execute(query.order_by(CONFLICTS.c.path)).scalars())

    def every_object(self) -> Iterator[StoredObject]:
        """Give every object of every study."""
        for study in self.studies():
            yield from self.objects_of(study)

    def studies(self) -> tuple[StudyKey, ...]:
        """Return every study, the one that arrived first first."""
        query = select(STUDIES.c.study_instance_uid).order_by(STUDIES.c.first_received_at, STUDIES.c.study_instance_uid)
        with self._reading.connect() as connection:
            return tuple(StudyKey(uid) for uid in connection.execute(query).scalars())

    def study_row(self, study: StudyKey) -> StudyRow | None:
        """Return what is known of a study, or None."""
        query = select(STUDIES).where(STUDIES.c.study_instance_uid == study.study_instance_uid)
        with self._reading.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _study(row)

    def due(self, now: datetime) -> tuple[StudyRow, ...]:
        """Return the studies that have to be judged: something arrived since, or their time has come.

        A time that lies further ahead than any wait is long was set before the clock stepped back, and has come too.
        """
        at = STUDIES.c.judge_at
        query = select(STUDIES).where(
            or_(STUDIES.c.revision != STUDIES.c.judged_revision, at <= now, at > now + self.longest_wait)
        )
        with self._reading.connect() as connection:
            rows = connection.execute(query.order_by(STUDIES.c.last_received_at, STUDIES.c.study_instance_uid))
            return tuple(_study(row) for row in rows)

    def judged(self, study: StudyKey, revision: int, judge_at: datetime | None) -> None:
        """Note that a study was judged.

        Parameters
        ----------
        study
            Which.
        revision
            Of what was judged. What arrived since makes the study due again.
        judge_at
            When it is judged again although nothing more arrives, UTC; None for never.
        """
        change = update(STUDIES).where(STUDIES.c.study_instance_uid == study.study_instance_uid)
        with self.engine.begin() as connection:
            connection.execute(change.values(judged_revision=revision, judge_at=judge_at))

    def paths_of(self, study: StudyKey) -> frozenset[str]:
        """Return the paths of a study's objects and of those that were kept aside, as they are stored."""
        uid = study.study_instance_uid
        with self._reading.connect() as connection:
            paths = [
                connection.execute(select(table.c.path).where(table.c.study_instance_uid == uid)).scalars().all()
                for table in (OBJECTS, CONFLICTS)
            ]
        return frozenset(path for found in paths for path in found)

    def forget(self, study: StudyKey) -> tuple[int, frozenset[str]]:
        """Remove a study from the index.

        Returns
        -------
        objects
            How many it had.
        paths
            Of their files, and of those that were kept aside.
        """
        uid = study.study_instance_uid
        with self.engine.begin() as connection:
            found = [
                connection.execute(delete(table).where(table.c.study_instance_uid == uid).returning(table.c.path))
                .scalars()
                .all()
                for table in (OBJECTS, CONFLICTS)
            ]
            for table in (STUDIES, IN_FLIGHT):
                connection.execute(delete(table).where(table.c.study_instance_uid == uid))
        return len(found[0]), frozenset(path for paths in found for path in paths)

    def count(self) -> int:
        """Return how many objects there are."""
        with self._reading.connect() as connection:
            return connection.execute(select(func.count()).select_from(OBJECTS)).scalar_one()


def upsert_into(engine: Engine, table: Table) -> Any:
    """Return an INSERT that can leave out or change rows whose key is there: both databases write it alike.

    Parameters
    ----------
    engine
        Says which database it is.
    table
        Into which.

    Returns
    -------
    sqlalchemy.dialects.sqlite.Insert or sqlalchemy.dialects.postgresql.Insert
    """
    return (postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert)(table)


def _above(most: int | None, revisions: Mapping[str, int]) -> list[str]:
    return [] if most is None else [study for study, revision in revisions.items() if revision > most]


def _surplus(connection: Connection, study: str, added: Sequence[StoredObject], most: int) -> Sequence[StoredObject]:
    """Return what was added to a study beyond its limit: what came last."""
    count = select(func.count()).select_from(OBJECTS).where(OBJECTS.c.study_instance_uid == study)
    surplus = connection.execute(count).scalar_one() - most
    own = [stored for stored in added if stored.study_instance_uid == study]
    return own[-surplus:] if surplus > 0 else ()


def mark_statement(engine: Engine) -> Any:
    """Return the statement by which `mark_in_flight` notes what is in flight."""
    marked = upsert_into(engine, IN_FLIGHT)
    return marked.on_conflict_do_update(
        index_elements=["holder", "study_instance_uid"], set_={"at": marked.excluded.at}
    )


def mark_in_flight(
    connection: Connection, statement: Any, holders: Collection[tuple[str, StudyKey]], at: datetime
) -> None:
    """Note which studies are in flight.

    Parameters
    ----------
    connection
        In a transaction.
    statement
        From `mark_statement`.
    holders
        Holder and study.
    at
        The time, UTC.
    """
    if holders:
        rows = [
            {"holder": holder, "study_instance_uid": study.study_instance_uid, "at": at}
            for holder, study in sorted(holders, key=lambda pair: (pair[0], pair[1].study_instance_uid))
        ]
        connection.execute(statement, rows)


def _row(stored: StoredObject) -> dict[str, Any]:
    return {field: getattr(stored, field) for field in _FIELDS} | {"path": stored.path.as_posix()}


def _rows(objects: Sequence[StoredObject]) -> list[dict[str, Any]]:
    # In one order everywhere: two receivers that insert the same objects would else wait for each other on PostgreSQL.
    return [_row(stored) for stored in sorted(objects, key=lambda stored: stored.sop_instance_uid)]


def _stored(row: StoredRow) -> StoredObject:
    values = dict(row._mapping)
    return StoredObject(**{**values, "path": Path(values["path"])})


def _study(row: StoredRow) -> StudyRow:
    values = dict(row._mapping)
    return StudyRow(study=StudyKey(values.pop("study_instance_uid")), **values)
