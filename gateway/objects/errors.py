"""Why an object is not stored."""

from __future__ import annotations

import errno
from typing import Final

_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class NotStorableError(Exception):
    """The object itself cannot be stored, now or later.

    Parameters
    ----------
    reason
        Why, without any value of the object's.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class TooLargeError(NotStorableError):
    """The object is larger, or its study has more objects, than the limits allow."""


class DamagedHeaderError(NotStorableError):
    """The object's header cannot be read: the chain will not read it either."""


class OtherObjectError(NotStorableError):
    """The object is not the one that the sender said it would send."""


class StoreUnavailableError(Exception):
    """Nothing can be stored at present: the disk is full or fails, or the database cannot be reached.

    Parameters
    ----------
    reason
        Why, without any value of an object's.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def unavailable(error: OSError) -> StoreUnavailableError:
    """Return what an error of the operating system means for the store."""
    full = error.errno in _DISK_FULL
    return StoreUnavailableError("the disk is full" if full else f"the disk does not take it: {error.strerror}")
