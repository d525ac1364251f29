"""Stored results for tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gateway.records import ResultFile, StoredResult, StudyKey

STUDY_UID = "1.2.826.0.1.3680043.8.498.1"


def made_up_result(*kinds: str, refusal: str = "", folder: Path = Path("/nowhere")) -> StoredResult:
    """A result with one file of each kind, none of which exists."""
    files = tuple(
        ResultFile(f"{kind}.bin", "" if kind == "json" else f"1.2.{number}", hashlib.sha256(b"").hexdigest(), kind)
        for number, kind in enumerate(kinds, 1)
    )
    return StoredResult(StudyKey(STUDY_UID), "d" * 64, folder, files, "", None if refusal else 0.5, refusal)
