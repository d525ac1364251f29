"""Memory that a long-lived process does not need any more."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)
_mallopt: Final = getattr(ctypes.CDLL(None), "mallopt", None)
"""Of glibc; another C library has neither."""
_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2


def limit_arenas() -> None:
    """Let the threads of this process share two of glibc's arenas (mallopt(3), M_ARENA_MAX); to be called before threads are started.

    glibc makes up to eight for each core, one more whenever threads happen to allocate at once, and gives none back.
    """
    if _mallopt is not None:
        _mallopt(_M_ARENA_MAX, _ARENAS)


def give_back_memory() -> None:
    """Collect what refers to itself in cycles, and give the pages that are free to the operating system (malloc_trim(3)).

    glibc keeps what lies free between two used blocks, and numpy asks for huge pages there: a process would grow for as long as such
    gaps come in new places.
    """
    gc.collect()
    if _trim is not None:
        _trim(0)
