"""Ports of the loopback interface on which nothing listens, and will not unless a test does."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from typing import Final

LOOPBACK: Final = "127.0.0.1"
FIRST: Final = 10_000
EACH: Final = 2_500
"""Ports of each process that runs tests beside others: all lie below those that the kernel gives to whoever asks for any (32768)."""


def _numbers() -> Iterator[int]:
    """The ports of this process in a circle, from a place by chance: other runs of the tests may be under way."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    place = random.SystemRandom().randrange(EACH)
    while True:
        yield FIRST + worker * EACH + place
        place = (place + 1) % EACH


_NUMBERS: Final = _numbers()


def free_port() -> int:
    """Return a port that nothing listens on; no other test gets it, and no connection that another program opens.

    A port that the kernel chose and gave back may be given to anybody before it is used.

    Returns
    -------
    int
    """
    for port in _NUMBERS:
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the ports come in a circle")
