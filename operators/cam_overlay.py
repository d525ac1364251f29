"""CAM overlay: the assessment in, a DICOM picture of the class activation map in the output folder out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment
from pdl1es.report.cam_overlay import build_cam_overlay
from pdl1es.report.result import ReportFile
from pdl1es.report.software import this_software
from pdl1es.report.study_context import encode


class CamOverlayOperator(Step):
    """Write the picture, unless the settings want none; emit ``cam``, the picture or None, and ``reports``."""

    inputs = ("assessment",)
    outputs = ("cam", "reports")

    def __init__(
        self,
        fragment: Any,
        *,
        folder: Path,
        wanted: bool,
        series_number: int,
        when: datetime,
        record: RunRecord,
        name: str,
    ) -> None:
        self.folder = folder
        self.wanted = wanted
        self.series_number = series_number
        self.when = when
        super().__init__(fragment, record=record, name=name)

    def process(self, assessment: Assessment) -> Mapping[str, Any]:
        """Draw, encode and write it."""
        if not self.wanted:
            return {"cam": None, "reports": ()}
        cam = build_cam_overlay(assessment, this_software(), self.when, series_number=self.series_number)
        file = f"{cam.SOPInstanceUID}.dcm"
        self.record.deliver(self.folder / file, encode(cam))
        return {
            "cam": cam,
            "reports": (ReportFile(kind="cam", file=file, sop_instance_uid=str(cam.SOPInstanceUID)),),
        }
