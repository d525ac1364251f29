"""Memory that a long-lived process does not need any more."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Of glibc; another C library has none."""


def give_back_memory() -> None:
    """Collect what refers to itself in cycles, and give the pages that are free to the operating system (malloc_trim(3)).

    glibc keeps what lies free between two used blocks, and numpy asks for huge pages there: a process would grow for as long as such
    gaps come in new places.
    """
    gc.collect()
    if _trim is not None:
        _trim(0)
