"""Structured report: the assessment in, a DICOM SR in the output folder out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.delivery import Delivery
from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment
from pdl1es.dicom.study import Study
from pdl1es.report.build import build_sr
from pdl1es.report.delivery import BuiltReport
from pdl1es.report.result_schema import ReportFile


class StructuredReportOperator(Step):
    """Write the SR as ``<SOP Instance UID>.dcm`` and emit ``sr``: what was written.

    It refers to the picture that ``cam`` holds, and names the earlier reports that the study holds.
    """

    inputs = ("study", "assessment", "cam")
    outputs = ("sr",)

    def __init__(self, fragment: Any, *, delivery: Delivery, record: RunRecord, name: str) -> None:
        self.delivery = delivery
        super().__init__(fragment, record=record, name=name)

    def process(
        self, study: Study, assessment: Assessment, cam: BuiltReport | None
    ) -> Mapping[str, tuple[ReportFile, ...]]:
        """Build, encode and write the report, unless the settings want none."""
        if "sr" not in self.delivery.outputs:
            return {"sr": ()}
        report = build_sr(assessment, self.delivery.options, study=study, cam=cam)
        self.record.deliver(self.delivery.folder / report.file_name, report.data)
        return {"sr": (report.file,)}
