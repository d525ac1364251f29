"""Age, sex, smoking and family history: from a file or the header, each with its source."""

from __future__ import annotations

from dataclasses import dataclass

VARIABLES = ("age", "sex", "smoking", "family_history")
"""The paper's order. Codes: age in years; sex female 0, male 1; smoking never 0, occasionally 1, constantly 2; family
history of cancer no 0, yes 1."""


@dataclass(frozen=True, slots=True)
class ClinicalValue:
    """One variable.

    Attributes
    ----------
    value
        The code, or None where it is missing.
    source
        ``"clinical file"``, ``"study clinical.json"``, ``"DICOM PatientAge (0010,1010)"`` and so on, or ``"missing"``.
    graded
        False for a smoker of unknown grade (DICOM Smoking Status YES): the model's own grade stands in and counts as imputed.
    """

    value: float | None
    source: str
    graded: bool = True


@dataclass(frozen=True, slots=True)
class ClinicalData:
    """The four variables in the paper's order."""

    age: ClinicalValue
    sex: ClinicalValue
    smoking: ClinicalValue
    family_history: ClinicalValue
