"""Command sets of DIMSE messages (PS3.7 9.3 and E): read and written by pydicom, implicit VR little endian always."""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from gateway.receive.upper_layer import ProtocolError
from pdl1es.dicom.header_elements import MALFORMED

LARGEST_COMMAND: Final = 16 * 1024
"""Bytes of a command set; those that are taken have 200."""
_NO_DATA_SET: Final = 0x0101
_RESPONSE: Final = 0x8000
_LONGEST_COMMENT: Final = 64


class CommandField(IntEnum):
    """Kind of a request."""

    C_STORE = 0x0001
    C_ECHO = 0x0030
    N_EVENT_REPORT = 0x0100
    C_CANCEL = 0x0FFF


class Status(IntEnum):
    """Status of a response (PS3.4 B.2.3, PS3.7 C)."""

    SUCCESS = 0x0000
    STORED_OTHERWISE = 0xB000
    OUT_OF_RESOURCES = 0xA700
    NOT_THE_SOP_CLASS = 0xA900
    CANNOT_UNDERSTAND = 0xC000
    PROCESSING_FAILURE = 0x0110
    INVALID_ARGUMENT = 0x0115
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    UNRECOGNISED_OPERATION = 0x0211


@dataclass(frozen=True, slots=True)
class Command:
    """A request.

    Attributes
    ----------
    field
        Command Field, a `CommandField` or the number of another.
    message_id
        Message ID.
    sop_class_uid, sop_instance_uid
        Affected SOP Class and Instance UID; empty where there is none.
    has_data_set
        Whether a data set follows.
    """

    field: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool


def read_command(data: bytes) -> Command:
    """Read a command set.

    Raises
    ------
    ProtocolError
        It is malformed, or lacks what every request has.
    """
    try:
        found = read_dataset(io.BytesIO(data), is_implicit_VR=True, is_little_endian=True)
        return Command(
            field=int(found.CommandField),
            message_id=int(found.get("MessageID", 0)),
            sop_class_uid=str(found.get("AffectedSOPClassUID", "")),
            sop_instance_uid=str(found.get("AffectedSOPInstanceUID", "")),
            has_data_set=int(found.CommandDataSetType) != _NO_DATA_SET,
        )
    except (*MALFORMED, RecursionError) as error:
        raise ProtocolError("a command set that cannot be read") from error


def response(command: Command, status: int, comment: str = "") -> bytes:
    """Return the command set of a response without data set.

    Parameters
    ----------
    command
        The request.
    status
        A `Status`.
    comment
        Error Comment; no value of the patient's.

    Returns
    -------
    bytes
    """
    made = Dataset()
    if command.sop_class_uid:
        made.AffectedSOPClassUID = command.sop_class_uid
    made.CommandField = (command.field | _RESPONSE) & 0xFFFF
    made.MessageIDBeingRespondedTo = command.message_id
    made.CommandDataSetType = _NO_DATA_SET
    made.Status = int(status)
    if comment:
        made.ErrorComment = comment[:_LONGEST_COMMENT]
    if command.sop_instance_uid:
        made.AffectedSOPInstanceUID = command.sop_instance_uid
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_dataset(buffer, made)
    body = buffer.getvalue()
    return b"\x00\x00\x00\x00\x04\x00\x00\x00" + len(body).to_bytes(4, "little") + body
