"""The result store: what a run made, kept as it is. What is sent are these bytes, every time the same under the same UID."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Connection, Engine, Row, insert, select, update

from gateway.clock import utc_now
from gateway.database import read_only
from gateway.records import ResultFile, StoredResult, StudyKey
from gateway.workflow.removed_reports import keep_attributes, read_kept_attributes, removed_reports
from gateway.workflow.tables import RESULT_FILES, RESULTS
from pdl1es.atomic import sync_folder
from pdl1es.report.delivery import RESULT_FILE
from pdl1es.report.result_schema import ResultDocument

_READ_ONLY: Final = 0o440


class ResultDamagedError(RuntimeError):
    """A stored result is not what was stored: a file is missing or has other bytes."""


@dataclass(frozen=True, slots=True)
class ResultNote:
    """What is known of a stored result beside its files.

    Attributes
    ----------
    result
        The result.
    training_data
        What its model was trained on: ``patients``, or else it is a demonstration.
    created_at
        When it was stored, UTC.
    superseded_by
        Digest of the study's later result; empty where this is the current one.
    purged
        Whether its files were removed.
    removed_by
        Who removed them: ``retention`` or ``person``; empty where they are there.
    withheld
        Destinations that the rules name and that get nothing, each with the reason.
    """

    result: StoredResult
    training_data: str
    created_at: datetime
    superseded_by: str
    purged: bool
    removed_by: str
    withheld: tuple[str, ...]


class ResultStore:
    """Results in folders named by their digest, and an index of them.

    Parameters
    ----------
    engine
        The gateway's database.
    folder
        Where the results lie; made where it is missing.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._reader = read_only(engine)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, study: StudyKey, digest: str, built: Path, *, training_data: str) -> StoredResult:
        """Take over what a run wrote; the study's earlier results are superseded.

        Parameters
        ----------
        study
            Of the run.
        digest
            Of everything that went in.
        built
            The run's output folder, on the same file system; it is moved.
        training_data
            Of the model.

        Returns
        -------
        StoredResult
            The one that was stored first, where there is one with this digest already.

        Raises
        ------
        ResultDamagedError
            ``built`` holds no whole result.
        OSError
            The disk refuses; nothing has changed then, or the next call finds the folder in its place.
        """
        if (known := self.find(digest)) is not None:
            shutil.rmtree(built, ignore_errors=True)
            return known
        home = self.folder / digest
        if not home.exists():
            _described(study, digest, built)
            for file in built.iterdir():
                file.chmod(_READ_ONLY)
            built.rename(home)
            sync_folder(self.folder)
        # Else a run was killed between the renaming and the entry: its result is the one that counts.
        stored = _described(study, digest, home)
        with self._engine.begin() as connection:
            _enter(connection, stored, training_data)
        return stored

    def find(self, digest: str) -> StoredResult | None:
        """Return a result by its digest, or None."""
        note = self.note(digest)
        return None if note is None else note.result

    def note(self, digest: str) -> ResultNote | None:
        """Return a result by its digest with what is known of it, or None."""
        with self._reader.connect() as connection:
            row = connection.execute(select(RESULTS).where(RESULTS.c.digest == digest)).one_or_none()
            return None if row is None else self._noted(connection, row)

    def of_study(self, study: StudyKey) -> tuple[ResultNote, ...]:
        """Return a study's results, each before the one that superseded it: the last is the current one, whatever the clock did."""
        query = select(RESULTS).where(RESULTS.c.study_instance_uid == study.study_instance_uid)
        with self._reader.connect() as connection:
            rows = connection.execute(query.order_by(RESULTS.c.created_at, RESULTS.c.digest)).all()
            return tuple(self._noted(connection, row) for row in _in_order(rows))

    def is_ours(self, sop_instance_uid: str) -> bool:
        """Tell whether an object is one of the results: an archive sends them back."""
        query = select(RESULT_FILES.c.digest).where(RESULT_FILES.c.sop_instance_uid == sop_instance_uid)
        with self._reader.connect() as connection:
            return bool(sop_instance_uid) and connection.execute(query).first() is not None

    def verify(self, result: StoredResult) -> None:
        """Compare a result's files with what was stored.

        Raises
        ------
        ResultDamagedError
            A file is missing or has other bytes.
        """
        for file in result.files:
            try:
                found = _sha256(result.folder / file.name)
            except OSError as error:
                raise ResultDamagedError(f"{file.name} of result {result.digest[:12]}: {error.strerror}") from error
            if found != file.sha256:
                raise ResultDamagedError(f"{file.name} of result {result.digest[:12]} has other bytes than were stored")

    def handed_over(self, digest: str, withheld: Iterable[str]) -> None:
        """Note that a result's deliveries were planned.

        Parameters
        ----------
        digest
            Of the result.
        withheld
            Destinations that get nothing, each with the reason.
        """
        with self._engine.begin() as connection:
            connection.execute(update(RESULTS).where(RESULTS.c.digest == digest).values(withheld=list(withheld)))

    def purge(
        self,
        notes: Sequence[ResultNote],
        in_transaction: Callable[[Connection], None] = lambda _connection: None,
        *,
        by: Literal["retention", "person"] = "person",
    ) -> None:
        """Remove results' files; that they existed stays known: they are not made again, and a later report names theirs.

        Parameters
        ----------
        notes
            Of the results. Of one that is purged already, the files go that a crash left.
        in_transaction
            What is changed in the database with it, or not at all. What it raises keeps the files.
        by
            Who removes them.
        """
        kept = [row for note in notes if not note.purged for row in read_kept_attributes(note.result)]
        digests = [note.result.digest for note in notes if not note.purged]
        with self._engine.begin() as connection:
            in_transaction(connection)
            keep_attributes(connection, kept)
            connection.execute(
                update(RESULTS).where(RESULTS.c.digest.in_(digests)).values(purged_at=utc_now(), removed_by=by)
            )
        for note in notes:
            shutil.rmtree(note.result.folder, ignore_errors=True)

    def removed_reports(self, study: StudyKey) -> bytes:
        """Return the study's reports whose files were removed: see `gateway.workflow.removed_reports`."""
        return removed_reports(self._engine, study)

    def _noted(self, connection: Connection, row: Row[tuple[object, ...]]) -> ResultNote:
        files = connection.execute(
            select(RESULT_FILES).where(RESULT_FILES.c.digest == row.digest).order_by(RESULT_FILES.c.name)
        ).all()
        stored = StoredResult(
            study=StudyKey(row.study_instance_uid),
            digest=row.digest,
            folder=self.folder / row.digest,
            files=tuple(ResultFile(file.name, file.sop_instance_uid, file.sha256, file.kind) for file in files),
            group=row.group,
            score=row.score,
            refusal=row.refusal,
        )
        return ResultNote(
            stored,
            row.training_data,
            row.created_at,
            row.superseded_by or "",
            purged=row.purged_at is not None,
            removed_by=row.removed_by or "",
            withheld=tuple(row.withheld or ()),
        )


def _in_order(rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Return results so that each stands before the one that superseded it."""
    later = {row.digest: row.superseded_by for row in rows}

    def steps_to_the_current(row: Row[Any]) -> int:
        steps, digest = 0, row.superseded_by
        while digest in later and steps < len(rows):
            steps, digest = steps + 1, later[digest]
        return steps + (row.superseded_by is not None)

    return sorted(rows, key=steps_to_the_current, reverse=True)


def _enter(connection: Connection, stored: StoredResult, training_data: str) -> None:
    """Write the index's entry; the study's earlier results are superseded by it."""
    study = stored.study.study_instance_uid
    connection.execute(
        update(RESULTS)
        .where(RESULTS.c.study_instance_uid == study, RESULTS.c.superseded_by.is_(None))
        .values(superseded_by=stored.digest)
    )
    connection.execute(
        insert(RESULTS).values(
            digest=stored.digest,
            study_instance_uid=study,
            group=stored.group,
            score=stored.score,
            refusal=stored.refusal,
            training_data=training_data,
            created_at=utc_now(),
        )
    )
    for file in stored.files:
        connection.execute(
            insert(RESULT_FILES).values(
                digest=stored.digest,
                name=file.name,
                sop_instance_uid=file.sop_instance_uid,
                sha256=file.sha256,
                kind=file.kind,
            )
        )


def _described(study: StudyKey, digest: str, folder: Path) -> StoredResult:
    """Read what a run wrote.

    Raises
    ------
    ResultDamagedError
        There is no ``result.json`` of a scored or refused study, or a report that it names is missing.
    """
    try:
        content = (folder / RESULT_FILE).read_bytes()
        document = ResultDocument.model_validate_json(content)
        if document.status == "failed":
            raise ResultDamagedError(f"run {digest[:12]} failed: it has no result to keep")
        files = [ResultFile(RESULT_FILE, "", hashlib.sha256(content).hexdigest(), "json")]
        files += [
            ResultFile(report.file, report.sop_instance_uid, _sha256(folder / report.file), report.kind)
            for report in document.reports
        ]
        if document.fhir is not None:
            files.append(ResultFile(document.fhir, "", _sha256(folder / document.fhir), "fhir"))
    except (OSError, ValueError) as error:
        raise ResultDamagedError(f"run {digest[:12]} left no whole result: {type(error).__name__}") from error
    assessment = document.assessment
    return StoredResult(
        study=study,
        digest=digest,
        folder=folder,
        files=tuple(sorted(files, key=lambda file: file.name)),
        group="" if assessment is None else assessment.groups.risk.group or "",
        score=None if assessment is None else assessment.score,
        refusal="" if document.refusal is None else document.refusal.code,
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
