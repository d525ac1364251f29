"""A folder as a source: files that are dropped into it are stored and then removed."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gateway.objects.errors import NotStorableError
from gateway.objects.in_flight import InFlight
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore
from gateway.receive.passed_over import NOT_READABLE, REMEDIES, PassedOver
from gateway.receive.settings import FolderSource

LOG: Final = logging.getLogger("pdl1es.gateway.receive")
REJECTED: Final = "rejected"
"""Folder within the drop folder for what is no DICOM object of a study."""
TRIED_AGAIN_SECONDS: Final = 60.0
MOST_FILES: Final = 1000
"""Files that are taken at one look."""


class DroppedFiles:
    """Takes the files of a folder.

    A file is taken when neither its size nor its time has changed between two looks, and for ``settle_seconds``. Hidden files, such as those that
    a copying program has not finished, links and special files are left alone. A file is removed when its object is safely stored.

    What cannot be read or removed is passed over: it is told once, tried again each minute, and holds nothing else up.

    Parameters
    ----------
    settings
        The source.
    store
        Where objects go.
    in_flight
        Where it says which studies it brings.
    clock
        Gives the time that goes on, s.
    """

    def __init__(
        self,
        settings: FolderSource,
        store: ObjectStore,
        in_flight: InFlight,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._store = store
        self._in_flight = in_flight
        self._holder = f"{settings.name}:folder"
        self._seen: dict[str, tuple[int, int]] = {}
        self._clock = clock
        self._passed_over = PassedOver(store.index.engine, settings.name)
        self._later: dict[str, float] = {}
        """Paths that cannot be read or removed, with the time when each is tried again."""

    def look(self) -> bool:
        """Store the files that do not change any more, and tell whether others are waiting to be taken at once.

        Raises
        ------
        OSError
            The folder cannot be read.
        gateway.objects.errors.StoreUnavailableError
            The store takes nothing now.
        """
        seen: dict[str, tuple[int, int]] = {}
        taken, unsettled = 0, False
        settled_before = time.time() - self._settings.settle_seconds
        found: set[str] = set()
        for entry in _files(self._settings.folder, self._pass_over):
            found.add(entry.path)
            if self._later.get(entry.path, 0.0) > self._clock():
                continue
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
        self._forget_what_is_gone(found)
        if not unsettled:
            self._in_flight.release(self._holder)
        return False

    def _pass_over(self, path: str, error: OSError) -> None:
        """Leave a file or folder alone for a while."""
        self._later[path] = self._clock() + TRIED_AGAIN_SECONDS
        if self._passed_over.note(_item(path), NOT_READABLE):
            reason = error.strerror or type(error).__name__
            LOG.warning("source %s: a file is passed over: %s; %s", self._settings.name, reason, REMEDIES[NOT_READABLE])

    def _forget_what_is_gone(self, found: set[str]) -> None:
        now = self._clock()
        # A folder that cannot be read is not among the files; it is passed over anew at each look.
        self._later = {path: until for path, until in self._later.items() if path in found or until > now}
        if there := self._passed_over.items():
            self._passed_over.forget(there - {_item(path) for path in self._later})

    def _take(self, file: Path) -> None:
        """Store one file, or pass it over."""
        try:
            self._store_one(file)
        except OSError as error:
            self._pass_over(str(file), error)
        else:
            self._later.pop(str(file), None)

    def _store_one(self, file: Path) -> None:
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


def _item(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()


def _files(root: Path, pass_over: Callable[[str, OSError], None]) -> Iterator[os.DirEntry[str]]:
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
        except OSError as error:
            if folder == str(root):
                raise
            pass_over(folder, error)
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
