"""Structured report: the assessment in, a DICOM SR in the output folder out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment
from pdl1es.atomic import write_atomically
from pdl1es.report.result import ReportFile
from pdl1es.report.software import this_software
from pdl1es.report.structured_report import build_structured_report, encode


class StructuredReportOperator(Step):
    """Write the SR as ``<SOP Instance UID>.dcm`` and emit ``reports``: what was written."""

    inputs = ("assessment",)
    outputs = ("reports",)

    def __init__(
        self, fragment: Any, *, folder: Path, outputs: tuple[str, ...], when: datetime, record: RunRecord, name: str
    ) -> None:
        self.folder = folder
        self.wanted = "sr" in outputs
        self.when = when
        super().__init__(fragment, record=record, name=name)

    def process(self, assessment: Assessment) -> Mapping[str, tuple[ReportFile, ...]]:
        """Build, encode and write the report, unless the settings want none."""
        if not self.wanted:
            return {"reports": ()}
        report = build_structured_report(assessment, this_software(), self.when)
        file = f"{report.SOPInstanceUID}.dcm"
        write_atomically(self.folder / file, encode(report))
        return {"reports": (ReportFile(kind="sr", file=file, sop_instance_uid=str(report.SOPInstanceUID)),)}
