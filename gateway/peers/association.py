"""Associations that the gateway opens with a DICOM node: with time limits, and with a reason wherever one fails."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.settings import DicomNode
from gateway.peers.tls import client_context, handshake_failure
from pdl1es.report.software import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

Handlers = Sequence[tuple[evt.EventType, Callable[..., Any]]]

REJECTIONS: Final = {
    (1, 1): "no reason given",
    (1, 2): "application context not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
"""Source and reason of an A-ASSOCIATE-RJ (PS3.8, table 9-21)."""
DUPLICATE_SOP_INSTANCE: Final = 0x0111
"""PS3.7 C.5.7: the peer has the object already."""
NOT_AUTHORISED_STATUS: Final = 0x0124
"""PS3.7 C.5.10."""
_THREAD_SECONDS: Final = 5.0
"""How long pynetdicom's thread for the connection is waited for, s; it ends within a tenth of that."""


@contextmanager
def associated(
    node: DicomNode,
    contexts: Sequence[PresentationContext],
    handlers: Handlers = (),
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[Association]:
    """Open an association, and end it whatever happens.

    Parameters
    ----------
    node
        The peer.
    contexts
        What is proposed beside Verification, which always is.
    handlers
        Of events that the peer may send on the same association.
    roles
        Role selections, where the peer is to be an SCU on this association (C-GET).

    Yields
    ------
    Association
        Established. After ``total_seconds`` its connection is cut, and whatever waits on it ends.

    Raises
    ------
    PeerError
        It cannot be opened: ``UNREACHABLE``, ``TLS_FAILED``, ``ASSOCIATION_REJECTED``, ``ABORTED``, ``TIMEOUT`` or ``BUSY``. Where
        its time is over, ``TIMEOUT`` in place of the error that came of it.
    """
    _keep_bytes_and_secrets()
    entity = AE(node.calling_ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.connection_timeout = node.connect_seconds
    entity.acse_timeout = entity.dimse_timeout = node.response_seconds
    entity.network_timeout = node.response_seconds
    opened: list[float] = []  # when the connection was open, by the monotonic clock
    connections: list[socket.socket] = []

    def connected(event: evt.Event) -> None:
        opened.append(time.monotonic())
        held = event.assoc.dul.socket
        if held is not None and held.socket is not None:
            connections.append(held.socket)

    late = threading.Event()
    secured = None if node.tls is None else (client_context(node.tls), node.tls.host_name or node.host)
    try:
        association = entity.associate(
            node.host,
            node.port,
            contexts=[build_context(Verification), *contexts],
            ae_title=node.ae_title,
            tls_args=secured,
            ext_neg=list(roles),
            evt_handlers=[(evt.EVT_CONN_OPEN, connected), *handlers],
        )
    except socket.gaierror as error:
        raise PeerError(PeerFailure.UNREACHABLE, f"{node.host} is no known host name") from error
    if not association.is_established:
        _close(association, connections)
        raise _not_established(node, association, opened)
    limit = threading.Timer(node.total_seconds, cut, (association, late))
    limit.daemon = True
    limit.start()
    try:
        yield association
    except PeerError as error:
        if late.is_set():
            raise _too_long(node) from error
        raise
    except RuntimeError as error:  # pynetdicom's, for a request on an association that has ended
        if association.is_established:
            raise
        if late.is_set():
            raise _too_long(node) from error
        raise PeerError(PeerFailure.ABORTED, f"{node.host} port {node.port}: between two requests") from error
    finally:
        limit.cancel()
        _end(association, node.response_seconds)
        _close(association, connections)


def echo(association: Association) -> None:
    """Test an association by C-ECHO before anything is sent on it.

    Raises
    ------
    PeerError
        The peer does not answer, or not with success.
    """
    if not any(context.abstract_syntax == Verification for context in association.accepted_contexts):
        return  # an SCP of storage need not be one of Verification; that it accepted the association is the test then
    require_success(association.send_c_echo(), "C-ECHO")


def require_success(status: Dataset, what: str) -> None:
    """Raise what a DIMSE status says, unless it is success or a warning.

    Parameters
    ----------
    status
        As pynetdicom gives it: empty where the peer did not answer.
    what
        The request, for the message.

    Raises
    ------
    PeerError
        ``TIMEOUT``, ``BUSY``, ``NOT_AUTHORISED`` or ``REFUSED``. The peer's Error Comment is left out: it may quote a patient.
    """
    if "Status" not in status:
        raise PeerError(PeerFailure.TIMEOUT, f"no answer to {what}, or the connection broke")
    code = int(status.Status)
    if code in (0x0000, 0x0001, 0x0107, 0x0116) or code & 0xF000 == 0xB000:
        return
    found = f"{what}: status 0x{code:04X}"
    if code & 0xFF00 == 0xA700:
        raise PeerError(PeerFailure.BUSY, found)
    if code == NOT_AUTHORISED_STATUS:
        raise PeerError(PeerFailure.NOT_AUTHORISED, found)
    raise PeerError(PeerFailure.REFUSED, found)


def accepts(association: Association, abstract_syntax: str, transfer_syntax: str | None = None) -> bool:
    """Return whether the peer accepted a presentation context.

    Parameters
    ----------
    association
        Established.
    abstract_syntax
        SOP Class UID.
    transfer_syntax
        Its UID; None for any.

    Returns
    -------
    bool
    """
    return any(
        context.abstract_syntax == UID(abstract_syntax)
        and (transfer_syntax is None or UID(transfer_syntax) in context.transfer_syntax)
        for context in association.accepted_contexts
    )


def _keep_bytes_and_secrets() -> None:
    """Set what pynetdicom keeps for the whole process: data sets go out as they are in the file, and no identifier is logged."""
    _config.STORE_SEND_CHUNKED_DATASET = True
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False


def cut(association: Association, late: threading.Event | None = None) -> None:
    """Cut an association's connection: whatever waits on it ends.

    Parameters
    ----------
    association
        Which; from any thread.
    late
        Is set before.
    """
    # An abort would wait behind what is being sent, to a peer that perhaps no longer reads.
    if late is not None:
        late.set()
    held = association.dul.socket
    plain = held.socket if held is not None else None
    if plain is not None:
        with suppress(OSError):
            plain.shutdown(socket.SHUT_RDWR)


def _end(association: Association, seconds: float) -> None:
    """Release an association, or cut its connection where that takes too long.

    pynetdicom waits without an end for its own threads, which a peer's message at the wrong moment can end before.
    """

    def leave() -> None:
        if association.is_established:
            association.release()
        if association.is_established:
            association.abort()

    leaving = threading.Thread(target=leave, name="release", daemon=True)
    leaving.start()
    leaving.join(seconds)
    if leaving.is_alive():
        cut(association)


def _close(association: Association, connections: Sequence[socket.socket]) -> None:
    """Close what pynetdicom leaves open: where the peer has reset the connection, it forgets its socket without closing it."""
    association.dul.join(_THREAD_SECONDS)
    if not association.dul.is_alive():
        for connection in connections:
            connection.close()


def _too_long(node: DicomNode) -> PeerError:
    return PeerError(PeerFailure.TIMEOUT, f"{node.host} port {node.port}: not done within {node.total_seconds:g} s")


def _not_established(node: DicomNode, association: Association, opened: list[float]) -> PeerError:
    where = f"{node.host} port {node.port}"
    if not opened:
        if node.tls is not None:
            return handshake_failure(node.host, node.port, node.tls, node.connect_seconds)
        return PeerError(PeerFailure.UNREACHABLE, where)
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        source, reason = answer.result_source or 0, answer.diagnostic or 0
        said = REJECTIONS.get((source, reason), f"source {source}, reason {reason}")
        if source == 3:
            return PeerError(PeerFailure.BUSY, f"{where}: association rejected: {said}")
        return PeerError(PeerFailure.ASSOCIATION_REJECTED, f"{where}: {said}")
    if answer is not None:
        return PeerError(PeerFailure.NOT_ACCEPTED, f"{where} accepted no presentation context")
    if time.monotonic() - opened[0] >= node.response_seconds:
        return PeerError(PeerFailure.TIMEOUT, f"{where}: no answer to the request for an association")
    return PeerError(PeerFailure.ABORTED, f"{where}: while the association was negotiated")
