"""A port that takes associations: one thread accepts and does nothing else, one thread serves each connection.

What a peer may do before it has proved itself is little: an address that may not send is hung up on at once, the TLS handshake and the
request for an association have to come within a time, and there are at most so many connections. So a silent peer costs one sleeping
thread for some seconds. Where there are as many as are allowed, the one that has not asked for an association for the longest time gives
way to the next: silent peers keep no sender out.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from types import TracebackType
from typing import Final, Self

from gateway.objects.in_flight import InFlight
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore
from gateway.receive.access import LIMIT_REACHED, AccessRules, Rejection
from gateway.receive.association import AcceptedAssociation, Acceptor
from gateway.receive.presentation import accepted_contexts
from gateway.receive.reports import CommitmentAnswer
from gateway.receive.server_tls import server_context
from gateway.receive.settings import DimseSource
from gateway.receive.storage import StoringUser
from pdl1es.dicom.silence import silenced_pydicom

LOG: Final = logging.getLogger("pdl1es.gateway.receive")
BACKLOG: Final = 128
OUTCOMES: Final = ("accepted", "rejected", "refused_connections", "failed_handshakes")


class DimseListener:
    """Takes C-STORE and C-ECHO on one port, and stores what comes.

    Several processes may listen on one port (``shared``): the kernel spreads the connections.

    Parameters
    ----------
    settings
        The source.
    store
        Where objects go.
    in_flight
        Where associations say which studies they bring.
    shared
        Whether other processes listen on the same port.
    answered
        Takes what a peer answers to a request for storage commitment; None where none is ever made.

    Raises
    ------
    OSError
        The port is taken, or a certificate cannot be read.
    """

    def __init__(
        self,
        settings: DimseSource,
        store: ObjectStore,
        in_flight: InFlight,
        *,
        shared: bool = False,
        answered: CommitmentAnswer | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._in_flight = in_flight
        self._answered = answered
        self._access = AccessRules(settings.ae_title, settings.senders)
        self._tls = server_context(settings.tls) if settings.tls is not None else None
        self._process = f"{settings.name}:{os.getpid()}"
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, _Connection] = {}
        self._threads: set[threading.Thread] = set()
        self._established = 0
        self._outcomes: Counter[str] = Counter()
        self._is_stopping = False
        self._silence = contextlib.ExitStack()
        family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind((settings.bind, settings.port))
            self._socket.listen(BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self._accepting = threading.Thread(target=self._accept, name=f"{self._process}:accept", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._socket.getsockname()[1])

    @property
    def associations(self) -> int:
        """How many associations are open."""
        return self._established

    @property
    def outcomes(self) -> dict[str, int]:
        """What came of the connections since the start.

        ``accepted`` and ``rejected`` associations, ``refused_connections`` (address, or too many), ``failed_handshakes``.
        """
        with self._lock:
            return {name: self._outcomes[name] for name in OUTCOMES}

    @property
    def connections(self) -> int:
        """How many connections are open, with those that have not asked for an association yet."""
        return len(self._connections)

    def start(self) -> None:
        """Begin to accept."""
        self._silence.enter_context(silenced_pydicom())
        self._accepting.start()

    def stop(self, grace_seconds: float = 30.0) -> None:
        """Accept nothing more, let the objects that are coming be stored and answered, and end all associations.

        Parameters
        ----------
        grace_seconds
            How long an object that is coming is waited for, s.
        """
        self._is_stopping = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._accepting.is_alive():
            self._accepting.join()
        self._socket.close()
        until = time.monotonic() + grace_seconds
        for at_once in (False, True):
            self._end_all(at_once=at_once)
            for thread in list(self._threads):
                thread.join(max(until - time.monotonic(), 0) if not at_once else None)
        self._silence.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end_all(self, *, at_once: bool) -> None:
        with self._lock:
            for connection in self._connections.values():
                if connection.association is not None:
                    connection.association.end(at_once=at_once)
                else:
                    connection.hang_up()

    def _accept(self) -> None:
        while not self._is_stopping:
            try:
                connection, address = self._socket.accept()
            except OSError as error:
                if self._is_stopping:
                    return
                LOG.error("no connection can be accepted: %s", error.strerror)
                time.sleep(0.1)  # too many open files, perhaps: it may pass
                continue
            with self._lock:
                is_allowed = self._access.allows_address(address[0])
                if is_allowed and self._has_room():
                    self._connections[connection] = _Connection(connection)
                    thread = threading.Thread(
                        target=self._serve,
                        args=(connection, address[0]),
                        name=f"{self._process}:{next(self._numbers)}",
                        daemon=True,
                    )
                    self._threads.add(thread)
                else:
                    thread = None
            if thread is None:
                why = "too many connections" if is_allowed else "the address may not send"
                LOG.warning("connection closed: %s (from %s)", why, address[0])
                self._count("refused_connections")
                connection.close()
                continue
            try:
                thread.start()
            except RuntimeError:  # no thread can be made
                LOG.error("connection closed: no thread can be made")
                self._forget(connection, thread)

    def _has_room(self) -> bool:
        """Make room for one more connection, where there is any; the lock is held."""
        limit = self._settings.limits.connections
        if len(self._connections) < limit:
            return True
        idle = next((raw for raw, one in self._connections.items() if not one.has_slot), None)
        # Those that were hung up on still have a thread for a moment.
        if idle is None or len(self._threads) >= 2 * limit:
            return False
        self._connections.pop(idle).hang_up()
        self._outcomes["refused_connections"] += 1
        LOG.warning("connection closed: too many, and it had asked for no association for the longest time")
        return True

    def _serve(self, raw: socket.socket, address: str) -> None:
        thread = threading.current_thread()
        deadline = time.monotonic() + self._settings.limits.handshake_seconds
        with self._lock:
            connection = self._connections.get(raw, _Connection(raw))
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                raw.settimeout(self._settings.limits.handshake_seconds)
                # What hangs up has to find the socket that the handshake waits on.
                with self._lock:
                    secured = self._tls.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
                    connection.socket = secured
                secured.do_handshake()
            acceptor = self._acceptor(address, thread.name, lambda: self._take_slot(connection))
            association = AcceptedAssociation(connection.socket, acceptor, deadline)
            with self._lock:
                connection.association = association
            end = association.run()
            LOG.info("association %s from %s ended: %s%s", thread.name, address, end, association.brought)
        except ssl.SSLError as error:
            LOG.warning("TLS handshake with %s failed: %s", address, error.reason or type(error).__name__)
            self._count("failed_handshakes")
        except OSError as error:
            LOG.info("connection ended: %s", error.strerror or type(error).__name__)
        finally:
            self._give_slot_back(connection)
            with contextlib.suppress(OSError):
                connection.socket.close()
            self._forget(raw, thread)

    def _forget(self, connection: socket.socket, thread: threading.Thread) -> None:
        with contextlib.suppress(OSError):
            connection.close()
        with self._lock:
            self._connections.pop(connection, None)
            self._threads.discard(thread)

    def _acceptor(self, address: str, holder: str, take_slot: Callable[[], bool]) -> Acceptor:
        def judge(called: str, calling: str) -> Rejection | None:
            rejection = self._access.judge(address, called, calling) or (None if take_slot() else LIMIT_REACHED)
            self._count("accepted" if rejection is None else "rejected")
            return rejection

        origin = ObjectOrigin(self._settings.name, "dimse", holder=holder)
        return Acceptor(
            judge=judge,
            contexts=accepted_contexts(),
            limits=self._settings.limits,
            serve=lambda calling: StoringUser(
                self._store, self._in_flight, replace(origin, calling_ae_title=calling), self._answered
            ),
            address=address,
        )

    def _count(self, outcome: str) -> None:
        with self._lock:
            self._outcomes[outcome] += 1

    def _take_slot(self, connection: _Connection) -> bool:
        """Count one more association, where the limit allows one."""
        with self._lock:
            if self._is_stopping or self._established >= self._settings.limits.associations:
                return False
            self._established += 1
            connection.has_slot = True
            return True

    def _give_slot_back(self, connection: _Connection) -> None:
        """Count one association less, where this was one."""
        with self._lock:
            self._established -= connection.has_slot


@dataclass(eq=False)
class _Connection:
    """An open connection: its socket, plain or with TLS, and its association, which has a place among those at once or none yet."""

    socket: socket.socket
    association: AcceptedAssociation | None = None
    has_slot: bool = False

    def hang_up(self) -> None:
        """Wake the thread that waits for the peer: what it reads has ended."""
        with contextlib.suppress(OSError):
            # Not SSLSocket's, which takes its TLS away from the thread that works with it.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
