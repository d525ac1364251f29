"""Where a run's reports go, and what all of them have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pdl1es.report.options import ReportOptions


@dataclass(frozen=True, slots=True)
class Delivery:
    """What every operator that writes needs to know.

    Attributes
    ----------
    folder
        The output folder.
    outputs
        The reports that the settings want: ``sr``, ``cam``, ``pdf``; result.json is always written.
    options
        What the reports have in common.
    """

    folder: Path
    outputs: tuple[str, ...]
    options: ReportOptions
