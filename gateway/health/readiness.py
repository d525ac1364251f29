"""Whether the gateway can take studies and bring their results where they belong; if not, what stands in the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, select, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import utc_now
from gateway.database import read_only
from gateway.health.heartbeat import read_processes
from gateway.send.delivery_tables import BREAKERS


@dataclass(frozen=True, slots=True)
class Expected:
    """What has to be there for the gateway to be ready.

    Attributes
    ----------
    processes
        Names of the processes.
    folder
        The gateway's.
    reserve_bytes
        Room that is left free on its disk.
    destinations
        Names of the destinations.
    """

    processes: tuple[str, ...]
    folder: Path
    reserve_bytes: int
    destinations: tuple[str, ...]


def obstacles(engine: Engine, expected: Expected, clock: Callable[[], datetime] = utc_now) -> tuple[str, ...]:
    """Return what stands in the way, in words for whoever is called at night; nothing where the gateway is ready.

    Parameters
    ----------
    engine
        The gateway's database.
    expected
        What has to be there.
    clock
        Gives the time.

    Returns
    -------
    tuple of str
    """
    found = list(_disk(expected))
    try:
        with read_only(engine).connect() as connection:
            connection.execute(text("SELECT 1"))
        found += _processes(engine, expected.processes, clock())
        found += _destinations(engine, expected.destinations, clock())
    except SQLAlchemyError as error:
        found.append(f"the database does not answer ({type(error).__name__})")
    return tuple(found)


def _disk(expected: Expected) -> Iterable[str]:
    try:
        status = os.statvfs(expected.folder)
    except OSError as error:
        yield f"the gateway's folder cannot be read: {error.strerror}"
        return
    if status.f_bavail * status.f_frsize < expected.reserve_bytes:
        yield "the disk is nearly full: nothing is received until there is room"
    if not os.access(expected.folder, os.W_OK):
        yield "the gateway's folder cannot be written to"


def _processes(engine: Engine, names: Iterable[str], now: datetime) -> Iterable[str]:
    notes = {note.name: note for note in read_processes(engine)}
    for name in names:
        note = notes.get(name)
        if note is None:
            yield f"process {name} is not running"
        elif note.is_silent(now):
            yield f"process {name} has said nothing for a while"
        else:
            yield from (str(problem) for problem in note.detail.get("problems", ()))


def _destinations(engine: Engine, names: Iterable[str], now: datetime) -> Iterable[str]:
    with read_only(engine).connect() as connection:
        rows = connection.execute(select(BREAKERS).where(BREAKERS.c.open_until.is_not(None))).all()
    known = set(names)
    for row in rows:
        if row.destination in known:
            yield f"destination {row.destination} is down: {row.failures} failures in a row"
