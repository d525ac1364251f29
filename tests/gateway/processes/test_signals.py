"""A process that is asked to end does so, however often it is asked, and at whatever moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from tests.waiting import PATIENCE_S

WAITING = """
from gateway.processes.signals import ended_by_signal
ended = ended_by_signal()
print("ready", flush=True)
while not ended.is_set():
    for _ in range(1000):
        ended.wait(0)
    ended.wait(0.001)
print("ended", flush=True)
while True:
    ended.set()
"""


@pytest.mark.parametrize("time", range(5))
def test_a_thousand_signals_end_a_process_that_waits_for_one(time: int) -> None:
    """Five times, since a deadlock needs a signal at its moment: with the event set in the handler, three of five never ended."""
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        never = threading.Timer(PATIENCE_S, process.kill)
        never.start()
        try:
            for number in (signal.SIGTERM, signal.SIGINT) * 500:
                process.send_signal(number)
            assert process.stdout.readline() == "ended\n"
        finally:
            never.cancel()
            process.kill()
