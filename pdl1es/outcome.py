"""Writes the output of a run, however it ended: reports and result.json, a refusal, or a defect."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pdl1es.chain import ChainEnd, RunRequest, load_study
from pdl1es.clinical import ClinicalFileError
from pdl1es.dicom.selection.left_out import with_left_out
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.exit_code import ExitCode
from pdl1es.report.build import build_fhir, build_refusal_fhir, build_refusal_sr, replaced_reports, with_key_objects
from pdl1es.report.delivery import FHIR_FILE, Delivery
from pdl1es.report.earlier_reports import require_reports_of
from pdl1es.report.result import failed_result, refused_result, scored_result
from pdl1es.report.result_schema import ReportFile, ResultDocument

logger = logging.getLogger("pdl1es")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    exit_code
        For the process.
    result
        What was written to ``result.json``; None where nothing could be written.
    refusal
        Why the study was turned away, or None.
    """

    exit_code: ExitCode
    result: ResultDocument | None
    refusal: Refusal | None = None


def deliver(end: ChainEnd, request: RunRequest, output_folder: Path, seconds: Mapping[str, float]) -> Outcome:
    """Write the output of a run; this is the chain's last step.

    Parameters
    ----------
    end
        How the chain ended.
    request
        What was asked for.
    output_folder
        Where reports and ``result.json`` go.
    seconds
        Wall time by step.

    Returns
    -------
    Outcome
        For a refusal, with its report where the settings ask for one. A defect is logged, and ``result.json`` names its kind.

    Raises
    ------
    pdl1es.clinical.ClinicalFileError
        Where that ended the chain: an error of usage, not of the study.
    pdl1es.report.earlier_reports.EarlierReportError
        An earlier report that was named is of another study: likewise.
    """
    if isinstance(end.error, ClinicalFileError):
        raise end.error
    if end.study is not None:
        require_reports_of(end.study, request.earlier)
    delivery = Delivery(output_folder, mode=request.settings.report.mode)
    try:
        try:
            return _scored(end, request, delivery, seconds)
        except Refusal as refusal:
            delivery.withdraw()
            told = refusal if end.study is None else with_left_out(refusal, end.study)
            return _refused(told, end.study, request, delivery, seconds)
    except Exception as error:  # noqa: BLE001 - whatever a defect is, the result says that there was one
        log_defect(error)
        delivery.withdraw()
        result = failed_result(error, study=end.study, seconds=seconds, when=request.when)
        return _ended(ExitCode.DEFECT, result, delivery)


def _scored(end: ChainEnd, request: RunRequest, delivery: Delivery, seconds: Mapping[str, float]) -> Outcome:
    """Write reports and result of a scored study, or raise what ended the chain."""
    if isinstance(end.error, MemoryError):
        raise Refusal(RefusalCode.MEMORY_EXCEEDED, "there is no memory left") from end.error
    if end.error is not None:
        raise end.error
    assert end.assessment is not None  # a chain ends with an assessment or an error
    options, built = request.report_options, end.reports
    if "kos" in request.settings.outputs:
        built = with_key_objects(end.assessment, options, built, study=end.study)
    reports = tuple(delivery.deliver(report) for report in built)
    bundle = None
    if "fhir" in request.settings.outputs:
        content = build_fhir(end.assessment, options, end.reports, study=end.study)
        bundle = delivery.deliver_document(FHIR_FILE, content)
    result = scored_result(
        end.assessment,
        study=end.study,
        reports=reports,
        fhir=bundle,
        seconds=seconds,
        when=request.when,
        show_clinical_values=request.settings.report.show_clinical_values,
        predecessors=replaced_reports(end.assessment, options, end.study),
    )
    delivery.deliver_result(result)
    return Outcome(ExitCode.REPORT_WRITTEN, result)


def _refused(
    refusal: Refusal, study: Study | None, request: RunRequest, delivery: Delivery, seconds: Mapping[str, float]
) -> Outcome:
    """Write the result of a study that was turned away, and its report where the settings want one."""
    logger.error("%s", refusal)
    reports: tuple[ReportFile, ...] = ()
    bundle = None
    if request.settings.report_refusals:
        if study is None:  # refused because of the model, before the study was read
            study = _study_or_none(request)
        options = request.report_options
        report = build_refusal_sr(refusal, study, options) if study is not None else None
        if study is not None and report is not None:
            try:
                reports = (delivery.deliver(report),)
                content = None
                if "fhir" in request.settings.outputs:
                    content = build_refusal_fhir(refusal, study, options, (report,))
                if content is not None:
                    bundle = delivery.deliver_document(FHIR_FILE, content)
            except Refusal as unwritable:
                logger.error("%s", unwritable)
    result = refused_result(refusal, study=study, seconds=seconds, when=request.when, reports=reports, fhir=bundle)
    return _ended(ExitCode.REPORT_WRITTEN if reports else ExitCode.REFUSED, result, delivery, refusal)


def _study_or_none(request: RunRequest) -> Study | None:
    try:
        return load_study(request.study_folder, request.settings.limits)
    except Refusal:
        return None


def _ended(exit_code: ExitCode, result: ResultDocument, delivery: Delivery, refusal: Refusal | None = None) -> Outcome:
    """Write the result of a run that scored nothing; where even that fails, leave no report of the refusal either."""
    try:
        delivery.deliver_result(result)
    except Refusal as unwritable:
        logger.error("%s", unwritable)
        delivery.withdraw()
        return Outcome(exit_code or ExitCode.REFUSED, None, refusal or unwritable)
    return Outcome(exit_code, result, refusal)


def log_defect(error: BaseException) -> None:
    """Log where a defect arose.

    An exception's own text may quote a header, so that it is logged at level DEBUG alone; type and place always are.
    """
    places = [
        f"{frame.name} ({Path(frame.filename).name}:{frame.lineno})"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    logger.error("defect: %s in %s", type(error).__name__, " > ".join(places))
    logger.debug("defect's message: %s", error)
