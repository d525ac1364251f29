"""The DICOM structured report: an assessment as a Comprehensive SR that any PACS stores and any viewer shows.

Comprehensive SR (PS3.3 A.35.3) by default rather than Comprehensive 3D SR (A.35.13): the report holds no 3-D coordinates
(the tumour is referred to as a segment), and more archives and viewers take it. IHE AI Results asks for the latter, which the
settings can choose; the content is the same.
"""

from __future__ import annotations

from highdicom.sr import ContainerContentItem
from pydicom.dataset import Dataset
from pydicom.uid import UID, Comprehensive3DSRStorage, ComprehensiveSRStorage

from pdl1es.assessment import Assessment
from pdl1es.report import wording
from pdl1es.report.content import report_content
from pdl1es.report.options import ReportOptions
from pdl1es.report.predecessors import Predecessor
from pdl1es.report.references import ObjectReference, hierarchical_references
from pdl1es.report.study_context import StudyContext, scored_study
from pdl1es.report.uids import series_uid


def build_structured_report(
    assessment: Assessment,
    options: ReportOptions,
    *,
    predecessors: tuple[Predecessor, ...] = (),
    cam: Dataset | None = None,
    instance_number: int = 1,
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
    instance_number
        Its number in its series.

    Returns
    -------
    Dataset
        A Comprehensive SR with file meta information; `study_context.encode` makes a file of it.
    """
    study = scored_study(assessment, options)
    segmentation = [part.header for part in assessment.selection.segmentation.instances]
    report = comprehensive_sr(
        report_content(assessment, options, predecessors=predecessors, cam=cam),
        study,
        evidence=[study.header, *segmentation, *([cam] if cam is not None else [])],
        series_instance_uid=series_uid(assessment, "sr"),
        series_description=wording.series_description(assessment.model, "sr"),
        instance_number=instance_number,
    )
    replace_documents(report, predecessors)
    return study.complete(report, "Scored the tumour and wrote this report")


def replace_documents(report: Dataset, predecessors: tuple[Predecessor, ...]) -> None:
    """Name in a report the earlier ones that it replaces (Predecessor Documents Sequence, PS3.3 C.17.2).

    Parameters
    ----------
    report
        It gets the sequence, where there are any.
    predecessors
        The earlier reports.
    """
    if predecessors:
        by_series = sorted(predecessors, key=lambda predecessor: predecessor.series_instance_uid)
        report.PredecessorDocumentsSequence = hierarchical_references(by_series)


def comprehensive_sr(
    content: ContainerContentItem,
    study: StudyContext,
    *,
    evidence: list[Dataset],
    series_instance_uid: UID,
    series_description: str,
    instance_number: int = 1,
) -> Dataset:
    """Return a Comprehensive SR, complete, preliminary and unverified, without what `StudyContext.complete` adds.

    highdicom's own class is not used: it reads the whole standard (0.35 s of processor time), and it reads every value
    of the evidence and fails on one that breaks its representation (a birth date of ``19500000``), which must not cost
    the study its report.

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
    instance_number
        Its number in it.

    Returns
    -------
    Dataset
    """
    software = study.options.software
    report = Dataset()
    report.SOPClassUID = Comprehensive3DSRStorage if study.options.comprehensive_3d else ComprehensiveSRStorage
    # SR Document Series, General Equipment
    report.Modality = "SR"
    report.SeriesInstanceUID = series_instance_uid
    report.SeriesNumber = study.options.series_number_of("sr")
    report.SeriesDescription = series_description
    report.ReferencedPerformedProcedureStepSequence = []
    report.Manufacturer = software.manufacturer
    report.ManufacturerModelName = software.name
    # SR Document General
    report.InstanceNumber = instance_number
    report.CompletionFlag = "COMPLETE"
    report.PreliminaryFlag = "PRELIMINARY"
    report.VerificationFlag = "UNVERIFIED"
    report.PerformedProcedureCodeSequence = []
    references = [ObjectReference.of(header) for header in evidence]
    own_study = references[0].study_instance_uid
    for keyword, chosen in (
        ("CurrentRequestedProcedureEvidenceSequence", [r for r in references if r.study_instance_uid == own_study]),
        ("PertinentOtherEvidenceSequence", [r for r in references if r.study_instance_uid != own_study]),
    ):
        if chosen:
            setattr(report, keyword, hierarchical_references(chosen))
    # SR Document Content
    for element in content:
        report[element.tag] = element
    return report
