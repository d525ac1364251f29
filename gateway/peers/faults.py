"""Which peers failed at the last contact, since when, and what they said: kept where every process and command can read it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Column, Engine, String, Table, delete, insert, select, update

from gateway.clock import utc_now
from gateway.database import METADATA, UtcTime, read_only
from gateway.peers.failures import PeerError, PeerFailure

LOG: Final = logging.getLogger("pdl1es.gateway.peers")
PEER_FAULTS: Final = Table(
    "peer_faults",
    METADATA,
    Column("peer", String(64), primary_key=True),
    Column("failure", String(32), nullable=False),
    Column("found", String(500), nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
)
"""Peers that did not work as a whole when they were last spoken to."""


@dataclass(frozen=True, slots=True)
class PeerFault:
    """How a peer fails.

    Attributes
    ----------
    peer
        ``destination NAME``, ``archive NAME`` or ``source NAME``.
    failure
        How, at the last contact.
    found
        What was found then: address and the peer's reason.
    since, seen_at
        The first and the last failure since it worked, UTC.
    """

    peer: str
    failure: PeerFailure
    found: str
    since: datetime
    seen_at: datetime


class PeerFaults:
    """The faults of all peers.

    Parameters
    ----------
    engine
        The gateway's database, with its tables.
    clock
        Gives the time in UTC.
    """

    def __init__(self, engine: Engine, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._clock = clock

    @contextmanager
    def noted(self, peer: str) -> Iterator[None]:
        """Speak to a peer, and keep whether it worked.

        Parameters
        ----------
        peer
            ``destination NAME`` or ``archive NAME``.

        Raises
        ------
        gateway.peers.failures.PeerError
            As it came.
        """
        try:
            yield
        except PeerError as error:
            if self.note(peer, error):
                row = error.failure.row
                LOG.warning("%s fails: %s: %s: %s; %s", peer, error.failure.name, row.meaning, error.found, row.remedy)
            raise
        if self.clear(peer):
            LOG.info("%s works again", peer)

    def note(self, peer: str, error: PeerError, *, whole: bool = False) -> bool:
        """Keep a failure; where it is none of the peer as a whole, the peer works.

        Parameters
        ----------
        peer
            Which.
        error
            How it failed.
        whole
            Whether nothing of the peer's gets through, whatever the failure is.

        Returns
        -------
        bool
            Whether the peer worked before.
        """
        if not whole and not error.failure.row.peer_down:
            self.clear(peer)
            return False
        now = self._clock()
        values = {"failure": error.failure.name, "found": error.found[:500], "seen_at": now}
        with self._engine.begin() as connection:
            if connection.execute(update(PEER_FAULTS).where(PEER_FAULTS.c.peer == peer).values(values)).rowcount:
                return False
            connection.execute(insert(PEER_FAULTS).values(peer=peer, since=now, **values))
        return True

    def clear(self, peer: str) -> bool:
        """Note that a peer works; return whether it failed before."""
        with read_only(self._engine).connect() as connection:
            there = connection.execute(select(PEER_FAULTS.c.peer).where(PEER_FAULTS.c.peer == peer)).first()
        if there is not None:
            with self._engine.begin() as connection:
                connection.execute(delete(PEER_FAULTS).where(PEER_FAULTS.c.peer == peer))
        return there is not None

    def every(self) -> tuple[PeerFault, ...]:
        """Return all, by peer."""
        with read_only(self._engine).connect() as connection:
            rows = connection.execute(select(PEER_FAULTS).order_by(PEER_FAULTS.c.peer)).all()
        return tuple(PeerFault(row.peer, PeerFailure[row.failure], row.found, row.since, row.seen_at) for row in rows)
