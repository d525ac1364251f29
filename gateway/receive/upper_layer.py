"""Reading PDUs from a connection (PS3.8 9.3), with a limit on everything that the peer decides: sizes, silences, times."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

LARGEST_OTHER_PDU: Final = 2**20
"""Bytes of a PDU that is no P-DATA: a request with 128 contexts and every transfer syntax has a fifth of it."""
_BUFFER: Final = 2**18


class PduType(IntEnum):
    """The first byte of a PDU."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class AbortReason(IntEnum):
    """Reason of an A-ABORT by the service provider (PS3.8 9.3.8)."""

    NOT_SPECIFIED = 0
    UNRECOGNISED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNISED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6


class ConnectionEndedError(Exception):
    """The peer closed the connection, or was silent for too long.

    Parameters
    ----------
    reason
        Why, for the log.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class ProtocolError(Exception):
    """The peer sent what DICOM does not allow here.

    Parameters
    ----------
    found
        What, for the log.
    reason
        For the A-ABORT.
    """

    def __init__(self, found: str, reason: AbortReason = AbortReason.INVALID_PARAMETER) -> None:
        self.found = found
        self.reason = reason
        super().__init__(found)


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a message.

    Attributes
    ----------
    context_id
        Presentation context.
    is_command
        Whether it belongs to the command set, not to the data set.
    is_last
        Whether it ends that.
    data
        Valid until the next piece is asked for.
    """

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


class PduStream:
    """A connection, read PDU by PDU. A P-DATA PDU is never held whole: its bytes are passed on as they come.

    Parameters
    ----------
    connection
        Connected, with the TLS handshake done.
    pdu_bytes
        Largest P-DATA PDU that was agreed.
    idle_seconds
        Longest silence, s.
    """

    def __init__(self, connection: socket.socket, pdu_bytes: int, idle_seconds: float) -> None:
        self._connection = connection
        self._pdu_bytes = pdu_bytes
        self.idle_seconds = idle_seconds
        self.deadline = float("inf")
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._waits_seconds = 0.0

    def header(self) -> tuple[PduType, int]:
        """Read the type of the next PDU and the length of its body.

        Raises
        ------
        ConnectionEndedError
            The peer hung up, was silent, or its time is up.
        ProtocolError
            It is no PDU, or a larger one than is taken.
        """
        kind, _, length = struct.unpack(">BBL", self.exactly(6))
        try:
            pdu_type = PduType(kind)
        except ValueError:
            raise ProtocolError(f"a PDU of type {kind}", AbortReason.UNRECOGNISED_PDU) from None
        if length > (self._pdu_bytes if pdu_type is PduType.P_DATA else LARGEST_OTHER_PDU):
            raise ProtocolError(f"a PDU of {length} bytes")
        return pdu_type, length

    def fragments(self, length: int) -> Iterator[Fragment]:
        """Give the pieces of a P-DATA PDU's values as they come.

        Parameters
        ----------
        length
            Of its body.

        Yields
        ------
        Fragment

        Raises
        ------
        ConnectionEndedError
            As for `header`.
        ProtocolError
            Its lengths do not fit.
        """
        while length:
            if length < 6:
                raise ProtocolError("a P-DATA PDU that ends within an item")
            size, context_id, control = struct.unpack(">LBB", self.exactly(6))
            if size < 2 or size + 4 > length:
                raise ProtocolError("a presentation data value of another length than its PDU")
            length -= size + 4
            left, is_command, is_last = size - 2, bool(control & 1), bool(control & 2)
            if not left:
                yield Fragment(context_id, is_command, is_last, self._view[:0])
            while left:
                data = self._some(left)
                left -= len(data)
                yield Fragment(context_id, is_command, is_last and not left, data)

    def exactly(self, count: int) -> bytes:
        """Read so many bytes."""
        parts = bytearray()
        while len(parts) < count:
            parts += self._some(count - len(parts))
        return bytes(parts)

    def _some(self, most: int) -> memoryview:
        """Return at least one byte and at most so many."""
        if self._start == self._end:
            self._fill()
        stop = min(self._end, self._start + most)
        data = self._view[self._start : stop]
        self._start = stop
        return data

    def _fill(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise ConnectionEndedError("its time is up")
        self.wait_at_most(min(self.idle_seconds, left))
        try:
            count = self._connection.recv_into(self._buffer)
        except TimeoutError:
            raise ConnectionEndedError("silence") from None
        except OSError as error:
            raise ConnectionEndedError(f"the connection broke: {error.strerror or type(error).__name__}") from error
        if not count:
            raise ConnectionEndedError("the peer hung up")
        self._start, self._end = 0, count

    def wait_at_most(self, seconds: float) -> None:
        """Set how long the connection is waited for, where that has changed: setting it costs as much as reading."""
        if seconds != self._waits_seconds:
            self._connection.settimeout(seconds)
            self._waits_seconds = seconds
