"""Public collections as cohort tables: TCIA's NSCLC-Radiomics (LUNG1) and NSCLC-Radiogenomics, and cBioPortal studies.

None of them has everything: LUNG1 and NSCLC-Radiogenomics have images and tumours, but no PD-L1 expression;
cBioPortal's nsclc_mskcc_2018 has PD-L1 and progression-free survival, but no images. What a collection lacks stays empty,
and the table's check counts it.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pdl1es.dicom.segmentation import SEGMENTATION_SOP_CLASSES
from pdl1es.dicom.series import CT_SOP_CLASSES
from pdl1es.dicom.study import NotDicomError, UnreadableFileError, read_instance

DAYS_PER_MONTH: Final = 365.25 / 12
_SMOKING: Final = {
    "never": "never",
    "nonsmoker": "never",
    "former": "smoker",
    "current": "smoker",
}
"""Former and current say nothing of the paper's grades (occasionally, constantly): smokers of unknown grade."""
_ABSENT: Final = frozenset({"", "na", "n/a", "not collected", "not recorded in database", "unknown"})
_CLINICAL_FOLDER_FILE: Final = "data_clinical_patient.txt"


class CollectionError(ValueError):
    """A collection's clinical table is not what it should be; the message says what is missing."""


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


def import_collection(collection: str, clinical: Path, images: Path | None, table_folder: Path) -> ImportedCohort:
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

    Returns
    -------
    ImportedCohort

    Raises
    ------
    CollectionError
        The collection is none of these, or its clinical table is unreadable or lacks a column.
    """
    if collection not in _COLLECTIONS:
        raise CollectionError(f"unknown collection {collection!r}; known: {', '.join(_COLLECTIONS)}")
    read, columns, delimiter, notes = _COLLECTIONS[collection]
    if clinical.is_dir():
        clinical = clinical / _CLINICAL_FOLDER_FILE
    rows = [read(record) for record in _records(clinical, columns, delimiter)]
    if images is not None:
        for row in rows:
            row |= _images(images, row["id"], table_folder)
    found = sum("ct" in row for row in rows)
    return ImportedCohort(
        tuple(rows), (*notes, f"{found} of {len(rows)} patients have a CT and a DICOM SEG in one study on disk")
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
        "ct_date": _american_date(record["CT Date"]),
    }


def _cbioportal(record: dict[str, str]) -> dict[str, Any]:
    months, status = _given(record["PFS_MONTHS"]), _given(record["PFS_STATUS"])
    known = months is not None and status is not None
    return {
        "id": record["PATIENT_ID"],
        "age": _given(record["AGE_YRS"]),
        "sex": _lower(record["SEX"]),
        "smoking": _smoking(record["SMOKING_STATUS"]),
        "histology": _given(record["HISTOLOGY"]),
        "pdl1_tps": _given(record["PDL1_EXP"]),
        "pfs_days": round(float(months) * DAYS_PER_MONTH) if known and months else None,
        # cBioPortal writes "1:Event" and "0:Censor".
        "progressed": int(status.partition(":")[0]) if known and status else None,
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
            "the study has no images: it serves the survival analysis by measured PD-L1 alone",
            "former and current smokers are smokers of unknown grade",
            "months are counted as 30.4375 days",
        ),
    ),
}


def _records(path: Path, columns: tuple[str, ...], delimiter: str) -> list[dict[str, str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CollectionError(f"{path.name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CollectionError(f"{path.name} is not UTF-8 (byte {error.start})") from None
    # cBioPortal's own files begin with lines of comments.
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("#")]
    reader = csv.DictReader(io.StringIO("".join(lines)), delimiter=delimiter)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    absent = [name for name in columns if name not in reader.fieldnames]
    if absent:
        raise CollectionError(f"{path.name} has no column {', '.join(absent)}: it is not this collection's table")
    return [{name: (value or "").strip() for name, value in record.items() if name} for record in reader]


def _images(root: Path, patient: str, table_folder: Path) -> dict[str, str]:
    """Return the paths of the patient's study that holds both a CT and a SEG; the first by name of several."""
    for folder in _named(root, patient):
        studies = sorted(path for path in folder.iterdir() if path.is_dir())
        for study in (*studies, folder):
            kinds = set(_kinds(study))
            if {"CT", "SEG"} <= kinds:
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
            if sop_class in SEGMENTATION_SOP_CLASSES:
                yield "SEG"
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


def _american_date(value: str) -> str | None:
    given = _given(value)
    return None if given is None else datetime.strptime(given, "%m/%d/%Y").date().isoformat()
