"""PDF report: the assessment in, one page as a DICOM Encapsulated PDF in the output folder out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.delivery import Delivery
from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment
from pdl1es.report.encapsulated_pdf import build_encapsulated_pdf
from pdl1es.report.result import ReportFile
from pdl1es.report.software import this_software
from pdl1es.report.study_context import encode


class PdfReportOperator(Step):
    """Write the page, unless the settings want none; emit ``pdf``: what was written."""

    inputs = ("assessment",)
    outputs = ("pdf",)

    def __init__(self, fragment: Any, *, delivery: Delivery, record: RunRecord, name: str) -> None:
        self.delivery = delivery
        super().__init__(fragment, record=record, name=name)

    def process(self, assessment: Assessment) -> Mapping[str, tuple[ReportFile, ...]]:
        """Lay out, encode and write it."""
        if "pdf" not in self.delivery.outputs:
            return {"pdf": ()}
        page = build_encapsulated_pdf(
            assessment,
            this_software(),
            self.delivery.when,
            series_number=self.delivery.series_number + 2,
            show_clinical_values=self.delivery.show_clinical_values,
        )
        file = f"{page.SOPInstanceUID}.dcm"
        self.record.deliver(self.delivery.folder / file, encode(page))
        return {"pdf": (ReportFile(kind="pdf", file=file, sop_instance_uid=str(page.SOPInstanceUID)),)}
