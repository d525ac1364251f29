"""Writing a result: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from pdl1es.errors import Refusal, RefusalCode


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one, also after a power cut.

    The data go to a hidden file in the same folder, are flushed to the disk, and that file is renamed.

    Parameters
    ----------
    path
        The file; its folder is made where it is missing.
    data
        Its content.

    Raises
    ------
    Refusal
        ``OUTPUT_NOT_WRITABLE``: the operating system refused; nothing half-written is left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside_name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise not_writable(path, error) from error
    aside = Path(aside_name)
    try:
        _fill(descriptor, data, 0o666)
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise not_writable(path, error) from error
    finally:
        # After the rename there is nothing to remove; after any failure, an interrupt included, there may be.
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def write_synced(path: Path, data: bytes, mode: int) -> None:
    """Write a new file and flush it to the disk: a file that is renamed into its place later.

    Parameters
    ----------
    path
        The file; it must not be there.
    data
        Its content.
    mode
        Its mode, of which the process's umask takes away.

    Raises
    ------
    OSError
        The operating system refused.
    """
    _fill(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), data, mode)


def _fill(descriptor: int, data: bytes, mode: int) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), mode & ~_umask())
        os.fsync(file.fileno())


def require_writable(folder: Path) -> None:
    """Find out before an expensive run whether its result can be written.

    Parameters
    ----------
    folder
        It is made where it is missing; a file is made in it and removed.

    Raises
    ------
    Refusal
        ``OUTPUT_NOT_WRITABLE``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Refusal(
            RefusalCode.OUTPUT_NOT_WRITABLE, f"no file can be made in it: {error.strerror or 'unknown error'}"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some network file systems cannot synchronise a folder; the file's own data are safe there already.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """Return the process's file mode mask, which mkstemp ignores."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def not_writable(path: Path, error: OSError) -> Refusal:
    """Return the refusal of an output that cannot be written.

    Parameters
    ----------
    path
        Which file.
    error
        What the operating system said.

    Returns
    -------
    Refusal
        OUTPUT_NOT_WRITABLE.
    """
    # The folder's path may hold a patient's name where a site names folders so; the file's name is ours.
    return Refusal(RefusalCode.OUTPUT_NOT_WRITABLE, f"writing {path.name} failed: {error.strerror or 'unknown error'}")
