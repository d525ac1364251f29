"""One association as its acceptor (PS3.8 9.2): asked for, negotiated, served message by message, released.

The PDUs of the negotiation and the contexts are pynetdicom's; so are its rules of which context is accepted. Its reactor is not used: it
shakes hands for TLS in the thread that accepts, has no limit on the size of a PDU, holds an object in memory, and polls from two threads
an association (docs/decisions/0012-the-receiver-reads-pdus-itself.md). Here a connection has one thread, which waits for the socket alone.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pydicom.uid import UID
from pynetdicom._globals import APPLICATION_CONTEXT_NAME
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ, A_RELEASE_RP
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from gateway.receive.access import Rejection, shown_title
from gateway.receive.commands import LARGEST_COMMAND, Command, CommandField, Status, read_command, response
from gateway.receive.settings import AssociationLimits
from gateway.receive.upper_layer import (
    AbortReason,
    ConnectionEndedError,
    PduStream,
    PduType,
    ProtocolError,
)
from pdl1es.dicom.header_elements import MALFORMED
from pdl1es.report.software import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

LOG: Final = logging.getLogger("pdl1es.gateway.receive")
_CLOSING_SECONDS: Final = 2.0
_BROKEN_PDU: Final = (*MALFORMED, RecursionError)
"""What pynetdicom raises on a request that is no request."""


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """An accepted presentation context."""

    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with.

    Attributes
    ----------
    status
        A `Status`.
    comment
        Error Comment.
    """

    status: int
    comment: str = ""


class DataSink(Protocol):
    """Takes the data set of one message."""

    def take(self, data: memoryview) -> None:
        """Take bytes. It raises nothing: what is wrong is said at the end."""
        ...

    def finish(self) -> Answer:
        """Say what the message is answered with, after its last byte."""
        ...

    def abandon(self) -> None:
        """Drop what was taken: the connection ended."""
        ...


class AssociationUser(Protocol):
    """Whoever serves the requests of one association."""

    def store(self, command: Command, context: AcceptedContext) -> DataSink:
        """Begin to take an object.

        Parameters
        ----------
        command
            The request.
        context
            In which it came.

        Returns
        -------
        DataSink
        """
        ...

    def report(self, command: Command, context: AcceptedContext) -> DataSink:
        """Begin to take what an N-EVENT-REPORT says.

        Parameters
        ----------
        command
            The request.
        context
            In which it came.

        Returns
        -------
        DataSink
        """
        ...

    def ended(self) -> None:
        """Note that nothing more comes."""
        ...


@dataclass(frozen=True, slots=True)
class Acceptor:
    """What an association is negotiated by.

    Attributes
    ----------
    judge
        Called and calling AE title to a rejection, or None.
    contexts
        What is accepted.
    limits
        Sizes and times.
    serve
        Calling AE title to whoever serves the association.
    address
        Where the connection comes from, for the log; empty where it is not known.
    """

    judge: Callable[[str, str], Rejection | None]
    contexts: tuple[PresentationContext, ...]
    limits: AssociationLimits
    serve: Callable[[str], AssociationUser]
    address: str = ""


class AcceptedAssociation:
    """One connection, from its request to its end.

    Parameters
    ----------
    connection
        Connected, with the TLS handshake done.
    acceptor
        What it is negotiated by.
    deadline
        Until when the request must have come, of `time.monotonic`, s.
    """

    def __init__(self, connection: socket.socket, acceptor: Acceptor, deadline: float) -> None:
        self._connection = connection
        self._acceptor = acceptor
        self._limits = acceptor.limits
        self._stream = PduStream(connection, acceptor.limits.pdu_bytes, acceptor.limits.idle_seconds)
        self._stream.deadline = deadline
        self._contexts: Mapping[int, AcceptedContext] = {}
        self._peer_pdu_bytes = 0
        self._is_ending = False
        self._is_busy = True  # until the first request of an established association is waited for
        self._calling = ""
        self._stored = 0

    def run(self) -> str:
        """Serve the association to its end, and return how it ended, for the log."""
        try:
            user = self._negotiate()
            if isinstance(user, str):
                return user
        except ConnectionEndedError as ended:
            return ended.reason
        except ProtocolError as error:
            self._abort(error.reason)
            return f"aborted: {error.found}"
        try:
            return self._serve(user)
        except ConnectionEndedError as ended:
            self._abort(AbortReason.NOT_SPECIFIED)
            return ended.reason
        except ProtocolError as error:
            self._abort(error.reason)
            return f"aborted: {error.found}"
        finally:
            user.ended()

    @property
    def brought(self) -> str:
        """Who brought how many objects that were stored, for the log; empty where the association was not accepted."""
        if not self._calling:
            return ""
        objects = "1 object" if self._stored == 1 else f"{self._stored} objects"
        return f", calling AE title {shown_title(self._calling)}, {objects} stored"

    def end(self, *, at_once: bool) -> None:
        """End the association from another thread: now, or when the object that is coming has been answered.

        Parameters
        ----------
        at_once
            Whether what is coming is broken off.
        """
        self._is_ending = True
        if at_once or not self._is_busy:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RD)

    # --- negotiation ------------------------------------------------------------------------------------------------

    def _negotiate(self) -> AssociationUser | str:
        """Answer the request; a word of how the association ended where it was rejected."""
        kind, length = self._stream.header()
        if kind is not PduType.ASSOCIATE_RQ:
            raise ProtocolError(f"{kind.name} before an association", AbortReason.UNEXPECTED_PDU)
        body = self._stream.exactly(length)
        request = _request(struct.pack(">BBL", kind, 0, length) + body)
        called, calling = request.called_ae_title.strip(), request.calling_ae_title.strip()
        rejection = self._acceptor.judge(called, calling)
        if rejection is not None:
            titles = f"calling AE title {shown_title(calling)}, called {shown_title(called)}"
            LOG.warning(
                "association rejected: %s; %s, from %s", rejection.word, titles, self._acceptor.address or "unknown"
            )
            self._reject(rejection)
            return f"rejected, {titles}"
        roles = [item for item in request.user_information if isinstance(item, SCP_SCU_RoleSelectionNegotiation)]
        results, agreed = negotiate_as_acceptor(
            request.presentation_context_definition_list,
            list(self._acceptor.contexts),
            {UID(item.sop_class_uid or ""): (bool(item.scu_role), bool(item.scp_role)) for item in roles},
        )
        self._contexts = {
            context.context_id: AcceptedContext(str(context.abstract_syntax), str(context.transfer_syntax[0]))
            for context in results
            if context.result == 0 and context.context_id is not None
        }
        self._peer_pdu_bytes = request.maximum_length_received or 0
        self._send(self._acceptance(request, results, agreed))
        self._stream.deadline = time.monotonic() + self._limits.total_seconds
        self._calling = calling
        return self._acceptor.serve(calling)

    def _acceptance(
        self,
        request: A_ASSOCIATE,
        results: list[PresentationContext],
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation],
    ) -> bytes:
        made = A_ASSOCIATE()
        made.application_context_name = UID(APPLICATION_CONTEXT_NAME)
        made.calling_ae_title, made.called_ae_title = request.calling_ae_title, request.called_ae_title
        made.result, made.result_source = 0, 1
        made.presentation_context_definition_results_list = results
        length = MaximumLengthNotification()
        length.maximum_length_received = self._limits.pdu_bytes
        implementation = ImplementationClassUIDNotification()
        implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        version = ImplementationVersionNameNotification()
        version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        made.user_information = [length, implementation, version, *roles]
        return A_ASSOCIATE_AC(made).encode()

    def _reject(self, rejection: Rejection) -> None:
        made = A_ASSOCIATE()
        made.result, made.result_source, made.diagnostic = rejection.result, rejection.source, rejection.reason
        with contextlib.suppress(ConnectionEndedError):
            self._send(A_ASSOCIATE_RJ(made).encode())
            self._await_close()

    # --- messages ---------------------------------------------------------------------------------------------------

    def _serve(self, user: AssociationUser) -> str:
        while True:
            message = self._next_command()
            if isinstance(message, str):
                return message
            context_id, command = message
            context = self._contexts[context_id]
            if command.field == CommandField.C_STORE:
                if not command.has_data_set:
                    raise ProtocolError("a C-STORE without a data set")
                answer = self._take(user.store(command, context), context_id)
                self._stored += answer.status == Status.SUCCESS
            elif command.field == CommandField.N_EVENT_REPORT and command.has_data_set:
                answer = self._take(user.report(command, context), context_id)
            elif command.field == CommandField.C_CANCEL:
                continue
            else:
                if command.has_data_set:
                    self._take(_Nowhere(), context_id)
                known = command.field == CommandField.C_ECHO
                answer = Answer(Status.SUCCESS if known else Status.UNRECOGNISED_OPERATION)
            if command.field & 0x8000:  # a response to nothing that was asked
                raise ProtocolError("a response without a request", AbortReason.UNEXPECTED_PARAMETER)
            self._respond(context_id, response(command, answer.status, answer.comment))

    def _next_command(self) -> tuple[int, Command] | str:
        """Read the next command set; a word where the association ends instead."""
        data, context_id = bytearray(), None
        while True:
            self._is_busy = bool(data)
            if self._is_ending and not data:
                raise ConnectionEndedError("the gateway stops")
            kind, length = self._stream.header()
            self._is_busy = True
            if kind is PduType.RELEASE_RQ and not data:
                self._stream.exactly(length)
                self._send(A_RELEASE_RP().encode())
                self._await_close()
                return "released"
            if kind is PduType.ABORT:
                return "aborted by the sender"
            if kind is not PduType.P_DATA:
                raise ProtocolError(f"{kind.name} within an association", AbortReason.UNEXPECTED_PDU)
            done = False
            for fragment in self._stream.fragments(length):
                if done or not fragment.is_command or fragment.context_id not in self._contexts:
                    raise ProtocolError("a fragment that belongs to no message", AbortReason.UNEXPECTED_PARAMETER)
                if context_id not in (None, fragment.context_id):
                    raise ProtocolError("a message in two presentation contexts")
                context_id = fragment.context_id
                data += fragment.data
                if len(data) > LARGEST_COMMAND:
                    raise ProtocolError("a command set that is too long")
                done = fragment.is_last
            if done and context_id is not None:
                return context_id, read_command(bytes(data))

    def _take(self, sink: DataSink, context_id: int) -> Answer:
        """Pass a data set to whoever takes it, and return what is answered."""
        whole = self._stream.deadline
        self._stream.deadline = min(whole, time.monotonic() + self._limits.object_seconds)
        try:
            for data in self._data_set(context_id):
                sink.take(data)
        except (ConnectionEndedError, ProtocolError):
            sink.abandon()
            raise
        finally:
            self._stream.deadline = whole
        return sink.finish()

    def _data_set(self, context_id: int) -> Iterator[memoryview]:
        done = False
        while not done:
            kind, length = self._stream.header()
            if kind is PduType.ABORT:
                raise ConnectionEndedError("aborted by the sender within an object")
            if kind is not PduType.P_DATA:
                raise ProtocolError(f"{kind.name} within a data set", AbortReason.UNEXPECTED_PDU)
            for fragment in self._stream.fragments(length):
                if done or fragment.is_command or fragment.context_id != context_id:
                    raise ProtocolError(
                        "a fragment that does not belong to the data set", AbortReason.UNEXPECTED_PARAMETER
                    )
                yield fragment.data
                done = fragment.is_last

    # --- sending ----------------------------------------------------------------------------------------------------

    def _respond(self, context_id: int, command: bytes) -> None:
        most = (self._peer_pdu_bytes or LARGEST_COMMAND) - 6
        pieces = [command[start : start + most] for start in range(0, len(command), max(most, 16))]
        for piece in pieces:
            control = 3 if piece is pieces[-1] else 1
            item = struct.pack(">LBB", len(piece) + 2, context_id, control) + piece
            self._send(struct.pack(">BBL", PduType.P_DATA, 0, len(item)) + item)

    def _send(self, data: bytes) -> None:
        self._stream.wait_at_most(self._limits.idle_seconds)
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise ConnectionEndedError("the peer takes no answer") from error

    def _abort(self, reason: AbortReason) -> None:
        made = A_ABORT_RQ()
        made.source, made.reason_diagnostic = 2, int(reason)
        with contextlib.suppress(ConnectionEndedError):
            self._send(made.encode())

    def _await_close(self) -> None:
        """Let the peer close the connection first, as PS3.8 9.1.4 wants it, but not for long."""
        self._stream.deadline = time.monotonic() + _CLOSING_SECONDS
        with contextlib.suppress(ConnectionEndedError):
            self._stream.exactly(1)


class _Nowhere:
    """Drops a data set."""

    def take(self, data: memoryview) -> None:
        """Drop bytes."""

    def finish(self) -> Answer:
        """Return nothing that is used."""
        return Answer(Status.SUCCESS)

    def abandon(self) -> None:
        """Do nothing."""


def _request(data: bytes) -> A_ASSOCIATE:
    """Return the request that a PDU holds."""
    try:
        pdu = A_ASSOCIATE_RQ()
        pdu.decode(data)
        request = pdu.to_primitive()
        usable = request.called_ae_title and request.calling_ae_title and request.presentation_context_definition_list
    except _BROKEN_PDU as error:
        raise ProtocolError("a request for an association that cannot be read") from error
    if not usable:
        raise ProtocolError("a request for an association without AE titles or contexts")
    return request
