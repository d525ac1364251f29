"""The short report of a study that was refused: not analysed, why, and what to do about it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from highdicom.sr import CodeContentItem, CodedConcept, ContentItem, RelationshipTypeValues, TextContentItem
from highdicom.sr import LanguageOfContentItemAndDescendants as Language
from pydicom.dataset import Dataset

from pdl1es.dicom.study import Instance, Study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.report import codes as concept
from pdl1es.report.clock import in_study_zone
from pdl1es.report.content import LANGUAGE, container, observation_context, procedure_code
from pdl1es.report.options import DEFAULT_SERIES_NUMBER
from pdl1es.report.software import SoftwareIdentity
from pdl1es.report.structured_report import comprehensive_sr
from pdl1es.report.study_context import complete
from pdl1es.report.uids import derived_uid

NOTICE: Final = "PD-L1ES did not analyse this study: there is no score. This says nothing about the tumour."
SERIES_DESCRIPTION: Final = "PD-L1ES: NOT ANALYSED"

UNFILABLE: Final = frozenset({RefusalCode.SEVERAL_PATIENTS, RefusalCode.SEVERAL_STUDIES})
"""Refusals that leave open whose report it would be."""

REASON_CODES: Final[dict[RefusalCode, str]] = {
    RefusalCode.OUTPUT_NOT_WRITABLE: "R-OUTPUT",
    RefusalCode.MODEL_UNFIT: "R-MODEL",
    RefusalCode.PROVIDER_UNAVAILABLE: "R-PROVIDER",
    RefusalCode.LIMIT_EXCEEDED: "R-LIMIT",
    RefusalCode.SEVERAL_PATIENTS: "R-PATIENTS",
    RefusalCode.SEVERAL_STUDIES: "R-STUDIES",
    RefusalCode.NO_CT: "R-NO-CT",
    RefusalCode.NO_SEG: "R-NO-SEG",
    RefusalCode.SEG_UNREADABLE: "R-SEG-UNREAD",
    RefusalCode.NO_TUMOUR_SEGMENT: "R-NO-TUMOUR",
    RefusalCode.SEVERAL_TUMOUR_SEGMENTS: "R-TUMOURS",
    RefusalCode.SEG_REFERENCES_OTHER_SERIES: "R-SEG-SERIES",
    RefusalCode.SEG_REFERENCES_ABSENT_INSTANCES: "R-SEG-ABSENT",
    RefusalCode.SEG_FRAME_OF_REFERENCE: "R-SEG-FRAME",
    RefusalCode.NO_ELIGIBLE_CT: "R-CT-UNFIT",
    RefusalCode.GEOMETRY_MISSING: "R-GEO-MISSING",
    RefusalCode.GEOMETRY_INCONSISTENT: "R-GEO-MIXED",
    RefusalCode.TOO_FEW_SLICES: "R-FEW-SLICES",
    RefusalCode.DUPLICATE_SLICES: "R-DUPLICATES",
    RefusalCode.GANTRY_TILT: "R-TILT",
    RefusalCode.PROTOCOL: "R-PROTOCOL",
    RefusalCode.SEG_GEOMETRY: "R-SEG-GEO",
    RefusalCode.SEGMENT_EMPTY: "R-SEG-EMPTY",
    RefusalCode.SEGMENT_OUTSIDE_VOLUME: "R-SEG-OUTSIDE",
    RefusalCode.TUMOUR_TOO_SMALL: "R-SMALL",
    RefusalCode.MISSING_SLICES: "R-GAP",
    RefusalCode.NOT_HU: "R-NOT-HU",
    RefusalCode.UNSUPPORTED_TRANSFER_SYNTAX: "R-SYNTAX",
    RefusalCode.PIXEL_DATA_CORRUPT: "R-PIXELS",
    RefusalCode.CLINICAL_INVALID: "R-CLINICAL",
    RefusalCode.RADIOMICS_INCOMPLETE: "R-RADIOMICS",
    RefusalCode.SCORE_NOT_FINITE: "R-SCORE",
}
"""Code Values of the reasons (a Code Value holds 16 characters); their meanings are the table's own names."""


def refusal_code(code: RefusalCode) -> CodedConcept:
    """Return the coded reason: a short value, and the name that stands in docs/refusals.md as its meaning."""
    return CodedConcept(REASON_CODES[code], concept.SCHEME, code.name)


def header_to_file_under(refusal: Refusal, study: Study | None) -> Instance | None:
    """Return the object whose patient and study the report can be filed under.

    Returns
    -------
    Instance or None
        A CT image where there is one, else any other object; None where nothing was readable, or objects of several
        patients or studies leave open whose report it would be.
    """
    if study is None or refusal.code in UNFILABLE:
        return None
    filable = [instance for instance in study.instances if instance.study_instance_uid]
    ct = (instance for instance in filable if str(instance.header.get("Modality", "") or "") == "CT")
    return next(ct, filable[0] if filable else None)


def build_refusal_report(
    refusal: Refusal,
    instance: Instance,
    software: SoftwareIdentity,
    when: datetime,
    *,
    series_number: int = DEFAULT_SERIES_NUMBER,
) -> Dataset:
    """Return the structured report that says that a study was not analysed.

    Parameters
    ----------
    refusal
        Why.
    instance
        From `header_to_file_under`.
    software
        Who refused it.
    when
        Aware time of the report.
    series_number
        Of the report's series.

    Returns
    -------
    Dataset
        A Comprehensive SR of no template, its title a private code, so that no one takes it for a report on the tumour:
        (111065, DCM, "Summary of Analyses") = (111225, DCM, "Not Attempted"), the coded reason, what was found, what
        to do.
    """
    local, offset = in_study_zone(when, instance.header)
    contains = RelationshipTypeValues.CONTAINS
    root = container(concept.NOT_ANALYSED_TITLE, root=True)
    texts = [
        (concept.REFUSAL_FOUND, refusal.found),
        (
            concept.REFUSAL_ATTRIBUTE,
            f"{refusal.tag} = {refusal.value if refusal.value is not None else 'absent'}" if refusal.tag else None,
        ),
        (concept.REFUSAL_OBJECT, f"UID {refusal.uid}" if refusal.uid else None),
        (concept.REFUSAL_REMEDY, refusal.remedy),
    ]
    items: list[ContentItem] = [
        TextContentItem(concept.NOTICE, NOTICE, relationship_type=contains),
        CodeContentItem(concept.SUMMARY_OF_ANALYSES, concept.NOT_ATTEMPTED, relationship_type=contains),
        CodeContentItem(concept.REFUSAL_REASON, refusal_code(refusal.code), relationship_type=contains),
        TextContentItem(concept.REFUSAL_MEANING, refusal.code.row.meaning, relationship_type=contains),
        *(TextContentItem(name, text, relationship_type=contains) for name, text in texts if text),
        *Language(LANGUAGE),
        *observation_context(software),
        CodeContentItem(
            concept.PROCEDURE_REPORTED,
            procedure_code(instance.header),
            relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
        ),
    ]
    root.ContentSequence.extend(items)
    report = comprehensive_sr(
        root,
        evidence=[instance.header],
        software=software,
        when=local,
        series_instance_uid=derived_uid("series", "refusal", instance.study_instance_uid),
        series_number=series_number,
        series_description=SERIES_DESCRIPTION,
    )
    return complete(
        report,
        header=instance.header,
        software=software,
        model=None,
        contribution="Refused the study and said why",
        when=local,
        offset=offset,
        input_schemes=[],
    )
