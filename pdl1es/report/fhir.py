"""The report as FHIR R4 resources, for portals that read no structured report: one Bundle, its words those of every report.

Patient, ImagingStudy, Device and DiagnosticReport, with an Observation for each statement on result and tumour, as HL7's
implementation guide 'DICOM SR to FHIR Resource Mapping' maps TID 1500. What is no observation (warnings, limits, clinical
values, the model) stands in the report's narrative, with everything else. The Bundle holds the patient's identity, as the
DICOM reports do.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from html import escape
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from pdl1es.assessment import Assessment
from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.instance import Instance
from pdl1es.errors import Refusal
from pdl1es.report import codes as concept
from pdl1es.report import wording
from pdl1es.report.delivery import BuiltReport
from pdl1es.report.fhir_values import (
    SYSTEMS,
    coding_of,
    concept_of,
    fhir_date,
    identifier_type,
    identifier_within,
    instant,
    study_time,
    uid_identifier,
    url_within,
    without_empty,
)
from pdl1es.report.options import ReportOptions
from pdl1es.report.predecessors import Predecessor
from pdl1es.report.refusal_report import refusal_sentences, technical_lines
from pdl1es.report.statements import ReportStatement, Section, report_statements
from pdl1es.report.study_context import copy_patient_and_study, refused_study, scored_study
from pdl1es.report.uids import lesion_key, tracking

OBSERVED: Final[tuple[Section, ...]] = ("result", "why", "tumour")
"""Sections whose statements are Observations."""
_DIAGNOSTIC_IMAGING: Final = Code("18748-4", "LN", "Diagnostic imaging study")
_COMPUTED_TOMOGRAPHY: Final = Code("CT", "DCM", "Computed Tomography")
_HEADINGS: Final[dict[Section, str]] = {
    "notice": "Notice",
    "summary": "Summary",
    "result": "Result",
    "why": "Why",
    "warnings": "Warnings",
    "tumour": "Tumour",
    "clinical": "Clinical values",
    "limits": "What it applies to, and its limits",
    "model": "Model",
}
_RADIOLOGY: Final = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD", "display": "Radiology"}]
}
_XHTML: Final = 'xmlns="http://www.w3.org/1999/xhtml"'
_GENDERS: Final = {"M": "male", "F": "female", "O": "other"}


def fhir_bundle(
    assessment: Assessment,
    options: ReportOptions,
    reports: tuple[BuiltReport, ...] = (),
    *,
    predecessors: tuple[Predecessor, ...] = (),
) -> bytes:
    """Return the Bundle.

    Parameters
    ----------
    assessment
        What is reported; its headers give patient and study.
    options
        What the run's reports have in common.
    reports
        The DICOM reports of the run: the structured report's UID identifies the DiagnosticReport, the page is attached.
    predecessors
        Earlier reports that this one replaces.

    Returns
    -------
    bytes
        JSON, UTF-8. The same arguments give the same bytes.
    """
    study = scored_study(assessment, options)
    header = Dataset()
    copy_patient_and_study(study.header, header)
    statements = report_statements(
        assessment, show_clinical_values=options.show_clinical_values, predecessors=predecessors
    )
    key = (*lesion_key(assessment), assessment.prediction.model_sha256, study.when.isoformat())
    urls = {name: url_within(name, key) for name in ("patient", "study", "device", "report")}
    observed = [statement for statement in statements if statement.section in OBSERVED]
    observations = [
        (
            url_within(f"observation {number}", key),
            _observation(statement, assessment, urls, study_time(header, study.offset)),
        )
        for number, statement in enumerate(observed)
    ]
    report = _report(assessment, statements, urls, [url for url, _ in observations], reports)
    report |= {"effectiveDateTime": study_time(header, study.offset), "issued": instant(study.when)}
    entries = [
        (urls["report"], report),
        (urls["patient"], _patient(header)),
        (urls["study"], _imaging_study(assessment, header, study.offset, urls)),
        (urls["device"], _device(assessment, options)),
        *observations,
    ]
    return _bundle(entries, study.when)


def refusal_fhir_bundle(
    refusal: Refusal,
    instance: Instance,
    options: ReportOptions,
    reports: tuple[BuiltReport, ...] = (),
    *,
    predecessors: tuple[Predecessor, ...] = (),
) -> bytes:
    """Return the Bundle of a study that was not analysed: a DiagnosticReport without Observations.

    Parameters
    ----------
    refusal
        Why there is no score.
    instance
        From `refusal_report.header_to_file_under`.
    options
        What the run's reports have in common.
    reports
        The run's structured report, whose UID identifies the DiagnosticReport.
    predecessors
        From `refusal_report.replaced_refusals`.

    Returns
    -------
    bytes
        JSON, UTF-8. The report has status cancelled (FHIR R4: the measurement was not started or not completed).
    """
    study = refused_study(instance.header, options)
    header = Dataset()
    copy_patient_and_study(study.header, header)
    urls = {
        name: url_within(name, ("refusal", instance.study_instance_uid, refusal.code.name, study.when.isoformat()))
        for name in ("patient", "study", "device", "report")
    }
    (_, notice), *told = refusal_sentences(refusal, predecessors)
    told += [(concept.REFUSAL_REASON, refusal.code.name), *technical_lines(refusal)]
    lines = "".join(f"<li>{escape(name.meaning)}: {escape(text)}</li>" for name, text in told)
    effective, software = study_time(header, study.offset), options.software
    report = {
        "resourceType": "DiagnosticReport",
        "text": {"status": "generated", "div": f"<div {_XHTML}><p>{escape(notice)}</p><ul>{lines}</ul></div>"},
        "identifier": [uid_identifier(built.sop_instance_uid) for built in reports if built.kind == "sr"],
        "status": "cancelled",
        "category": [_RADIOLOGY],
        "code": {**concept_of(_DIAGNOSTIC_IMAGING), "text": concept.NOT_ANALYSED_TITLE.meaning},
        "subject": {"reference": urls["patient"]},
        "effectiveDateTime": effective,
        "issued": instant(study.when),
        "imagingStudy": [{"reference": urls["study"]}],
        "conclusion": f"{notice} {told[0][1]}",
    }
    imaging = {
        "resourceType": "ImagingStudy",
        "identifier": _study_identifiers(instance.study_instance_uid, header),
        "status": "available",
        "subject": {"reference": urls["patient"]},
        "started": effective,
    }
    device = {
        "resourceType": "Device",
        "identifier": [uid_identifier(str(software.device_uid_with(None)))],
        "manufacturer": software.manufacturer,
        "deviceName": [{"name": software.name, "type": "model-name"}],
        "version": [{"type": {"text": "software"}, "value": software.version}],
    }
    entries = [("report", report), ("patient", _patient(header)), ("study", imaging), ("device", device)]
    return _bundle([(urls[name], resource) for name, resource in entries], study.when)


def _bundle(entries: list[tuple[str, dict[str, Any]]], when: datetime) -> bytes:
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": instant(when),
        "entry": [{"fullUrl": url, "resource": without_empty(resource)} for url, resource in entries],
    }
    return (json.dumps(bundle, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def _study_identifiers(study_instance_uid: str, header: Dataset) -> list[dict[str, Any]]:
    accession = str(header.get("AccessionNumber", "") or "").strip()
    numbered = [{"type": identifier_type("ACSN"), "value": accession}] if accession else []
    return [uid_identifier(study_instance_uid), *numbered]


def _report(
    assessment: Assessment,
    statements: tuple[ReportStatement, ...],
    urls: dict[str, str],
    results: list[str],
    reports: tuple[BuiltReport, ...],
) -> dict[str, Any]:
    written = {built.kind: built for built in reports}
    first = [s.text for s in statements if s.section in ("notice", "summary")]
    page = written.get("pdf")
    return {
        "resourceType": "DiagnosticReport",
        "text": {"status": "generated", "div": _narrative(statements)},
        "identifier": [uid_identifier(written["sr"].sop_instance_uid)] if "sr" in written else [],
        "status": "preliminary",
        "category": [_RADIOLOGY],
        "code": {**concept_of(_DIAGNOSTIC_IMAGING), "text": "PD-L1 expression score from chest CT (PD-L1ES)"},
        "subject": {"reference": urls["patient"]},
        "result": [{"reference": url} for url in results],
        "imagingStudy": [{"reference": urls["study"]}],
        "conclusion": f"{first[0]}. {' '.join(first[1:])}",
        "presentedForm": [
            {
                "contentType": "application/pdf",
                "title": wording.notice(assessment.model),
                "data": base64.b64encode(_pdf(page)).decode("ascii"),
            }
        ]
        if page is not None
        else [],
    }


def _observation(
    statement: ReportStatement, assessment: Assessment, urls: dict[str, str], effective: str | None
) -> dict[str, Any]:
    """Return a statement as Observation: a number, a code where its words have one, or text."""
    found: dict[str, Any] = {
        "resourceType": "Observation",
        "identifier": [identifier_within(str(tracking(assessment)[1]), statement.concept)],
        "status": "preliminary",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "imaging",
                        "display": "Imaging",
                    }
                ]
            }
        ],
        "code": concept_of(statement.concept),
        "subject": {"reference": urls["patient"]},
        "effectiveDateTime": effective,
        "device": {"reference": urls["device"]},
        "derivedFrom": [{"reference": urls["study"]}],
    }
    if statement.value is not None and statement.unit is not None:
        unit = statement.unit
        found["valueQuantity"] = {
            "value": float(statement.text),
            "unit": unit.value.strip("{}"),
            "system": SYSTEMS["UCUM"],
            "code": unit.value,
        }
    elif statement.group is not None:
        code = concept.group_code(statement.group)
        found["valueCodeableConcept"] = (concept_of(code) if code is not None else {}) | {"text": statement.text}
    elif statement.concept in concept.GROUP_CONCEPTS:
        # "There is no proper value for this element": the score was computed, and the cut-off does not hold for this CT.
        found["dataAbsentReason"] = {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
                    "code": "not-applicable",
                    "display": "Not Applicable",
                }
            ],
            "text": statement.text,
        }
    else:
        found["valueString"] = statement.text
    return found


def _patient(header: Dataset) -> dict[str, Any]:
    groups = str(header.get("PatientName", "") or "").split("=")
    # Alphabetic, ideographic, phonetic (PS3.5 6.2.1.1): the first that is not empty.
    name = PersonName(next((group for group in groups if group.strip("^ ")), ""))
    identity = str(header.get("PatientID", "") or "").strip()
    issuer = str(header.get("IssuerOfPatientID", "") or "").strip()
    given = [part for part in (name.given_name, name.middle_name) if part]
    sex = str(header.get("PatientSex", "") or "").strip()
    return {
        "resourceType": "Patient",
        "identifier": [
            {"type": identifier_type("MR"), "value": identity, "assigner": {"display": issuer} if issuer else None}
        ]
        if identity
        else [],
        "name": [
            {
                "family": name.family_name or None,
                "given": given,
                "prefix": [name.name_prefix] if name.name_prefix else [],
            }
        ]
        if name.family_name or given
        else [],
        "gender": _GENDERS.get(sex, "unknown") if sex else None,
        "birthDate": fhir_date(str(header.get("PatientBirthDate", "") or "")),
    }


def _imaging_study(assessment: Assessment, header: Dataset, offset: str | None, urls: dict[str, str]) -> dict[str, Any]:
    ct = assessment.selection.ct
    drawn = assessment.selection.segmentation.instance
    return {
        "resourceType": "ImagingStudy",
        "identifier": _study_identifiers(ct.study_instance_uid, header),
        "status": "available",
        "subject": {"reference": urls["patient"]},
        "started": study_time(header, offset),
        "series": [
            {"uid": ct.series_instance_uid, "modality": coding_of(_COMPUTED_TOMOGRAPHY)},
            {
                "uid": drawn.series_instance_uid,
                "modality": coding_of(
                    Code("SEG", "DCM", "Segmentation")
                    if assessment.selection.segmentation.kind == "SEG"
                    else Code("RTSTRUCT", "DCM", "Radiotherapy Structure Set")
                ),
            },
        ],
    }


def _device(assessment: Assessment, options: ReportOptions) -> dict[str, Any]:
    software, model = options.software, assessment.model
    sha256 = assessment.prediction.model_sha256
    return {
        "resourceType": "Device",
        "identifier": [uid_identifier(str(software.device_uid_with(sha256)))],
        "manufacturer": software.manufacturer,
        "deviceName": [{"name": software.name, "type": "model-name"}],
        "version": [
            {"type": {"text": "software"}, "value": software.version},
            {"type": {"text": "model"}, "value": f"{model.name} {model.version}"},
            {"type": {"text": "SHA-256 of the model"}, "value": sha256},
        ],
    }


def _narrative(statements: tuple[ReportStatement, ...]) -> str:
    """Return all statements as XHTML, by section."""
    parts = []
    for section, heading in _HEADINGS.items():
        said = [statement for statement in statements if statement.section == section]
        if not said:
            continue
        if section in ("notice", "summary"):
            lines = "".join(f"<p>{escape(statement.text)}</p>" for statement in said)
        else:
            lines = "".join(f"<li>{escape(s.label)}: {escape(s.words)}</li>" for s in said)
            lines = f"<h3>{escape(heading)}</h3><ul>{lines}</ul>"
        parts.append(lines)
    return f"<div {_XHTML}>{''.join(parts)}</div>"


def _pdf(page: BuiltReport) -> bytes:
    document = page.dataset
    return bytes(document.EncapsulatedDocument)[: int(document.EncapsulatedDocumentLength)]
