"""N-EVENT-REPORT: a peer says on an association of its own whether it keeps what the gateway sent it (PS3.4 J.3.3)."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import decode
from sqlalchemy.exc import SQLAlchemyError

from gateway.receive.association import Answer
from gateway.receive.commands import Status
from pdl1es.dicom.header_elements import MALFORMED

LOG: Final = logging.getLogger(__name__)
LARGEST_REPORT: Final = 2**20
"""Bytes of what a report says; an answer about three objects has 500."""

CommitmentAnswer = Callable[[Dataset], int]
"""Takes the event information of storage commitment and returns the status to answer with."""


class ReportSink:
    """Takes the data set of one N-EVENT-REPORT.

    Parameters
    ----------
    answered
        Takes what it says; None where nobody does.
    transfer_syntax
        In which it is encoded.
    """

    def __init__(self, answered: CommitmentAnswer | None, transfer_syntax: str) -> None:
        self._answered = answered
        self._syntax = UID(transfer_syntax)
        self._data = bytearray()
        self._is_too_long = False

    def take(self, data: memoryview) -> None:
        """Take bytes."""
        if len(self._data) + len(data) > LARGEST_REPORT:
            self._is_too_long = True
        else:
            self._data += data

    def finish(self) -> Answer:
        """Pass on what it says, and return the status."""
        if self._answered is None:
            return Answer(Status.UNRECOGNISED_OPERATION)
        if self._is_too_long:
            return Answer(Status.INVALID_ARGUMENT, "the report is too long")
        syntax = self._syntax
        try:
            said = decode(io.BytesIO(self._data), syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
            said.decode()
            return Answer(self._answered(said))
        except (*MALFORMED, RecursionError):
            LOG.warning("a report of storage commitment cannot be read")
            return Answer(Status.INVALID_ARGUMENT, "the report cannot be read")
        except SQLAlchemyError:
            LOG.warning("the database does not answer: a report of storage commitment is not taken")
            return Answer(Status.PROCESSING_FAILURE, "try again later")

    def abandon(self) -> None:
        """Drop what was taken."""
