"""What a try leaves when worker and executor end together: the one trace that tells a study that kills from one that is unlucky.

A worker marks the study that it has in hand, beside the try's output. The mark goes when the worker is done, and also when the worker sees
that its executor has ended: then the study did no harm. It stays only where the worker ended too: the kernel ran out of memory and ended
all, or the machine lost its power.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_ENDING: Final = ".in-hand"


def _mark(output: Path) -> Path:
    return output.with_name(output.name + _ENDING)


class StudyInHand:
    """The worker's side: at most one study is in hand."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._output: Path | None = None

    @contextmanager
    def holding(self, output: Path) -> Iterator[None]:
        """Mark a study while it is scored.

        Parameters
        ----------
        output
            The try's output folder.
        """
        with self._lock:
            # A disk that takes no mark takes no report either, and the study says so.
            with contextlib.suppress(OSError):
                _mark(output).touch()
            self._output = output
        try:
            yield
        finally:
            with self._lock:
                put_down(output)
                self._output = None

    def executor_ended(self) -> None:
        """Put down what is in hand, and let nothing be marked any more: this process ends."""
        self._lock.acquire()
        if self._output is not None:
            put_down(self._output)


def put_down(output: Path) -> None:
    """Remove the mark of a try whose study did no harm.

    Parameters
    ----------
    output
        The try's output folder.
    """
    with contextlib.suppress(OSError):
        _mark(output).unlink(missing_ok=True)


def ended_in_hand(folder: Path) -> bool:
    """Tell whether a worker ended together with its executor while it had a study in hand, and remove the marks.

    Parameters
    ----------
    folder
        That holds the output folders of the run's tries.

    Returns
    -------
    bool
    """
    marks = list(folder.glob(f"*{_ENDING}"))
    for mark in marks:
        mark.unlink(missing_ok=True)
    return bool(marks)
