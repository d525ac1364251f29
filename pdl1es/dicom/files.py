"""The files of a folder, within limits."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pdl1es.dicom.file_format import SEND_AGAIN
from pdl1es.dicom.limits import ScanLimits
from pdl1es.errors import Refusal, RefusalCode

LET_READ: Final = "let the user that runs read the files"


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that looks like DICOM and could not be read. It is left out; the study goes on.

    Attributes
    ----------
    path
        Relative to the study's folder.
    reason
        Why, without any value of the file.
    remedy
        What to do about it.
    """

    path: str
    reason: str
    remedy: str = SEND_AGAIN


def list_files(root: Path, limits: ScanLimits, deadline: float) -> tuple[list[Path], list[UnreadableFile], int]:
    """List the files under a folder.

    Parameters
    ----------
    root
        The folder, resolved.
    limits
        Number and size of the files that are accepted.
    deadline
        Of `time.monotonic`, s.

    Returns
    -------
    files, unreadable, ignored
        The regular files in order of path, those that were given up, and the number of special files.

    Raises
    ------
    Refusal
        LIMIT_EXCEEDED.
    """
    files: list[Path] = []
    unreadable: list[UnreadableFile] = []
    ignored = count = total = 0

    for folder, names in _folders(root, unreadable):
        check_time(deadline)
        for name in names:
            count += 1
            if count > limits.max_files:
                raise Refusal(
                    RefusalCode.LIMIT_EXCEEDED, f"the folder holds more files than max_files = {limits.max_files}"
                )
            path = Path(folder, name)
            try:
                if path.is_symlink() and not path.resolve().is_relative_to(root):
                    unreadable.append(
                        UnreadableFile(
                            relative_path(path, root),
                            "a symbolic link out of the folder",
                            "put the files themselves into the study's folder, not links to them",
                        )
                    )
                    continue
                status = path.stat()
            except (OSError, RuntimeError):  # RuntimeError: links that lead in a circle, before Python 3.13
                unreadable.append(UnreadableFile(relative_path(path, root), "the file cannot be opened", LET_READ))
                continue
            if not stat.S_ISREG(status.st_mode):
                ignored += 1
                continue
            total += status.st_size
            if total > limits.max_total_bytes:
                raise Refusal(
                    RefusalCode.LIMIT_EXCEEDED,
                    f"the folder's files are larger than max_total_bytes = {limits.max_total_bytes}",
                )
            files.append(path)
    return sorted(files), unreadable, ignored


def _folders(root: Path, unreadable: list[UnreadableFile]) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder under ``root`` with the names of what is no folder in it; links to folders are not followed.

    `os.walk` calls itself for each level until Python 3.12, and folders can be nested deeper than Python's calls.
    """
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        names, below = [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.name)
                    elif not (entry.is_symlink() and os.path.isdir(entry.path)):  # noqa: PTH112 - it raises nothing
                        names.append(entry.name)
        except OSError:
            unreadable.append(UnreadableFile(relative_path(folder, root), "the folder cannot be opened", LET_READ))
            continue
        yield folder, names
        waiting += [folder / name for name in sorted(below, reverse=True)]


def relative_path(path: Path, root: Path) -> str:
    """Return a path relative to a folder, as text that any encoder takes.

    Parameters
    ----------
    path
        The path; one outside the folder is shown by its name alone.
    root
        The folder.

    Returns
    -------
    str
        With ``/`` between the parts.
    """
    text = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def check_time(deadline: float) -> None:
    """Refuse the study where the deadline (of `time.monotonic`, s) is past."""
    if time.monotonic() > deadline:
        raise Refusal(RefusalCode.LIMIT_EXCEEDED, "reading the headers took longer than limits.seconds allows")
