"""Public collections as cohort tables: TCIA's NSCLC-Radiomics (LUNG1) and NSCLC-Radiogenomics, and cBioPortal studies.

None of them has everything: LUNG1 and NSCLC-Radiogenomics have images and tumours, but no PD-L1 expression;
cBioPortal's nsclc_mskcc_2018 has PD-L1 and progression-free survival, but no images: `pdl1es prognosis` analyses its table
without a score. What a collection lacks stays empty, and the table's check counts it.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError
from pdl1es.dicom.header import read_instance
from pdl1es.dicom.segmentation import SEGMENTATION_SOP_CLASSES
from pdl1es.dicom.series import CT_SOP_CLASSES
from pdl1es.dicom.structure_set import RT_STRUCTURE_SET
from training.cohort.cbioportal import read_cbioportal
from training.cohort.collection_cell import CollectionCellError, CollectionError, given_cell, lower_cell, smoking_cell
from training.progress import Count


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
    mapping: Mapping[str, str] | None = None,
) -> ImportedCohort:
    """Turn a collection on disk into a cohort's rows.

    Parameters
    ----------
    collection
        ``lung1`` (NSCLC-Radiomics), ``radiogenomics`` or ``cbioportal``.
    clinical
        TCIA's clinical CSV; cBioPortal's study folder, or its table of patients.
    images
        Folder below which every patient has a folder named by the id, as the NBIA Data Retriever makes it; None without
        images.
    table_folder
        Folder of the table: paths are relative to it.
    progress
        Is told of how many of how many patients the images were looked for.
    mapping
        As `cbioportal.read_cbioportal`; of ``cbioportal`` alone.

    Returns
    -------
    ImportedCohort

    Raises
    ------
    CollectionError
        The collection is none of these, or its clinical table is unreadable, lacks a column or has a cell that is not
        what the column holds.
    """
    known = (*_COLLECTIONS, "cbioportal")
    if collection not in known:
        raise CollectionError(f"unknown collection {collection!r}; known: {', '.join(known)}")
    notes: tuple[str, ...]
    if collection == "cbioportal":
        rows, notes = read_cbioportal(clinical, mapping)
    elif mapping is not None:
        raise CollectionError("a mapping of columns is of cbioportal alone")
    else:
        read, columns, delimiter, notes = _COLLECTIONS[collection]
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
        "age": given_cell(record["age"]),
        "sex": lower_cell(record["gender"]),
        "stage": given_cell(record["Overall.Stage"]),
        "histology": given_cell(record["Histology"]),
    }


def _radiogenomics(record: dict[str, str]) -> dict[str, Any]:
    stage = [given_cell(record[f"Pathological {part} stage"]) for part in "TNM"]
    return {
        "id": record["Patient ID"],
        "age": given_cell(record["Age at Histological Diagnosis"]),
        "sex": lower_cell(record["Gender"]),
        "smoking": smoking_cell(record["Smoking status"]),
        "stage": " ".join(part for part in stage if part) or None,
        "histology": given_cell(record["Histology"]),
        "ct_date": _american_date("CT Date", record),
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
}


def _row(path: Path, line: int, record: dict[str, str], read: _Reader) -> dict[str, Any]:
    try:
        return read(record)
    except CollectionCellError as error:
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


def _american_date(column: str, record: dict[str, str]) -> str | None:
    given = given_cell(record[column])
    if given is None:
        return None
    try:
        return datetime.strptime(given, "%m/%d/%Y").date().isoformat()
    except ValueError:
        raise CollectionCellError(column, "a date as month/day/year") from None
