"""A cBioPortal study as a cohort's rows: its files by the meta files, its columns by a mapping."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from training.cohort.collection_cell import CollectionCellError, CollectionError, given_cell, lower_cell, smoking_cell
from training.cohort.table_cell import DAYS_PER_MONTH

MAPPED: Final[dict[str, tuple[str, ...]]] = {
    "age": ("AGE_YRS", "AGE", "AGE_AT_DIAGNOSIS"),
    "sex": ("SEX", "GENDER"),
    "smoking": ("SMOKING_STATUS", "SMOKING_HISTORY", "SMOKER"),
    "histology": ("HISTOLOGY", "CANCER_TYPE_DETAILED"),
    "pdl1_tps": ("PDL1_EXP", "PDL1_TPS", "PDL1_TPS_PERCENT", "PD_L1_TPS"),
    "pfs_months": ("PFS_MONTHS",),
    "progressed": ("PFS_STATUS",),
}
"""What a mapping may name, and the columns that are looked for where it does not."""
_MAX_BYTES: Final = 64 * 1024 * 1024
_ATTRIBUTES: Final = {
    "PATIENT_ATTRIBUTES": "data_clinical_patient.txt",
    "SAMPLE_ATTRIBUTES": "data_clinical_sample.txt",
}
"""``datatype`` of cBioPortal's meta files, and the usual name of the data file."""
_Records = list[tuple[str, int, dict[str, str]]]


def read_cbioportal(
    study: Path, mapping: Mapping[str, str] | None = None
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Read the patients of a study as cBioPortal publishes it.

    Parameters
    ----------
    study
        The study's folder: ``meta_*.txt`` name the files of patients and samples, else they have their usual names.
        One of the two is enough. Or one of these files.
    mapping
        The study's column by what it holds, for instance ``{"pdl1_tps": "TPS"}``; what it may name are the keys of
        `MAPPED`. What it does not name is looked for under the usual columns.

    Returns
    -------
    rows
        For `table.write_cohort`, in the file's order.
    notes
        What was taken from where, what the study lacks, and what was decided.

    Raises
    ------
    CollectionError
        There is no such file, a mapped column is missing, nothing is found, or a cell is not what its column holds.
    """
    unknown = set(mapping or {}) - set(MAPPED)
    if unknown:
        raise CollectionError(f"a mapping has no {', '.join(sorted(unknown))}; it may name {', '.join(MAPPED)}")
    records = [record for path in _files(study) for record in _records(path)]
    columns = {name for _, _, record in records for name in record}
    if "PATIENT_ID" not in columns:
        raise CollectionError("the study's tables have no column PATIENT_ID: they are not cBioPortal's")
    chosen: dict[str, str] = {}
    for field, usual in MAPPED.items():
        asked = (mapping or {}).get(field)
        if asked is not None and asked not in columns:
            raise CollectionError(f"the study has no column {asked}, which the mapping names for {field}")
        found = asked or next((column for column in usual if column in columns), None)
        if found is not None:
            chosen[field] = found
    if not chosen:
        raise CollectionError(
            f"the study's tables have none of the usual columns; name them in a mapping of {', '.join(MAPPED)}"
        )
    patients: dict[str, dict[str, Any]] = {}
    told: Counter[str] = Counter()
    for field, values in _by_patient(records, chosen).items():
        for patient, cells in values.items():
            row = patients.setdefault(patient, {"id": patient})
            if len({cell for _, _, cell in cells}) > 1:
                told[f"patients with several values in {chosen[field]}: {field} is left empty"] += 1
            elif cells:
                file, line, cell = cells[0]
                try:
                    row[field] = _value(field, chosen[field], cell)
                except CollectionCellError as error:
                    raise CollectionError(
                        f"{file}, row {line}, column {error.column}: {cell!r} is not {error}; correct the cell, or leave "
                        "it empty"
                    ) from None
                if row[field] is None:
                    told[f"words in {chosen[field]} that say no {field}"] += 1
    return [_finished(row) for row in patients.values()], _notes(chosen, told)


def _files(study: Path) -> list[Path]:
    """Return the tables of patients and samples that a study has."""
    if study.is_file():
        return [study]
    names = dict(_ATTRIBUTES)
    for meta in sorted(study.glob("meta_*.txt")):
        fields = {}
        for line in _text(meta).splitlines():
            key, colon, value = line.partition(":")
            if colon:
                fields[key.strip().lower()] = value.strip()
        name = fields.get("data_filename")
        if fields.get("datatype") in names and name:
            if Path(name).name != name or not (study / name).is_file():
                raise CollectionError(f"{meta.name} names a data file that the study's folder lacks")
            names[fields["datatype"]] = name
    found = [study / name for name in names.values() if (study / name).is_file()]
    if not found:
        raise CollectionError(
            f"the study's folder has neither {' nor '.join(_ATTRIBUTES.values())}, nor a meta file that names them"
        )
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CollectionError(f"{path.name} is larger than {_MAX_BYTES} bytes")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CollectionError(f"{path.name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CollectionError(f"{path.name} is not UTF-8 (byte {error.start})") from None


def _records(path: Path) -> _Records:
    """Return the file, the line and the cells of every row."""
    lines = _text(path).splitlines(keepends=True)
    # Lines of comments come first: names, descriptions, types and priorities of the columns.
    comments = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    reader = csv.DictReader(io.StringIO("".join(lines[comments:])), delimiter="\t", quoting=csv.QUOTE_NONE)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    return [
        (path.name, comments + reader.line_num, {name: (cell or "").strip() for name, cell in record.items() if name})
        for record in reader
    ]


def _by_patient(records: _Records, chosen: Mapping[str, str]) -> dict[str, dict[str, list[tuple[str, int, str]]]]:
    """Return the known cells of each field by patient, each with its file and line."""
    found: dict[str, dict[str, list[tuple[str, int, str]]]] = {field: {} for field in chosen}
    for file, line, record in records:
        patient = record.get("PATIENT_ID", "")
        if not patient:
            raise CollectionError(f"{file}, row {line}: there is no PATIENT_ID")
        for field, column in chosen.items():
            cells = found[field].setdefault(patient, [])
            cell = given_cell(record.get(column, ""))
            if cell is not None:
                cells.append((file, line, cell))
    return found


def _value(field: str, column: str, cell: str) -> str | float | int | None:
    if field == "sex":
        return lower_cell(cell)
    if field == "smoking":
        return smoking_cell(cell)
    if field == "pfs_months":
        try:
            months = float(cell)
        except ValueError:
            months = math.nan
        if not 0 <= months < math.inf:
            raise CollectionCellError(column, "a number of months")
        return months
    if field == "progressed":
        code = cell.partition(":")[0]
        if code not in ("0", "1"):
            raise CollectionCellError(column, "1 (event) or 0 (censored), with or without a word after a colon")
        return int(code)
    return cell


def _finished(row: dict[str, Any]) -> dict[str, Any]:
    months, progressed = row.get("pfs_months"), row.get("progressed")
    known = months is not None and progressed is not None
    return {
        "id": row["id"],
        **{field: row.get(field) for field in ("age", "sex", "smoking", "histology", "pdl1_tps")},
        "pfs_days": round(months * DAYS_PER_MONTH) if known and months is not None else None,
        "progressed": progressed if known else None,
        "treatment": "other",
    }


def _notes(chosen: Mapping[str, str], told: Counter[str]) -> tuple[str, ...]:
    absent = [field for field in MAPPED if field not in chosen]
    return (
        "taken: " + ", ".join(f"{field} from {column}" for field, column in chosen.items()),
        *(
            [f"no column was found for {', '.join(absent)}: name it in a mapping where the study has one"]
            if absent
            else []
        ),
        *(f"{count} {what}" for what, count in sorted(told.items())),
        "the study has no images, so that nobody can be scored: `pdl1es prognosis` takes the table itself, and analyses "
        "progression by measured PD-L1 and clinical variables",
        "former and current smokers are smokers of unknown grade",
        f"months are counted as {DAYS_PER_MONTH:g} days",
    )
