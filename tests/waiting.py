"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 300.0
"""Longest wait; on a machine that is free it takes less than a second. It ends a test that would hang, and decides nothing else."""


def until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Wait until a condition holds.

    Parameters
    ----------
    condition
        Asked again and again.
    seconds
        Longest wait, s.

    Raises
    ------
    AssertionError
        It did not come to hold.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen within {seconds:.0f} s"
        time.sleep(0.01)
