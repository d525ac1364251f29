"""What the reports of a run have in common: time, software, series numbers, and whether clinical values stand in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

from pdl1es.report.software import SOFTWARE, SoftwareIdentity

ReportKind = Literal["sr", "cam", "pdf"]
"""Structured report, picture of the class activation map, page."""
REPORT_KINDS: Final[tuple[ReportKind, ...]] = get_args(ReportKind)
"""In the order in which ``result.json`` lists them, and of their series numbers."""
DEFAULT_SERIES_NUMBER: Final = 9601
"""Of the structured reports: above what scanners number their series with."""


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """How a run's reports are written.

    Attributes
    ----------
    when
        Aware time of the reports.
    series_number
        Of the structured reports; pictures and pages follow with the next two.
    show_clinical_values
        Whether the values of age, sex, smoking and family history stand in the reports; where they came from always does.
    software
        Who writes them.
    """

    when: datetime
    series_number: int = DEFAULT_SERIES_NUMBER
    show_clinical_values: bool = True
    software: SoftwareIdentity = SOFTWARE

    def series_number_of(self, kind: ReportKind) -> int:
        """Return the number of the series that holds the reports of one kind."""
        return self.series_number + REPORT_KINDS.index(kind)
