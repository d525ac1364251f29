"""The cohort's table: one patient per row. It is checked as a whole, and all faults are reported at once with remedies."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pdl1es.clinical import FAMILY_HISTORY_CODES, SEX_CODES, SMOKING_CODES, ClinicalRecord
from training.cohort.prepared import Split
from training.cohort.rules import HIGH_EXPRESSION_TPS, LONGEST_INTERVAL_DAYS
from training.cohort.table_cell import (
    DAYS_PER_MONTH,
    CellError,
    CohortTableError,
    date_text,
    days_text,
    expression,
    is_plain_date,
    number_text,
)
from training.cohort.table_file import read_table_file
from training.cohort.table_summary import ColumnSummary, improbable, summaries

VOLUME_SUFFIXES: Final = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha")

_LABELS: Final = {"high": 1, "low": 0}
_MISSING: Final = frozenset({"", "na", "n/a", "nan", "none", "null", "unknown"})
_CLINICAL: Final = {
    "age": "age",
    "sex": "sex",
    "smoking": "smoking",
    "family_history": "family_history",
    "treatment": "first_line_treatment",
}
"""The table's column, and the field of `ClinicalRecord` that checks it."""
_DATES: Final = ("ct_date", "pdl1_date", "treatment_start")
_NUMBERS: Final = ("age", "pfs_days", "pfs_months", "slice_thickness_mm", "tube_current_ma")
_READ: Final[dict[str, Callable[[str], str]]] = {**dict.fromkeys(_DATES, date_text), "pfs_days": days_text}
"""How cells of these columns are read; other numbers by `number_text`."""
_SUMMARIES: Final = frozenset({"mean", "average", "median", "sd", "total", "sum", "count", "n", "min", "max"})
_PRIVATE: Final = frozenset({"id", "ct", "seg", *_DATES})
"""Columns whose values no message repeats."""


class CohortRow(BaseModel):
    """One patient. Empty cells, ``NA`` and ``unknown`` are missing values.

    The clinical variables hold the codes of `pdl1es.clinical`; a smoker of unknown grade has no ``smoking`` and
    ``smoking_graded`` False.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    ct: Path | None = None
    seg: Path | None = None
    age: float | None = None
    sex: float | None = None
    smoking: float | None = None
    smoking_graded: bool = True
    family_history: float | None = None
    pdl1_tps: float | None = Field(default=None, ge=0, le=100)
    label: Literal[0, 1] | None = None
    pdl1_assay: str | None = Field(default=None, max_length=64)
    stage: str | None = Field(default=None, max_length=32)
    histology: str | None = Field(default=None, max_length=128)
    ct_date: date | None = None
    pdl1_date: date | None = None
    treatment_start: date | None = None
    pfs_days: float | None = Field(default=None, ge=0, le=36525)
    progressed: Literal[0, 1] | None = None
    event_cause: Literal["progression", "death"] | None = None
    treatment: str | None = None
    split: Split | None = None
    site: str | None = Field(default=None, max_length=64)
    manufacturer: str | None = Field(default=None, max_length=64)
    scanner_model: str | None = Field(default=None, max_length=64)
    convolution_kernel: str | None = Field(default=None, max_length=64)
    slice_thickness_mm: float | None = Field(default=None, gt=0, le=100)
    tube_current_ma: float | None = Field(default=None, gt=0, le=10000)

    @field_validator("pdl1_tps", mode="before")
    @classmethod
    def _percent(cls, value: Any) -> Any:
        return value.removesuffix("%").strip() if isinstance(value, str) else value

    @field_validator("label", mode="before")
    @classmethod
    def _label(cls, value: Any) -> Any:
        return _binary(value, _LABELS)

    @field_validator("progressed", mode="before")
    @classmethod
    def _progressed(cls, value: Any) -> Any:
        return _binary(value, {"yes": 1, "no": 0, "true": 1, "false": 0})

    @field_validator("split", "event_cause", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _together(self) -> CohortRow:
        expected = None if self.pdl1_tps is None else int(self.pdl1_tps >= HIGH_EXPRESSION_TPS)
        if self.label is not None and expected is not None and self.label != expected:
            raise ValueError(
                f"label {self.label} contradicts pdl1_tps {self.pdl1_tps:g}: high is {HIGH_EXPRESSION_TPS:g} % or more"
            )
        if self.event_cause is not None and not self.progressed:
            raise ValueError("event_cause is given, and progressed says that there was no event")
        return self

    @property
    def high_expression(self) -> int | None:
        """1 for TPS >= 50 %, 0 below; the given label where there is no TPS; None where neither is known."""
        return self.label if self.pdl1_tps is None else int(self.pdl1_tps >= HIGH_EXPRESSION_TPS)

    def clinical_codes(self) -> dict[str, float | bool | None]:
        """Return the columns of `prepared.CASE_COLUMNS` that hold clinical variables."""
        return {
            "age": self.age,
            "sex": self.sex,
            "smoking": self.smoking,
            "smoking_graded": self.smoking_graded,
            "family_history": self.family_history,
        }


COLUMNS: Final = (*(name for name in CohortRow.model_fields if name != "smoking_graded"), "pfs_months")
"""Columns that a table may have; ``id`` is the only one that it must have."""

REMEDIES: Final[dict[str, str]] = {
    "id": "give each patient one row and a pseudonym of letters, digits, '.', '_' and '-'",
    "ct": "give a DICOM folder, or a NIfTI, NRRD or MetaImage file; relative paths start at the table's folder",
    "seg": "give the DICOM SEG or RT Structure Set (file or folder; empty where it lies in the CT's folder), or the mask's NIfTI, NRRD or MetaImage file",
    "age": "give years, 0 to 120, or leave it empty",
    "sex": "write female or male, or leave it empty",
    "smoking": "write never, occasionally, constantly, or smoker where the grade is not known; or leave it empty",
    "family_history": "write no or yes, or leave it empty; 'none' could mean either",
    "pdl1_tps": "give the tumour proportion score as a number from 0 to 100, '<1', or an interval on one side of 50 %",
    "label": "write 1 (high, TPS >= 50 %) or 0 (low), or leave it empty and give pdl1_tps",
    "ct_date": "write YYYY-MM-DD",
    "pdl1_date": "write YYYY-MM-DD",
    "treatment_start": "write YYYY-MM-DD",
    "pfs_days": "give days from the start of treatment to progression or to the last visit, or pfs_months",
    "pfs_months": "give months in place of pfs_days, not beside it",
    "progressed": "write 1 (progression or death) or 0 (censored)",
    "event_cause": "write progression or death (without a progression before it), and leave it empty where progressed is 0",
    "treatment": "write pembrolizumab, pembrolizumab and chemotherapy, or other; or leave it empty",
    "split": "write train, validation, test, prognosis, gate or pretrain (images alone, no label needed); or leave it empty, "
    "and the division is drawn by seed",
    "site": "give the hospital's or the scanner's code in at most 64 characters; it stands in reports",
    "scanner_model": "give the scanner's model in at most 64 characters (NIfTI and NRRD only)",
    "manufacturer": "give the scanner's manufacturer in at most 64 characters (NIfTI and NRRD only)",
    "convolution_kernel": "give the kernel in at most 64 characters (NIfTI and NRRD only)",
    "slice_thickness_mm": "give millimetres above 0 (NIfTI and NRRD only)",
    "tube_current_ma": "give mA above 0 (NIfTI and NRRD only)",
}


@dataclass(frozen=True, slots=True)
class TableNote:
    """A fault or a warning about one cell, one row or the whole table.

    Attributes
    ----------
    row
        Line of the file, the header being 1; None for the whole table.
    column
        The column, or None.
    found
        What is wrong or doubtful; never a patient's id, date or path.
    remedy
        What to do about it.
    """

    row: int | None
    column: str | None
    found: str
    remedy: str

    def __str__(self) -> str:
        """Return one line."""
        where = ", ".join(
            part
            for part in (
                f"row {self.row}" if self.row else "table",
                f"column {self.column}" if self.column else "",
            )
            if part
        )
        return f"{where}: {self.found}. Remedy: {self.remedy}."


@dataclass(frozen=True, slots=True)
class CheckedTable:
    """A checked table with its faults and warnings.

    Attributes
    ----------
    rows
        Patients that can be prepared, in the table's order; complete only where there are no faults.
    faults
        What has to be corrected before the table can be used.
    warnings
        What a reader of the results should know.
    screened
        Rows of the table.
    exclusions
        Reason and number of patients who lack something that the method needs, in the order of the reasons.
    notes
        How the file and its cells were read, where that is not plain: encoding, delimiter, decimal commas, intervals.
    columns
        What was understood of each column.
    """

    rows: tuple[CohortRow, ...]
    faults: tuple[TableNote, ...]
    warnings: tuple[TableNote, ...]
    screened: int
    exclusions: tuple[tuple[str, int], ...]
    notes: tuple[str, ...] = ()
    columns: tuple[ColumnSummary, ...] = ()


def read_cohort(
    path: Path,
    *,
    longest_interval_days: int = LONGEST_INTERVAL_DAYS,
    without_outcome: bool = False,
    without_images: bool = False,
    encoding: str | None = None,
) -> CheckedTable:
    """Read and check a cohort's table.

    Parameters
    ----------
    path
        CSV or ``.xlsx``, as `table_file.read_table_file` reads it, with a header row of `COLUMNS`; only ``id`` must be
        there, and no other column may.
    longest_interval_days
        Between CT and PD-L1 test; a longer interval warns.
    without_outcome
        Keep patients without PD-L1 and without follow-up: they can only be scored.
    without_images
        Keep patients without CT or segmentation: only their follow-up can be analysed.
    encoding
        Of a text file, one of `encoding.ENCODINGS`; None to find it.

    Returns
    -------
    CheckedTable

    Raises
    ------
    CohortTableError
        The file is missing, too large, in no known encoding, no table, or holds no patient.
    """
    file = read_table_file(path, COLUMNS, encoding)
    header, records = list(file.header), list(file.records)
    faults = _column_faults(header)
    rows: list[tuple[int, CohortRow]] = []
    told: Counter[str] = Counter()
    for number, record in records:
        row = _row(number, record, path.parent, faults, told)
        if row is not None:
            rows.append((number, row))
    faults += _repeated(records, "id", "the id occurs in rows {} (capitals do not count): one patient is one row")
    faults += _same_places(records, path.parent, "ct", "CT")
    faults += _same_places(records, path.parent, "seg", "segmentation")
    faults += _ct_as_mask(records, path.parent)
    included, exclusions = _excluded(rows, without_outcome, without_images)
    return CheckedTable(
        rows=tuple(row for _, row in included),
        faults=tuple(sorted(faults, key=lambda note: (note.row or 0, note.column or ""))),
        warnings=(
            *(
                TableNote(None, column, found, remedy)
                for column, found, remedy in improbable(header, [row.model_dump() for _, row in rows])
            ),
            *_warnings(rows, longest_interval_days),
        ),
        screened=len(records),
        exclusions=exclusions,
        notes=(*file.notes, *(f"{count} {what}" for what, count in sorted(told.items()))),
        columns=summaries(header, [row.model_dump() for _, row in rows]),
    )


def write_cohort(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as ``cohort.csv``: columns that no row has are left out, None is an empty cell."""
    listed = [dict(row) for row in rows]
    used = [name for name in COLUMNS if any(row.get(name) is not None for row in listed)]
    unknown = {name for row in listed for name in row} - set(COLUMNS)
    if unknown:
        raise CohortTableError(f"a cohort's table has no columns {sorted(unknown)}")
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, used, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if row.get(name) is None else row[name] for name in used} for row in listed)
    return file.getvalue().encode("utf-8")


def _column_faults(header: list[str]) -> list[TableNote]:
    allowed = ", ".join(COLUMNS)
    faults = [
        TableNote(
            1,
            name or None,
            "the column is none of a cohort's" if name else "a column has values and no name",
            f"remove or rename it; columns are {allowed}",
        )
        for name in header
        if name not in COLUMNS
    ]
    faults += [
        TableNote(1, name, "the column occurs twice", "keep one of them")
        for name, count in Counter(header).items()
        if count > 1
    ]
    if "id" not in header:
        faults.append(TableNote(1, "id", "the column is missing", REMEDIES["id"]))
    return faults


def _row(
    number: int, record: dict[str, str], folder: Path, faults: list[TableNote], told: Counter[str]
) -> CohortRow | None:
    """Check one row; its faults are appended, and a row with faults gives None."""
    before = len(faults)
    given = {name: value for name, value in record.items() if not _missing(name, value)}
    faults += [
        TableNote(
            number,
            None,
            f"there is a value in {name}, beyond the header",
            "name the column, empty the cell, or quote cells that hold commas",
        )
        for name in given
        if name.startswith("column ")
    ]
    if given.get("id", "").lower() in _SUMMARIES:
        faults.append(TableNote(number, "id", "the row looks like a summary of the others", "remove it"))
    unread = _translate(given, number, faults, told)
    # Checked here, because the row's own validators do not run where a single cell is at fault.
    faults += [
        TableNote(number, absent, f"it is missing, and {there} is given", REMEDIES[absent])
        for there, absent in (("pfs_days", "progressed"), ("progressed", "pfs_days"))
        if there in given and absent not in given and absent not in unread
    ]
    fields: dict[str, Any] = {name: given[name] for name in given if name in COLUMNS and name not in _CLINICAL}
    for name in ("ct", "seg"):
        if name in fields:
            fields[name] = folder / fields[name]
            if absent := _absent(fields[name]):
                faults.append(TableNote(number, name, absent, REMEDIES[name]))
    try:
        clinical = ClinicalRecord.model_validate({_CLINICAL[c]: given[c] for c in _CLINICAL if c in given})
        fields |= {
            "age": clinical.age,
            "sex": SEX_CODES.get(clinical.sex or ""),
            "smoking": SMOKING_CODES.get(clinical.smoking or ""),
            "smoking_graded": clinical.smoking != "smoker",
            "family_history": FAMILY_HISTORY_CODES.get(clinical.family_history or ""),
            "treatment": clinical.first_line_treatment,
        }
    except ValidationError as error:
        columns = {field: column for column, field in _CLINICAL.items()}
        faults += _faults_of(error, number, given, columns)
    try:
        row = CohortRow.model_validate(fields)
    except ValidationError as error:
        faults += _faults_of(error, number, given, {})
        return None
    return row if len(faults) == before else None


def _absent(place: Path) -> str | None:
    """Say why there is no file or folder at a place; None where there is one."""
    try:
        return None if place.exists() else "there is no such file or folder"
    except (OSError, ValueError) as error:
        # A text that is no path: too long, or with a NUL. Its message would repeat it.
        return f"it is no path that can be looked up ({getattr(error, 'strerror', None) or 'a NUL character'})"


def _missing(column: str, value: str) -> bool:
    # 'none' among the relatives is an answer, and which one is not known.
    return value.lower() in _MISSING and not (column == "family_history" and value.lower() == "none")


def _translate(given: dict[str, str], number: int, faults: list[TableNote], told: Counter[str]) -> set[str]:
    """Bring a row's cells into the form that `CohortRow` reads; return the columns of cells at fault, which are removed."""
    unread = set()

    def fault(column: str, error: CellError) -> None:
        value = given.pop(column)
        unread.add("pfs_days" if column == "pfs_months" else column)
        found = str(error) if column in _PRIVATE else f"{value!r}: {error}"
        faults.append(TableNote(number, column, found, REMEDIES[column]))

    for column in (*_NUMBERS, *_DATES):
        if column not in given:
            continue
        value = given[column]
        try:
            given[column] = _READ.get(column, number_text)(value)
        except CellError as error:
            fault(column, error)
        else:
            told[f"decimal commas in {column}"] += column in _NUMBERS and "," in value
            told[f"dates in {column} written otherwise than YYYY-MM-DD, read with the year first"] += (
                column in _DATES and not is_plain_date(value)
            )
    if "pdl1_tps" in given:
        value = given["pdl1_tps"]
        try:
            read = expression(value)
            if read.label is not None and "label" in given and _binary(given["label"], _LABELS) != read.label:
                raise CellError("it contradicts the label")
        except CellError as error:
            fault("pdl1_tps", error)
        else:
            if read.tps is None:
                del given["pdl1_tps"]
                given["label"] = str(read.label)
                told["intervals in pdl1_tps: they give the label, and no score"] += 1
            else:
                told["'<1' in pdl1_tps, read as 0 %"] += "<" in value or "＜" in value
                given["pdl1_tps"] = read.tps
    if "pfs_months" in given and "pfs_days" in given:
        fault("pfs_months", CellError("pfs_days is given as well"))
    elif "pfs_months" in given:
        given["pfs_days"] = str(round(float(given.pop("pfs_months")) * DAYS_PER_MONTH))
        told[f"times in months, counted as {DAYS_PER_MONTH:g} days each"] += 1
    told += Counter()  # counts of zero are nothing to tell
    return unread


def _same_places(records: list[tuple[int, dict[str, str]]], folder: Path, column: str, what: str) -> list[TableNote]:
    """Tell where several rows give one CT or one segmentation, however its path is spelt."""
    places: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for number, record in records:
        if found := _place(record, folder, column):
            places[found.st_dev, found.st_ino].append(number)
    return [
        TableNote(
            numbers[1],
            column,
            f"the same {what} is given in rows {', '.join(map(str, numbers))}: one patient is one row",
            REMEDIES[column],
        )
        for numbers in places.values()
        if len(numbers) > 1
    ]


def _ct_as_mask(records: list[tuple[int, dict[str, str]]], folder: Path) -> list[TableNote]:
    """Tell where a row gives its CT's file as the mask; a DICOM folder may hold both."""
    notes = []
    for number, record in records:
        ct, seg = (_place(record, folder, column) for column in ("ct", "seg"))
        if ct and seg and S_ISREG(ct.st_mode) and (ct.st_dev, ct.st_ino) == (seg.st_dev, seg.st_ino):
            notes.append(TableNote(number, "seg", "the CT's own file is given as its segmentation", REMEDIES["seg"]))
    return notes


def _place(record: Mapping[str, str], folder: Path, column: str) -> os.stat_result | None:
    """Return what lies at a cell's path; None where there is nothing, which is a fault of its row."""
    value = record.get(column, "")
    if _missing(column, value):
        return None
    try:
        return (folder / value).stat()
    except (OSError, ValueError):
        return None


def _faults_of(error: ValidationError, number: int, given: dict[str, str], columns: dict[str, str]) -> list[TableNote]:
    notes = []
    for fault in error.errors(include_url=False, include_context=False):
        field = str(fault["loc"][0]) if fault["loc"] else ""
        column = columns.get(field, field) or None
        found = fault["msg"].removeprefix("Value error, ")
        if column == "id":
            found = (
                "the id is missing" if "id" not in given else "the id has characters or a length that are not allowed"
            )
        elif column in given and column not in _PRIVATE:
            found = f"{given[column]!r}: {found}"
        remedy = REMEDIES.get(column or "", "correct the row")
        notes.append(TableNote(number, column, found, remedy))
    return notes


def _repeated(records: list[tuple[int, dict[str, str]]], column: str, found: str) -> list[TableNote]:
    places: defaultdict[str, list[int]] = defaultdict(list)
    for number, record in records:
        value = record.get(column, "")
        if value.lower() not in _MISSING:
            places[value.casefold()].append(number)
    return [
        TableNote(numbers[1], column, found.format(", ".join(map(str, numbers))), REMEDIES[column])
        for numbers in places.values()
        if len(numbers) > 1
    ]


def _excluded(
    rows: list[tuple[int, CohortRow]], without_outcome: bool, without_images: bool
) -> tuple[list[tuple[int, CohortRow]], tuple[tuple[str, int], ...]]:
    """Leave out patients who lack something that the method needs; each counts for the first reason that applies."""
    reasons = {
        "No CT": lambda row: row.ct is None and not without_images,
        "No tumour segmentation": lambda row: (
            row.seg is None and row.ct is not None and row.ct.is_file() and not without_images
        ),
        "Neither PD-L1 expression nor follow-up known": lambda row: (
            row.high_expression is None and row.pfs_days is None and row.split != "pretrain" and not without_outcome
        ),
    }
    counts, left = [], rows
    for reason, applies in reasons.items():
        kept = [(number, row) for number, row in left if not applies(row)]
        counts.append((reason, len(left) - len(kept)))
        left = kept
    return left, tuple((reason, count) for reason, count in counts if count)


def _warnings(rows: list[tuple[int, CohortRow]], longest_interval_days: int) -> list[TableNote]:
    notes = []
    assays = Counter(row.pdl1_assay for _, row in rows if row.pdl1_assay)
    if len(assays) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(assays.items()))
        notes.append(
            TableNote(
                None,
                "pdl1_assay",
                f"PD-L1 was measured by {len(assays)} assays ({counts})",
                "SP142 stains fewer tumour cells than 22C3, 28-8 and SP263: train on one assay, or report it",
            )
        )
    causes = [row.event_cause for _, row in rows if row.progressed]
    if 0 < sum(cause is None for cause in causes) < len(causes):
        notes.append(
            TableNote(
                None,
                "event_cause",
                f"of {sum(cause is None for cause in causes)} of {len(causes)} events the cause is not given",
                "give all of them: competing risks are analysed only where every cause is known",
            )
        )
    for number, row in rows:
        if row.ct_date and row.treatment_start and row.ct_date > row.treatment_start:
            notes.append(
                TableNote(
                    number,
                    "ct_date",
                    f"the CT was taken {(row.ct_date - row.treatment_start).days} days after treatment began",
                    "give the last CT before treatment; the paper's were taken two weeks before it",
                )
            )
        if row.ct_date and row.pdl1_date and abs((row.ct_date - row.pdl1_date).days) > longest_interval_days:
            notes.append(
                TableNote(
                    number,
                    "pdl1_date",
                    f"CT and PD-L1 test lie {abs((row.ct_date - row.pdl1_date).days)} days apart",
                    f"give a CT within {longest_interval_days} days of the biopsy, or report the interval",
                )
            )
        if row.split in ("train", "validation", "test", "gate") and row.high_expression is None:
            notes.append(
                TableNote(
                    number, "split", f"the patient of the {row.split} cohort has no PD-L1 result", "give pdl1_tps"
                )
            )
        if row.split == "pretrain" and row.high_expression is not None:
            notes.append(
                TableNote(
                    number,
                    "split",
                    "the patient has a PD-L1 result, and pretraining looks at no label",
                    "leave the split empty to train on the label",
                )
            )
        if row.split == "prognosis" and row.pfs_days is None:
            notes.append(
                TableNote(number, "split", "the patient of the prognosis cohort has no follow-up", "give pfs_days")
            )
    return notes


def _binary(value: Any, names: dict[str, int]) -> Any:
    if isinstance(value, str):
        value = value.strip().lower()
        if value in ("0", "1", "0.0", "1.0"):
            return int(float(value))
        return names.get(value, value)
    return value
