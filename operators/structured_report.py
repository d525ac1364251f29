"""Structured report: the assessment in, a DICOM SR in the output folder out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment
from pdl1es.dicom.study import Study
from pdl1es.report.predecessors import find_predecessors
from pdl1es.report.result import ReportFile
from pdl1es.report.software import this_software
from pdl1es.report.structured_report import build_structured_report, encode


class StructuredReportOperator(Step):
    """Write the SR as ``<SOP Instance UID>.dcm`` and emit ``reports``: what was written.

    It refers to the picture that ``cam`` holds, and names the earlier reports that the study holds.
    """

    inputs = ("study", "assessment", "cam")
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

    def process(
        self, study: Study, assessment: Assessment, cam: Dataset | None
    ) -> Mapping[str, tuple[ReportFile, ...]]:
        """Build, encode and write the report, unless the settings want none."""
        if not self.wanted:
            return {"reports": ()}
        report = build_structured_report(
            assessment,
            this_software(),
            self.when,
            series_number=self.series_number,
            show_clinical_values=self.show_clinical_values,
            predecessors=find_predecessors(study, assessment.selection.ct.study_instance_uid),
            cam=cam,
        )
        file = f"{report.SOPInstanceUID}.dcm"
        self.record.deliver(self.folder / file, encode(report))
        return {"reports": (ReportFile(kind="sr", file=file, sop_instance_uid=str(report.SOPInstanceUID)),)}
