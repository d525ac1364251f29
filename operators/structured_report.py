"""Structured report: study, assessment and picture in, a DICOM SR out."""

from __future__ import annotations

from operators.report import ReportOperator
from pdl1es.assessment import Assessment
from pdl1es.chain import report_sr
from pdl1es.dicom.study import Study
from pdl1es.report.delivery import BuiltReport


class StructuredReportOperator(ReportOperator):
    """Emit ``sr``: the report, or None where the settings want none.

    It refers to the picture that ``cam`` holds, and names the earlier reports that the study holds.
    """

    step = "structured_report"
    emits = "sr"

    def process(self, study: Study, assessment: Assessment, cam: BuiltReport | None) -> BuiltReport | None:
        """Build the structured report.

        Parameters
        ----------
        study
            Earlier reports in it are named as replaced.
        assessment
            What is reported.
        cam
            The picture, to which the report refers; None where there is none.

        Returns
        -------
        BuiltReport or None
            None where the settings do not ask for it.
        """
        return report_sr(assessment, self.options, study, cam, self.kinds)
