"""PDF report: the assessment in, one page as a DICOM Encapsulated PDF in the output folder out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment
from pdl1es.report.encapsulated_pdf import build_encapsulated_pdf
from pdl1es.report.result import ReportFile
from pdl1es.report.software import this_software
from pdl1es.report.study_context import encode


class PdfReportOperator(Step):
    """Write the page, unless the settings want none; emit ``reports``: what was written."""

    inputs = ("assessment",)
    outputs = ("reports",)

    def __init__(
        self,
        fragment: Any,
        *,
        folder: Path,
        wanted: bool,
        series_number: int,
        show_clinical_values: bool,
        when: datetime,
        record: RunRecord,
        name: str,
    ) -> None:
        self.folder = folder
        self.wanted = wanted
        self.series_number = series_number
        self.show_clinical_values = show_clinical_values
        self.when = when
        super().__init__(fragment, record=record, name=name)

    def process(self, assessment: Assessment) -> Mapping[str, tuple[ReportFile, ...]]:
        """Lay out, encode and write it."""
        if not self.wanted:
            return {"reports": ()}
        page = build_encapsulated_pdf(
            assessment,
            this_software(),
            self.when,
            series_number=self.series_number,
            show_clinical_values=self.show_clinical_values,
        )
        file = f"{page.SOPInstanceUID}.dcm"
        self.record.deliver(self.folder / file, encode(page))
        return {"reports": (ReportFile(kind="pdf", file=file, sop_instance_uid=str(page.SOPInstanceUID)),)}
