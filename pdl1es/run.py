"""One run, from folders and settings to an exit code."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from threading import Thread

from pdl1es.atomic import require_writable
from pdl1es.chain import ChainEnd, RunRequest, run_chain
from pdl1es.clinical import ClinicalFileError
from pdl1es.dicom.free_text import free_text_shown
from pdl1es.errors import Refusal
from pdl1es.exit_code import ExitCode
from pdl1es.model.folder import model_folder_of
from pdl1es.model.fusion import FusionModel
from pdl1es.outcome import Outcome, deliver
from pdl1es.report.clock import report_time
from pdl1es.report.earlier_reports import EarlierReportError, read_earlier_reports
from pdl1es.settings import Settings
from pdl1es.stopwatch import Stopwatch

logger = logging.getLogger("pdl1es")

Execute = Callable[[RunRequest, FusionModel, Path, Stopwatch], Outcome]
"""Takes a study through the chain's steps into an output folder."""


@contextmanager
def _importing_reports_meanwhile(settings: Settings) -> Iterator[None]:
    """Import what builds the structured report while onnxruntime reads the model, which needs no Python: 0.1 s less.

    The import has ended when the block has: a process that ends early would else end in the middle of it.
    """
    if "sr" not in settings.outputs:
        yield
        return
    importing = Thread(target=import_module, args=("pdl1es.report.structured_report",))
    importing.start()
    try:
        yield
    finally:
        importing.join()


def run_in_python(request: RunRequest, model: FusionModel, output_folder: Path, watch: Stopwatch) -> Outcome:
    """Run the chain as plain calls.

    Parameters
    ----------
    request
        What is asked for.
    model
        The fusion model, loaded and checked.
    output_folder
        Where reports and ``result.json`` go.
    watch
        Keeps each step's time.

    Returns
    -------
    Outcome
    """
    end = run_chain(request, model, watch)
    return deliver(end, request, output_folder, watch.seconds)


def run_study(
    study_folder: Path,
    output_folder: Path,
    *,
    settings: Settings,
    model_folder: Path,
    clinical_file: Path | None = None,
    earlier_files: Sequence[Path] = (),
    when: datetime | None = None,
    execute: Execute = run_in_python,
) -> Outcome:
    """Score one study.

    Parameters
    ----------
    study_folder
        Folder with the CT and the DICOM SEG or RT Structure Set, nested in any way.
    output_folder
        Where the reports and ``result.json`` go; made where it is missing.
    settings
        ``app.yaml``, validated.
    model_folder
        Folder of ``model.onnx``, or the folder above it.
    clinical_file
        ``--clinical``.
    earlier_files
        ``--earlier``.
    when
        Date and time of the report; without it, the clock's (``SOURCE_DATE_EPOCH`` where it is set).
    execute
        What takes the study through the steps: plain calls, or the operators of MONAI Deploy (`app.run`).

    Returns
    -------
    Outcome

    Raises
    ------
    pdl1es.clinical.ClinicalFileError
        Where ``clinical_file`` does not follow its schema: an error of usage, not of the study.
    pdl1es.report.earlier_reports.EarlierReportError
        Where one of ``earlier_files`` names no earlier report, or one of another study: likewise.
    """
    with free_text_shown(settings.report.show_free_text):
        earlier = tuple(instance for file in earlier_files for instance in read_earlier_reports(file))
        request = RunRequest(study_folder, settings, when or report_time(os.environ), clinical_file, earlier)
        return _run(request, output_folder, model_folder, execute)


def _run(request: RunRequest, output_folder: Path, model_folder: Path, execute: Execute) -> Outcome:
    settings = request.settings
    watch = Stopwatch(settings.limits.seconds_total)
    try:
        require_writable(output_folder)
    except Refusal as refusal:
        logger.error("%s", refusal)
        return Outcome(ExitCode.REFUSED, None, refusal)
    try:
        with _importing_reports_meanwhile(settings):
            with watch.timed("model_loading"):
                model = FusionModel.load(
                    model_folder_of(model_folder),
                    require_gpu=settings.model.require_gpu,
                    threads=settings.model.threads,
                )
            return execute(request, model, output_folder, watch)
    except (ClinicalFileError, EarlierReportError):
        raise
    except Exception as error:  # noqa: BLE001 - the model's refusal, or a defect outside the steps: deliver() tells it
        return deliver(ChainEnd(None, error=error), request, output_folder, watch.seconds)
