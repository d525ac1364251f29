"""Options that all reports of a run share: time, software, series numbers, and whether they show clinical values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pdl1es.dicom.instance import Instance
from pdl1es.report.kinds import DEFAULT_SERIES_NUMBER, ReportKind, series_number_of
from pdl1es.report.software import SOFTWARE, SoftwareIdentity


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
    comprehensive_3d
        Whether structured reports are stored as Comprehensive 3D SR instead of Comprehensive SR.
    earlier
        Earlier reports on the study that the input does not hold; a new one replaces them too.
    """

    when: datetime
    series_number: int = DEFAULT_SERIES_NUMBER
    show_clinical_values: bool = True
    software: SoftwareIdentity = SOFTWARE
    comprehensive_3d: bool = False
    earlier: tuple[Instance, ...] = ()

    def series_number_of(self, kind: ReportKind) -> int:
        """Return the number of the series that holds the reports of one kind."""
        return series_number_of(kind, self.series_number)
