"""Study loader: a folder in, the headers of its DICOM objects out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.dicom.limits import ScanLimits
from pdl1es.dicom.study import Study, scan_study


class StudyLoaderOperator(Step):
    """Emit ``study``: what the input folder holds, by headers alone."""

    outputs = ("study",)

    def __init__(
        self, fragment: Any, *conditions: Any, folder: Path, limits: ScanLimits, record: RunRecord, name: str
    ) -> None:
        self.folder = folder
        self.limits = limits
        super().__init__(fragment, *conditions, record=record, name=name)

    def process(self) -> Mapping[str, Study]:
        """Scan the folder."""
        study = scan_study(self.folder, self.limits)
        self.record.study = study
        return {"study": study}
