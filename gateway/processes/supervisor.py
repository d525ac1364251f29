"""Starts the gateway's processes, starts anew what ends by itself, and stops all in order. What ``pdl1es serve`` runs."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from gateway.database import OtherSchemaError, create_tables, database_fault, open_database
from gateway.health.probe import record_address
from gateway.logs import StudyHash, log_as_json, read_log_key
from gateway.objects.errors import StoreUnavailableError
from gateway.objects.recovery import recover_objects
from gateway.objects.store import ObjectStore
from gateway.processes.setup import OBJECTS_FOLDER, WEB, declare_tables, process_names
from gateway.processes.signals import ended_by_signal
from gateway.settings.file import GatewaySettings
from gateway.settings.handed_down import HandedDown
from pdl1es.exit_code import ExitCode

logger = logging.getLogger("pdl1es.gateway.serve")

_ROOT: Final = Path(__file__).resolve().parent.parent.parent
_LOOK_SECONDS: Final = 0.2
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_WELL_SECONDS: Final = 60.0
"""A process that lived so long starts anew at once."""
_MORE_SECONDS: Final = 30.0
_LOOK_AGAIN_SECONDS: Final = 5.0
SERVE_LOCK: Final = "serve.lock"


@dataclass
class _Child:
    """One process of the gateway, however often it was started."""

    name: str
    settings: HandedDown
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    start_at: float = 0.0
    pause: float = field(default=_FIRST_PAUSE)

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
        arguments = ["--settings-digest", self.settings.digest, "--name", self.name, "--parent", str(os.getpid())]
        command = [sys.executable, "-m", f"gateway.processes.{self.name.partition('-')[0]}", *arguments]
        # The settings are those that were checked: gateway.yaml may be another one, or broken, when a process starts anew.
        with self.settings.opened() as settings:
            # A group of its own: a terminal's Ctrl-C reaches this process alone, which stops the others in order.
            self.process = subprocess.Popen(command, stdin=settings, env=environment, process_group=0)
        self.started = time.monotonic()

    def look(self, now: float) -> None:
        """Start the process where it is time, and set the time of the next start where it has ended."""
        if self.process is None:
            if now >= self.start_at:
                self.start()
            return
        code = self.process.poll()
        if code is None:
            return
        self.pause = _FIRST_PAUSE if now - self.started > _WELL_SECONDS else min(_LONGEST_PAUSE, self.pause * 2)
        logger.error("process %s ended (%d); it is started anew in %.1f s", self.name, code, self.pause)
        self.process, self.start_at = None, now + self.pause

    def stop(self, seconds: float) -> None:
        """Ask the process to end, and end it where it does not."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            logger.error("process %s did not stop within %.0f s and is killed", self.name, seconds)
            self.process.kill()
            self.process.wait()


def serve_gateway(settings: GatewaySettings, config: Path) -> int:
    """Run the gateway until SIGTERM or SIGINT.

    Parameters
    ----------
    settings
        Of ``gateway.yaml`` as it is now: every process runs by them until the gateway is stopped.
    config
        The file that they came from. A health check that knows it finds the gateway by it (`gateway.health.probe`).

    Returns
    -------
    int
        Exit code: 0 after an orderly stop, 2 where another gateway runs in the folder or the database is another version's.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    log_as_json("serve", settings.log_level, StudyHash(read_log_key(settings.folder)))
    # The operating system gives the lock back when this process ends, however it does; no child inherits it.
    lock = os.open(settings.folder / SERVE_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        logger.error("another gateway runs in this folder")
        return ExitCode.USAGE
    record = _recorded_address(settings, config)
    try:
        return _serve(settings)
    finally:
        if record is not None:
            record.unlink(missing_ok=True)
        os.close(lock)


def _recorded_address(settings: GatewaySettings, config: Path) -> Path | None:
    try:
        return record_address(config, settings.web)
    except OSError as error:
        logger.warning("a container's health check will ask where gateway.yaml says: %s", error.strerror)
        return None


def _serve(settings: GatewaySettings) -> int:
    """Start the processes, start anew what ends, and stop all in order."""
    ended = ended_by_signal()
    handed_down = HandedDown(settings)
    children = [_Child(name, handed_down) for name in process_names(settings)]
    logger.info("the gateway starts with %d processes, settings %s", len(children), handed_down.digest[:12])
    # Nothing receives before the store was looked through; health is served meanwhile.
    recovered, look_at = False, 0.0
    code: int = ExitCode.REPORT_WRITTEN
    while not ended.is_set():
        now = time.monotonic()
        if not recovered and now >= look_at:
            try:
                recovered, look_at = _recover(settings), now + _LOOK_AGAIN_SECONDS
            except OtherSchemaError as error:  # waiting does not mend it
                logger.error("the gateway cannot use its database: %s", error)
                code = ExitCode.USAGE
                break
        for child in children:
            if recovered or child.name == WEB:
                child.look(now)
        ended.wait(_LOOK_SECONDS)
    logger.info("the gateway stops: first what receives, then what runs")
    for child in children:
        child.stop(settings.stop_seconds + _MORE_SECONDS)
    return code


def _recover(settings: GatewaySettings) -> bool:
    """Look through what a crash left, and return whether that was possible: it needs disk and database.

    Raises
    ------
    OtherSchemaError
        The database is another version's.
    """
    try:
        declare_tables()
        engine = open_database(settings.database_url)
        create_tables(engine)
        with ObjectStore(settings.folder / OBJECTS_FOLDER, engine, settings.storage.limits) as store:
            found = recover_objects(store, [(source.name, source.kind) for source in settings.sources])
        engine.dispose()
    except OtherSchemaError:
        raise
    except (SQLAlchemyError, OSError, StoreUnavailableError) as error:
        logger.warning("the object store cannot be looked through now: %s; tried again", database_fault(error))
        return False
    if found.removed:
        logger.info("object store: files removed that a crash left half received: %d", found.removed)
    if found.taken_in:
        logger.warning("object store: %d whole objects that the database did not know are taken in", found.taken_in)
    if found.unknown:
        logger.warning(
            "object store: %d whole objects are not in the database and stay, because their source is not known; have the PACS "
            "send the studies again",
            found.unknown,
        )
    return True
