"""One run of the chain: from folders and settings to an exit code, whatever happens on the way."""

from __future__ import annotations

import logging
import os
import traceback
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app.application import PDL1ESApplication, RunRequest
from operators.result_writer import write_result
from operators.run_record import RunRecord
from pdl1es.atomic import require_writable
from pdl1es.clinical import ClinicalFileError
from pdl1es.dicom.study import scan_study
from pdl1es.errors import Refusal
from pdl1es.exit_code import ExitCode
from pdl1es.model.folder import model_folder_of
from pdl1es.model.fusion import FusionModel
from pdl1es.report.build import build_refusal_sr
from pdl1es.report.clock import report_time
from pdl1es.report.options import ReportOptions
from pdl1es.report.result import failed_result, refused_result
from pdl1es.report.result_schema import ReportFile, ResultDocument
from pdl1es.settings import Settings

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


def run_study(
    study_folder: Path,
    output_folder: Path,
    *,
    settings: Settings,
    model_folder: Path,
    clinical_file: Path | None = None,
    when: datetime | None = None,
) -> Outcome:
    """Score one study.

    Parameters
    ----------
    study_folder
        Folder with the CT and the DICOM SEG, nested in any way.
    output_folder
        Where the reports and ``result.json`` go; made where it is missing.
    settings
        ``app.yaml``, validated.
    model_folder
        Folder of ``model.onnx``, or the folder above it.
    clinical_file
        ``--clinical``.
    when
        Date and time of the report; without it, the clock's (``SOURCE_DATE_EPOCH`` where it is set).

    Returns
    -------
    Outcome

    Raises
    ------
    pdl1es.clinical.ClinicalFileError
        Where ``clinical_file`` does not follow its schema: an error of usage, not of the study.
    """
    when = when or report_time(os.environ)
    record = RunRecord()
    try:
        require_writable(output_folder)
    except Refusal as refusal:
        logger.error("%s", refusal)
        return Outcome(ExitCode.REFUSED, None, refusal)
    try:
        try:
            with record.timed("model_loading"):
                model = FusionModel.load(
                    model_folder_of(model_folder),
                    require_gpu=settings.model.require_gpu,
                    threads=settings.model.threads,
                )
            request = RunRequest(study_folder, output_folder, clinical_file, settings, model, when)
            PDL1ESApplication(request, record).run()
        except Refusal as refusal:
            logger.error("%s", refusal)
            record.withdraw()
            reports = _report_refusal(refusal, record, study_folder, output_folder, settings, when)
            result = refused_result(refusal, study=record.study, seconds=record.seconds, when=when, reports=reports)
            exit_code = ExitCode.REPORT_WRITTEN if reports else ExitCode.REFUSED
            return _ended(exit_code, result, output_folder, refusal, record)
    except ClinicalFileError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a defect is, the result says that there was one
        log_defect(error)
        record.withdraw()
        result = failed_result(error, study=record.study, seconds=record.seconds, when=when)
        return _ended(ExitCode.DEFECT, result, output_folder, None, record)
    return Outcome(ExitCode.REPORT_WRITTEN, record.result)


def _report_refusal(
    refusal: Refusal, record: RunRecord, study_folder: Path, output_folder: Path, settings: Settings, when: datetime
) -> tuple[ReportFile, ...]:
    """Write the SR that says 'not analysed', where the settings want one and a patient's study can be told."""
    if not settings.report_refusals:
        return ()
    if record.study is None:  # refused before the study was looked at, for the model's sake
        try:
            record.study = scan_study(study_folder, settings.limits)
        except Refusal:
            return ()
    report = build_refusal_sr(refusal, record.study, ReportOptions(when, settings.report.series_number))
    if report is None:
        return ()
    try:
        record.deliver(output_folder / report.file_name, report.data)
    except Refusal as unwritable:
        logger.error("%s", unwritable)
        return ()
    return (report.file,)


def _ended(
    exit_code: ExitCode, result: ResultDocument, output_folder: Path, refusal: Refusal | None, record: RunRecord
) -> Outcome:
    """Write the result of a run that scored nothing; where even that fails, leave no report of the refusal either."""
    try:
        write_result(result, output_folder)
    except Refusal as unwritable:
        logger.error("%s", unwritable)
        record.withdraw()
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
