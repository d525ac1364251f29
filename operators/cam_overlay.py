"""CAM overlay: the assessment in, a DICOM picture of the class activation map in the output folder out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.delivery import Delivery
from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment
from pdl1es.report.cam_overlay import build_cam_overlay
from pdl1es.report.result import ReportFile
from pdl1es.report.software import this_software
from pdl1es.report.study_context import encode


class CamOverlayOperator(Step):
    """Write the picture, unless the settings want none; emit ``cam``, the picture or None, and ``cam_report``: what was written."""

    inputs = ("assessment",)
    outputs = ("cam", "cam_report")

    def __init__(self, fragment: Any, *, delivery: Delivery, record: RunRecord, name: str) -> None:
        self.delivery = delivery
        super().__init__(fragment, record=record, name=name)

    def process(self, assessment: Assessment) -> Mapping[str, Any]:
        """Draw, encode and write it."""
        if "cam" not in self.delivery.outputs:
            return {"cam": None, "cam_report": ()}
        cam = build_cam_overlay(
            assessment, this_software(), self.delivery.when, series_number=self.delivery.series_number + 1
        )
        file = f"{cam.SOPInstanceUID}.dcm"
        self.record.deliver(self.delivery.folder / file, encode(cam))
        return {
            "cam": cam,
            "cam_report": (ReportFile(kind="cam", file=file, sop_instance_uid=str(cam.SOPInstanceUID)),),
        }
