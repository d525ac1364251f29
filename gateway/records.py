"""The records that pass between the gateway's rooms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

SourceKind = Literal["dimse", "orthanc", "folder", "fetch"]
"""How an object came: over a DICOM association, from an Orthanc, from a folder, or fetched from an archive."""
DeliveryState = Literal["waiting", "sent", "committed", "dead", "purged"]
"""How far a result has come to one destination."""


@dataclass(frozen=True, slots=True)
class StudyKey:
    """What identifies a study for the gateway.

    Attributes
    ----------
    study_instance_uid
        Study Instance UID (0020,000D).
    """

    study_instance_uid: str


@dataclass(frozen=True, slots=True, repr=False)
class StoredObject:
    """One DICOM object that lies on disk, byte for byte as it came.

    Attributes
    ----------
    sop_instance_uid, sop_class_uid, series_instance_uid, study_instance_uid
        Its UIDs.
    transfer_syntax_uid
        In which its data set is encoded.
    sha256
        Of the data set's bytes without the File Meta Information, which differs from sender to sender: 64 hexadecimal
        digits.
    size
        Of the file, bytes.
    path
        Of the file, relative to the store's folder.
    source
        Name of the source in ``gateway.yaml`` that it came from.
    calling_ae_title
        Of the association that it came on; empty where it came otherwise.
    received_at
        When it was on disk, UTC.
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    sha256: str
    size: int
    path: Path
    source: str
    calling_ae_title: str
    received_at: datetime

    @property
    def study(self) -> StudyKey:
        """The study that it belongs to."""
        return StudyKey(self.study_instance_uid)

    def __repr__(self) -> str:
        """Name the object by its UID."""
        return f"<StoredObject {self.sop_instance_uid}>"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A study that is not complete, and may become so.

    Attributes
    ----------
    study
        Which study.
    reason
        What is missing, for a person; no value of the patient's.
    until
        When it is judged again if nothing more arrives, UTC; None where only an arrival changes anything.
    """

    study: StudyKey
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    """A study that can be scored now.

    Attributes
    ----------
    study
        Which study.
    contour
        SOP Instance UIDs of the SEG or RT Structure Set: several where it is a concatenation.
    series_instance_uid
        The CT series that it was drawn on.
    digest
        `gateway.arrival.digest.objects_digest` of the objects that would be scored: CT series and contour. Two arrivals
        with one digest are the same input.
    """

    study: StudyKey
    contour: tuple[str, ...]
    series_instance_uid: str
    digest: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A study for which nothing more arrived in time, or that no arrival can mend.

    Attributes
    ----------
    study
        Which study.
    code
        Name of a `pdl1es.errors.RefusalCode`.
    reason
        What was found, for a person.
    digest
        `gateway.arrival.digest.objects_digest` of all its objects: the same objects are refused once.
    """

    study: StudyKey
    code: str
    reason: str
    digest: str


Arrival = Waiting | Complete | Refused
"""How far the arrival of a study has come."""


@dataclass(frozen=True, slots=True)
class ResultFile:
    """One file of a stored result.

    Attributes
    ----------
    name
        Within the result's folder.
    sop_instance_uid
        Of a DICOM object; empty for ``result.json``.
    sha256
        Of the whole file: 64 hexadecimal digits.
    kind
        The kind of output, as ``outputs`` in ``app.yaml`` names it: ``sr``, ``pdf``, ``cam``; ``json`` for ``result.json``.
    """

    name: str
    sop_instance_uid: str
    sha256: str
    kind: str


@dataclass(frozen=True, slots=True, repr=False)
class StoredResult:
    """What a run made of a study, as it is sent: always the same bytes under the same UIDs.

    Attributes
    ----------
    study
        Which study.
    digest
        Of everything that went in: objects, segment, clinical data, model, settings.
    folder
        Where its files lie.
    files
        The files.
    group
        Risk group of the score; empty where it is withheld or there is no score.
    score
        PD-L1ES, 0 to 1; None where the study was refused.
    refusal
        Name of the refusal's code; empty where there is a score.
    """

    study: StudyKey
    digest: str
    folder: Path
    files: tuple[ResultFile, ...]
    group: str
    score: float | None
    refusal: str

    def __repr__(self) -> str:
        """Name the result by its digest: score and group are the patient's."""
        return f"<StoredResult {self.digest[:12]}, {len(self.files)} files>"


@dataclass(frozen=True, slots=True)
class ResultDelivery:
    """How far one result has come to one destination.

    Attributes
    ----------
    digest
        Of the result.
    destination
        Its name in ``gateway.yaml``.
    state
        ``waiting``, ``sent`` (not confirmed), ``committed`` (confirmed, or nothing confirms it), ``dead`` (given up), ``purged`` (a person
        removed the result before it was confirmed).
    attempts
        How often it was tried.
    last_error
        What the last attempt ended with; empty where it succeeded.
    next_at
        When it is tried next, UTC; None where it is not.
    """

    digest: str
    destination: str
    state: DeliveryState
    attempts: int = 0
    last_error: str = ""
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True, repr=False)
class CurrentIdentity:
    """Who a study's patient is for an archive now.

    Attributes
    ----------
    patient_id, issuer_of_patient_id, patient_name, birth_date, sex, accession_number
        The values of the attributes; empty where the archive has none.
    """

    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    accession_number: str

    def __repr__(self) -> str:
        """Show nothing of the patient."""
        return "<CurrentIdentity>"
