"""Public collections as cohort tables: TCIA's NSCLC-Radiomics (LUNG1) and NSCLC-Radiogenomics, and cBioPortal studies.

None of them has everything: LUNG1 and NSCLC-Radiogenomics have images and tumours, but no PD-L1 expression;
cBioPortal's nsclc_mskcc_2018 has PD-L1 and progression-free survival, but no images: `pdl1es prognosis` analyses its table
without a score. What a collection lacks stays empty, and the table's check counts it.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError
from pdl1es.dicom.header import read_instance
from pdl1es.dicom.segmentation import SEGMENTATION_SOP_CLASSES
from pdl1es.dicom.series import CT_SOP_CLASSES
from pdl1es.dicom.structure_set import RT_STRUCTURE_SET
from training.cohort.table_cell import DAYS_PER_MONTH
from training.errors import UsageError
from training.progress import Count

_SMOKING: Final = {
    "never": "never",
    "nonsmoker": "never",
    "former": "smoker",
    "current": "smoker",
}
"""Former and current say nothing of the paper's grades (occasionally, constantly): smokers of unknown grade."""
_ABSENT: Final = frozenset({"", "na", "n/a", "not collected", "not recorded in database", "unknown"})
_CLINICAL_FOLDER_FILE: Final = "data_clinical_patient.txt"


class CollectionError(UsageError):
    """A collection's clinical table is not what it should be; the message says where, and what to do."""


class _CellError(ValueError):
    """A cell is not what its column holds; the message says what it should be."""

    def __init__(self, column: str, should_be: str) -> None:
        super().__init__(should_be)
        self.column = column


@dataclass(frozen=True, slots=True)
class ImportedCohort:
    """A collection as rows of a cohort's table.

    Attributes
    ----------
    rows
        For `table.write_cohort`.
    notes
        What the collection lacks, and what was decided; for the user.
    """

    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def import_collection(
    collection: str,
    clinical: Path,
    images: Path | None,
    table_folder: Path,
    progress: Count | None = None,
) -> ImportedCohort:
    """Turn a collection on disk into a cohort's rows.

    Parameters
    ----------
    collection
        ``lung1`` (NSCLC-Radiomics), ``radiogenomics`` or ``cbioportal``.
    clinical
        TCIA's clinical CSV; cBioPortal's ``data_clinical_patient.txt``, or its folder.
    images
        Folder below which every patient has a folder named by the id, as the NBIA Data Retriever makes it; None without
        images.
    table_folder
        Folder of the table: paths are relative to it.
    progress
        Is told of how many of how many patients the images were looked for.

    Returns
    -------
    ImportedCohort

    Raises
    ------
    CollectionError
        The collection is none of these, or its clinical table is unreadable, lacks a column or has a cell that is not
        what the column holds.
    """
    if collection not in _COLLECTIONS:
        raise CollectionError(f"unknown collection {collection!r}; known: {', '.join(_COLLECTIONS)}")
    read, columns, delimiter, notes = _COLLECTIONS[collection]
    if clinical.is_dir():
        clinical = clinical / _CLINICAL_FOLDER_FILE
    rows = [_row(clinical, line, record, read) for line, record in _records(clinical, columns, delimiter)]
    if images is not None:
        for done, row in enumerate(rows, start=1):
            row |= _images(images, row["id"], table_folder)
            if progress is not None:
                progress(done, len(rows))
    found = sum("ct" in row for row in rows)
    return ImportedCohort(
        tuple(rows),
        (*notes, f"{found} of {len(rows)} patients have a CT and a tumour (SEG or RTSTRUCT) in one study on disk"),
    )


def _lung1(record: dict[str, str]) -> dict[str, Any]:
    return {
        "id": record["PatientID"],
        "age": _given(record["age"]),
        "sex": _lower(record["gender"]),
        "stage": _given(record["Overall.Stage"]),
        "histology": _given(record["Histology"]),
    }


def _radiogenomics(record: dict[str, str]) -> dict[str, Any]:
    stage = [_given(record[f"Pathological {part} stage"]) for part in "TNM"]
    return {
        "id": record["Patient ID"],
        "age": _given(record["Age at Histological Diagnosis"]),
        "sex": _lower(record["Gender"]),
        "smoking": _smoking(record["Smoking status"]),
        "stage": " ".join(part for part in stage if part) or None,
        "histology": _given(record["Histology"]),
        "ct_date": _american_date("CT Date", record),
    }


def _cbioportal(record: dict[str, str]) -> dict[str, Any]:
    months, progressed = _months("PFS_MONTHS", record), _event("PFS_STATUS", record)
    known = months is not None and progressed is not None
    return {
        "id": record["PATIENT_ID"],
        "age": _given(record["AGE_YRS"]),
        "sex": _lower(record["SEX"]),
        "smoking": _smoking(record["SMOKING_STATUS"]),
        "histology": _given(record["HISTOLOGY"]),
        "pdl1_tps": _given(record["PDL1_EXP"]),
        "pfs_days": round(months * DAYS_PER_MONTH) if known and months is not None else None,
        "progressed": progressed if known else None,
        "treatment": "other",
    }


_Reader = Callable[[dict[str, str]], dict[str, Any]]
_COLLECTIONS: Final[dict[str, tuple[_Reader, tuple[str, ...], str, tuple[str, ...]]]] = {
    "lung1": (
        _lung1,
        ("PatientID", "age", "gender", "Overall.Stage", "Histology"),
        ",",
        (
            "NSCLC-Radiomics has neither PD-L1 expression, smoking, nor family history",
            "its survival is overall survival, not progression-free survival, and is left out",
        ),
    ),
    "radiogenomics": (
        _radiogenomics,
        (
            "Patient ID",
            "Age at Histological Diagnosis",
            "Gender",
            "Smoking status",
            "Pathological T stage",
            "Pathological N stage",
            "Pathological M stage",
            "Histology",
            "CT Date",
        ),
        ",",
        (
            "NSCLC-Radiogenomics has neither PD-L1 expression nor family history, and no progression under immunotherapy",
            "former and current smokers are smokers of unknown grade",
            "the collection's dates are shifted: only intervals between them mean something",
        ),
    ),
    "cbioportal": (
        _cbioportal,
        ("PATIENT_ID", "AGE_YRS", "SEX", "SMOKING_STATUS", "HISTOLOGY", "PDL1_EXP", "PFS_MONTHS", "PFS_STATUS"),
        "\t",
        (
            "the study has no images, so that nobody can be scored: `pdl1es prognosis` takes the table itself, and analyses "
            "progression by measured PD-L1 and clinical variables",
            "former and current smokers are smokers of unknown grade",
            "months are counted as 30.4375 days",
        ),
    ),
}


def _row(path: Path, line: int, record: dict[str, str], read: _Reader) -> dict[str, Any]:
    try:
        return read(record)
    except _CellError as error:
        raise CollectionError(
            f"{path.name}, row {line}, column {error.column}: {record[error.column]!r} is not {error}; correct the cell, "
            "or leave it empty"
        ) from None


def _records(path: Path, columns: tuple[str, ...], delimiter: str) -> list[tuple[int, dict[str, str]]]:
    """Return the line and the cells of every patient."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CollectionError(f"{path.name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CollectionError(f"{path.name} is not UTF-8 (byte {error.start})") from None
    # cBioPortal's own files begin with lines of comments.
    lines = text.splitlines(keepends=True)
    comments = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    reader = csv.DictReader(io.StringIO("".join(lines[comments:])), delimiter=delimiter)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    absent = [name for name in columns if name not in reader.fieldnames]
    if absent:
        raise CollectionError(f"{path.name} has no column {', '.join(absent)}: it is not this collection's table")
    return [
        (comments + reader.line_num, {name: (value or "").strip() for name, value in record.items() if name})
        for record in reader
    ]


def _images(root: Path, patient: str, table_folder: Path) -> dict[str, str]:
    """Return the paths of the patient's study that holds both a CT and a SEG or structure set; the first by name of several."""
    for folder in _named(root, patient):
        studies = sorted(path for path in folder.iterdir() if path.is_dir())
        for study in (*studies, folder):
            if set(_kinds(study)) == {"CT", "tumour"}:
                return {"ct": Path(os.path.relpath(study, table_folder)).as_posix()}
    return {}


def _named(root: Path, patient: str) -> Iterator[Path]:
    """Yield the folders of a patient's name: in the root, or up to two folders below (manifest, collection)."""
    for depth in ("", "*/", "*/*/"):
        yield from sorted(path for path in root.glob(f"{depth}{patient}") if path.is_dir())


def _kinds(study: Path) -> Iterator[str]:
    """Yield what the series of a study are, by one file of each folder that holds files."""
    for folder in (study, *sorted(path for path in study.rglob("*") if path.is_dir())):
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            try:
                sop_class = read_instance(path).sop_class_uid
            except (NotDicomError, UnreadableFileError):
                continue
            if sop_class in (*SEGMENTATION_SOP_CLASSES, RT_STRUCTURE_SET):
                yield "tumour"
            elif sop_class in CT_SOP_CLASSES:
                yield "CT"
            break


def _given(value: str) -> str | None:
    return None if value.strip().lower() in _ABSENT else value.strip()


def _lower(value: str) -> str | None:
    given = _given(value)
    return None if given is None else given.lower()


def _smoking(value: str) -> str | None:
    return _SMOKING.get(value.strip().lower())


def _american_date(column: str, record: dict[str, str]) -> str | None:
    given = _given(record[column])
    if given is None:
        return None
    try:
        return datetime.strptime(given, "%m/%d/%Y").date().isoformat()
    except ValueError:
        raise _CellError(column, "a date as month/day/year") from None


def _months(column: str, record: dict[str, str]) -> float | None:
    given = _given(record[column])
    if given is None:
        return None
    try:
        months = float(given)
    except ValueError:
        months = math.nan
    if not 0 <= months < math.inf:
        raise _CellError(column, "a number of months")
    return months


def _event(column: str, record: dict[str, str]) -> int | None:
    """Read cBioPortal's ``1:Event`` or ``0:Censor``."""
    given = _given(record[column])
    if given is None:
        return None
    code = given.partition(":")[0]
    if code not in ("0", "1"):
        raise _CellError(column, "1 (event) or 0 (censored), with or without a word after a colon")
    return int(code)
