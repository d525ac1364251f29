"""What the paper prints (Tian et al., Theranostics 2021; 11(5): 2098-2107)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pdl1es.clinical import TREATMENTS
from training.expression.results import TEST, TRAINING, VALIDATION


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One value: what it is, what the paper prints, what this cohort gives."""

    what: str
    paper: str
    cohort: str


@dataclass(frozen=True, slots=True)
class PaperGroups:
    """What the paper prints of two groups of patients."""

    hazard_ratio: str
    p_value: str
    c_index: str
    medians: str
    by_treatment: Mapping[str, str]


NOT_GIVEN: Final = "not given"
NONE: Final = "none"
NO_COHORT: Final = "no such cohort here"
FIGURE_5: Final = "figure-5"
ALONE, WITH_CHEMOTHERAPY, _ = TREATMENTS
PAPER_AUC: Final = {TRAINING: "0.78 (0.75 to 0.80)", VALIDATION: "0.71 (0.59 to 0.81)", TEST: "0.76 (0.66 to 0.85)"}
PAPER_REDIVISIONS: Final = ("0.79 / 0.73 / 0.76", "0.77 / 0.74 / 0.75")
PAPER_STRATA: Final = {
    "slice_thickness": "effective at < 5 mm and at >= 5 mm",
    "tube_current": "effective below and from the paper's median, 290 mA",
    "tube_current_at_median": "the paper's median was 290 mA",
    "manufacturer": "effective for each manufacturer",
}
PAPER_X_TILE: Final = PaperGroups(
    "2.57 (1.22 to 5.44)",
    "P = 0.010",
    "0.66 (0.48 to 0.83)",
    "183 (122–257) against 363 (363–) days",
    {ALONE: "P = 0.028", WITH_CHEMOTHERAPY: "P = 0.038; 271 against 248 days"},
)
PAPER_CLINICAL: Final = PaperGroups(
    "2.09 (1.05 to 4.18)",
    "P = 0.032",
    NOT_GIVEN,
    "172 against 257 days",
    {ALONE: "P = 0.068", WITH_CHEMOTHERAPY: "P = 0.054"},
)
PAPER_FUSION: Final = PaperGroups(
    "3.53 (1.86 to 6.72)",
    "P < 0.001",
    NOT_GIVEN,
    "122 against 363 days",
    {ALONE: "P = 0.016", WITH_CHEMOTHERAPY: "P = 0.003"},
)
PAPER_VARIABLE_P: Final = {"family_history": "0.064", "smoking": "0.245", "sex": "0.374", "age": "0.088"}
PAPER_LOG_RANK_P: Final = {"age": "0.028", "family_history": "0.17", "smoking": "0.22", "sex": "0.95"}
PAPER_AGE_CUT_OFF: Final = "63 years"
