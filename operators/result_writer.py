"""Result writer: the assessment and the reports' names in, ``result.json`` out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.assessment import Assessment
from pdl1es.atomic import write_atomically
from pdl1es.report.result import ReportFile, ResultDocument, scored_result

RESULT_FILE = "result.json"


def write_result(result: ResultDocument, folder: Path) -> None:
    """Write ``result.json``, whole or not at all."""
    write_atomically(folder / RESULT_FILE, (result.model_dump_json(indent=2) + "\n").encode("utf-8"))


class ResultWriterOperator(Step):
    """Write ``result.json``: the last step, so that a result is there only where its reports are."""

    inputs = ("assessment", "sr", "cam", "pdf")

    def __init__(
        self,
        fragment: Any,
        *,
        folder: Path,
        show_clinical_values: bool,
        when: datetime,
        record: RunRecord,
        name: str,
    ) -> None:
        self.folder = folder
        self.show_clinical_values = show_clinical_values
        self.when = when
        super().__init__(fragment, record=record, name=name)

    def process(
        self,
        assessment: Assessment,
        sr: tuple[ReportFile, ...],
        cam: tuple[ReportFile, ...],
        pdf: tuple[ReportFile, ...],
    ) -> Mapping[str, Any]:
        """Write it, with the times of all steps before this one."""
        result = scored_result(
            assessment,
            study=self.record.study,
            reports=(*sr, *cam, *pdf),
            seconds=self.record.seconds,
            when=self.when,
            show_clinical_values=self.show_clinical_values,
        )
        write_result(result, self.folder)
        self.record.result = result
        return {}
