"""The DICOM structured report: an assessment as a Comprehensive SR that any PACS stores and any viewer shows.

Comprehensive SR (PS3.3 A.35.3) rather than Comprehensive 3D SR: the report holds no 3-D coordinates (the tumour is
referred to as a segment), and more archives and viewers take it.
"""

from __future__ import annotations

from highdicom.sr import ComprehensiveSR, ContainerContentItem
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from pdl1es.assessment import Assessment
from pdl1es.report import wording
from pdl1es.report.content import report_content
from pdl1es.report.options import ReportOptions
from pdl1es.report.predecessors import Predecessor, predecessor_sequence
from pdl1es.report.study_context import CHARACTER_SET, TYPE_2, StudyContext, scored_study
from pdl1es.report.uids import derived_uid, series_uid


def build_structured_report(
    assessment: Assessment,
    options: ReportOptions,
    *,
    predecessors: tuple[Predecessor, ...] = (),
    cam: Dataset | None = None,
) -> Dataset:
    """Return the structured report of one scored tumour.

    Parameters
    ----------
    assessment
        What is reported; its headers give patient and study.
    options
        What the run's reports have in common. The same arguments give the same dataset.
    predecessors
        Earlier reports that this one replaces.
    cam
        The picture of the class activation map, where one is written; the report refers to it.

    Returns
    -------
    Dataset
        A Comprehensive SR with file meta information; `study_context.encode` makes a file of it.
    """
    study = scored_study(assessment, options)
    segmentation = assessment.selection.segmentation.instance
    report = comprehensive_sr(
        report_content(assessment, options, predecessors=predecessors, cam=cam),
        study,
        evidence=[study.header, segmentation.header, *([cam] if cam is not None else [])],
        series_instance_uid=series_uid(assessment, "sr"),
        series_description=wording.series_description(assessment.model, "sr"),
    )
    if predecessors:
        report.PredecessorDocumentsSequence = predecessor_sequence(predecessors)
    return study.complete(report, "Scored the tumour and wrote this report")


def comprehensive_sr(
    content: ContainerContentItem,
    study: StudyContext,
    *,
    evidence: list[Dataset],
    series_instance_uid: UID,
    series_description: str,
) -> Dataset:
    """Return a Comprehensive SR, complete, preliminary and unverified, without what `StudyContext.complete` adds.

    Parameters
    ----------
    content
        Root of its content tree.
    study
        On which it reports.
    evidence
        Headers of the objects to which it refers.
    series_instance_uid, series_description
        Of its series.

    Returns
    -------
    Dataset
    """
    software = study.options.software
    report: Dataset = ComprehensiveSR(
        evidence=[_evidence(header) for header in evidence],
        content=content,
        series_instance_uid=series_instance_uid,
        series_number=study.options.series_number_of("sr"),
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
        content_date=study.when.date(),
        content_time=study.when.time().replace(microsecond=0),
    )
    return report


def _evidence(header: Dataset) -> Dataset:
    """Return what highdicom needs of a referenced object; `StudyContext.complete` adds patient and study.

    highdicom would read every value again and fail on one that breaks its representation (a birth date of
    ``19500000``), which must not cost the study its report.
    """
    evidence = Dataset()
    for keyword in TYPE_2:
        setattr(evidence, keyword, "")
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(evidence, keyword, str(header.get(keyword, "")))
    return evidence
