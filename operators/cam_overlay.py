"""CAM overlay: the assessment in, a DICOM picture of the class activation map in the output folder out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.delivery import Delivery
from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment
from pdl1es.report.build import build_cam, draw_roi


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
        cam = build_cam(assessment, self.delivery.options, draw_roi(assessment))
        self.record.deliver(self.delivery.folder / cam.file_name, cam.data)
        return {"cam": cam, "cam_report": (cam.file,)}
