"""Whether the gateway can take studies and bring their results where they belong; if not, what stands in the way, and since when.

The gateway is ready while its disk has room and can be written to, its database answers, each of its processes says that it lives and
finds no fault in itself, and every destination, archive and source that is asked worked when it was last spoken to. One failure is enough; a peer's fault ends when
the peer works again, or when nothing has been asked of it for a while.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import utc_now
from gateway.database import read_only
from gateway.health.heartbeat import read_processes
from gateway.peers.faults import PeerFaults
from gateway.workflow.defects import STUDY_DEFECT, DefectBook

REMEDIES: Final[Mapping[str, str]] = {
    "FOLDER_GONE": "mount or restore it; the gateway goes on by itself",
    "FOLDER_NOT_WRITABLE": "let the gateway's user write to it; a file system that was mounted read-only after a fault needs a check",
    "DISK_NEARLY_FULL": "make room, or lower retention.delivered_days; senders are told to come later, and send again by themselves",
    "DATABASE_DOWN": "start it, or bring its file back; the gateway goes on by itself",
    "PROCESS_NOT_RUNNING": "run `pdl1es serve`; where it runs, its log says why the process does not start",
    "PROCESS_SILENT": "look into the log and at the machine's load; `pdl1es serve` starts anew what ends",
    "PROCESS_FAULT": "look into the log",
    "STUDY_DEFECT": "`pdl1es gateway studies` names the study; report the defect with the places that the log says; it is tried again by "
    "itself, and `purge` removes it",
}
"""By code what to do; a peer's codes are those of `gateway.peers.failures`."""


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
    archives
        Names of the archives that are asked.
    sources
        Names of the sources.
    fault_lasts
        A peer's fault counts so long after the last contact.
    """

    processes: tuple[str, ...]
    folder: Path
    reserve_bytes: int
    destinations: tuple[str, ...]
    archives: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    fault_lasts: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that stands in the way.

    Attributes
    ----------
    code
        One of `REMEDIES`, or of a peer's failures.
    of
        What it concerns: ``disk``, ``database``, ``studies``, ``process NAME``, ``destination NAME``, ``archive NAME``,
        ``source NAME``.
    found
        What is wrong.
    remedy
        What to do.
    since
        UTC; None where that is not known.
    """

    code: str
    of: str
    found: str
    remedy: str
    since: datetime | None = None

    @property
    def key(self) -> str:
        """By which it is found again."""
        return f"{self.code} {self.of}"

    def __str__(self) -> str:
        since = "" if self.since is None else f", since {self.since.isoformat(timespec='seconds')}"
        return f"{self.of}: {self.code}: {self.found}{since}. {self.remedy[0].upper()}{self.remedy[1:]}"


@dataclass
class Readiness:
    """Remembers since when something stands in the way, for as long as it is asked now and then.

    Attributes
    ----------
    engine
        The gateway's database.
    expected
        What has to be there.
    clock
        Gives the time.
    """

    engine: Engine
    expected: Expected
    clock: Callable[[], datetime] = utc_now
    _since: dict[str, datetime] = field(default_factory=dict)

    def look(self) -> tuple[Obstacle, ...]:
        """Return what stands in the way now, each with the time when it was first seen."""
        now = self.clock()
        found = obstacles(self.engine, self.expected, self.clock)
        known = self._since
        self._since = {one.key: one.since or known.get(one.key, now) for one in found}
        return dated(found, self._since)

    def detail(self) -> dict[str, dict[str, str]]:
        """Return what a heartbeat says of it, so that a command, which has just begun to look, can tell since when."""
        return {SINCE: {one.key: one.since.isoformat() for one in self.look() if one.since is not None}}


SINCE: Final = "obstacles_since"
"""Under which a heartbeat has what `Readiness.detail` gives."""


NOTICES: Final = "notices"
"""Under which a heartbeat has what a person should know, though the gateway is ready."""


def notices(engine: Engine, clock: Callable[[], datetime] = utc_now) -> tuple[str, ...]:
    """Return what a person should know, though the gateway is ready: of the processes, and of studies with a defect.

    Parameters
    ----------
    engine
        The gateway's database.
    clock
        Gives the time.

    Returns
    -------
    tuple of str
        Empty where the database does not answer.
    """
    try:
        living = [note for note in read_processes(engine) if not note.is_silent(clock())]
        defects = tuple(_defects(engine))
    except SQLAlchemyError:
        return ()
    return tuple(str(line) for note in living for line in note.detail.get(NOTICES, ())) + defects


def dated(found: Iterable[Obstacle], since: Mapping[str, datetime]) -> tuple[Obstacle, ...]:
    """Give obstacles without a time the one at which they were first seen.

    Parameters
    ----------
    found
        Obstacles.
    since
        By `Obstacle.key`.

    Returns
    -------
    tuple of Obstacle
    """
    return tuple(one if one.since is not None else replace(one, since=since.get(one.key)) for one in found)


def obstacles(engine: Engine, expected: Expected, clock: Callable[[], datetime] = utc_now) -> tuple[Obstacle, ...]:
    """Return what stands in the way, for whoever is called at night; nothing where the gateway is ready.

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
    tuple of Obstacle
        Without a time where none is kept.
    """
    found = list(_disk(expected))
    try:
        with read_only(engine).connect() as connection:
            connection.execute(text("SELECT 1"))
        found += _processes(engine, expected.processes, clock())
        found += _peers(engine, expected, clock())
    except SQLAlchemyError as error:
        found.append(_obstacle("DATABASE_DOWN", "database", f"it does not answer ({type(error).__name__})"))
    return tuple(found)


def _obstacle(code: str, of: str, found: str, since: datetime | None = None) -> Obstacle:
    return Obstacle(code, of, found, REMEDIES[code], since)


def _disk(expected: Expected) -> Iterable[Obstacle]:
    try:
        status = os.statvfs(expected.folder)
    except OSError as error:
        yield _obstacle("FOLDER_GONE", "disk", f"the gateway's folder cannot be read ({error.strerror})")
        return
    if status.f_bavail * status.f_frsize < expected.reserve_bytes:
        yield _obstacle("DISK_NEARLY_FULL", "disk", "nothing is received until there is room")
    if not os.access(expected.folder, os.W_OK):
        yield _obstacle("FOLDER_NOT_WRITABLE", "disk", "the gateway's folder cannot be written to")


def _processes(engine: Engine, names: Iterable[str], now: datetime) -> Iterable[Obstacle]:
    notes = {note.name: note for note in read_processes(engine)}
    for name in names:
        note, of = notes.get(name), f"process {name}"
        if note is None:
            yield _obstacle("PROCESS_NOT_RUNNING", of, "it is not running")
        elif note.is_silent(now):
            yield _obstacle("PROCESS_SILENT", of, "it has said nothing for a while", note.beat_at)
        else:
            yield from (_obstacle("PROCESS_FAULT", of, str(problem)) for problem in note.detail.get("problems", ()))


def _defects(engine: Engine) -> Iterable[str]:
    # No obstacle: all other studies are taken, and a sender may not take the gateway out of service by one study.
    if defects := DefectBook(engine).every():
        count = len({one.study for one in defects})
        what = "1 study cannot be judged" if count == 1 else f"{count} studies cannot be judged"
        since = min(one.since for one in defects)
        yield str(_obstacle(STUDY_DEFECT, "studies", f"{what} because of a defect: {defects[0].found}", since))


def _peers(engine: Engine, expected: Expected, now: datetime) -> Iterable[Obstacle]:
    known = {f"destination {name}" for name in expected.destinations}
    known |= {f"archive {name}" for name in expected.archives}
    known |= {f"source {name}" for name in expected.sources}
    for fault in PeerFaults(engine).every():
        if fault.peer in known and abs(now - fault.seen_at) <= expected.fault_lasts:
            row = fault.failure.row
            yield Obstacle(fault.failure.name, fault.peer, f"{row.meaning}: {fault.found}", row.remedy, fault.since)
