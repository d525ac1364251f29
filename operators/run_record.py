"""What one run leaves behind beside its result: times, and how far it came."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pdl1es.dicom.study import Study
from pdl1es.report.result import ResultDocument


@dataclass(slots=True)
class RunRecord:
    """Filled by the operators as the chain runs; read by the shell when it has ended, well or not.

    Attributes
    ----------
    seconds
        Wall time by operator, in the order in which they ran.
    study
        Set by the study loader.
    result
        Set by the result writer.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    study: Study | None = None
    result: ResultDocument | None = None

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Keep the wall time of the block under ``name``, also where it fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
