"""A worker's process: ``python -m gateway.worker.child``, started by `gateway.worker.pool` and by nobody else.

It loads settings, model and every module that a report needs once. Then it scores what it is told to, one study at a
time, on its main thread: the decoders' process ends with the thread that started it.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import signal
import sys
import time
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, BinaryIO, Final

from gateway.memory import give_back_memory, limit_arenas
from gateway.worker.in_hand import StudyInHand
from pdl1es.command_line.process import leave_out_what_is_not_used, limit_blas_threads, prepare_process

if TYPE_CHECKING:
    from gateway.worker.messages import WorkerReply, WorkerTask
    from pdl1es.model.fusion import FusionModel
    from pdl1es.settings import Settings

_REPORT_MODULES: Final = {
    "sr": ("pdl1es.report.structured_report", "pdl1es.report.refusal_report"),
    "cam": ("pdl1es.report.cam_overlay",),
    "pdf": ("pdl1es.report.pdf_page", "pdl1es.report.encapsulated_pdf"),
}
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def warm(settings: Settings, model: FusionModel) -> None:
    """Import what the reports need and run the model once, so that the first study finds its buffers allocated.

    Parameters
    ----------
    settings
        ``app.yaml``.
    model
        Loaded.
    """
    import numpy as np

    from pdl1es.clinical import MISSING, ClinicalData
    from pdl1es.features.names import FEATURE_NAMES
    from pdl1es.method import PATCH_SIZE

    for kind in settings.outputs:
        for name in _REPORT_MODULES.get(kind, ()):
            import_module(name)
    model.predict(
        np.zeros((3, PATCH_SIZE, PATCH_SIZE), np.float32),
        np.zeros(len(FEATURE_NAMES), np.float64),
        ClinicalData(MISSING, MISSING, MISSING, MISSING),
    )


def score(task: WorkerTask, settings: Settings, model: FusionModel) -> WorkerReply:
    """Score one study as ``pdl1es run`` does, with the model that is loaded already.

    Parameters
    ----------
    task
        The study.
    settings
        ``app.yaml``.
    model
        Loaded and checked.

    Returns
    -------
    WorkerReply
    """
    from gateway.worker.messages import WorkerReply
    from pdl1es.chain import RunRequest
    from pdl1es.clinical import ClinicalFileError
    from pdl1es.dicom.free_text import free_text_shown
    from pdl1es.exit_code import ExitCode
    from pdl1es.report.earlier_reports import EarlierReportError, read_earlier_reports
    from pdl1es.run import run_in_python
    from pdl1es.stopwatch import Stopwatch

    started = time.perf_counter()
    exit_code, written, refusal = ExitCode.USAGE, False, None
    fault: str | None = None
    try:
        earlier = () if task.earlier_file is None else read_earlier_reports(task.earlier_file)
        request = RunRequest(task.study_folder, settings, task.when, task.clinical_file, earlier)
        with free_text_shown(settings.report.show_free_text):
            outcome = run_in_python(request, model, task.output_folder, Stopwatch(settings.limits.seconds_total))
    except (ClinicalFileError, EarlierReportError) as error:
        fault = type(error).__name__
    else:
        exit_code, written = outcome.exit_code, outcome.result is not None
        refusal = None if outcome.refusal is None else outcome.refusal.code.name
        defect = None if outcome.result is None else outcome.result.defect
        fault = None if defect is None else defect.kind
    return WorkerReply(
        exit_code=int(exit_code),
        written=written,
        refusal=refusal,
        fault=fault,
        resident_mib=_resident_mib(),
        seconds=time.perf_counter() - started,
    )


def serve_tasks(
    tasks: BinaryIO, replies: BinaryIO, settings: Settings, model: FusionModel, in_hand: StudyInHand
) -> None:
    """Score studies until the executor closes the pipe.

    Parameters
    ----------
    tasks, replies
        Lines of JSON.
    settings
        ``app.yaml``.
    model
        Loaded and checked.
    in_hand
        Is told which study is scored.
    """
    from gateway.logs import about_study
    from gateway.records import StudyKey
    from gateway.worker.messages import WorkerTask

    for line in tasks:
        task = WorkerTask.model_validate_json(line)
        study = about_study(StudyKey(task.study_instance_uid)) if task.study_instance_uid else nullcontext()
        with study, in_hand.holding(task.output_folder):
            reply = score(task, settings, model)
        replies.write(reply.model_dump_json().encode("utf-8") + b"\n")
        replies.flush()
        # After the reply, so that no study waits for it: headers and modules refer to each other in cycles.
        give_back_memory()


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE / 2**20


def _end_with(lifeline: int, in_hand: StudyInHand) -> None:
    """End this process when the executor has ended, however it did: the operating system closes its end of the pipe."""
    while os.read(lifeline, 1):
        pass
    in_hand.executor_ended()
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    """Load, say that the worker is ready, and score."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--tasks", "--replies", "--lifeline"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--log-key-folder", type=Path)
    given = parser.parse_args()
    # The executor decides when a worker ends: a service manager signals every process of a service at once.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o027)
    limit_blas_threads()
    leave_out_what_is_not_used()
    gc.disable()
    limit_arenas()
    in_hand = StudyInHand()
    Thread(target=_end_with, args=(given.lifeline, in_hand), daemon=True).start()
    # What a library prints does not get between the replies.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    from gateway.logs import StudyHash, log_as_json, read_log_key
    from gateway.worker.messages import WorkerReady
    from pdl1es.errors import Refusal
    from pdl1es.model.folder import model_folder_of
    from pdl1es.model.fusion import FusionModel
    from pdl1es.settings import load_settings

    settings_sha256 = hashlib.sha256(given.config.read_bytes()).hexdigest()
    settings = load_settings(given.config)
    prepare_process(settings.log.level)
    folder = given.log_key_folder
    log_as_json("worker", settings.log.level, None if folder is None else StudyHash(read_log_key(folder)))
    with os.fdopen(given.replies, "wb") as replies, os.fdopen(given.tasks, "rb") as tasks:
        try:
            model = FusionModel.load(
                model_folder_of(given.model), require_gpu=settings.model.require_gpu, threads=settings.model.threads
            )
            warm(settings, model)
        except Refusal as refusal:
            replies.write(json.dumps({"refusal": refusal.code.name, "found": str(refusal)}).encode("utf-8") + b"\n")
            return
        gc.collect()
        gc.freeze()
        ready = WorkerReady(
            model_name=model.metadata.name,
            model_version=model.metadata.version,
            model_sha256=model.sha256,
            training_data=model.metadata.training_data,
            settings_sha256=settings_sha256,
        )
        replies.write(ready.model_dump_json().encode("utf-8") + b"\n")
        replies.flush()
        serve_tasks(tasks, replies, settings, model, in_hand)


if __name__ == "__main__":
    main()
