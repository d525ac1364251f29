"""The DICOM structured report: an assessment as a Comprehensive SR that any PACS stores and any viewer shows.

Comprehensive SR (PS3.3 A.35.3) rather than Comprehensive 3D SR: the report holds no 3-D coordinates (the tumour is
referred to as a segment), and more archives and viewers take it.
"""

from __future__ import annotations

from datetime import datetime

from highdicom.sr import ComprehensiveSR, ContainerContentItem
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from pdl1es.assessment import Assessment
from pdl1es.dicom.study import Instance
from pdl1es.report import wording
from pdl1es.report.clock import in_study_zone
from pdl1es.report.content import report_content
from pdl1es.report.options import DEFAULT_SERIES_NUMBER
from pdl1es.report.predecessors import Predecessor, predecessor_sequence
from pdl1es.report.software import SOFTWARE, SoftwareIdentity
from pdl1es.report.study_context import (
    CHARACTER_SET,
    PATIENT_AND_STUDY,
    TYPE_2,
    complete,
    encode,
)
from pdl1es.report.uids import derived_uid, series_uid

__all__ = ["PATIENT_AND_STUDY", "SOFTWARE", "SoftwareIdentity", "build_structured_report", "encode", "roi_image"]


def build_structured_report(
    assessment: Assessment,
    software: SoftwareIdentity,
    when: datetime,
    *,
    series_number: int = DEFAULT_SERIES_NUMBER,
    show_clinical_values: bool = True,
    predecessors: tuple[Predecessor, ...] = (),
    cam: Dataset | None = None,
) -> Dataset:
    """Return the structured report of one scored tumour.

    Parameters
    ----------
    assessment
        What is reported; its headers give patient and study.
    software
        The device that observes.
    when
        Aware time of the report. The same arguments give the same dataset.
    series_number
        Of the report's series.
    show_clinical_values
        Whether the values of age, sex, smoking and family history stand in it; where they came from always does.
    predecessors
        Earlier reports that this one replaces.
    cam
        The picture of the class activation map, where one is written; the report refers to it.

    Returns
    -------
    Dataset
        A Comprehensive SR with file meta information; `encode` makes a file of it.
    """
    image = roi_image(assessment)
    segmentation = assessment.selection.segmentation.instance
    local, offset = in_study_zone(when, image.header)
    content = report_content(
        assessment,
        software,
        image.header,
        show_clinical_values=show_clinical_values,
        predecessors=predecessors,
        cam=cam,
    )
    report = comprehensive_sr(
        content,
        evidence=[image.header, segmentation.header, *([cam] if cam is not None else [])],
        software=software,
        when=local,
        series_instance_uid=series_uid(assessment, "SR"),
        series_number=series_number,
        series_description=wording.series_description(assessment.model),
    )
    if predecessors:
        report.PredecessorDocumentsSequence = predecessor_sequence(predecessors)
    return complete(
        report,
        header=image.header,
        software=software,
        model=assessment.model,
        contribution="Scored the tumour and wrote this report",
        when=local,
        offset=offset,
        input_schemes=list(segmentation.header.get("CodingSchemeIdentificationSequence") or []),
    )


def comprehensive_sr(
    content: ContainerContentItem,
    *,
    evidence: list[Dataset],
    software: SoftwareIdentity,
    when: datetime,
    series_instance_uid: UID,
    series_number: int,
    series_description: str,
) -> Dataset:
    """Return a Comprehensive SR, complete, preliminary and unverified, that `complete` has still to fill in."""
    report: Dataset = ComprehensiveSR(
        evidence=[_evidence(header) for header in evidence],
        content=content,
        series_instance_uid=series_instance_uid,
        series_number=series_number,
        # Replaced by the one that follows from the content.
        sop_instance_uid=derived_uid("placeholder"),
        instance_number=1,
        manufacturer=software.manufacturer,
        is_complete=True,
        is_final=False,
        is_verified=False,
        record_evidence=True,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set=CHARACTER_SET,
        series_description=series_description,
        manufacturer_model_name=software.name,
        content_date=when.date(),
        content_time=when.time().replace(microsecond=0),
    )
    return report


def roi_image(assessment: Assessment) -> Instance:
    """Return the CT image nearest to the ROI slice."""
    uid = assessment.roi_slice.sop_instance_uid
    return next(ct.instance for ct in assessment.selection.ct.slices if ct.instance.sop_instance_uid == uid)


def _evidence(header: Dataset) -> Dataset:
    """Return what highdicom needs of a referenced object; `complete` gives the report its patient and study.

    highdicom would re-read every value and fail on one that breaks its representation (a birth date of ``19500000``),
    which must not cost the study its report.
    """
    evidence = Dataset()
    for keyword in TYPE_2:
        setattr(evidence, keyword, "")
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(evidence, keyword, str(header.get(keyword, "")))
    return evidence
