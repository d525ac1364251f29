"""Clinical data: file, study and header in, the four variables with their sources out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.clinical import (
    MAX_CLINICAL_FILE_BYTES,
    ClinicalFileError,
    ClinicalRecord,
    clinical_data,
    read_clinical_csv,
    read_clinical_json,
)
from pdl1es.dicom.selection.survey import Selection
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.score_warning import ScoreWarning

STUDY_FILE = "clinical.json"


def _content(path: Path) -> bytes:
    """Read one byte more than the limit at most: the parser refuses what is longer."""
    with path.open("rb") as file:
        return file.read(MAX_CLINICAL_FILE_BYTES + 1)


class ClinicalDataOperator(Step):
    """Emit ``clinical``: age, sex, smoking and family history; and ``clinical_warnings``."""

    inputs = ("selection",)
    outputs = ("clinical", "clinical_warnings")

    def __init__(
        self, fragment: Any, *, study_folder: Path, clinical_file: Path | None, record: RunRecord, name: str
    ) -> None:
        self.study_folder = study_folder
        self.clinical_file = clinical_file
        super().__init__(fragment, record=record, name=name)

    def process(self, selection: Selection) -> Mapping[str, Any]:
        """Look in the file, then in the study's own file, then in the header."""
        header = selection.ct.slices[0].instance.header
        warnings: list[ScoreWarning] = []
        given: ClinicalRecord | None = None
        if self.clinical_file is not None:
            content = _content(self.clinical_file)
            if self.clinical_file.suffix.lower() == ".csv":
                given = read_clinical_csv(
                    content, str(header.get("PatientID", "") or ""), str(header.get("AccessionNumber", "") or "")
                )
                if given is None:
                    warnings.append(
                        ScoreWarning("CLINICAL_ROW_ABSENT", "The table of clinical data has no row for this patient.")
                    )
            else:
                given = read_clinical_json(content)
        in_study: ClinicalRecord | None = None
        study_file = self.study_folder / STUDY_FILE
        if study_file.is_file():
            try:
                in_study = read_clinical_json(_content(study_file))
            except ClinicalFileError as error:
                raise Refusal(RefusalCode.CLINICAL_INVALID, f"{STUDY_FILE}: {error}") from error
        return {"clinical": clinical_data(header, given, in_study), "clinical_warnings": tuple(warnings)}
