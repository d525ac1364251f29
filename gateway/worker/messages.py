"""What the executor and a worker say to each other: JSON, one line a message, over a pair of pipes.

Both ends are this software in one version; a line that is no message of it means that the worker is broken.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class WorkerReady(BaseModel):
    """A worker has loaded.

    Attributes
    ----------
    model_name, model_version
        Of the model's metadata.
    model_sha256
        Of ``model.onnx``.
    training_data
        ``untrained``, ``synthetic`` or ``patients``.
    settings_sha256
        Of ``app.yaml``, byte for byte.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    model_name: str
    model_version: str
    model_sha256: str
    training_data: str
    settings_sha256: str


class WorkerTask(BaseModel):
    """One study to score.

    Attributes
    ----------
    study_folder
        Where the study lies.
    output_folder
        Where reports and ``result.json`` go; made by the worker.
    when
        Date and time that the reports carry.
    clinical_file
        Table with the patient's row, or None.
    earlier_file
        Earlier reports whose files are not in the study's folder (`pdl1es.report.earlier_reports`), or None.
    study_instance_uid
        Of the study, so that the worker's log lines name it by its hash; empty where they name none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    study_folder: Path
    output_folder: Path
    when: datetime
    clinical_file: Path | None = None
    earlier_file: Path | None = None
    study_instance_uid: str = ""


class WorkerReply(BaseModel):
    """How a study ended in a worker.

    Attributes
    ----------
    exit_code
        As ``pdl1es run`` would end.
    written
        Whether ``result.json`` lies in the output folder.
    refusal
        Code of the refusal, or None.
    fault
        What kind of defect or of wrong clinical file ended it; None where there was none. No text of the study.
    resident_mib
        Memory of the worker afterwards.
    seconds
        Wall time in the worker.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    exit_code: int
    written: bool
    refusal: str | None = None
    fault: str | None = None
    resident_mib: float
    seconds: float
