"""What became of an object that was handed to the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.records import StoredObject


@dataclass(frozen=True, slots=True)
class Stored:
    """The object is new, and lies on disk."""

    object: StoredObject


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The same bytes lay on disk already: ``object`` is what came first."""

    object: StoredObject


@dataclass(frozen=True, slots=True)
class Conflict:
    """Other bytes lay on disk under the same SOP Instance UID.

    Attributes
    ----------
    object
        What came first, and stays.
    aside
        Where the later one is kept, relative to the store's folder.
    """

    object: StoredObject
    aside: Path


PutOutcome = Stored | Duplicate | Conflict
