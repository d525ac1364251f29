"""What one run leaves behind beside its result: times, and how far it came."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pdl1es.atomic import write_atomically
from pdl1es.dicom.study import Study
from pdl1es.report.result_schema import ResultDocument


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
    written
        Reports in the output folder.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    study: Study | None = None
    result: ResultDocument | None = None
    written: list[Path] = field(default_factory=list)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Keep the wall time of the block under ``name``, also where it fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def deliver(self, path: Path, data: bytes) -> None:
        """Write a report, whole or not at all, and remember it.

        Raises
        ------
        pdl1es.errors.Refusal
            OUTPUT_NOT_WRITABLE.
        """
        write_atomically(path, data)
        self.written.append(path)

    def withdraw(self) -> None:
        """Remove the reports again: a run that fails later must not leave one that looks like its outcome."""
        for path in self.written:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        self.written.clear()
