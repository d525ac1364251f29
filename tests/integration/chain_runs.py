"""What the tests of the chain look at after a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from pdl1es.outcome import Outcome

WHEN = datetime(2025, 1, 16, 8, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scored:
    """What one run left behind."""

    outcome: Outcome
    folder: Path

    @property
    def result(self) -> dict[str, Any]:
        """``result.json`` as it lies in the output folder."""
        return json.loads((self.folder / "result.json").read_text(encoding="utf-8"))

    @property
    def report_bytes(self) -> bytes:
        """The one SR file."""
        (file,) = self.folder.glob("*.dcm")
        return file.read_bytes()

    @property
    def report(self) -> Dataset:
        """The one SR."""
        (file,) = self.folder.glob("*.dcm")
        return pydicom.dcmread(file)

    @property
    def code(self) -> str:
        """The refusal's code, or ``scored``."""
        return self.outcome.refusal.code.name if self.outcome.refusal else "scored"


Score = Callable[..., Scored]
