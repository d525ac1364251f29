"""One function for each kind of report; each loads what its kind needs when it is called.

The picture is built before the structured report that refers to it. The ROI slices are drawn once (`draw_roi`), for
picture and page.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdl1es.report.delivery import BuiltReport
from pdl1es.report.options import ReportOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pdl1es.assessment import Assessment
    from pdl1es.dicom.study import Study
    from pdl1es.errors import Refusal
    from pdl1es.report.predecessors import Predecessor


def draw_roi(assessment: Assessment) -> NDArray[np.uint8]:
    """Draw the ROI slices with the class activation map, for `build_cam` and `build_pdf`.

    Returns
    -------
    ndarray
        uint8 RGB, shape (S, rows, columns, 3), from the feet to the head.
    """
    from pdl1es.report.roi_picture import roi_pictures

    return roi_pictures(assessment)


def build_sr(
    assessment: Assessment, options: ReportOptions, *, study: Study | None = None, cam: BuiltReport | None = None
) -> BuiltReport:
    """Build the structured report of one scored tumour.

    Parameters
    ----------
    assessment
        What is reported.
    options
        How.
    study
        What the input held: earlier reports in it are named as replaced, and counted.
    cam
        The picture, where one is written; the report refers to it.

    Returns
    -------
    BuiltReport
        Comprehensive SR, TID 1500.
    """
    from pdl1es.report.instance_number import report_instance_number
    from pdl1es.report.structured_report import build_structured_report

    predecessors = replaced_reports(assessment, options, study)
    study = _with_earlier(study, options)
    dataset = build_structured_report(
        assessment,
        options,
        predecessors=predecessors,
        cam=cam.dataset if cam is not None else None,
        instance_number=report_instance_number(assessment, study),
    )
    return BuiltReport("sr", dataset)


def build_cam(
    assessment: Assessment, options: ReportOptions, pictures: NDArray[np.uint8], *, study: Study | None = None
) -> BuiltReport:
    """Build the picture of the class activation map.

    Parameters
    ----------
    assessment
        What is drawn.
    options
        How.
    pictures
        From `draw_roi`.
    study
        What the input held: earlier reports of the same kind are counted.

    Returns
    -------
    BuiltReport
        Multi-frame True Color Secondary Capture.
    """
    from pdl1es.report.cam_overlay import build_cam_overlay

    return BuiltReport("cam", build_cam_overlay(assessment, options, pictures, study=_with_earlier(study, options)))


def build_pdf(
    assessment: Assessment, options: ReportOptions, pictures: NDArray[np.uint8], *, study: Study | None = None
) -> BuiltReport:
    """Build the page.

    Parameters
    ----------
    assessment
        What is reported.
    options
        How.
    pictures
        From `draw_roi`.
    study
        What the input held: earlier reports of the same kind are counted.

    Returns
    -------
    BuiltReport
        Encapsulated PDF.
    """
    from pdl1es.report.encapsulated_pdf import build_encapsulated_pdf

    return BuiltReport(
        "pdf", build_encapsulated_pdf(assessment, options, pictures, study=_with_earlier(study, options))
    )


def link(sr: BuiltReport, page: BuiltReport) -> tuple[BuiltReport, BuiltReport]:
    """Let structured report and page of a run refer to each other.

    Parameters
    ----------
    sr, page
        As they were built.

    Returns
    -------
    tuple of BuiltReport
        Both with the reference, and with other SOP Instance UIDs.
    """
    from pdl1es.report.cross_reference import cross_referenced

    return cross_referenced(sr, page)


def with_key_objects(
    assessment: Assessment,
    options: ReportOptions,
    reports: tuple[BuiltReport, ...],
    *,
    study: Study | None = None,
) -> tuple[BuiltReport, ...]:
    """Add a Key Object Selection to the reports of a run.

    Parameters
    ----------
    assessment
        What is reported.
    options
        How.
    reports
        As they are written.
    study
        What the input held: earlier selections are counted.

    Returns
    -------
    tuple of BuiltReport
        The reports, and the selection that names them.
    """
    from pdl1es.report.key_objects import build_key_object_selection

    study = _with_earlier(study, options)
    return (*reports, BuiltReport("kos", build_key_object_selection(assessment, options, reports, study=study)))


def build_fhir(
    assessment: Assessment, options: ReportOptions, reports: tuple[BuiltReport, ...], *, study: Study | None = None
) -> bytes:
    """Build the FHIR Bundle.

    Parameters
    ----------
    assessment
        What is reported.
    options
        How.
    reports
        The DICOM reports of the same run.
    study
        What the input held: earlier reports in it are named as replaced.

    Returns
    -------
    bytes
        JSON, FHIR R4.
    """
    from pdl1es.report.fhir import fhir_bundle

    return fhir_bundle(assessment, options, reports, predecessors=replaced_reports(assessment, options, study))


def replaced_reports(assessment: Assessment, options: ReportOptions, study: Study | None) -> tuple[Predecessor, ...]:
    """Find the earlier reports that the reports on an assessment replace.

    Parameters
    ----------
    assessment
        What is reported.
    options
        With the reports that were named besides.
    study
        What the input held.

    Returns
    -------
    tuple of Predecessor
        As `predecessors.find_predecessors`.
    """
    from pdl1es.report.predecessors import find_predecessors

    held = _with_earlier(study, options)
    return find_predecessors(held, assessment.selection.ct.study_instance_uid) if held is not None else ()


def build_refusal_sr(refusal: Refusal, study: Study, options: ReportOptions) -> BuiltReport | None:
    """Build the short report that says that a study was not analysed, and why.

    Parameters
    ----------
    refusal
        Why.
    study
        What the input held.
    options
        How.

    Returns
    -------
    BuiltReport or None
        Comprehensive SR of no template; None where it is not known whose report it would be.
    """
    from pdl1es.report.refusal_report import build_refusal_report, header_to_file_under

    instance = header_to_file_under(refusal, study)
    if instance is None:
        return None
    return BuiltReport("sr", build_refusal_report(refusal, instance, options, study=_with_earlier(study, options)))


def build_refusal_fhir(
    refusal: Refusal, study: Study, options: ReportOptions, reports: tuple[BuiltReport, ...]
) -> bytes | None:
    """Build the FHIR Bundle that says that a study was not analysed, and why.

    Parameters
    ----------
    refusal
        Why.
    study
        What the input held.
    options
        How.
    reports
        From `build_refusal_sr`.

    Returns
    -------
    bytes or None
        JSON, FHIR R4; None where it is not known whose report it would be.
    """
    from pdl1es.report.fhir import refusal_fhir_bundle
    from pdl1es.report.refusal_report import header_to_file_under, replaced_refusals

    instance = header_to_file_under(refusal, study)
    if instance is None:
        return None
    predecessors = replaced_refusals(_with_earlier(study, options), instance.study_instance_uid)
    return refusal_fhir_bundle(refusal, instance, options, reports, predecessors=predecessors)


def _with_earlier(study: Study | None, options: ReportOptions) -> Study | None:
    """Return what the input held, and the earlier reports that were named besides."""
    held = {instance.sop_instance_uid for instance in study.instances} if study is not None else set()
    further = tuple(instance for instance in options.earlier if instance.sop_instance_uid not in held)
    if study is None or not further:
        return study
    return replace(study, instances=(*study.instances, *further))
