"""Small files from outside, read without hanging: settings, clinical data, the model."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular_file(path: Path, most_bytes: int) -> bytes:
    """Read a whole file, or refuse what is no regular file before anything of it is read.

    A named pipe would make the reader wait, and a device can be endless.

    Parameters
    ----------
    path
        The file; symbolic links are followed.
    most_bytes
        The largest size that is read, bytes.

    Returns
    -------
    bytes
        At most ``most_bytes`` and one more, so that the caller can tell that there are more.

    Raises
    ------
    OSError
        The file cannot be read, or it is a folder, a pipe, a socket or a device: its ``strerror`` says why.
    """
    # Without O_NONBLOCK, opening a named pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        parts = []
        left = most_bytes + 1
        while left and (part := os.read(descriptor, min(left, 2**20))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)
