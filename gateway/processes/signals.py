"""The wish of the operating system that a process ends."""

from __future__ import annotations

import os
import signal
import threading


def ended_by_signal() -> threading.Event:
    """Return an event that SIGTERM or SIGINT sets.

    A handler runs in the main thread between any two of its instructions. Set there, the event would wait for its own lock for
    ever where the main thread has it: in ``wait``, or in an earlier signal's ``set``. The handler therefore writes a byte into a pipe,
    and a thread sets the event.

    Returns
    -------
    threading.Event
        Not set.

    Raises
    ------
    ValueError
        Called outside the main thread.
    """
    ended = threading.Event()
    reads, writes = os.pipe2(os.O_CLOEXEC)
    # A full pipe has woken the thread already.
    os.set_blocking(writes, False)

    def note(*_: object) -> None:
        try:
            os.write(writes, b"\0")
        except BlockingIOError:
            return

    def wait() -> None:
        os.read(reads, 1)
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    threading.Thread(target=wait, name="signals", daemon=True).start()
    return ended
