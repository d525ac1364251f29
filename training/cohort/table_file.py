"""Reads the file of a cohort's table as text cells: CSV of any usual encoding and delimiter, or an Excel workbook."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.cohort.encoding import decoded
from training.cohort.table_cell import CohortTableError
from training.cohort.workbook import HEADER_ROWS, workbook_lines

MAX_TABLE_BYTES: Final = 64 * 1024 * 1024
_DELIMITERS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table's cells as text.

    Attributes
    ----------
    header
        Names of the columns, stripped and in lower case.
    records
        Line of the file, the header being 1, and the cells by column; a cell beyond the header is ``column N``.
    notes
        How the file was read, where that is not plain UTF-8 with commas; for the user.
    """

    header: tuple[str, ...]
    records: tuple[tuple[int, dict[str, str]], ...]
    notes: tuple[str, ...]


def read_table_file(path: Path, columns: Collection[str], encoding: str | None = None) -> TableFile:
    """Read a table's cells.

    Parameters
    ----------
    path
        An Excel workbook (``.xlsx``, the first sheet), or CSV: UTF-8, UTF-16, GB18030 or Windows-1252, with commas,
        semicolons, tabs or bars.
    columns
        Names that a table may have: the delimiter is the one that finds most of them in the header.
    encoding
        Of a text file, one of `encoding.ENCODINGS`; None to find it.

    Returns
    -------
    TableFile

    Raises
    ------
    CohortTableError
        The file is missing, too large, in no known encoding, no table, or holds no patient.
    """
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise CohortTableError(f"the table is larger than {MAX_TABLE_BYTES} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise CohortTableError(f"the table cannot be read: {error.strerror}") from error
    if path.suffix.lower() == ".xls":
        raise CohortTableError("the table is an old Excel file (.xls): save it as .xlsx or CSV")
    notes: list[str] = []
    if path.suffix.lower() == ".xlsx":
        lines = workbook_lines(content, columns, notes)
    else:
        lines = _csv_lines(decoded(content, notes, encoding), columns, notes)
    above = _rows_above(lines, columns)
    if above:
        notes.append(f"the header is row {lines[above][0]}; what stands above it was left out")
    names = [name.strip().lower() for name in lines[above][1]] if lines else []
    while names and not names[-1]:
        names.pop()
    header = tuple(names)
    records = []
    for number, cells in lines[above + 1 :]:
        if any(cell.strip() for cell in cells):
            # A cell beyond the header has no column name; it is a fault of the row.
            beyond = (f"column {i + 1}" for i in range(len(header), len(cells)))
            records.append((number, dict(zip([*header, *beyond], (cell.strip() for cell in cells), strict=False))))
    if not records:
        raise CohortTableError("the table holds no patient")
    return TableFile(header, tuple(records), tuple(notes))


def _csv_lines(text: str, columns: Collection[str], notes: list[str]) -> list[tuple[int, list[str]]]:
    first = [line for line in text.splitlines() if line.strip()][:HEADER_ROWS]
    found = {
        delimiter: max(
            (_names(line, delimiter) for line in first), key=lambda names: len(names & set(columns)), default=set()
        )
        for delimiter in _DELIMITERS
    }
    # The order of the delimiters decides between equal ones.
    delimiter = max(_DELIMITERS, key=lambda each: len(found[each] & set(columns)))
    if first and not found[delimiter] & set(columns):
        raise CohortTableError(
            f"the header names no column of a cohort, whether split at {', '.join(_DELIMITERS.values())}: a line at the top "
            f"has to name columns, among them id; they are {', '.join(columns)}"
        )
    lines: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if lines or any(cell.strip() for cell in cells):
                lines.append((reader.line_num, cells))
    except csv.Error as error:
        raise CohortTableError(f"the table is not CSV: line {reader.line_num}: {error}") from None
    rows = [cells for _, cells in lines[1:] if any(cell.strip() for cell in cells)]
    for other, name in _DELIMITERS.items():
        alone = sum(len(cells) == 1 and cells[0].count(other) > 0 for cells in rows)
        if other != delimiter and len(found[delimiter]) > 1 and alone > len(rows) / 2:
            raise CohortTableError(
                f"the header is separated by {_DELIMITERS[delimiter]} and the rows by {name}: save the table with one "
                "delimiter"
            )
    if delimiter != ",":
        notes.append(f"the table's cells are separated by {_DELIMITERS[delimiter]}")
    return lines


def _rows_above(lines: list[tuple[int, list[str]]], columns: Collection[str]) -> int:
    """Return how many rows, a title or merged headings, stand above the row that names the most columns, id among them."""
    named = [{cell.strip().lower() for cell in cells} for _, cells in lines[:HEADER_ROWS]]
    known = [len(names & set(columns)) if "id" in names else 0 for names in named]
    return known.index(max(known)) if known else 0


def _names(line: str, delimiter: str) -> set[str]:
    try:
        return {name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter), [])}
    except csv.Error:
        return set()
