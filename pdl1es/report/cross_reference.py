"""Structured report and page refer to each other, although the UID of each follows from its content.

The page's UID follows from both contents without the references, the structured report's from its content with the
reference to that UID. So still no UID names two different objects, and the same input gives the same UIDs.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from pdl1es.report import codes as concept
from pdl1es.report.content_items import composite_item
from pdl1es.report.delivery import BuiltReport
from pdl1es.report.references import ObjectReference, hierarchical_references, sop_reference
from pdl1es.report.study_context import identified, plain
from pdl1es.report.uids import derived_uid


def cross_referenced(sr: BuiltReport, page: BuiltReport) -> tuple[BuiltReport, BuiltReport]:
    """Return a structured report and a page of one run that refer to each other.

    Parameters
    ----------
    sr, page
        As they were built alone; not changed.

    Returns
    -------
    tuple of BuiltReport
        The structured report with a COMPOSITE item that names the page, the page with the structured report in its Source
        Instance Sequence. Both have other SOP Instance UIDs than alone.
    """
    document = plain(page.dataset)
    document.SOPInstanceUID = derived_uid("instance", "page", page.sop_instance_uid, sr.sop_instance_uid)
    report = plain(sr.dataset)
    group = report.ContentSequence[-1].ContentSequence[0]
    named = composite_item(concept.PAGE, document.SOPClassUID, document.SOPInstanceUID)
    group.ContentSequence.append(plain(named))
    _add_evidence(report, document)
    report = identified(report)
    document.SourceInstanceSequence.append(sop_reference(report.SOPClassUID, report.SOPInstanceUID))
    return BuiltReport("sr", report), BuiltReport("pdf", identified(document, document.SOPInstanceUID))


def _add_evidence(report: Dataset, document: Dataset) -> None:
    """Name an object of the report's study in Current Requested Procedure Evidence Sequence."""
    (study,) = hierarchical_references([ObjectReference.of(document)])
    for item in report.CurrentRequestedProcedureEvidenceSequence:
        if item.StudyInstanceUID == study.StudyInstanceUID:
            item.ReferencedSeriesSequence.extend(study.ReferencedSeriesSequence)
