"""The steps of a run, as plain functions on the stores: what the durable workflow calls, one after the other.

Each may be called again after a process was killed in the middle of it: it then finds what is there, or begins anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from gateway.records import StoredObject, StoredResult, StudyKey
from gateway.worker.messages import WorkerReply, WorkerTask
from gateway.workflow.clinical_table import ClinicalTable
from gateway.workflow.removed_reports import telling_reports
from gateway.workflow.results import ResultStore
from gateway.workflow.runs import RunInput
from pdl1es.atomic import write_atomically
from pdl1es.report.clock import report_time

logger = logging.getLogger("pdl1es.gateway.workflow")

_REMOVED_REPORTS: Final = "earlier.json"

NOT_OF_THE_STUDY: Final = frozenset({
    "OUTPUT_NOT_WRITABLE", "INPUT_UNREADABLE", "MODEL_CHANGED", "MODEL_UNFIT", "PROVIDER_UNAVAILABLE",
})  # fmt: skip
"""Codes of refusals that say nothing of the study, but of this installation: the run is tried again, then parked."""


class ObjectSource(Protocol):
    """What a run needs of the object store."""

    def objects_of(self, study: StudyKey) -> tuple[StoredObject, ...]:
        """Return a study's objects."""

    def link_into(self, folder: Path, objects: Iterable[StoredObject]) -> None:
        """Give objects a second name in a folder.

        Parameters
        ----------
        folder
            Made where it is missing.
        objects
            Which.
        """


class Scorer(Protocol):
    """What scores: the pool of workers."""

    def run(self, task: WorkerTask) -> WorkerReply:
        """Score one study."""


class StaleRunError(RuntimeError):
    """The study's objects are not those any more that the run was asked for."""


@dataclass(frozen=True, slots=True)
class RunServices:
    """What the steps work with.

    Attributes
    ----------
    objects
        The object store.
    results
        The result store.
    scorer
        The workers.
    work_folder
        Where runs are put together, on the file system of objects and results.
    objects_digest
        Digest of the objects that go in, as the arrival gave it (`gateway.arrival`).
    earlier_reports
        Puts this software's earlier reports that an archive has into a folder; None where there is no archive.
    """

    objects: ObjectSource
    results: ResultStore
    scorer: Scorer
    work_folder: Path
    objects_digest: Callable[[Iterable[StoredObject]], str]
    earlier_reports: Callable[[StudyKey, Path], object] | None = None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run's first step decided; the later ones, and every repetition of them, follow it.

    Attributes
    ----------
    folder
        The run's own folder, which holds ``study``, where there is a table ``clinical.csv``, and where earlier reports' files were
        removed ``earlier.json``.
    when
        Date and time of its reports.
    clinical
        Whether there is a clinical table.
    """

    folder: str
    when: datetime
    clinical: bool


def chosen_objects(run: RunInput, there: Iterable[StoredObject]) -> tuple[StoredObject, ...]:
    """Return the objects that go into a run: contour and CT series, or all of the study where it is run to be refused.

    Parameters
    ----------
    run
        What is run.
    there
        The study's objects.

    Returns
    -------
    tuple of StoredObject
    """
    if not run.contour:
        return tuple(there)
    contour = set(run.contour)
    return tuple(
        stored
        for stored in there
        if stored.series_instance_uid == run.series_instance_uid or stored.sop_instance_uid in contour
    )


def assemble(
    run: RunInput,
    round_number: int,
    services: RunServices,
    *,
    clinical: tuple[ClinicalTable, str, str] | None = None,
) -> RunPlan:
    """Put together what goes in: objects, this software's earlier reports, the patient's row.

    Parameters
    ----------
    run
        What is run.
    round_number
        Which workflow it is.
    services
        The stores.
    clinical
        The table with the study's patient id and accession number, or None.

    Returns
    -------
    RunPlan

    Raises
    ------
    StaleRunError
        An object has come or gone since.
    gateway.peers.failures.PeerError
        An archive could not be asked for earlier reports.
    OSError
        The disk refuses.
    """
    folder = services.work_folder / run.digest / str(round_number)
    shutil.rmtree(folder, ignore_errors=True)
    study = folder / "study"
    objects = chosen_objects(run, services.objects.objects_of(run.study))
    if services.objects_digest(objects) != run.objects_digest:
        raise StaleRunError("the study's objects have changed since the run was asked for")
    services.objects.link_into(study, objects)
    earlier = study / "earlier"
    earlier.mkdir()
    for note in services.results.of_study(run.study):
        if note.purged:
            continue
        for file in telling_reports(note.result.files):
            shutil.copyfile(note.result.folder / file.name, earlier / file.name)
    if services.earlier_reports is not None:
        services.earlier_reports(run.study, earlier)
    if removed := services.results.removed_reports(run.study):
        write_atomically(folder / _REMOVED_REPORTS, removed)
    if clinical is not None:
        table, patient_id, accession_number = clinical
        write_atomically(folder / "clinical.csv", table.part(patient_id, accession_number))
    return RunPlan(str(folder), report_time(os.environ), clinical is not None)


def infer(run: RunInput, plan: RunPlan, services: RunServices) -> tuple[str, WorkerReply]:
    """Score the study that was put together, in a worker.

    Parameters
    ----------
    run
        What is run.
    plan
        From `assemble`.
    services
        The workers.

    Returns
    -------
    str
        Folder with the output: one of its own for each try, so that two never write into one.
    WorkerReply

    Raises
    ------
    gateway.worker.pool.WorkerError
        The worker crashed or hung.
    """
    folder = Path(plan.folder)
    output = tempfile.mkdtemp(prefix="output-", dir=folder)
    removed = folder / _REMOVED_REPORTS
    task = WorkerTask(
        study_folder=folder / "study",
        output_folder=Path(output),
        when=plan.when,
        clinical_file=folder / "clinical.csv" if plan.clinical else None,
        earlier_file=removed if removed.exists() else None,
        study_instance_uid=run.study.study_instance_uid,
    )
    return output, services.scorer.run(task)


def failure_of(reply: WorkerReply) -> str:
    """Return why a worker's reply is no result of the study, or nothing where it is one.

    Parameters
    ----------
    reply
        Of the worker.

    Returns
    -------
    str
        A code with what it means; empty where the study was scored, or refused for a reason of its own.
    """
    if reply.fault is not None:
        return f"DEFECT: {reply.fault}; the log says where"
    if reply.refusal in NOT_OF_THE_STUDY:
        return f"{reply.refusal}: this installation cannot score, whatever the study; docs/refusals.md has the remedy"
    if not reply.written:
        return "OUTPUT_NOT_WRITABLE: the result could not be written"
    return ""


def keep_result(run: RunInput, output: str, services: RunServices, *, training_data: str) -> StoredResult:
    """Store the result, and remove what the run was put together from.

    Parameters
    ----------
    run
        What was run.
    output
        From `infer`.
    services
        The stores.
    training_data
        Of the model.

    Returns
    -------
    StoredResult
    """
    stored = services.results.keep(run.study, run.digest, Path(output), training_data=training_data)
    clear(run.digest, services)
    return stored


def clear(digest: str, services: RunServices, round_number: int | None = None) -> None:
    """Remove what a run was put together from.

    Parameters
    ----------
    digest
        Of the run.
    services
        Where it lies.
    round_number
        What this round was put together from alone; all rounds' where None.
    """
    folder = services.work_folder / digest
    shutil.rmtree(folder if round_number is None else folder / str(round_number), ignore_errors=True)
    with contextlib.suppress(OSError):  # another round's is there, or nothing is
        folder.rmdir()
