"""Study loader: a folder in, the headers of its DICOM objects out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operators.step import StepOperator
from pdl1es.chain import load_study
from pdl1es.dicom.limits import ScanLimits
from pdl1es.dicom.study import Study
from pdl1es.stopwatch import Stopwatch


class StudyLoaderOperator(StepOperator):
    """Emit ``study``: what the input folder holds, by headers alone."""

    step = "study_loader"
    emits = "study"

    def __init__(self, fragment: Any, *conditions: Any, folder: Path, limits: ScanLimits, watch: Stopwatch) -> None:
        self.folder = folder
        self.limits = limits
        super().__init__(fragment, *conditions, watch=watch)

    def process(self) -> Study:
        """Scan the folder."""
        return load_study(self.folder, self.limits)
