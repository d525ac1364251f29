"""Locks on files (flock): they end with the process that holds them, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LOOK_SECONDS: Final = 0.05


def lock_new_file(path: Path) -> int:
    """Make a file that is locked as long as this process lives.

    Parameters
    ----------
    path
        Of the file, which is not there yet.

    Returns
    -------
    int
        Its descriptor.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


@contextlib.contextmanager
def held_file(path: Path, mode: int, seconds: float | None = None) -> Iterator[int | None]:
    """Wait for the lock of a file or of a folder.

    Parameters
    ----------
    path
        Of the file.
    mode
        ``fcntl.LOCK_EX`` or ``fcntl.LOCK_SH``.
    seconds
        It is waited for at most so long, s; however long where None.

    Yields
    ------
    int or None
        Its descriptor; None where the path names no file, or another one by then.

    Raises
    ------
    BlockingIOError
        Another process had it all the time.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        _lock(descriptor, mode, seconds)
        try:
            is_there = os.path.samestat(os.fstat(descriptor), path.stat())
        except FileNotFoundError:
            is_there = False
        yield descriptor if is_there else None
    finally:
        os.close(descriptor)


def _lock(descriptor: int, mode: int, seconds: float | None) -> None:
    if seconds is None:
        fcntl.flock(descriptor, mode)
        return
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(_LOOK_SECONDS)
        else:
            return


def can_last(descriptor: int) -> bool:
    """Make a file's bytes last, and return whether that was possible.

    Parameters
    ----------
    descriptor
        Of the file, open.

    Returns
    -------
    bool
    """
    try:
        os.fsync(descriptor)
    except OSError:
        return False
    return True


def is_abandoned(lock: Path) -> bool:
    """Tell whether the process that locked a file is gone.

    Parameters
    ----------
    lock
        Made by `lock_new_file`.

    Returns
    -------
    bool
    """
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
