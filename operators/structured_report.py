"""Structured report: the assessment in, a DICOM SR in the output folder out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydicom.dataset import Dataset

from operators.delivery import Delivery
from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment
from pdl1es.dicom.study import Study
from pdl1es.report.predecessors import find_predecessors
from pdl1es.report.result import ReportFile
from pdl1es.report.software import this_software
from pdl1es.report.structured_report import build_structured_report, encode


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
        self, study: Study, assessment: Assessment, cam: Dataset | None
    ) -> Mapping[str, tuple[ReportFile, ...]]:
        """Build, encode and write the report, unless the settings want none."""
        if "sr" not in self.delivery.outputs:
            return {"sr": ()}
        report = build_structured_report(
            assessment,
            this_software(),
            self.delivery.when,
            series_number=self.delivery.series_number,
            show_clinical_values=self.delivery.show_clinical_values,
            predecessors=find_predecessors(study, assessment.selection.ct.study_instance_uid),
            cam=cam,
        )
        file = f"{report.SOPInstanceUID}.dcm"
        self.record.deliver(self.delivery.folder / file, encode(report))
        return {"sr": (ReportFile(kind="sr", file=file, sop_instance_uid=str(report.SOPInstanceUID)),)}
