"""A run in a process of its own, watched by the process that was started: one deadline, and a refusal where it is killed.

A thread cannot do it: the libraries that decode, filter and predict hold Python's lock while they work, and a process
that is killed for lack of memory cannot report it. The first process waits and imports next to nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from pdl1es.exit_code import ExitCode

if TYPE_CHECKING:
    from pdl1es.errors import Refusal
    from pdl1es.settings import Settings

_PR_SET_PDEATHSIG: Final = 1
_SECONDS: Final = struct.Struct("<d")
"""The time that a run has, before its announcement, which is read when it is needed: that imports half the program."""
_FORWARDED: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

_announcements = -1
"""File descriptor on which the run's process announces a run; -1 where no process watches."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the run's process says when it begins.

    Attributes
    ----------
    output_folder
        Where a refusal is written.
    settings
        ``app.yaml``: its ``limits.seconds_total`` is the time that the run has from now on.
    when
        Date and time of the report.
    """

    output_folder: Path
    settings: Settings
    when: datetime


def announce(announcement: Announcement) -> None:
    """Tell the watching process what begins; does nothing where there is none."""
    global _announcements
    if _announcements >= 0:
        with os.fdopen(os.dup(_announcements), "wb") as pipe:
            pipe.write(_SECONDS.pack(announcement.settings.limits.seconds_total) + pickle.dumps(announcement))


def supervised(work: Callable[[], None]) -> None:
    """Run a function in a child process, and end this process with the child's exit code.

    Where the child announced a run: past ``limits.seconds_total`` it is killed, and the study is refused as LIMIT_EXCEEDED;
    where something else killed it, as the operating system does for want of memory, as MEMORY_EXCEEDED; where a library
    crashed it, ``result.json`` says so.

    Parameters
    ----------
    work
        What is done; it ends by `SystemExit`. This process has no threads yet.
    """
    global _announcements
    sys.stdout.flush()
    sys.stderr.flush()
    here = os.getpid()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _announcements = writer
        die_with_parent(here)
        work()
        return
    os.close(writer)
    for number in _FORWARDED:
        signal.signal(number, _forward(child))
    # Without the handlers of Python's end, which are the child's.
    os._exit(_watch(child, reader))


def die_with_parent(parent: int) -> None:
    """Have the operating system kill this process when its parent ends, however that ends.

    Parameters
    ----------
    parent
        Process id; where the parent has ended already, this process ends at once.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(ExitCode.DEFECT)


def _forward(child: int) -> Callable[[int, FrameType | None], None]:
    def forward(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    return forward


def _watch(child: int, reader: int) -> int:
    """Wait for the child, at most for as long as it announces, and return the exit code."""
    received = b""
    began = time.monotonic()
    while True:
        left = None
        if len(received) >= _SECONDS.size:
            left = max(0.0, began + _SECONDS.unpack_from(received)[0] - time.monotonic())
        if not select.select([reader], [], [], left)[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            announcement = _announced(received)
            return _refuse(announcement, _too_long(announcement))
        data = os.read(reader, 2**16)
        if not data:
            break
        received += data
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    if not received or number in _FORWARDED:
        return 128 + number
    announcement = _announced(received)
    return _refuse(announcement, _killed()) if number == signal.SIGKILL else _crashed(announcement, number)


def _announced(received: bytes) -> Announcement:
    announcement = pickle.loads(received[_SECONDS.size :])  # of our own child
    assert isinstance(announcement, Announcement)
    return announcement


def _too_long(announcement: Announcement) -> Refusal:
    from pdl1es.stopwatch import too_long

    return too_long(announcement.settings.limits.seconds_total)


def _killed() -> Refusal:
    from pdl1es.errors import Refusal, RefusalCode

    return Refusal(
        RefusalCode.MEMORY_EXCEEDED,
        "the run was killed from outside, as the operating system does where there is no memory left",
    )


def _refuse(announcement: Announcement, refusal: Refusal) -> int:
    """Write the refusal's ``result.json``, log it, and return the exit code."""
    _deliver(announcement, refusal)
    return ExitCode.REFUSED


def _crashed(announcement: Announcement, number: int) -> int:
    """Write that the run failed, log it, and return the exit code."""
    _deliver(announcement, CrashError(f"the run's process was ended by {signal.Signals(number).name}"))
    return ExitCode.DEFECT


class CrashError(RuntimeError):
    """A library ended the run's process."""


def _deliver(announcement: Announcement, error: Exception) -> None:
    from pdl1es.chain import ChainEnd, RunRequest
    from pdl1es.command_line.process import prepare_process
    from pdl1es.outcome import deliver

    # No report of the refusal: it would need the study to be read again, which may be the step that did not end.
    settings = announcement.settings.model_copy(update={"report_refusals": False})
    prepare_process(settings.log.level)
    deliver(
        ChainEnd(None, error=error), RunRequest(Path(), settings, announcement.when), announcement.output_folder, {}
    )
