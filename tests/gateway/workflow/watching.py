"""A watch with stand-ins on all sides, and what a test does with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from gateway.records import Complete, StoredObject, StudyKey, Waiting
from gateway.workflow.clinical_table import ClinicalWatch
from gateway.workflow.defects import DefectBook, StudyGuard
from gateway.workflow.runs import RunLedger
from gateway.workflow.settings import ClinicalTableRules, RunRules
from gateway.workflow.study_header import StudyHeader
from gateway.workflow.tables import RESULTS
from gateway.workflow.watch import StudyWatch, WatchParts
from tests.gateway.workflow.stand_ins import (
    NOW,
    STUDY,
    IndexInMemory,
    Judgement,
    ObjectsInFolder,
    QueueInMemory,
    new_database,
    stored_object,
)


class Watching:
    """A watch with stand-ins on all sides."""

    def __init__(self, folder: Path) -> None:
        engine = self.engine = new_database(folder)
        self.model = "m"
        (folder / "one.dcm").write_bytes(b"one")
        self.folder = folder
        self.index, self.queue, self.judgement = IndexInMemory(), QueueInMemory(), Judgement()
        self.objects = ObjectsInFolder([stored_object("1.2.3.5", folder / "one.dcm")])
        self.header = StudyHeader("P1", "A1", "")
        self.ledger = RunLedger(engine)
        self.waited: list[Waiting] = []
        self.fetched_again: datetime | None = None
        self.executing: set[str] = set()
        self.rules = RunRules(urgent_ae_titles=())
        self.clinical = ClinicalWatch(
            engine, folder / "versions", ClinicalTableRules(file=folder / "clinical.csv", settled_seconds=0)
        )
        self.watch = self.restarted()

    def restarted(self, header_of: Callable[[StudyKey], StudyHeader] | None = None) -> StudyWatch:
        parts = WatchParts(
            index=self.index,
            judge=self.judgement,
            objects_of=self.objects.objects_of,
            header_of=header_of or (lambda study: self.header),
            ledger=self.ledger,
            queue=self.queue,
            guard=StudyGuard(DefectBook(self.engine)),
            clinical=self.clinical,
            rules=self.rules,
            model_sha256=self.model,
            settings="s",
            executing=lambda note: note.input.digest in self.executing,
            waiting=self.waits,
        )
        return StudyWatch(parts)

    def waits(self, arrival: Waiting) -> datetime | None:
        self.waited.append(arrival)
        return self.fetched_again

    def arrives(self, digest: str = "o1", study: StudyKey = STUDY) -> None:
        self.index.revisions[study] = self.index.revisions.get(study, 0) + 1
        self.judgement.arrivals[study] = Complete(study, ("1.2.3.9",), "1.2.3.1", digest)

    def ends(self, number: int, state: str = "done") -> str:
        digest, round_number = self.queue.rounds[number]
        self.ledger.began(digest, round_number)
        assert self.ledger.ended(digest, round_number, state)  # type: ignore[arg-type]
        return digest

    def supersedes(self, former: str, digest: str) -> None:
        """Note the result of one run as the successor of another's."""
        row = {
            "digest": former,
            "study_instance_uid": STUDY.study_instance_uid,
            "group": "",
            "refusal": "",
            "training_data": "patients",
            "created_at": NOW,
            "superseded_by": digest,
        }
        with self.engine.begin() as connection:
            connection.execute(insert(RESULTS).values(row))

    def time_passes(self) -> None:
        for study, (revision, at) in self.index.judgements.items():
            if at is not None:
                self.index.judgements[study] = (revision, at - timedelta(days=1))

    def another(self, study: StudyKey) -> StoredObject:
        """Return an object of another study."""
        file = self.folder / f"{study.study_instance_uid}.dcm"
        file.write_bytes(b"another")
        return stored_object(f"{study.study_instance_uid}.5", file, study=study)
