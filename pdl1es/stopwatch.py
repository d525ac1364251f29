"""How long each step of a run took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pdl1es.errors import Refusal, RefusalCode


def too_long(limit_seconds: float) -> Refusal:
    """Return the refusal of a run that took longer than it may."""
    return Refusal(
        RefusalCode.LIMIT_EXCEEDED, f"the run took longer than limits.seconds_total = {limit_seconds:g} seconds"
    )


@dataclass(slots=True)
class Stopwatch:
    """Wall times by step.

    Attributes
    ----------
    limit_seconds
        How long a run may take; None for as long as it wants.
    seconds
        By name, in the order in which the steps ended.
    """

    limit_seconds: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    _started: float = field(default_factory=time.perf_counter, repr=False)

    def require_time(self) -> None:
        """Refuse to go on where the run has taken too long.

        Raises
        ------
        Refusal
            LIMIT_EXCEEDED.
        """
        if self.limit_seconds is not None and time.perf_counter() - self._started > self.limit_seconds:
            raise too_long(self.limit_seconds)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Keep the wall time of the block under ``name``, also where it fails.

        Raises
        ------
        Refusal
            LIMIT_EXCEEDED: the run has taken too long already, so that the block is not begun.
        """
        self.require_time()
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
