"""Heartbeats: each process says every few seconds that it lives, and what of it matters to others."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import JSON, Column, Engine, Integer, String, Table, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import utc_now
from gateway.database import METADATA, UtcTime, read_only

logger = logging.getLogger("pdl1es.gateway.health")

BEAT_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 20.0
"""A process that said nothing for so long counts as down."""

PROCESSES: Final = Table(
    "processes",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("beat_at", UtcTime, nullable=False),
    Column("detail", JSON, nullable=False),
)
"""The last heartbeat of each process."""


@dataclass(frozen=True, slots=True)
class ProcessNote:
    """What a process last said.

    Attributes
    ----------
    name
        ``receiver-1``, ``executor``, ``web``.
    pid
        Its process id.
    started_at, beat_at
        UTC.
    detail
        Numbers and words by name, none of a patient.
    """

    name: str
    pid: int
    started_at: datetime
    beat_at: datetime
    detail: Mapping[str, Any]

    def is_silent(self, now: datetime) -> bool:
        """Tell whether it counts as down: a heartbeat from the future is from before the clock stepped back."""
        return abs((now - self.beat_at).total_seconds()) > SILENT_SECONDS


def read_processes(engine: Engine) -> tuple[ProcessNote, ...]:
    """Return the last heartbeat of each process, by name."""
    with read_only(engine).connect() as connection:
        rows = connection.execute(select(PROCESSES).order_by(PROCESSES.c.name)).all()
    return tuple(ProcessNote(row.name, row.pid, row.started_at, row.beat_at, row.detail) for row in rows)


class Heartbeat:
    """Says in a thread that this process lives.

    Parameters
    ----------
    engine
        The gateway's database.
    name
        Of the process.
    detail
        Gives what else is said; called in the thread.
    """

    def __init__(self, engine: Engine, name: str, detail: Callable[[], Mapping[str, Any]] = dict) -> None:
        self._engine = engine
        self._name = name
        self._detail = detail
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self.beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(BEAT_SECONDS)
        try:
            with self._engine.begin() as connection:
                connection.execute(delete(PROCESSES).where(PROCESSES.c.name == self._name))
        except SQLAlchemyError as gone:
            logger.warning("the database does not answer (%s)", type(gone).__name__)

    def beat(self) -> None:
        """Say it once; a database that does not answer is told in the log."""
        now = utc_now()
        values = {"pid": os.getpid(), "beat_at": now, "detail": dict(self._detail())}
        try:
            with self._engine.begin() as connection:
                same = (PROCESSES.c.name == self._name) & (PROCESSES.c.pid == os.getpid())
                if connection.execute(update(PROCESSES).where(same).values(values)).rowcount:
                    return
                connection.execute(delete(PROCESSES).where(PROCESSES.c.name == self._name))
                connection.execute(insert(PROCESSES).values(name=self._name, started_at=now, **values))
        except SQLAlchemyError as error:
            logger.warning("the database does not answer (%s)", type(error).__name__)

    def _beat_on(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            self.beat()
