"""Room on the disk: nothing is taken when little is left, until there is room again."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

RESUME: Final = 1.1
"""Once nothing is taken any more, this multiple of the reserve must be free again before something is."""


class SpaceGuard:
    """Watches the room that is left on a folder's file system.

    Parameters
    ----------
    folder
        It must be there.
    reserve_bytes
        Room that is never used: for the database, results and logs.
    """

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder = folder
        self._reserve = reserve_bytes
        self._full = False
        self._lock = threading.Lock()

    def free_bytes(self) -> int:
        """Return what is free for this user, bytes."""
        status = os.statvfs(self._folder)
        return status.f_bavail * status.f_frsize

    def has_room(self, needed: int = 0) -> bool:
        """Tell whether so many bytes (default: any) may be taken now."""
        try:
            free = self.free_bytes() - needed
        except OSError:
            return False
        with self._lock:
            self._full = free < (self._reserve * RESUME if self._full else self._reserve)
            return not self._full
