"""The executor's side of the workers: starts them, gives them studies, kills what hangs, replaces what is worn."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from gateway.worker.in_hand import put_down
from gateway.worker.messages import WorkerReady, WorkerReply, WorkerTask
from gateway.worker.settings import WorkerSettings

logger = logging.getLogger("pdl1es.gateway.worker")

WorkerEnd = Literal["crash", "deadline", "start", "stopped", "changed"]
"""Why a worker gave no reply: it died, took too long, could not load, the gateway is being stopped, or what it loaded is not what the
first one had loaded."""

_MAX_LINE: Final = 2**20
_FOLDER: Final = Path(__file__).resolve().parent.parent.parent
_KILLED_SECONDS: Final = 10.0


class WorkerError(RuntimeError):
    """A worker gave no reply to a study.

    Attributes
    ----------
    end
        Why.
    """

    def __init__(self, end: WorkerEnd, found: str) -> None:
        super().__init__(found)
        self.end = end


@dataclass(eq=False)
class _Worker:
    """One child process and its pipes; used by one thread at a time."""

    process: subprocess.Popen[bytes]
    tasks: int
    replies: int
    lifeline: int
    ready: WorkerReady | None = None
    output: Path | None = None
    studies: int = 0
    resident_mib: float = 0.0
    _received: bytearray = field(default_factory=bytearray)

    def line(self, deadline: float) -> bytes:
        """Return the next line of the worker.

        Raises
        ------
        WorkerError
            It ended, said nothing in time, or too much.
        """
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.replies], [], [], left)[0]:
                raise WorkerError("deadline", "the worker did not answer in time and was killed")
            data = os.read(self.replies, 2**16)
            if not data:
                raise WorkerError("crash", f"the worker's process ended: {self._how_it_ended()}")
            self._received += data
            if len(self._received) > _MAX_LINE:
                raise WorkerError("crash", "the worker said what is no message")
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        return line

    def send(self, task: WorkerTask) -> None:
        """Give the worker a study."""
        self.output = task.output_folder
        try:
            os.write(self.tasks, task.model_dump_json().encode("utf-8") + b"\n")
        except BrokenPipeError:
            raise WorkerError("crash", f"the worker's process ended: {self._how_it_ended()}") from None

    def end(self) -> None:
        """End the process and those that it started; whoever waits for its reply sees the pipe closed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the process and give back its pipes: only the thread that uses the worker does."""
        self.end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_KILLED_SECONDS)
        for descriptor in (self.tasks, self.replies, self.lifeline):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _how_it_ended(self) -> str:
        try:
            code = self.process.wait(_KILLED_SECONDS)
        except subprocess.TimeoutExpired:
            return "it closed its pipe"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


class WorkerPool:
    """A fixed number of warm workers, shared by threads.

    Parameters
    ----------
    settings
        Section ``workers``.
    config_file, model_folder
        ``app.yaml`` and the model, as for ``pdl1es run``.
    log_key_folder
        Where the key lies by which the workers' log lines name studies; None where they name none.
    """

    def __init__(
        self, settings: WorkerSettings, config_file: Path, model_folder: Path, log_key_folder: Path | None = None
    ) -> None:
        self.settings = settings
        self.log_key_folder = log_key_folder
        self.config_file = config_file
        self.model_folder = model_folder
        self._free = threading.Condition()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._starting = 0
        self._busy = 0
        self._stopped = False
        self._ready: WorkerReady | None = None
        self.has_changed = False
        """Whether a worker found another model or another ``app.yaml`` than the first one: this pool cannot go on with them."""
        self._spawned: list[threading.Thread] = []
        self.restarts = {"crash": 0, "deadline": 0, "start": 0, "recycled": 0}

    @property
    def alive(self) -> int:
        """Workers that are ready or at work."""
        with self._free:
            return len(self._all)

    @property
    def processes(self) -> tuple[int, ...]:
        """Process ids of the workers, in no order."""
        with self._free:
            return tuple(worker.process.pid for worker in self._all)

    @property
    def busy(self) -> int:
        """Workers at work."""
        with self._free:
            return self._busy

    def start(self) -> WorkerReady:
        """Load every worker, and return what the first says of the model.

        Returns
        -------
        WorkerReady

        Raises
        ------
        WorkerError
            A worker cannot load.
        """
        first = self._load()
        self._put(first)
        for _ in range(self.settings.count - 1):
            self._replace()
        assert self._ready is not None
        return self._ready

    def run(self, task: WorkerTask) -> WorkerReply:
        """Score a study in a free worker; waits for one.

        Parameters
        ----------
        task
            The study; its output folder is this attempt's own.

        Returns
        -------
        WorkerReply

        Raises
        ------
        WorkerError
            The worker crashed or hung; it has been killed, and another is on its way.
        """
        with self._taken() as worker:
            worker.send(task)
            try:
                reply = WorkerReply.model_validate_json(worker.line(time.monotonic() + self.settings.deadline_seconds))
            except ValidationError:
                raise WorkerError("crash", "the worker said what is no message") from None
            worker.studies += 1
            worker.resident_mib = reply.resident_mib
            return reply

    def stop(self) -> None:
        """Kill the workers; whoever waits for a reply gets a `WorkerError`, which says ``stopped``, before this returns."""
        with self._free:
            self._stopped = True
            idle, self._idle = self._idle, []
            used = self._all - set(idle)
            self._all -= set(idle)
            self._free.notify_all()
        for worker in used:
            worker.end()
        for worker in idle:
            worker.kill()
        with self._free:
            self._free.wait_for(lambda: not self._busy, _KILLED_SECONDS)
        for thread in self._spawned:
            thread.join(_KILLED_SECONDS)

    @contextmanager
    def _taken(self) -> Iterator[_Worker]:
        """Take a worker out of the pool; afterwards it is put back, or another is started in its place."""
        worker = self._take()
        try:
            yield worker
        except WorkerError as error:
            self._lose(worker)
            with self._free:
                stopped = self._stopped
            if stopped:
                raise WorkerError("stopped", "the gateway is being stopped") from error
            self.restarts[error.end] += 1
            logger.warning("a worker was lost: %s", error)
            self._replace()
            raise
        except BaseException:
            # Whatever it was goes on up; a worker in an unknown state is not used again.
            self._lose(worker)
            self._replace()
            raise
        if worker.studies >= self.settings.recycle_studies or worker.resident_mib > self.settings.recycle_mib:
            self._lose(worker)
            self.restarts["recycled"] += 1
            logger.info("a worker is replaced after %d studies, at %.0f MiB", worker.studies, worker.resident_mib)
            self._replace()
        else:
            with self._free:
                self._busy -= 1
            self._put(worker)

    def _take(self) -> _Worker:
        with self._free:
            while not self._idle:
                if self._stopped:
                    raise WorkerError("stopped", "the gateway is being stopped")
                if not self._starting and len(self._all) < self.settings.count:
                    # The last attempt to start one failed: this study tries again.
                    self._starting += 1
                    break
                self._free.wait()
            else:
                self._busy += 1
                return self._idle.pop()
        try:
            worker = self._load()
        finally:
            with self._free:
                self._starting -= 1
                self._free.notify_all()
        with self._free:
            self._busy += 1
        return worker

    def _lose(self, worker: _Worker) -> None:
        worker.kill()
        with self._free:
            if self._stopped and worker.output is not None:
                put_down(worker.output)
            self._busy -= 1
            self._all.discard(worker)
            self._free.notify_all()

    def _put(self, worker: _Worker) -> None:
        with self._free:
            self._idle.append(worker)
            self._free.notify()

    def _replace(self) -> None:
        """Start a worker in the background; a study that comes meanwhile waits for it."""
        with self._free:
            if self._stopped:
                return
            self._starting += 1
        self._spawned = [thread for thread in self._spawned if thread.is_alive()]
        thread = threading.Thread(target=self._load_in_background, name="worker-start", daemon=True)
        self._spawned.append(thread)
        thread.start()

    def _load_in_background(self) -> None:
        try:
            worker = self._load()
        except WorkerError as error:
            logger.error("%s", error)
            worker = None
        with self._free:
            self._starting -= 1
            if worker is not None:
                self._idle.append(worker)
            self._free.notify_all()

    def _load(self) -> _Worker:
        """Start a process and wait until it has loaded."""
        worker = self._spawn()
        with self._free:
            self._all.add(worker)
        try:
            line = worker.line(time.monotonic() + self.settings.start_seconds)
            worker.ready = WorkerReady.model_validate_json(line)
        except (WorkerError, ValidationError) as error:
            worker.kill()
            with self._free:
                self._all.discard(worker)
            self.restarts["start"] += 1
            found = line.decode("utf-8", "replace") if isinstance(error, ValidationError) else str(error)
            raise WorkerError("start", f"a worker could not load: {found}") from error
        with self._free:
            stopped = self._stopped
            self._ready = self._ready or worker.ready
            changed = worker.ready != self._ready
            if changed:
                self._all.discard(worker)
        if stopped or changed:
            worker.kill()
        if stopped:
            raise WorkerError("stopped", "the gateway is being stopped")
        if changed:
            self.has_changed = True
            raise WorkerError("changed", "the model or app.yaml are not those that the executor began with")
        return worker

    def _spawn(self) -> _Worker:
        tasks_read, tasks_write = os.pipe()
        replies_read, replies_write = os.pipe()
        lifeline_read, lifeline_write = os.pipe()
        theirs = (tasks_read, replies_write, lifeline_read)
        command = [sys.executable, "-m", "gateway.worker.child"]
        command += ["--tasks", str(tasks_read), "--replies", str(replies_write), "--lifeline", str(lifeline_read)]
        command += ["--config", str(self.config_file), "--model", str(self.model_folder)]
        if self.log_key_folder is not None:
            command += ["--log-key-folder", str(self.log_key_folder)]
        try:
            # A session of its own: it is killed with all that it started, and no terminal's signals reach it.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=theirs,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_FOLDER), os.environ.get("PYTHONPATH", "")])},
            )
        except OSError as error:
            for descriptor in (tasks_write, replies_read, lifeline_write):
                os.close(descriptor)
            raise WorkerError("start", f"a worker's process cannot be started: {error.strerror}") from error
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        return _Worker(process, tasks_write, replies_read, lifeline_write)
