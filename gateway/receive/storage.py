"""C-STORE into the object store: success is answered when the object is safely on disk, and not before."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import utc_now
from gateway.objects.errors import NotStorableError, OtherObjectError, StoreUnavailableError, TooLargeError
from gateway.objects.identity import is_uid
from gateway.objects.in_flight import InFlight
from gateway.objects.outcome import Conflict
from gateway.objects.reception import ObjectOrigin, Reception
from gateway.objects.store import ObjectStore
from gateway.receive.association import AcceptedContext, Answer
from gateway.receive.commands import Command, Status
from gateway.receive.presentation import STORAGE_COMMITMENT
from gateway.receive.reports import CommitmentAnswer, ReportSink
from gateway.records import StudyKey
from pdl1es.report.software import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

LOG: Final = logging.getLogger("pdl1es.gateway.receive")
MARK_AFTER_SECONDS: Final = 1.0
"""An object that takes longer than this marks its study as in flight, again and again while it comes."""


@dataclass(slots=True)
class StoringUser:
    """Serves the requests of one association.

    Attributes
    ----------
    store
        Where objects go.
    in_flight
        Where it says which studies it brings.
    origin
        Source and calling AE title; its holder is this association.
    answered
        Takes what a peer answers to a request for storage commitment; None where none is ever made.
    """

    objects: ObjectStore
    in_flight: InFlight
    origin: ObjectOrigin
    answered: CommitmentAnswer | None = None
    has_stored: bool = field(default=False, init=False)

    def store(self, command: Command, context: AcceptedContext) -> ObjectSink:
        """Begin to take an object.

        Parameters
        ----------
        command
            The request.
        context
            In which it came.

        Returns
        -------
        ObjectSink
        """
        return ObjectSink(self, command, context)

    def report(self, command: Command, context: AcceptedContext) -> ReportSink:
        """Begin to take what an N-EVENT-REPORT says.

        Parameters
        ----------
        command
            The request.
        context
            In which it came.

        Returns
        -------
        ReportSink
        """
        is_commitment = context.abstract_syntax == STORAGE_COMMITMENT
        return ReportSink(self.answered if is_commitment else None, context.transfer_syntax)

    def ended(self) -> None:
        """Note that the association brings nothing more."""
        if self.has_stored:
            try:
                self.in_flight.release(self.origin.holder)
            except SQLAlchemyError:
                LOG.warning("the database does not answer; the association counts as open for a little longer")


@lru_cache(maxsize=1024)
def _file_meta_around(sop_class: str, transfer_syntax: str, calling: str, length: int) -> tuple[bytes, bytes]:
    """Return preamble and File Meta Information (PS3.10 7.1) up to the SOP Instance UID, of so many characters, and from it on.

    Writing it anew for each object takes a tenth of the object's time.
    """
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID("9" * length)
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    meta.SourceApplicationEntityTitle = calling
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta)
    data = b"\0" * 128 + b"DICM" + buffer.getvalue()
    start = data.index(b"\x02\x00\x03\x00UI") + 8  # Media Storage SOP Instance UID (0002,0003)
    return data[:start], data[start + length :]


def received_file_meta(command: Command, transfer_syntax: str, calling: str) -> bytes:
    """Return preamble and File Meta Information for an object that came by C-STORE.

    Parameters
    ----------
    command
        The request.
    transfer_syntax
        In which the data set is encoded.
    calling
        AE title of the sender.

    Returns
    -------
    bytes
    """
    uid = command.sop_instance_uid
    before, after = _file_meta_around(command.sop_class_uid, transfer_syntax, calling, len(uid))
    return before + uid.encode("ascii") + after


class ObjectSink:
    """Takes the data set of one C-STORE.

    What cannot be stored is read to its end all the same, so that the sender gets a status and goes on with its next object.
    """

    def __init__(self, user: StoringUser, command: Command, context: AcceptedContext) -> None:
        self._user = user
        self._command = command
        self._syntax = context.transfer_syntax
        self._failure: Answer | None = None
        self._reception: Reception | None = None
        self._marked = time.monotonic()
        if command.sop_class_uid != context.abstract_syntax:
            self._fail(Answer(Status.SOP_CLASS_NOT_SUPPORTED, "the SOP class is not that of the context"))
            return
        if not is_uid(command.sop_instance_uid):
            self._fail(Answer(Status.CANNOT_UNDERSTAND, "Affected SOP Instance UID is no UID"))
            return
        try:
            self._reception = user.objects.begin()
            self._reception.write_meta(
                received_file_meta(command, context.transfer_syntax, user.origin.calling_ae_title)
            )
        except StoreUnavailableError as error:
            self._fail(Answer(Status.OUT_OF_RESOURCES, error.reason))

    def take(self, data: memoryview) -> None:
        """Take bytes of the data set."""
        if self._reception is None:
            return
        try:
            self._reception.write(data)
        except TooLargeError as error:
            self._fail(Answer(Status.OUT_OF_RESOURCES, error.reason))
        except StoreUnavailableError as error:
            self._fail(Answer(Status.OUT_OF_RESOURCES, error.reason))
        else:
            self._mark_in_flight()

    def finish(self) -> Answer:
        """Store the object, and say what the request is answered with."""
        reception = self._reception
        if reception is None:
            return self._failure or Answer(Status.OUT_OF_RESOURCES)
        try:
            with reception:
                claimed = self._command.sop_class_uid, self._command.sop_instance_uid
                outcome = reception.complete(self._syntax, self._user.origin, claimed)
        except OtherObjectError as error:
            return Answer(Status.NOT_THE_SOP_CLASS, error.reason)
        except TooLargeError as error:
            return Answer(Status.OUT_OF_RESOURCES, error.reason)
        except NotStorableError as error:
            return Answer(Status.CANNOT_UNDERSTAND, error.reason)
        except StoreUnavailableError as error:
            LOG.error("an object was not stored: %s", error.reason)
            return Answer(Status.OUT_OF_RESOURCES, error.reason)
        self._user.has_stored = True
        if isinstance(outcome, Conflict):
            LOG.warning("an object came again with other bytes; the first stays", extra={"study": outcome.object.study})
            return Answer(Status.STORED_OTHERWISE, "other bytes are stored under this UID; kept aside")
        return Answer(Status.SUCCESS)

    def abandon(self) -> None:
        """Drop what was taken."""
        if self._reception is not None:
            self._reception.discard()
            self._reception = None

    def _fail(self, answer: Answer) -> None:
        self.abandon()
        self._failure = answer

    def _mark_in_flight(self) -> None:
        """Say which study a long object belongs to, while it comes."""
        now = time.monotonic()
        if now - self._marked < MARK_AFTER_SECONDS or self._reception is None:
            return
        self._marked = now
        identity = self._reception.identity(self._syntax)
        if identity is None:
            return
        try:
            self._user.in_flight.mark(self._user.origin.holder, [StudyKey(identity.study_instance_uid)], utc_now())
        except SQLAlchemyError:
            return  # `finish` finds it out, and says so
        self._user.has_stored = True
