"""CAM overlay: study, assessment and ROI picture in, a DICOM picture of the class activation map out."""

from __future__ import annotations

import numpy as np

from operators.report import ReportOperator
from pdl1es.assessment import Assessment
from pdl1es.chain import report_cam
from pdl1es.dicom.study import Study
from pdl1es.report.delivery import BuiltReport


class CamOverlayOperator(ReportOperator):
    """Emit ``cam``: the picture, or None where the settings want none."""

    step = "cam_overlay"
    emits = "cam"

    def process(self, study: Study, assessment: Assessment, pictures: np.ndarray | None) -> BuiltReport | None:
        """Build the picture of the class activation map.

        Parameters
        ----------
        study
            Earlier reports of the same kind in it are counted.
        assessment
            What is drawn.
        pictures
            uint8 RGB, shape (slices, rows, columns, 3); None where no report shows them.

        Returns
        -------
        BuiltReport or None
            None where the settings do not ask for it.
        """
        return report_cam(assessment, self.options, study, pictures, self.kinds)
