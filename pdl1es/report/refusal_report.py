"""The short report of a refused study: that it was not analysed, the reason, and the remedy."""

from __future__ import annotations

from typing import Final

from highdicom.sr import ContentItem
from pydicom.dataset import Dataset

from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.report import codes as concept
from pdl1es.report import wording
from pdl1es.report.content_items import code_item, container, header_items, text_item
from pdl1es.report.instance_number import next_instance_number
from pdl1es.report.options import ReportOptions
from pdl1es.report.predecessors import Predecessor, find_predecessors
from pdl1es.report.structured_report import comprehensive_sr, replace_documents
from pdl1es.report.study_context import refused_study
from pdl1es.report.uids import derived_uid

NOTICE: Final = "PD-L1ES did not analyse this study: there is no score. This says nothing about the tumour."
SERIES_DESCRIPTION: Final = "PD-L1ES: NOT ANALYSED"

UNFILABLE: Final = frozenset({RefusalCode.SEVERAL_PATIENTS, RefusalCode.SEVERAL_STUDIES})
"""Refusals after which the patient of the report is not known."""

REASON_CODES: Final[dict[RefusalCode, str]] = {
    RefusalCode.OUTPUT_NOT_WRITABLE: "R-OUTPUT",
    RefusalCode.MODEL_CHANGED: "R-MODEL-FILE",
    RefusalCode.MODEL_UNFIT: "R-MODEL",
    RefusalCode.PROVIDER_UNAVAILABLE: "R-PROVIDER",
    RefusalCode.INPUT_UNREADABLE: "R-INPUT",
    RefusalCode.LIMIT_EXCEEDED: "R-LIMIT",
    RefusalCode.SEVERAL_PATIENTS: "R-PATIENTS",
    RefusalCode.SEVERAL_STUDIES: "R-STUDIES",
    RefusalCode.INVALID_UIDS: "R-UIDS",
    RefusalCode.NO_CT: "R-NO-CT",
    RefusalCode.NO_SEG: "R-NO-SEG",
    RefusalCode.SEG_UNREADABLE: "R-SEG-UNREAD",
    RefusalCode.SEG_INCOMPLETE: "R-SEG-PARTS",
    RefusalCode.NO_TUMOUR_SEGMENT: "R-NO-TUMOUR",
    RefusalCode.SEVERAL_TUMOUR_SEGMENTS: "R-TUMOURS",
    RefusalCode.SEG_NOT_ON_CT: "R-SEG-NOT-CT",
    RefusalCode.SEG_REFERENCES_OTHER_SERIES: "R-SEG-SERIES",
    RefusalCode.SEG_REFERENCES_ABSENT_INSTANCES: "R-SEG-ABSENT",
    RefusalCode.SEG_FRAME_OF_REFERENCE: "R-SEG-FRAME",
    RefusalCode.COPIES_DIFFER: "R-COPIES",
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
    RefusalCode.OVERLAPPING_PASSES: "R-PASSES",
    RefusalCode.CONTOUR_GAPS: "R-CONTOUR-GAPS",
    RefusalCode.SEVERAL_LESIONS: "R-LESIONS",
    RefusalCode.TUMOUR_IMPLAUSIBLE: "R-IMPLAUSIBLE",
    RefusalCode.SCAN_ENDS_AT_TUMOUR: "R-SCAN-ENDS",
    RefusalCode.MEMORY_EXCEEDED: "R-MEMORY",
    RefusalCode.CLINICAL_INVALID: "R-CLINICAL",
    RefusalCode.RADIOMICS_INCOMPLETE: "R-RADIOMICS",
    RefusalCode.SCORE_NOT_FINITE: "R-SCORE",
    RefusalCode.UNLIKE_TRAINING: "R-UNLIKE",
}
"""Code Values of the reasons (a Code Value holds 16 characters); their meanings are the table's own names."""


def refusal_code(code: RefusalCode) -> Code:
    """Return the coded reason: a short value, and the name that stands in docs/refusals.md as its meaning."""
    return Code(REASON_CODES[code], concept.SCHEME, code.name)


def header_to_file_under(refusal: Refusal, study: Study | None) -> Instance | None:
    """Return the object whose patient and study the report can be filed under.

    Parameters
    ----------
    refusal
        Why there is no score.
    study
        What the input held; None where it was not read.

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


def refusal_sentences(refusal: Refusal, predecessors: tuple[Predecessor, ...]) -> tuple[tuple[Code, str], ...]:
    """Return what a reader is told of a refusal: that there is no score, what to do, why.

    Parameters
    ----------
    refusal
        Why there is no score.
    predecessors
        Earlier reports that the new one replaces.

    Returns
    -------
    tuple of Code and str
        What each sentence is about, and the sentence; the notice first.
    """
    return (
        (concept.NOTICE, NOTICE),
        (concept.REFUSAL_REMEDY, _sentence(refusal.remedy)),
        (concept.REFUSAL_MEANING, _sentence(refusal.code.row.meaning)),
        (concept.REFUSAL_FOUND, _sentence(refusal.found)),
        *([(concept.REPLACES, wording.replaces(predecessors))] if predecessors else []),
    )


def technical_lines(refusal: Refusal) -> tuple[tuple[Code, str], ...]:
    """Return attribute and object at fault, for whoever mends it.

    Parameters
    ----------
    refusal
        Why there is no score.

    Returns
    -------
    tuple of Code and str
        Only what the refusal names.
    """
    lines = (
        (
            concept.REFUSAL_ATTRIBUTE,
            f"{refusal.tag} = {refusal.value if refusal.value is not None else 'absent'}" if refusal.tag else None,
        ),
        (concept.REFUSAL_OBJECT, f"UID {refusal.uid}" if refusal.uid else None),
    )
    return tuple((name, text) for name, text in lines if text)


def replaced_refusals(study: Study | None, study_instance_uid: str) -> tuple[Predecessor, ...]:
    """Find the earlier reports that the report of a refusal replaces: those of refusals, never a scored one.

    Parameters
    ----------
    study
        What the input held.
    study_instance_uid
        Of the study that was refused.

    Returns
    -------
    tuple of Predecessor
    """
    earlier = find_predecessors(study, study_instance_uid) if study is not None else ()
    return tuple(predecessor for predecessor in earlier if not predecessor.analysed)


def build_refusal_report(
    refusal: Refusal, instance: Instance, options: ReportOptions, *, study: Study | None = None
) -> Dataset:
    """Return the structured report that says that a study was not analysed.

    Parameters
    ----------
    refusal
        Why.
    instance
        From `header_to_file_under`.
    options
        What the run's reports have in common.
    study
        What the input held: earlier such reports in it are named as replaced, and the Instance Number follows theirs.

    Returns
    -------
    Dataset
        A Comprehensive SR of no template, its title a private code, so that no one takes it for a report on the tumour:
        that there is no score, what to do, what was found; then (111065, DCM, "Summary of Analyses") = (111225, DCM, "Not
        Attempted"), the coded reason, attribute and object at fault.
    """
    context = refused_study(instance.header, options)
    series = derived_uid("series", "refusal", instance.study_instance_uid)
    predecessors = replaced_refusals(study, instance.study_instance_uid)
    root = container(concept.NOT_ANALYSED_TITLE, root=True)
    # For a reader first: that there is no score, what to do, why. Tags and codes are for whoever mends it.
    items: list[ContentItem] = [
        *(text_item(name, text) for name, text in refusal_sentences(refusal, predecessors)),
        *header_items(options.software, instance.header),
        code_item(concept.SUMMARY_OF_ANALYSES, concept.NOT_ATTEMPTED),
        code_item(concept.REFUSAL_REASON, refusal_code(refusal.code)),
        *(text_item(name, text) for name, text in technical_lines(refusal)),
    ]
    root.ContentSequence.extend(items)
    report = comprehensive_sr(
        root,
        context,
        evidence=[instance.header],
        series_instance_uid=series,
        series_description=SERIES_DESCRIPTION,
        instance_number=next_instance_number(study, series),
    )
    replace_documents(report, predecessors)
    return context.complete(report, "Refused the study and said why")


def _sentence(words: str) -> str:
    """Return words of the table of refusals as a sentence."""
    text = words.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"
