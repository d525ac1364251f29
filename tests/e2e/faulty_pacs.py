"""A wire between the gateway and a PACS that does what a bad network or a bad PACS does: it is slow, resets, rejects, loses an answer."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Literal, Self

from tests.e2e.pacs import LOOPBACK

Behaviour = Literal["well", "slow", "resets", "rejects", "loses the answer to N-ACTION"]

REJECTION = bytes.fromhex("03000000000400020302")
"""A-ASSOCIATE-RJ (PS3.8 9.3.4): rejected for now, by the presentation service, local limit exceeded."""
N_ACTION_REQUEST = bytes.fromhex("00000001020000003001")
"""Command Field (0000,0100) of N-ACTION-RQ, as it stands in the command set (PS3.7 E.1)."""
RESETS_AFTER_BYTES = 20_000
SLOW_BYTES, SLOW_SECONDS = 65536, 0.1


class FaultyWire:
    """Takes connections and passes them on to the PACS, well or badly.

    Parameters
    ----------
    port
        The PACS's, on the loopback interface.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self.behaviour: Behaviour = "well"
        self.happened: Counter[Behaviour] = Counter()
        """How often it behaved in each way."""
        self._server = socket.create_server((LOOPBACK, 0))
        self.port = int(self._server.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._connect, args=(connection,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        behaviour = self.behaviour
        self.happened[behaviour] += 1
        if behaviour == "rejects":
            with near, contextlib.suppress(OSError):
                near.recv(65536)
                near.sendall(REJECTION)
                near.recv(65536)  # the requestor closes
            return
        try:
            far = socket.create_connection((LOOPBACK, self._to), timeout=10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        deaf = threading.Event()
        threading.Thread(target=self._pass_on, args=(far, near, "well", deaf), daemon=True).start()
        self._pass_on(near, far, behaviour, threading.Event(), deaf)

    def _pass_on(
        self,
        source: socket.socket,
        target: socket.socket,
        behaviour: Behaviour,
        lost: threading.Event,
        others_lost: threading.Event | None = None,
    ) -> None:
        """Pass bytes on until one side closes, or the behaviour ends it; what comes while ``lost`` is set goes nowhere."""
        passed, last = 0, b""
        with contextlib.suppress(OSError):
            while data := source.recv(SLOW_BYTES if behaviour == "slow" else 65536):
                if behaviour == "slow":
                    time.sleep(SLOW_SECONDS)
                asks = behaviour == "loses the answer to N-ACTION" and N_ACTION_REQUEST in last + data
                if asks and others_lost is not None:
                    others_lost.set()
                if not lost.is_set():
                    target.sendall(data)
                passed += len(data)
                if behaviour == "resets" and passed > RESETS_AFTER_BYTES:
                    break
                if asks:
                    time.sleep(0.5)  # the PACS has it, and answers
                    break
                last = data[-len(N_ACTION_REQUEST) :]
        for one in (source, target):
            with contextlib.suppress(OSError):
                if behaviour != "well":
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST in place of FIN
                    one.close()
                else:
                    one.shutdown(socket.SHUT_RDWR)
