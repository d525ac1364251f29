"""Builders for the workflow's tests: stores on a folder, an index in memory, results as a run writes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Engine

from gateway.database import create_tables, open_database
from gateway.records import Arrival, StoredObject, StudyKey
from gateway.workflow.runs import RunInput, RunNote

STUDY = StudyKey("1.2.3")
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def new_database(folder: Path) -> Engine:
    """Open an empty database."""
    engine = open_database(f"sqlite:///{folder / 'gateway.sqlite'}")
    create_tables(engine)
    return engine


def some_run(digest: str = "d1", *, study: StudyKey = STUDY, objects: str = "o1", urgent: bool = False) -> RunInput:
    """Return what is run."""
    return RunInput(study, digest, objects, "c1", ("1.2.3.9",), "1.2.3.1", urgent)


def stored_object(uid: str, path: Path, *, series: str = "1.2.3.1", study: StudyKey = STUDY) -> StoredObject:
    """Return an object of a store that lies at the root."""
    return StoredObject(
        uid, "1.2.840.10008.5.1.4.1.1.2", series, study.study_instance_uid, "1.2.840.10008.1.2.1",
        sha256(path.read_bytes()).hexdigest(), path.stat().st_size, path, "pacs", "CT1", NOW,
    )  # fmt: skip


@dataclass
class ObjectsInFolder:
    """Stands in for the object store: the objects that a test puts into ``objects``."""

    objects: list[StoredObject] = field(default_factory=list)

    def objects_of(self, study: StudyKey) -> tuple[StoredObject, ...]:
        return tuple(stored for stored in self.objects if stored.study == study)

    def link_into(self, folder: Path, objects: Iterable[StoredObject]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for stored in objects:
            (folder / f"{stored.sop_instance_uid}.dcm").hardlink_to(stored.path)


def digest_of(objects: Iterable[StoredObject]) -> str:
    """Return a digest of objects."""
    return sha256("".join(sorted(stored.sha256 for stored in objects)).encode()).hexdigest()


@dataclass
class DueRow:
    """A study that has to be judged."""

    study: StudyKey
    revision: int


@dataclass
class IndexInMemory:
    """Stands in for the object store's index."""

    revisions: dict[StudyKey, int] = field(default_factory=dict)
    judgements: dict[StudyKey, tuple[int, datetime | None]] = field(default_factory=dict)

    def due(self, now: datetime) -> list[DueRow]:
        rows = []
        for study, revision in self.revisions.items():
            judged, at = self.judgements.get(study, (0, None))
            if judged != revision or (at is not None and at <= now):
                rows.append(DueRow(study, revision))
        return rows

    def judged(self, study: StudyKey, revision: int, judge_at: datetime | None) -> None:
        self.judgements[study] = (revision, judge_at)


@dataclass
class QueueInMemory:
    """Stands in for DBOS's queue."""

    rounds: list[tuple[str, int]] = field(default_factory=list)
    statuses_of: dict[tuple[str, int], str] = field(default_factory=dict)

    def put(self, note: RunNote) -> None:
        key = (note.input.digest, note.round)
        if key not in self.statuses_of:
            self.rounds.append(key)
            self.statuses_of[key] = "ENQUEUED"

    def statuses(self, notes: Iterable[RunNote]) -> dict[str, str]:
        keys = {note.input.digest: (note.input.digest, note.round) for note in notes}
        return {digest: self.statuses_of[key] for digest, key in keys.items() if key in self.statuses_of}

    def resume(self, note: RunNote) -> None:
        self.statuses_of[note.input.digest, note.round] = "ENQUEUED"

    def hasten(self, note: RunNote) -> None:
        self.statuses_of[note.input.digest, note.round] = "ENQUEUED"


@dataclass
class Judgement:
    """Stands in for the arrival: what it says of each study."""

    arrivals: dict[StudyKey, Arrival] = field(default_factory=dict)

    def __call__(self, study: StudyKey, now: datetime) -> Arrival:
        return self.arrivals[study]
