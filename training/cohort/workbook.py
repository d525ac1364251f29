"""Reads the first sheet of an Excel workbook as the lines that a CSV of it would have."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Collection
from datetime import date, datetime
from typing import Any, Final

from training.cohort.table_cell import CohortTableError

MAX_UNPACKED_BYTES: Final = 512 * 1024 * 1024
MAX_CELLS: Final = 20_000_000
HEADER_ROWS: Final = 10
"""Among which the header is looked for."""
_LITERAL: Final = re.compile(r'"[^"]*"|[\\_*].|\[[^\]]*\]')
"""Parts of a number format that are shown as they stand, or not at all (ECMA-376, part 1, 18.8.31)."""


def workbook_lines(content: bytes, columns: Collection[str], notes: list[str]) -> list[tuple[int, list[str]]]:
    """Return the rows of a workbook's first sheet.

    Parameters
    ----------
    content
        The file.
    columns
        Names that a table may have.
    notes
        To which is added how the workbook was read, for the user.

    Returns
    -------
    list[tuple[int, list[str]]]
        Number of the row, the first being 1, and its cells; empty rows at the top are left out.

    Raises
    ------
    CohortTableError
        It is no workbook that can be read, it is too large, or its first sheet is no cohort's table.
    """
    # Only who has a workbook pays for the import.
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED_BYTES:
                raise CohortTableError(f"the workbook unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        values = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        formulas = load_workbook(io.BytesIO(content), read_only=True, data_only=False)
        sheet, written = values.worksheets[0], formulas.worksheets[0]
        rows: list[tuple[int, list[str]]] = []
        cells = 0
        for number, (row, row_written) in enumerate(zip(sheet.iter_rows(), written.iter_rows(), strict=True), start=1):
            cells += len(row)
            if cells > MAX_CELLS:
                raise CohortTableError(f"the workbook's first sheet has more than {MAX_CELLS} cells")
            texts = [_cell_text(cell, number, own) for cell, own in zip(row, row_written, strict=True)]
            while texts and not texts[-1]:
                texts.pop()
            if rows or texts:
                rows.append((number, texts))
        hidden = _hidden_rows(sheet)
    except (
        zipfile.BadZipFile,
        InvalidFileException,
        AttributeError,  # openpyxl's, of a sheet that is a chart alone
        KeyError,
        IndexError,
        SyntaxError,  # the XML of a sheet is damaged
        EOFError,
        TypeError,
    ) as error:
        raise CohortTableError(
            f"the table is no Excel workbook that can be read ({type(error).__name__}): save the sheet of the table alone "
            "as .xlsx, without charts, or as CSV"
        ) from None
    named = {cell.strip().lower() for _, cells in rows[:HEADER_ROWS] for cell in cells}
    if not named & set(columns):
        raise CohortTableError(
            f"the workbook's first sheet ({len(values.sheetnames)} in all) names no column of a cohort in its first "
            f"{HEADER_ROWS} rows: put the table on the first sheet, with the header id and others of {', '.join(columns)}"
        )
    if len(values.sheetnames) > 1:
        notes.append(f"the workbook has {len(values.sheetnames)} sheets; the first was read")
    if unseen := sum(number in hidden for number, texts in rows if texts):
        notes.append(f"{unseen} rows are hidden in the workbook, as by a filter; they were read with the others")
    return rows


def _hidden_rows(sheet: Any) -> set[int]:
    """Return the numbers of the rows that a filter or the user hides."""
    # openpyxl leaves out the attributes of rows where it reads a sheet by rows.
    from openpyxl.xml.functions import iterparse

    hidden, number = set(), 0
    with sheet._get_source() as source:
        for _, element in iterparse(source):
            if element.tag.endswith("}row"):
                number = int(element.get("r", number + 1))
                if element.get("hidden") in ("1", "true"):
                    hidden.add(number)
                element.clear()
    return hidden


def _cell_text(cell: Any, row: int, written: Any) -> str:
    """Return a cell as a CSV would have it: dates as YYYY-MM-DD, percentages as their number of per cent."""
    value = cell.value
    if value is None:
        if isinstance(written.value, str) and written.value.startswith("="):
            raise CohortTableError(
                f"the workbook's row {row} has a formula without a stored value: open and save it in a spreadsheet "
                "program, or save the table as CSV"
            )
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, datetime):
        midnight = value.time().isoformat() == "00:00:00"
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int | float):
        if _shows_per_cent(str(cell.number_format), row):
            return f"{round(100 * value, 9):.12g}%"
        # A spreadsheet shows 15 digits at most: 29.000000000000004 is 29.
        return str(int(value)) if float(value).is_integer() else f"{value:.15g}"
    return str(value)


def _shows_per_cent(number_format: str, row: int) -> bool:
    """Tell whether a format shows 0.8 as 80 %: a per cent sign in quotes or after a backslash multiplies nothing."""
    sections = [part for part in _LITERAL.sub("", number_format).split(";") if re.search("[0#?]|General", part)]
    multiplied = {"%" in section for section in sections}
    if len(multiplied) > 1:
        raise CohortTableError(
            f"the workbook's row {row} has a number that is shown as per cent or not, depending on its value: format the "
            "column as plain numbers of per cent, or save the table as CSV"
        )
    return multiplied == {True}
