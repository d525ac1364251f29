"""Trains several networks at the same time, each in a process of its own; one observer receives their progress."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Mapping
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Final

from training.errors import FailedError
from training.train.progress import EpochRecord, Observer

Task = Callable[[Observer], None]
_PATIENCE_S: Final = 0.2
"""Seconds between two checks for ended processes; progress is passed on at once."""
_FAREWELL_S: Final = 20.0
"""For a process that was asked to end, before it is killed."""


class SideBySideError(FailedError):
    """A process ended before its network was trained; its own message is on standard error."""


def run_side_by_side(tasks: Mapping[str, Task], processes: int, observer: Observer) -> None:
    """Run tasks in processes of their own, several at a time.

    Parameters
    ----------
    tasks
        By name; each can be pickled and is called with an observer.
    processes
        Most processes at once.
    observer
        Receives the progress of all tasks, in this process.

    Raises
    ------
    SideBySideError
        A process failed. The others are stopped; a second call continues their work.
    """
    context = multiprocessing.get_context("spawn")  # torch's threads do not outlive a fork
    told = context.Queue()
    waiting = dict(tasks)
    running: dict[str, SpawnProcess] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                name = next(iter(waiting))
                running[name] = _start(context, name, waiting.pop(name), told)
            _pass_on(told, observer, _PATIENCE_S)
            for name in [name for name, process in running.items() if process.exitcode is not None]:
                if code := running.pop(name).exitcode:
                    raise SideBySideError(
                        f"the process that trained {name} ended with exit code {code}; give the same command again to go on"
                    )
        _pass_on(told, observer, 0.0)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join(_FAREWELL_S)
            process.kill()
        told.close()


class _Relay:
    """An observer in a task's process, which sends everything to the first process."""

    def __init__(self, told: multiprocessing.Queue[tuple[str, tuple[Any, ...]]]) -> None:
        self._told = told

    def begin(self, network: str, epochs: int, done: int) -> None:
        self._told.put(("begin", (network, epochs, done)))

    def batch(self, network: str, share: float) -> None:
        self._told.put(("batch", (network, share)))

    def epoch(self, network: str, record: EpochRecord) -> None:
        self._told.put(("epoch", (network, record)))

    def scored(self, network: str, done: int, cases: int) -> None:
        self._told.put(("scored", (network, done, cases)))

    def say(self, message: str) -> None:
        self._told.put(("say", (message,)))


def _start(context: SpawnContext, name: str, task: Task, told: Any) -> SpawnProcess:
    # not a daemon: those may not start the processes that prepare batches
    process = context.Process(target=_work, args=(task, told), name=name, daemon=False)
    process.start()
    return process


def _work(task: Task, told: multiprocessing.Queue[tuple[str, tuple[Any, ...]]]) -> None:
    # Ctrl-C reaches the whole group: the first process decides, and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task(_Relay(told))


def _end_with_parent() -> None:
    """Where the first process was killed, this one must not go on writing into the folder of the next call."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _pass_on(told: Any, observer: Observer, patience: float) -> None:
    """Pass received progress to the observer; wait at most ``patience`` seconds for more."""
    try:
        while True:
            what, words = told.get(timeout=patience) if patience else told.get_nowait()
            getattr(observer, what)(*words)
    except queue.Empty:
        return
