"""Result writer: the assessment and the reports' names in, ``result.json`` out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from operators.delivery import Delivery
from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment
from pdl1es.atomic import write_atomically
from pdl1es.report.delivery import RESULT_FILE
from pdl1es.report.result import scored_result
from pdl1es.report.result_schema import ReportFile, ResultDocument


def write_result(result: ResultDocument, folder: Path) -> None:
    """Write ``result.json``, whole or not at all."""
    write_atomically(folder / RESULT_FILE, result.text().encode("utf-8"))


class ResultWriterOperator(Step):
    """Write ``result.json``: the last step, so that a result is there only where its reports are."""

    inputs = ("assessment", "sr", "cam_report", "pdf")

    def __init__(self, fragment: Any, *, delivery: Delivery, record: RunRecord, name: str) -> None:
        self.delivery = delivery
        super().__init__(fragment, record=record, name=name)

    def process(
        self,
        assessment: Assessment,
        sr: tuple[ReportFile, ...],
        cam_report: tuple[ReportFile, ...],
        pdf: tuple[ReportFile, ...],
    ) -> Mapping[str, Any]:
        """Write it, with the times of all steps before this one."""
        result = scored_result(
            assessment,
            study=self.record.study,
            reports=(*sr, *cam_report, *pdf),
            seconds=self.record.seconds,
            when=self.delivery.options.when,
            show_clinical_values=self.delivery.options.show_clinical_values,
        )
        write_result(result, self.delivery.folder)
        self.record.result = result
        return {}
