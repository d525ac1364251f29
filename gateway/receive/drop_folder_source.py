"""A folder as a source: files that are dropped into it are stored and then removed."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.objects.errors import NotStorableError
from gateway.objects.in_flight import InFlight
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore
from gateway.receive.settings import FolderSource

LOG: Final = logging.getLogger("pdl1es.gateway.receive")
REJECTED: Final = "rejected"
"""Folder within the drop folder for what is no DICOM object of a study."""
MOST_FILES: Final = 1000
"""Files that are taken at one look."""


class DroppedFiles:
    """Takes the files of a folder.

    A file is taken when neither its size nor its time has changed between two looks, and for ``settle_seconds``. Hidden files, such as those that
    a copying program has not finished, links and special files are left alone. A file is removed when its object is safely stored.

    Parameters
    ----------
    settings
        The source.
    store
        Where objects go.
    in_flight
        Where it says which studies it brings.
    """

    def __init__(self, settings: FolderSource, store: ObjectStore, in_flight: InFlight) -> None:
        self._settings = settings
        self._store = store
        self._in_flight = in_flight
        self._holder = f"{settings.name}:folder"
        self._seen: dict[str, tuple[int, int]] = {}

    def look(self) -> bool:
        """Store the files that do not change any more, and tell whether others are waiting to be taken at once.

        Raises
        ------
        OSError
            The folder cannot be read, or a file cannot be removed.
        gateway.objects.errors.StoreUnavailableError
            The store takes nothing now.
        """
        seen: dict[str, tuple[int, int]] = {}
        taken, unsettled = 0, False
        settled_before = time.time() - self._settings.settle_seconds
        for entry in _files(self._settings.folder):
            status = entry.stat(follow_symlinks=False)
            state = (status.st_size, status.st_mtime_ns)
            if self._seen.get(entry.path) != state or settled_before < status.st_mtime <= time.time():
                seen[entry.path] = state
                unsettled = True
            elif taken == MOST_FILES:
                self._seen = {**self._seen, **seen}
                return True
            else:
                self._take(Path(entry.path))
                taken += 1
        self._seen = seen
        if not unsettled:
            self._in_flight.release(self._holder)
        return False

    def _take(self, file: Path) -> None:
        origin = ObjectOrigin(self._settings.name, "folder", holder=self._holder)
        try:
            with file.open("rb") as stream:
                self._store.put(stream, origin)
        except FileNotFoundError:
            return  # whoever dropped it took it away
        except NotStorableError as error:
            LOG.warning("source %s: a file is put into %s/: %s", self._settings.name, REJECTED, error.reason)
            folder = self._settings.folder / REJECTED
            folder.mkdir(exist_ok=True)
            file.rename(folder / f"{time.time_ns()}-{file.name}"[:255])
            return
        file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            if file.parent != self._settings.folder:
                file.parent.rmdir()


def _files(root: Path) -> Iterator[os.DirEntry[str]]:
    """Give the regular files below a folder that are not hidden, in the order of their names, folder by folder."""
    waiting = [str(root)]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            if folder == str(root):
                raise
            continue
        for entry in found:
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                if folder != str(root) or entry.name != REJECTED:
                    waiting.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    entry.stat(follow_symlinks=False)
                    yield entry
