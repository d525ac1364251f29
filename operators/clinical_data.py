"""Clinical data: file, study and header in, the four variables with their sources out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operators.step import StepOperator
from pdl1es.chain import read_clinical
from pdl1es.clinical import ClinicalInput, ClinicalRecord
from pdl1es.dicom.selection.survey import Selection
from pdl1es.stopwatch import Stopwatch


class ClinicalDataOperator(StepOperator):
    """Emit ``clinical``: age, sex, smoking and family history, and the warnings about where they came from."""

    step = "clinical_data"
    emits = "clinical"

    def __init__(
        self, fragment: Any, *, study_folder: Path, given: Path | ClinicalRecord | None, watch: Stopwatch
    ) -> None:
        self.study_folder = study_folder
        self.given = given
        super().__init__(fragment, watch=watch)

    def process(self, selection: Selection) -> ClinicalInput:
        """Look in what was given, then in the study's own file, then in the header."""
        return read_clinical(selection, self.study_folder, self.given)
