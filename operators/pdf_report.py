"""PDF report: study, assessment and ROI picture in, the page as a DICOM Encapsulated PDF out."""

from __future__ import annotations

import numpy as np

from operators.report import ReportOperator
from pdl1es.assessment import Assessment
from pdl1es.chain import report_pdf
from pdl1es.dicom.study import Study
from pdl1es.report.delivery import BuiltReport


class PdfReportOperator(ReportOperator):
    """Emit ``pdf``: the page, or None where the settings want none."""

    step = "pdf_report"
    emits = "pdf"

    def process(self, study: Study, assessment: Assessment, pictures: np.ndarray | None) -> BuiltReport | None:
        """Build the page.

        Parameters
        ----------
        study
            Earlier reports of the same kind in it are counted.
        assessment
            What is reported.
        pictures
            uint8 RGB, shape (slices, rows, columns, 3); None where no report shows them.

        Returns
        -------
        BuiltReport or None
            None where the settings do not ask for it.
        """
        return report_pdf(assessment, self.options, study, pictures, self.kinds)
