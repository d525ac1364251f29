"""Where a run's reports go, and what all of them have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Delivery:
    """What every operator that writes needs to know.

    Attributes
    ----------
    folder
        The output folder.
    outputs
        The reports that the settings want: ``sr``, ``cam``, ``pdf``; result.json is always written.
    series_number
        Of the SR; the picture's is one more, the page's two.
    show_clinical_values
        Whether the values of age, sex, smoking and family history stand in the reports.
    when
        The date and time that the reports carry.
    """

    folder: Path
    outputs: tuple[str, ...]
    series_number: int
    show_clinical_values: bool
    when: datetime
