"""Pydicom's warnings, kept off the log."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_depth = 0
_before: tuple[warnings.catch_warnings[None], int] | None = None


@contextmanager
def silenced_pydicom() -> Iterator[None]:
    """Keep pydicom's warnings off the log, because they quote values and a value may be a patient's.

    This package itself accepts or checks what pydicom warns about. Several threads may enter: the first one silences,
    the last one restores.
    """
    global _depth, _before
    logger = logging.getLogger("pydicom")
    with _lock:
        if _depth == 0:
            catcher = warnings.catch_warnings(record=False)
            catcher.__enter__()
            warnings.simplefilter("ignore")
            _before = (catcher, logger.level)
            logger.setLevel(logging.CRITICAL + 1)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0 and _before is not None:
                catcher, level = _before
                catcher.__exit__(None, None, None)
                logger.setLevel(level)
                _before = None
