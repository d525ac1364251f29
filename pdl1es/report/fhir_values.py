"""The smallest parts of FHIR resources: codes, identifiers, dates, and what stands for nothing."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Any, Final

from pydicom.dataset import Dataset

from pdl1es.dicom.coded_concept import Code
from pdl1es.report import codes as concept
from pdl1es.report.uids import derived_uid

SYSTEMS: Final = {
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "SCT": "http://snomed.info/sct",
    "LN": "http://loinc.org",
    "UCUM": "http://unitsofmeasure.org",
    concept.SCHEME: f"urn:oid:{derived_uid('scheme', concept.SCHEME)}",
}
DICOM_UIDS: Final = "urn:dicom:uid"


def concept_of(code: Code) -> dict[str, Any]:
    """Return a concept, with its meaning as text too."""
    return {"coding": [coding_of(code)], "text": code.meaning}


def coding_of(code: Code) -> dict[str, Any]:
    """Return a concept's code with its system."""
    return {"system": SYSTEMS[code.scheme], "code": code.value, "display": code.meaning}


def identifier_type(code: str) -> dict[str, Any]:
    """Return a kind of identifier of HL7's table 0203."""
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": code}]}


def uid_identifier(uid: str) -> dict[str, str]:
    """Return a DICOM UID as an identifier (FHIR R4 ImagingStudy, notes)."""
    return {"system": DICOM_UIDS, "value": f"urn:oid:{uid}"}


def identifier_within(uid: str, code: Code) -> dict[str, str]:
    """Return what identifies one observation on a tumour: the tumour's tracking UID is the namespace, the code the value.

    Parameters
    ----------
    uid
        The namespace: the tumour's tracking UID.
    code
        What is observed.

    Returns
    -------
    dict[str, str]
    """
    return {"system": f"urn:oid:{uid}", "value": f"{code.value} ({code.scheme})"}


def url_within(name: str, key: tuple[str, ...]) -> str:
    """Return a resource's URL within the Bundle: a UUID that follows from what it is of.

    Parameters
    ----------
    name
        Which resource of the Bundle.
    key
        What the Bundle is of.

    Returns
    -------
    str
    """
    return uuid.UUID(int=int(derived_uid("fhir", name, *key).removeprefix("2.25."))).urn


def fhir_date(text: str) -> str | None:
    """Return a DICOM date as FHIR writes it; None where it is none."""
    try:
        return datetime.strptime(text.strip(), "%Y%m%d").date().isoformat()
    except ValueError:
        return None


def study_time(header: Dataset, offset: str | None) -> str | None:
    """Return the study's date; with its time where the zone is known, which FHIR asks for beside a time.

    Parameters
    ----------
    header
        With Study Date and Study Time.
    offset
        Timezone Offset From UTC (0008,0201); None where it is not known.

    Returns
    -------
    str or None
    """
    date = fhir_date(str(header.get("StudyDate", "") or ""))
    time = str(header.get("StudyTime", "") or "").strip()
    if date is None or offset is None or not re.fullmatch(r"([01]\d|2[0-3])[0-5]\d([0-5]\d)?(\.\d*)?", time):
        return date
    seconds = time[4:6] or "00"
    return f"{date}T{time[:2]}:{time[2:4]}:{seconds}{offset[:3]}:{offset[3:]}"


def instant(when: datetime) -> str:
    """Return a time with its zone, to the second."""
    return when.isoformat(timespec="seconds")


def without_empty(value: Any) -> Any:
    """Return a resource without what is empty: FHIR allows no empty element."""
    if isinstance(value, dict):
        kept = {name: without_empty(inner) for name, inner in value.items()}
        return {name: inner for name, inner in kept.items() if inner not in (None, "", [], {})}
    if isinstance(value, list):
        return [inner for inner in (without_empty(entry) for entry in value) if inner not in (None, "", [], {})]
    return value
