"""The hospital's table of clinical data: watched, checked whole, and kept in every version that was taken.

A version that does not follow the schema is told and not taken: the one before stays in use.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, insert, select

from gateway.clock import utc_now
from gateway.database import read_only
from gateway.workflow.settings import ClinicalTableRules
from gateway.workflow.tables import CLINICAL_VERSIONS
from pdl1es.atomic import write_atomically
from pdl1es.clinical import MAX_CLINICAL_FILE_BYTES, ClinicalFileError, ClinicalRecord, read_clinical_csv
from pdl1es.errors import Refusal
from pdl1es.regular_file import read_regular_file

_KEYS: Final = ("accession_number", "patient_id")
_FAULTS_TOLD: Final = 20


@dataclass(frozen=True, slots=True, repr=False)
class ClinicalTable:
    """A table, read but not yet believed.

    Attributes
    ----------
    columns
        The header as it is written.
    rows
        The rows' fields.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        """Say how large it is, and nothing of what is in it."""
        return f"<ClinicalTable, {len(self.rows)} rows>"

    def part(self, patient_id: str, accession_number: str) -> bytes:
        """Return a table with the rows of one study alone, which a run gets.

        Parameters
        ----------
        patient_id, accession_number
            The study's, as in its header.

        Returns
        -------
        bytes
            CSV with the header, and the rows that have either.
        """
        wanted = dict(zip(_KEYS, (accession_number.strip(), patient_id.strip()), strict=True))
        places = {key: self._place(key) for key in _KEYS}
        rows = [
            row
            for row in self.rows
            if any(
                place is not None and place < len(row) and wanted[key] and row[place].strip() == wanted[key]
                for key, place in places.items()
            )
        ]
        return self._written(rows)

    def record(self, patient_id: str, accession_number: str) -> ClinicalRecord | None:
        """Return one study's record, by the rules of ``pdl1es run --clinical FILE``.

        Parameters
        ----------
        patient_id, accession_number
            The study's, as in its header.

        Returns
        -------
        ClinicalRecord or None
            None where it has no row.
        """
        return read_clinical_csv(self.part(patient_id, accession_number), patient_id, accession_number)

    def faults(self) -> tuple[str, ...]:
        """Return what does not follow the schema, with the line and without any value."""
        try:
            read_clinical_csv(self._written([]), "", "")
        except ClinicalFileError as error:
            return (str(error),)
        found = []
        places = {key: self._place(key) for key in _KEYS}
        seen: dict[tuple[str, str], int] = {}
        for number, row in enumerate(self.rows, start=2):
            keys = {
                key: row[place].strip() if place is not None and place < len(row) else ""
                for key, place in places.items()
            }
            if not any(keys.values()):
                found.append(f"row {number} has neither patient_id nor accession_number")
                continue
            try:
                read_clinical_csv(self._written([row]), keys["patient_id"], keys["accession_number"])
            except ClinicalFileError as error:
                found.append(str(error).replace("row 2", f"row {number}", 1))
            for key, value in keys.items():
                if value and (first := seen.setdefault((key, value), number)) != number and not _told_apart(key, keys):
                    found.append(f"rows {first} and {number} have one {key}")
        return tuple(found)

    def _place(self, key: str) -> int | None:
        names = [column.strip().lower() for column in self.columns]
        return names.index(key) if key in names else None

    def _written(self, rows: list[tuple[str, ...]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([self.columns, *rows])
        return text.getvalue().encode("utf-8")


def _told_apart(key: str, keys: dict[str, str]) -> bool:
    """Tell whether several rows may have one patient id: each is of another study, by its accession number."""
    return key == "patient_id" and bool(keys["accession_number"])


def read_clinical_table(content: bytes) -> ClinicalTable:
    """Read a table.

    Parameters
    ----------
    content
        UTF-8 CSV with a header row.

    Returns
    -------
    ClinicalTable

    Raises
    ------
    ClinicalFileError
        It is too large, not UTF-8, no CSV, or has no header.
    """
    if len(content) > MAX_CLINICAL_FILE_BYTES:
        raise ClinicalFileError(f"the file is larger than {MAX_CLINICAL_FILE_BYTES} bytes")
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except UnicodeDecodeError as error:
        raise ClinicalFileError(f"the file is not UTF-8 (byte {error.start})") from None
    except csv.Error as error:
        raise ClinicalFileError(f"the file is not CSV: {error}") from None
    filled = [tuple(line) for line in lines if line]
    if not filled:
        raise ClinicalFileError("the file is empty")
    return ClinicalTable(filled[0], tuple(filled[1:]))


@dataclass(frozen=True, slots=True)
class ClinicalVersion:
    """A version of the table that was taken.

    Attributes
    ----------
    number
        Counts the versions from 1.
    sha256
        Of its bytes.
    table
        What it holds.
    seen_at
        When it was taken, UTC.
    """

    number: int
    sha256: str
    table: ClinicalTable
    seen_at: datetime


class ClinicalWatch:
    """Looks at the hospital's file now and then, and keeps every version that it takes.

    Parameters
    ----------
    engine
        The gateway's database.
    folder
        Where the versions are kept, as ``SHA256.csv``.
    rules
        Section ``clinical`` of ``gateway.yaml``.

    Attributes
    ----------
    problem
        Why the file as it lies there now was not taken; empty where it was, or where none is watched.
    """

    def __init__(self, engine: Engine, folder: Path, rules: ClinicalTableRules) -> None:
        self._engine = engine
        self._folder = folder
        self._rules = rules
        self._judged: tuple[int, ...] | None = None
        self.problem = ""
        self.current = self._last() if rules.file is not None else None

    def look(self, now: float) -> bool:
        """Take the file where it has changed and stayed for a while.

        Parameters
        ----------
        now
            The time, s since 1970.

        Returns
        -------
        bool
            Whether there is a new version in ``current``.
        """
        file = self._rules.file
        if file is None:
            return False
        try:
            status = file.stat()
        except OSError as error:
            self.problem, self._judged = f"the clinical table cannot be read: {error.strerror}", None
            return False
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        # A file from the future, as after a clock that stepped back, is old enough.
        if state == self._judged or 0 <= now - status.st_mtime < self._rules.settled_seconds:
            return False
        try:
            content = read_regular_file(file, MAX_CLINICAL_FILE_BYTES)
            table = read_clinical_table(content)
            faults = table.faults()
        except (OSError, ClinicalFileError) as error:
            faults = (error.strerror or "it cannot be read" if isinstance(error, OSError) else str(error),)
        self._judged = state
        if faults:
            told = "; ".join(faults[:_FAULTS_TOLD])
            more = f"; and {len(faults) - _FAULTS_TOLD} more" if len(faults) > _FAULTS_TOLD else ""
            self.problem = f"the clinical table is not taken: {told}{more}"
            return False
        sha256 = hashlib.sha256(content).hexdigest()
        if self.current is not None and self.current.sha256 == sha256:
            self.problem = ""
            return False
        try:
            self._take(sha256, content, table)
        except Refusal as refusal:
            self.problem, self._judged = f"the clinical table cannot be kept: {refusal.found}", None
            return False
        self.problem = ""
        return True

    def _take(self, sha256: str, content: bytes, table: ClinicalTable) -> None:
        write_atomically(self._folder / f"{sha256}.csv", content)
        (self._folder / f"{sha256}.csv").chmod(0o640)
        seen_at = utc_now()
        with self._engine.begin() as connection:
            entered = connection.execute(
                insert(CLINICAL_VERSIONS).values(sha256=sha256, rows=len(table.rows), seen_at=seen_at)
            ).inserted_primary_key
        assert entered is not None  # SQLAlchemy gives the key of one inserted row
        self.current = ClinicalVersion(entered[0], sha256, table, seen_at)

    def _last(self) -> ClinicalVersion | None:
        query = select(CLINICAL_VERSIONS).order_by(CLINICAL_VERSIONS.c.number.desc()).limit(1)
        with read_only(self._engine).connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        try:
            table = read_clinical_table((self._folder / f"{row.sha256}.csv").read_bytes())
        except (OSError, ClinicalFileError):
            return None
        return ClinicalVersion(row.number, row.sha256, table, row.seen_at)
