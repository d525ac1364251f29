"""Between which values the clinical variables lie that are not known."""

from __future__ import annotations

from typing import Final

from pdl1es.clinical import FAMILY_HISTORY_CODES, SEX_CODES, SMOKING_CODES, VARIABLES, ClinicalData

AGE_YEARS: Final = (40.0, 80.0)
"""Most patients with lung cancer are of this age (paper, Table 1: 59 years on average)."""
CLINICAL_RANGE: Final[dict[str, tuple[float, float]]] = {
    "age": AGE_YEARS,
    "sex": (float(min(SEX_CODES.values())), float(max(SEX_CODES.values()))),
    "smoking": (float(min(SMOKING_CODES.values())), float(max(SMOKING_CODES.values()))),
    "family_history": (float(min(FAMILY_HISTORY_CODES.values())), float(max(FAMILY_HISTORY_CODES.values()))),
}
"""Lowest and highest code that a variable may have where it is not known."""


def unknown_values(clinical: ClinicalData) -> dict[int, tuple[float, float]]:
    """Return the range of each variable that is not known, by its place among `pdl1es.clinical.VARIABLES`.

    Parameters
    ----------
    clinical
        The four variables.

    Returns
    -------
    dict[int, tuple[float, float]]
        Of a smoker of unknown grade, between occasionally and constantly.
    """
    found = {}
    for place, (name, value) in enumerate(zip(VARIABLES, clinical.values(), strict=True)):
        if value.value is None:
            low, high = CLINICAL_RANGE[name]
            if name == "smoking" and not value.graded:
                low = float(SMOKING_CODES["occasionally"])
            found[place] = (low, high)
    return found
