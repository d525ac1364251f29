"""What every destination can do: be tested, take a set of files whole or not at all, and say whether it has them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from gateway.peers.failures import PeerError, PeerFailure
from gateway.records import StoredResult


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One DICOM object of a result, checked and ready to be sent.

    Attributes
    ----------
    path
        The file.
    sop_class_uid, sop_instance_uid, transfer_syntax_uid
        From its File Meta Information.
    series_instance_uid
        Of its series.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class SentObject:
    """One object that a destination took.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid, series_instance_uid
        Its UIDs.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A set that a destination took.

    Attributes
    ----------
    digest
        Of the result.
    destination
        Its name.
    study_instance_uid
        Of the objects.
    attempt
        Which attempt it was, from 1.
    sent_at
        When the destination had taken the last of the set, UTC.
    objects
        Its DICOM objects.
    notes
        What the destination remarked while it took them: warnings' statuses.
    """

    digest: str
    destination: str
    study_instance_uid: str
    attempt: int
    sent_at: datetime
    objects: tuple[SentObject, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a destination says of a set that it took.

    Attributes
    ----------
    has_them
        True: it keeps them. False: it does not. None: it has not said yet.
    by
        How it is known: ``commitment``, ``query``, ``file``, or ``response`` where the destination offers nothing but its answer
        to the sending.
    failure
        Where ``has_them`` is False: what it says.
    """

    has_them: bool | None
    by: str
    failure: PeerFailure | None = None


class Destination(Protocol):
    """A place that results are sent to."""

    @property
    def name(self) -> str:
        """Its name in ``gateway.yaml``."""

    def test(self) -> None:
        """Find out whether it would take anything, without sending.

        Raises
        ------
        PeerError
            It would not.
        """

    def deliver(self, result: StoredResult, attempt: int) -> Receipt:
        """Send a set of files: all of them, or the delivery failed.

        Parameters
        ----------
        result
            Its files are the set, in the order in which they are sent.
        attempt
            Which attempt it is, from 1.

        Returns
        -------
        Receipt

        Raises
        ------
        PeerError
            The set was not taken whole. What was is sent again with the next attempt, with the same bytes under the same UIDs.
        """

    def confirm(self, receipt: Receipt) -> Confirmation:
        """Ask whether it keeps what it took.

        Parameters
        ----------
        receipt
            From `deliver`.

        Returns
        -------
        Confirmation

        Raises
        ------
        PeerError
            It could not be asked.
        """


def checked_files(result: StoredResult) -> tuple[Path, ...]:
    """Return the files of a result after comparing each with its digest.

    Parameters
    ----------
    result
        Its files are read.

    Returns
    -------
    tuple of Path

    Raises
    ------
    PeerError
        ``RESULT_CHANGED``: one is missing, cannot be read or has other bytes.
    """
    paths = []
    for file in result.files:
        path = result.folder / file.name
        try:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise PeerError(PeerFailure.RESULT_CHANGED, f"{file.name}: {reason}") from error
        if found != file.sha256:
            raise PeerError(PeerFailure.RESULT_CHANGED, f"{file.name} has other bytes than were stored")
        paths.append(path)
    return tuple(paths)


def checked_objects(result: StoredResult) -> tuple[Outgoing, ...]:
    """Return the DICOM objects of a result after comparing each with its digest.

    Parameters
    ----------
    result
        Every file of it must be a DICOM object.

    Returns
    -------
    tuple of Outgoing

    Raises
    ------
    PeerError
        ``RESULT_CHANGED``: one is missing, has other bytes, or is no DICOM object of the UID under which it was stored.
    """
    objects = []
    for file, path in zip(result.files, checked_files(result), strict=True):
        try:
            header = dcmread(path, specific_tags=["SeriesInstanceUID"], stop_before_pixels=True)
            meta = header.file_meta
            found = Outgoing(
                path,
                str(meta.MediaStorageSOPClassUID),
                str(meta.MediaStorageSOPInstanceUID),
                str(meta.TransferSyntaxUID),
                str(header.SeriesInstanceUID),
            )
        except (InvalidDicomError, AttributeError, EOFError, ValueError) as error:
            raise PeerError(PeerFailure.RESULT_CHANGED, f"{file.name} is no DICOM file") from error
        if found.sop_instance_uid != file.sop_instance_uid:
            raise PeerError(PeerFailure.RESULT_CHANGED, f"{file.name} holds another SOP Instance UID than was stored")
        objects.append(found)
    return tuple(objects)


def receipt_of(
    result: StoredResult,
    destination: str,
    *,
    attempt: int,
    sent_at: datetime,
    objects: tuple[Outgoing, ...],
    notes: tuple[str, ...] = (),
) -> Receipt:
    """Return the receipt of a set.

    Parameters
    ----------
    result
        What was sent.
    destination
        Where to.
    attempt
        Which attempt, from 1.
    sent_at
        When, UTC.
    objects
        What was sent of it as DICOM objects.
    notes
        What the destination remarked.

    Returns
    -------
    Receipt
    """
    return Receipt(
        digest=result.digest,
        destination=destination,
        study_instance_uid=result.study.study_instance_uid,
        attempt=attempt,
        sent_at=sent_at,
        objects=tuple(SentObject(one.sop_class_uid, one.sop_instance_uid, one.series_instance_uid) for one in objects),
        notes=notes,
    )
