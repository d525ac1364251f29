"""A source that looks for objects again and again, in a thread of its own; after a failure more and more seldom."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from sqlalchemy.exc import SQLAlchemyError

from gateway.objects.errors import StoreUnavailableError
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.faults import PeerFaults

LOG: Final = logging.getLogger("pdl1es.gateway.receive")
LONGEST_WAIT_SECONDS: Final = 60.0


class PollingSource:
    """Calls a function until it is stopped.

    Parameters
    ----------
    name
        Of the source, for the log.
    look
        Takes what is there, and tells whether more is waiting already.
    poll_seconds
        Between two looks when nothing is waiting, s.
    faults
        Where it says that it fails, for all processes; None: in the log alone.
    """

    def __init__(
        self, name: str, look: Callable[[], bool], poll_seconds: float, faults: PeerFaults | None = None
    ) -> None:
        self._name = name
        self._look = look
        self._poll_seconds = poll_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._faults = faults
        self.last_error = ""

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End after the look that is under way."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            wait = self._poll_seconds
            try:
                if self._look():
                    wait = 0.0
                self._works()
                failures = 0
            except PeerError as error:
                self._failed(str(error), error)
                failures += 1
            except StoreUnavailableError as error:
                self._failed(str(error))  # readiness names disk and database themselves
                failures += 1
            except SQLAlchemyError:
                self._failed("the database does not answer")
                failures += 1
            except OSError as error:
                reason = error.strerror or type(error).__name__
                self._failed(reason, PeerError(PeerFailure.SOURCE_NOT_READABLE, reason))
                failures += 1
            except Exception as error:
                # A defect with one object does not end the source: nobody would notice that it has.
                reason = f"a defect ({type(error).__name__})"
                if reason != self.last_error:
                    LOG.exception("source %s failed", self._name)
                self.last_error = reason
                self._note(PeerError(PeerFailure.DEFECT, type(error).__name__))
                failures += 1
            if failures:
                wait = min(self._poll_seconds * 2 ** min(failures, 10), LONGEST_WAIT_SECONDS)
            self._stopped.wait(wait)

    def _works(self) -> None:
        if self._faults is not None:
            self._faults.clear(f"source {self._name}")
        if self.last_error:
            LOG.info("source %s works again", self._name)
        self.last_error = ""

    def _failed(self, reason: str, error: PeerError | None = None) -> None:
        if reason != self.last_error:  # once, however long it lasts
            LOG.warning("source %s: %s", self._name, reason)
        self.last_error = reason
        if error is not None:
            self._note(error)

    def _note(self, error: PeerError) -> None:
        """Say for all processes that nothing comes by this source; a database that is down says it for itself."""
        if self._faults is not None:
            with suppress(SQLAlchemyError):
                self._faults.note(f"source {self._name}", error, whole=True)
