"""PDF report: the assessment in, one page as a DICOM Encapsulated PDF in the output folder out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.delivery import Delivery
from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment
from pdl1es.report.build import build_pdf, draw_roi
from pdl1es.report.result_schema import ReportFile


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
        page = build_pdf(assessment, self.delivery.options, draw_roi(assessment))
        self.record.deliver(self.delivery.folder / page.file_name, page.data)
        return {"pdf": (page.file,)}
