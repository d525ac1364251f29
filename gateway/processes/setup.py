"""What every process of the gateway does first: settings, log, database, stores."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.database import create_tables, database_fault, open_database
from gateway.health.heartbeat import Heartbeat
from gateway.health.readiness import Expected
from gateway.logs import StudyHash, log_as_json, read_log_key
from gateway.processes.signals import ended_by_signal
from gateway.settings.file import GatewaySettings, load_gateway_settings
from gateway.settings.handed_down import configuration_digest, read_handed_down
from pdl1es.command_line.supervision import die_with_parent

logger = logging.getLogger("pdl1es.gateway")

RESULTS_FOLDER: Final = "results"
WORK_FOLDER: Final = "work"
OBJECTS_FOLDER: Final = "objects"
CLINICAL_FOLDER: Final = "clinical"
COPIES_FOLDER: Final = "refiled"
WEB: Final = "web"
SETTINGS: Final = "settings"
"""Under which a heartbeat names the digest of the configuration that its process runs by."""
_LONGEST_PAUSE: Final = 15.0


TABLE_MODULES: Final = (
    "gateway.fetch.notes",
    "gateway.health.heartbeat",
    "gateway.objects.tables",
    "gateway.peers.faults",
    "gateway.receive.orthanc",
    "gateway.receive.passed_over",
    "gateway.send.commitment",
    "gateway.send.delivery_tables",
    "gateway.workflow.tables",
)
"""The modules that declare the database's tables."""


def declare_tables() -> None:
    """Import every module that declares a table, so that whoever makes the tables makes all of them."""
    for name in TABLE_MODULES:
        importlib.import_module(name)


@dataclass(frozen=True, slots=True)
class ProcessParts:
    """What a process works with.

    Attributes
    ----------
    name
        Of the process.
    settings
        ``gateway.yaml``.
    engine
        The gateway's database, with its tables.
    ended
        Is set when the process is to stop.
    """

    name: str
    settings: GatewaySettings
    engine: Engine
    ended: threading.Event

    def heartbeat(self, detail: Callable[[], Mapping[str, Any]] = dict) -> Heartbeat:
        """Return the process's heartbeat, which says by what configuration it runs.

        Parameters
        ----------
        detail
            Gives what else is said.

        Returns
        -------
        Heartbeat
        """
        digest = configuration_digest(self.settings)
        return Heartbeat(self.engine, self.name, lambda: {SETTINGS: digest, **detail()})


def process_names(settings: GatewaySettings) -> tuple[str, ...]:
    """Return the names of the processes that a gateway consists of."""
    return (*(f"receiver-{number}" for number in range(1, settings.receivers + 1)), "executor", WEB)


def what_is_expected(settings: GatewaySettings) -> Expected:
    """Return what has to be there for the gateway to be ready."""
    send, fetch = settings.send.destinations, settings.fetch
    # As long as something waits for a peer, it is spoken to at least so often.
    longest = max(
        [
            fetch.again_seconds,
            settings.runs.longest_wait_seconds,
            *(max(one.breaker.pause_seconds, one.retry.longest_seconds) for one in send),
        ]
    )
    return Expected(
        processes=process_names(settings),
        folder=settings.folder,
        reserve_bytes=settings.storage.reserve_bytes,
        destinations=tuple(destination.name for destination in send),
        archives=tuple(archive.name for archive in fetch.archives),
        sources=tuple(source.name for source in settings.sources),
        fault_lasts=2 * timedelta(seconds=longest),
    )


def begin_process(
    arguments: Sequence[str] | None,
    default_name: str,
    *,
    wait_for_database: bool = True,
) -> ProcessParts | None:
    """Read the arguments, log as JSON, and wait for the database.

    Parameters
    ----------
    arguments
        Of the command line; those of the process where None.
    default_name
        Of the process, where none is given.
    wait_for_database
        False where the process has something to say without it.

    Returns
    -------
    ProcessParts or None
        None where the process was stopped while it waited for the database.
    """
    parser = argparse.ArgumentParser()
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", type=Path, help="gateway.yaml")
    where.add_argument("--settings-digest", help="of the settings on standard input, which the supervisor hands down")
    parser.add_argument("--name", default=default_name)
    parser.add_argument("--parent", type=int)
    given = parser.parse_args(arguments)
    if given.parent is not None:
        die_with_parent(given.parent)
    os.umask(0o027)
    if given.settings_digest is not None:
        settings = read_handed_down(sys.stdin.buffer, given.settings_digest)
    else:
        settings = load_gateway_settings(given.config)
    settings.folder.mkdir(parents=True, exist_ok=True)
    log_as_json(given.name, settings.log_level, StudyHash(read_log_key(settings.folder)))
    ended = ended_by_signal()
    engine = open_database(settings.database_url)
    pause = 0.5
    while wait_for_database and not ended.is_set():
        try:
            create_tables(engine)
        except SQLAlchemyError as error:
            logger.warning("the database cannot be used: %s; tried again", database_fault(error))
            ended.wait(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
        else:
            break
    return None if ended.is_set() else ProcessParts(given.name, settings, engine, ended)


def keep_doing(what: str, step: Callable[[], bool], ended: threading.Event, pause_seconds: float) -> None:
    """Repeat a step until the process is to stop; a defect in it is logged, and the next time comes.

    Parameters
    ----------
    what
        The step's name in the log.
    step
        Returns whether there was something to do: then it is called again at once.
    ended
        Is set when the process is to stop.
    pause_seconds
        Between two calls where there was nothing to do, s.
    """
    failed = 0
    while not ended.is_set():
        try:
            busy = step()
            failed = 0
        except SQLAlchemyError as error:
            logger.warning("%s: the database does not answer (%s); tried again", what, type(error).__name__)
            busy, failed = False, failed + 1
        except Exception:
            # One study's defect does not end the work on all the others.
            logger.exception("%s failed", what)
            busy, failed = False, failed + 1
        if not busy:
            ended.wait(min(_LONGEST_PAUSE, pause_seconds * 2**failed) if failed else pause_seconds)
