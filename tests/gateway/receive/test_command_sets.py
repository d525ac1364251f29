"""Command sets: what pynetdicom writes is read, and what is written pynetdicom reads."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom.uid import UID, CTImageStorage
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dsutils import decode, encode

from gateway.receive.commands import Command, Status, read_command, response
from gateway.receive.upper_layer import ProtocolError

ODD_UID = "1.2.826.0.1.3680043.8.498.1"
STORE = Command(0x0001, 65535, CTImageStorage, ODD_UID, has_data_set=True)


def written(message: DIMSEMessage, primitive: C_STORE | C_ECHO) -> bytes:
    """The command set that pynetdicom sends."""
    message.primitive_to_message(primitive)
    data = encode(message.command_set, True, True)
    assert data is not None
    return data


def store_command() -> bytes:
    request = C_STORE()
    request.MessageID, request.Priority = 65535, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CTImageStorage, ODD_UID
    request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID = "MOVER", 3
    request.DataSet = BytesIO(b"1234")
    return written(C_STORE_RQ(), request)


def test_requests_of_pynetdicom_are_read() -> None:
    assert read_command(store_command()) == STORE
    echo = C_ECHO()
    echo.MessageID, echo.AffectedSOPClassUID = 7, UID("1.2.840.10008.1.1")
    assert read_command(written(C_ECHO_RQ(), echo)) == Command(0x0030, 7, "1.2.840.10008.1.1", "", has_data_set=False)


@pytest.mark.parametrize(
    ("status", "comment"), [(Status.SUCCESS, ""), (Status.OUT_OF_RESOURCES, "the disk is full"), (0xB000, "x" * 70)]
)
def test_responses_are_read_by_pynetdicom(status: int, comment: str) -> None:
    data = response(STORE, status, comment)
    command_set = decode(BytesIO(data), True, True)
    assert command_set.CommandGroupLength == len(data) - 12
    message = C_STORE_RSP()
    message.command_set = command_set
    read = message.message_to_primitive()
    assert isinstance(read, C_STORE)
    assert (read.MessageIDBeingRespondedTo, read.Status) == (65535, status)
    assert (read.AffectedSOPClassUID, read.AffectedSOPInstanceUID) == (CTImageStorage, ODD_UID)
    assert (command_set.get("ErrorComment") or "") == comment[:64]


@pytest.mark.parametrize("cut", [1, 7, 9, 40])
def test_what_is_cut_off_within_an_element_is_no_command(cut: int) -> None:
    with pytest.raises(ProtocolError):
        read_command(store_command()[:-cut])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\x00\x16\x00\x02\x00\x00\x001\x00",
        b"\x00\x00\x00\x01\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\x03\x00\x00\x00\x01\x00\x00",
    ],
    ids=["nothing", "of another group", "of undefined length", "a number of three bytes"],
)
def test_what_is_no_command_set_is_told(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_command(data)
