"""Age, sex, smoking and family history: from a file or the header, each with its source (paper, Table 1)."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydicom.dataset import Dataset

from pdl1es.dicom.free_text import shown_term
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.regular_file import read_regular_file
from pdl1es.score_warning import ScoreWarning

VARIABLES = ("age", "sex", "smoking", "family_history")
"""The paper's order. Codes: age in years; sex female 0, male 1; smoking never 0, occasionally 1, constantly 2; family
history of cancer no 0, yes 1."""

SEX_CODES = {"female": 0.0, "male": 1.0}
SMOKING_CODES = {"never": 0.0, "occasionally": 1.0, "constantly": 2.0}
FAMILY_HISTORY_CODES = {"no": 0.0, "yes": 1.0}

TREATMENTS = ("pembrolizumab", "pembrolizumab and chemotherapy", "other")
"""First-line treatment: no input of the model; it says whether the fusion risk group may be reported."""
PEMBROLIZUMAB = TREATMENTS[:2]
"""Treatments of the cohort on which such a model is fitted (paper, immunotherapy cohort)."""

MAX_CLINICAL_FILE_BYTES = 16 * 1024 * 1024
STUDY_FILE = "clinical.json"
"""Of a study's folder: what is known of its patient."""


class ClinicalFileError(ValueError):
    """A clinical file does not follow its schema; the message says where, never whose."""


@dataclass(frozen=True, slots=True)
class ClinicalValue:
    """One variable.

    Attributes
    ----------
    value
        The code, or None where it is missing.
    source
        ``"clinical file"``, ``"clinical.json of the study"``, ``"DICOM PatientAge (0010,1010)"`` and so on, or
        ``"missing"``.
    graded
        False for a smoker of unknown grade (DICOM Smoking Status YES): the model's own grade stands in and counts as
        imputed.
    """

    value: float | None
    source: str
    graded: bool = True


MISSING = ClinicalValue(None, "missing")


@dataclass(frozen=True, slots=True)
class ClinicalData:
    """The four variables in the paper's order, and one of `TREATMENTS`, or None where it is not known."""

    age: ClinicalValue
    sex: ClinicalValue
    smoking: ClinicalValue
    family_history: ClinicalValue
    treatment: str | None = None

    def values(self) -> tuple[ClinicalValue, ClinicalValue, ClinicalValue, ClinicalValue]:
        """Return the variables in the paper's order."""
        return (self.age, self.sex, self.smoking, self.family_history)

    def sources(self) -> dict[str, str]:
        """Return where each variable was found, by its name; ``"missing"`` where nowhere."""
        return {name: value.source for name, value in zip(VARIABLES, self.values(), strict=True)}

    @property
    def on_pembrolizumab(self) -> bool:
        """Whether first-line pembrolizumab is known to be the treatment: of others the fusion risk group says nothing."""
        return self.treatment in PEMBROLIZUMAB


@dataclass(frozen=True, slots=True)
class ClinicalInput:
    """The four variables, and the warnings about where they came from."""

    data: ClinicalData
    warnings: tuple[ScoreWarning, ...] = ()


def _normalised(value: Any) -> Any:
    """Strip and lower text; blank text is missing."""
    if isinstance(value, str):
        value = value.strip().lower()
        return value or None
    return value


class ClinicalRecord(BaseModel):
    """One patient's clinical variables as a file gives them; every field may be missing or null.

    The JSON Schema of this model is the schema of ``clinical.json`` and of ``--clinical FILE.json``; the columns of a
    CSV have the same names and values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    age: float | None = Field(default=None, ge=0, le=120, description="age in years at the time of the CT")
    sex: Literal["female", "male"] | None = Field(
        default=None, description="f, m, female, male, 0 (female) or 1 (male)"
    )
    smoking: Literal["never", "occasionally", "constantly", "smoker"] | None = Field(
        default=None, description="the paper's grades; 'smoker' is a smoker whose grade is not known"
    )
    family_history: Literal["no", "yes"] | None = Field(default=None, description="cancer among relatives")
    first_line_treatment: Literal["pembrolizumab", "pembrolizumab and chemotherapy", "other"] | None = Field(
        default=None, description="decides whether a fusion risk group is reported; no input of the model"
    )

    @field_validator("age", mode="before")
    @classmethod
    def _age(cls, value: Any) -> Any:
        value = _normalised(value)
        return None if value in ("unknown", "na", "n/a") else value

    @field_validator("sex", mode="before")
    @classmethod
    def _sex(cls, value: Any) -> Any:
        value = _normalised(value)
        aliases = {"f": "female", "m": "male", "0": "female", "1": "male", "unknown": None, "o": None}
        return aliases.get(str(value), value) if value is not None else None

    @field_validator("smoking", mode="before")
    @classmethod
    def _smoking(cls, value: Any) -> Any:
        value = _normalised(value)
        aliases = {
            "0": "never",
            "1": "occasionally",
            "2": "constantly",
            "yes": "smoker",
            "no": "never",
            "unknown": None,
        }
        return aliases.get(str(value), value) if value is not None else None

    @field_validator("family_history", mode="before")
    @classmethod
    def _family_history(cls, value: Any) -> Any:
        value = _normalised(value)
        aliases = {"0": "no", "1": "yes", "false": "no", "true": "yes", "unknown": None}
        return aliases.get(str(value).lower(), value) if value is not None else None

    @field_validator("first_line_treatment", mode="before")
    @classmethod
    def _first_line_treatment(cls, value: Any) -> Any:
        value = _normalised(value)
        return None if value in ("unknown", "na", "n/a") else value


_FIELDS = frozenset(ClinicalRecord.model_fields)


def _errors(error: ValidationError, where: str) -> ClinicalFileError:
    """Turn pydantic's errors into one message that names field and reason, not the patient's value, nor a key
    that the schema does not know."""
    lines = [
        f"{'.'.join(shown_term(str(part), _FIELDS) for part in e['loc']) or 'document'}: {e['msg']}"
        for e in error.errors(include_input=False)
    ]
    return ClinicalFileError(f"{where}: " + "; ".join(lines))


def read_clinical_json(content: bytes) -> ClinicalRecord:
    """Read one patient's record.

    Parameters
    ----------
    content
        UTF-8 JSON: one object with the fields of `ClinicalRecord`.

    Returns
    -------
    ClinicalRecord

    Raises
    ------
    ClinicalFileError
        Where it is not JSON, too large, or does not follow the schema.
    """
    if len(content) > MAX_CLINICAL_FILE_BYTES:
        raise ClinicalFileError(f"the file is larger than {MAX_CLINICAL_FILE_BYTES} bytes")
    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_each_once)
    except UnicodeDecodeError as error:
        raise ClinicalFileError(f"the file is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise ClinicalFileError(
            f"the file is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except ClinicalFileError:
        raise
    except ValueError:
        # Python turns no longer text into a whole number: the time that it takes grows with the square of the length.
        raise ClinicalFileError(f"the file holds a number of more than {sys.get_int_max_str_digits()} digits") from None
    except RecursionError:
        raise ClinicalFileError("the file is nested too deeply") from None
    if not isinstance(document, dict):
        raise ClinicalFileError("the file must hold one JSON object")
    return read_clinical_mapping(document)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a key twice: nothing says which value is meant."""
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ClinicalFileError("a key is there twice")
    return document


def read_clinical_mapping(values: Mapping[str, Any]) -> ClinicalRecord:
    """Return the record of one patient's values, as ``{"age": 63, "sex": "male"}``.

    Raises
    ------
    ClinicalFileError
        Where they do not follow the schema of `ClinicalRecord`.
    """
    try:
        return ClinicalRecord.model_validate(dict(values))
    except ValidationError as error:
        raise _errors(error, "the record does not follow the schema") from None


def _separated_otherwise(columns: list[str]) -> str:
    """Return a hint where another separator would give the key columns; it may stand in a decimal too, and is not guessed."""
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        cells = [cell.strip().strip('"') for column in columns for cell in column.split(separator)]
        if len(cells) > len(columns) and {"patient_id", "accession_number"} & set(cells):
            return f": its cells are separated by {name}; save it with commas"
    return ""


def read_clinical_csv(content: bytes, patient_id: str, accession_number: str) -> ClinicalRecord | None:
    """Find one patient's row in a table.

    Parameters
    ----------
    content
        UTF-8 CSV with a header row: ``patient_id`` or ``accession_number`` (either or both), and any of the columns
        ``age, sex, smoking, family_history, first_line_treatment``; other columns are ignored.
    patient_id, accession_number
        The study's, as in its header; an accession number wins over a patient id where both columns match rows.

    Returns
    -------
    ClinicalRecord or None
        None where no row is the study's.

    Raises
    ------
    ClinicalFileError
        Where the table has no key column, several rows match, or the row's values are not allowed.
    """
    if len(content) > MAX_CLINICAL_FILE_BYTES:
        raise ClinicalFileError(f"the file is larger than {MAX_CLINICAL_FILE_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ClinicalFileError(f"the file is not UTF-8 (byte {error.start})") from None
    reader = csv.DictReader(io.StringIO(text))
    try:
        columns = [column.strip().lower() for column in reader.fieldnames or ()]
    except csv.Error as error:
        raise ClinicalFileError(f"the file is not CSV: line {reader.line_num}: {error}") from None
    reader.fieldnames = columns
    for name in ("patient_id", "accession_number", *ClinicalRecord.model_fields):
        if columns.count(name) > 1:
            raise ClinicalFileError(f"the table has {columns.count(name)} columns {name}")
    keys = {"accession_number": accession_number.strip(), "patient_id": patient_id.strip()}
    if not any(key in columns for key in keys):
        raise ClinicalFileError(
            f"the table has neither a column patient_id nor a column accession_number{_separated_otherwise(columns)}"
        )
    try:
        rows = list(enumerate(reader, start=2))
    except csv.Error as error:
        raise ClinicalFileError(f"the file is not CSV: line {reader.line_num}: {error}") from None
    for key, wanted in keys.items():
        if key not in columns or not wanted:
            continue
        found = [(number, row) for number, row in rows if (row.get(key) or "").strip() == wanted]
        if len(found) > 1:
            numbers = ", ".join(str(number) for number, _ in found)
            raise ClinicalFileError(f"rows {numbers} have the study's {key}: one row is needed")
        if found:
            number, row = found[0]
            if None in row:
                raise ClinicalFileError(f"row {number} has more fields than the table has columns")
            try:
                return ClinicalRecord.model_validate(
                    {name: row.get(name) for name in ClinicalRecord.model_fields if name in columns}
                )
            except ValidationError as error:
                raise _errors(error, f"row {number}") from None
    return None


def _from_record(record: ClinicalRecord, source: str) -> ClinicalData:
    smoking = (
        ClinicalValue(None, source, graded=False)
        if record.smoking == "smoker"
        else _coded(record.smoking, SMOKING_CODES, source)
    )
    return ClinicalData(
        age=MISSING if record.age is None else ClinicalValue(float(record.age), source),
        sex=_coded(record.sex, SEX_CODES, source),
        smoking=smoking,
        family_history=_coded(record.family_history, FAMILY_HISTORY_CODES, source),
        treatment=record.first_line_treatment,
    )


def _coded(text: str | None, codes: dict[str, float], source: str) -> ClinicalValue:
    return MISSING if text is None else ClinicalValue(codes[text], source)


_AGE_STRING = re.compile(r"^\s*(\d{1,3})([DWMY])\s*$", re.IGNORECASE)
_DATE = re.compile(r"^(\d{4})\.?(\d{2})\.?(\d{2})$")
_PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}


def _header_age(header: Dataset) -> ClinicalValue:
    match = _AGE_STRING.match(str(header.get("PatientAge", "") or ""))
    if match:
        years = int(match[1]) / _PER_YEAR[match[2].upper()]
        if years <= 120:
            return ClinicalValue(float(int(years)), "DICOM PatientAge (0010,1010)")
    birth = _DATE.match(str(header.get("PatientBirthDate", "") or "").strip())
    for keyword, tag in (("AcquisitionDate", "(0008,0022)"), ("StudyDate", "(0008,0020)")):
        date = _DATE.match(str(header.get(keyword, "") or "").strip())
        if birth and date:
            born, then = ([int(part) for part in found.groups()] for found in (birth, date))
            years = then[0] - born[0] - (then[1:] < born[1:])
            if 0 <= years <= 120:
                return ClinicalValue(float(years), f"DICOM PatientBirthDate (0010,0030) at {keyword} {tag}")
    return MISSING


def clinical_from_header(header: Dataset) -> ClinicalData:
    """Read what a CT header says.

    Parameters
    ----------
    header
        Of any CT instance of the study.

    Returns
    -------
    ClinicalData
        Age from Patient's Age, else from birth date and the date of the images; sex; smoking from Smoking Status (NO
        is never, YES a smoker of unknown grade, UNKNOWN missing). A header never tells the family history.
    """
    sex = {"F": "female", "M": "male"}.get(str(header.get("PatientSex", "") or "").strip().upper())
    status = str(header.get("SmokingStatus", "") or "").strip().upper()
    smoking_source = "DICOM SmokingStatus (0010,21A0)"
    smoking = {
        "NO": ClinicalValue(SMOKING_CODES["never"], smoking_source),
        "YES": ClinicalValue(None, smoking_source, graded=False),
    }.get(status, MISSING)
    return ClinicalData(
        age=_header_age(header),
        sex=_coded(sex, SEX_CODES, "DICOM PatientSex (0010,0040)"),
        smoking=smoking,
        family_history=MISSING,
    )


def clinical_data(
    header: Dataset, clinical_file: ClinicalRecord | None = None, study_file: ClinicalRecord | None = None
) -> ClinicalData:
    """Combine the sources: for each variable the first that knows it wins.

    Parameters
    ----------
    header
        Of a CT instance of the study; the last source.
    clinical_file
        What ``--clinical`` says of this patient; the first source.
    study_file
        The study folder's ``clinical.json``; the second source.

    Returns
    -------
    ClinicalData
        Each value with its source; what no source knows stays missing.
    """
    sources = [
        *([_from_record(clinical_file, "clinical file")] if clinical_file else []),
        *([_from_record(study_file, "clinical.json of the study")] if study_file else []),
        clinical_from_header(header),
    ]
    chosen = [
        next((value for value in values if value.value is not None or not value.graded), MISSING)
        for values in zip(*(source.values() for source in sources), strict=True)
    ]
    treatment = next((source.treatment for source in sources if source.treatment is not None), None)
    age, sex, smoking, family_history = chosen
    return ClinicalData(age, sex, smoking, family_history, treatment)


def read_clinical_input(header: Dataset, study_folder: Path, given: Path | ClinicalRecord | None) -> ClinicalInput:
    """Look for the clinical variables in what is given, then in the study's own file, then in the header.

    Parameters
    ----------
    header
        Of a CT instance of the study.
    study_folder
        May hold ``clinical.json``.
    given
        A file (JSON, or CSV keyed by patient id or accession number), a record, or None.

    Returns
    -------
    ClinicalInput
        With CLINICAL_ROW_ABSENT where a table has no row for this patient.

    Raises
    ------
    ClinicalFileError
        ``given`` does not follow its schema.
    Refusal
        CLINICAL_INVALID: the study's own file does not.
    """
    warnings: tuple[ScoreWarning, ...] = ()
    record = given if isinstance(given, ClinicalRecord) else None
    if isinstance(given, Path):
        content = _content(given)
        if given.suffix.lower() == ".csv":
            keys = (str(header.get(keyword, "") or "") for keyword in ("PatientID", "AccessionNumber"))
            record = read_clinical_csv(content, *keys)
            if record is None:
                warnings = (
                    ScoreWarning("CLINICAL_ROW_ABSENT", "The table of clinical data has no row for this patient."),
                )
        else:
            record = read_clinical_json(content)
    try:
        in_study = _study_record(study_folder)
    except ClinicalFileError as error:
        raise Refusal(RefusalCode.CLINICAL_INVALID, f"{STUDY_FILE}: {error}") from error
    return ClinicalInput(clinical_data(header, record, in_study), warnings)


def _study_record(study_folder: Path) -> ClinicalRecord | None:
    """Read the study's own file; None where there is none.

    A symbolic link is followed within the study alone: what lies outside is not the study's, and may be another
    patient's.
    """
    file = study_folder / STUDY_FILE
    if not os.path.lexists(file):
        return None
    try:
        inside = file.resolve(strict=True).is_relative_to(study_folder.resolve())
    except (OSError, RuntimeError):  # a link that leads nowhere, or in a circle
        raise ClinicalFileError("the symbolic link leads to no file") from None
    if not inside:
        raise ClinicalFileError("the symbolic link leads out of the study")
    return read_clinical_json(_content(file))


def _content(path: Path) -> bytes:
    """Read one byte more than the limit at most: the parser refuses what is longer."""
    try:
        return read_regular_file(path, MAX_CLINICAL_FILE_BYTES)
    except OSError as error:
        raise ClinicalFileError(f"the file cannot be read: {error.strerror}") from None
