"""Asks an archive that is down each minute, and tells when it answers again, so that whatever waits for it goes on at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import utc_now
from gateway.fetch.archive import Archive
from gateway.peers.failures import PeerError
from gateway.peers.faults import PeerFaults

logger = logging.getLogger("pdl1es.gateway.fetch")

ASK_EACH: Final = timedelta(seconds=60)
NO_STUDY: Final = "2.25.1"
"""A study that no archive has: the query for its series is cheap, and tests what the gateway needs."""
_LOOK_SECONDS: Final = 2.0


class ArchiveWatch:
    """Looks which archives are down, in a thread of its own.

    Parameters
    ----------
    archives
        By name.
    faults
        The faults of all peers.
    answered
        Is called when an archive that was down answers again, and once at the start: it may have answered while nobody looked.
    clock
        Gives the time in UTC.
    """

    def __init__(
        self,
        archives: Mapping[str, Archive],
        faults: PeerFaults,
        answered: Callable[[], None],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._archives = dict(archives)
        self._faults = faults
        self._answered = answered
        self._clock = clock
        self._down = frozenset(self._archives)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archives", daemon=True)

    def start(self) -> None:
        """Begin to look, where there is an archive."""
        if self._archives:
            self._thread.start()

    def stop(self) -> None:
        """Begin no further look; one that waits for an archive ends with the process."""
        self._ended.set()

    def look(self) -> None:
        """Ask each archive that is down and was not spoken to for a minute; wake what waits where one answers again.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            The database does not answer.
        """
        failing = self._failing()
        for name, seen_at in failing.items():
            if abs(self._clock() - seen_at) >= ASK_EACH:
                with suppress(PeerError), self._faults.noted(f"archive {name}"):
                    self._archives[name].series_of(NO_STUDY)
        down = frozenset(self._failing())
        before, self._down = self._down | failing.keys(), down
        if before - down:
            self._answered()

    def _failing(self) -> dict[str, datetime]:
        faults = {fault.peer: fault.seen_at for fault in self._faults.every()}
        return {name: faults[peer] for name in self._archives if (peer := f"archive {name}") in faults}

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.look()
            except SQLAlchemyError as error:
                logger.warning("the database does not answer (%s); archives are asked later", type(error).__name__)
            self._ended.wait(_LOOK_SECONDS)
