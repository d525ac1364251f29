"""The sentences and numbers that a reader sees, the same in every kind of report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pdl1es.assessment import Assessment
from pdl1es.dicom.contour_origin import origin_text
from pdl1es.model.metadata import ModelMetadata
from pdl1es.model.prediction import score_text as score_text  # reports take it from here
from pdl1es.report.codes import PROBABILITY, SCORE
from pdl1es.report.kinds import ReportKind
from pdl1es.report.predecessors import Predecessor

DEMONSTRATION_NOTICE: Final = "DEMONSTRATION MODEL - NOT FOR CLINICAL USE"
RESEARCH_NOTICE: Final = "RESEARCH USE ONLY - NOT A MEDICAL DEVICE"
APPLIES_TO: Final = "Stage IV non-small cell lung cancer before treatment. Stage, histology and treatment of this patient were not checked."
NO_SUBSTITUTE: Final = "The score is no substitute for immunohistochemistry."
READING_OF_CONTRIBUTIONS: Final = (
    "In log-odds; they add up to the score's own log-odds. They say how the model arrived at it, not what causes it."
)
TREATMENT_UNKNOWN: Final = "not reported: first-line pembrolizumab is not known to be this patient's treatment"
WITHHELD: Final = "withheld (reason: see the summary)"
SERIES_NAMES: Final[dict[ReportKind, str]] = {
    "sr": "PD-L1ES report",
    "cam": "PD-L1ES map",
    "pdf": "PD-L1ES page",
    "kos": "PD-L1ES key objects",
}
"""With ``DEMO`` before them the kinds differ within 16 characters, which is what lists and thumbnails of viewers show."""
TRAINING_DATA: Final = {
    "untrained": "random weights: the score means nothing",
    "synthetic": "synthetic images, no patients",
    "patients": "patients",
}
GroupName = Literal["expression", "risk", "clinical_risk", "fusion_risk"]
"""As ``result.json`` names the groups."""
SMOKING_GRADES: Final = ("never", "occasionally", "constantly")


def is_demonstration(model: ModelMetadata) -> bool:
    """Return whether the model was trained on anything but patients."""
    return model.training_data != "patients"


def notice(model: ModelMetadata) -> str:
    """Return the first line of every report."""
    if not is_demonstration(model):
        return RESEARCH_NOTICE
    return f"{DEMONSTRATION_NOTICE} (research use only; trained on: {TRAINING_DATA[model.training_data]})"


def banner(model: ModelMetadata) -> str:
    """Return the notice in so few words that it is read on a thumbnail."""
    return "DEMO - NOT CLINICAL" if is_demonstration(model) else "RESEARCH USE ONLY"


def series_description(model: ModelMetadata, kind: ReportKind) -> str:
    """Return a Series Description of at most 64 characters, whose first 16 tell the kinds and a demonstration apart.

    Parameters
    ----------
    model
        It decides whether the reports are a demonstration.
    kind
        Of the series's reports.

    Returns
    -------
    str
    """
    name = SERIES_NAMES[kind]
    return f"DEMO {name}, not clinical" if is_demonstration(model) else f"{name}, research use only"


def contours_tried(assessment: Assessment) -> str | None:
    """Return what is missing of the other contours' scores; None where all could be scored."""
    stability = assessment.contour_stability
    if stability is None:
        return "Other contours were not tried."
    missing = [variant.contour for variant in stability.variants if variant.score is None]
    if not missing:
        return None
    count = len(stability.variants)
    return f"{count - len(missing)} of {count} could be scored; not the one {', '.join(missing)}."


def replaces(predecessors: tuple[Predecessor, ...]) -> str:
    """Return the sentence that this report replaces earlier ones."""
    written = ", ".join(
        (predecessor.written or "unknown date") + ("" if predecessor.analysed else " (not analysed)")
        for predecessor in predecessors
    )
    return f"This report replaces {'an earlier one' if len(predecessors) == 1 else 'earlier ones'} of this study: {written}."


def cut_off_lines(assessment: Assessment) -> tuple[str, ...]:
    """Return one line for each cut-off of the model; none for those of groups that are withheld."""
    model = assessment.model
    given = assessment.withheld is None
    return tuple(
        f"{score} > {score_text(cut.value)}: {cut.above}, else {cut.below} ({cut.method})"
        for score, cut, shown in (
            ("Score", model.expression_cut_off, given),
            ("Score", model.progression_cut_off, given),
            ("Clinical risk", model.clinical_cut_off, True),
            ("Fusion risk", model.fusion_cut_off, given),
        )
        if cut is not None and shown
    )


def model_text(assessment: Assessment) -> str:
    """Return which model it was: name, version and the SHA-256 of its file."""
    model = assessment.model
    return f"{model.name}, version {model.version}, SHA-256 {assessment.prediction.model_sha256}"


def direction(assessment: Assessment) -> str | None:
    """Return whether a higher score means a higher or a lower risk, which readers expect otherwise than the paper found.

    Parameters
    ----------
    assessment
        Of the model whose groups are told.

    Returns
    -------
    str or None
        None where the model's words for its groups do not say it, or where the group is withheld.
    """
    if assessment.risk_group is None:
        return None
    above, below = (
        words.lower()
        for words in (assessment.model.progression_cut_off.above, assessment.model.progression_cut_off.below)
    )
    if "high" in above and "low" in below:
        return (
            "In this model, as in the paper, a higher score means a higher risk of progression, contrary to what is "
            "expected of high PD-L1 expression."
        )
    if "low" in above and "high" in below:
        return (
            "In this model a higher score means a lower risk of progression, as is expected of high PD-L1 expression; in "
            "the paper it meant a higher one."
        )
    return None


def accuracy(assessment: Assessment) -> str | None:
    """Return how often the expression group is right, with 95 % intervals and on whom; None where it is withheld."""
    if assessment.expression_group is None:
        return None
    stated = assessment.model.expression_accuracy
    if stated is None:
        return "The model states neither sensitivity nor specificity."
    rates = ", ".join(
        f"{name} {100 * rate.value:.0f} % ({100 * rate.lower:.0f} to {100 * rate.upper:.0f})"
        for name, rate in (
            ("sensitivity", stated.sensitivity),
            ("specificity", stated.specificity),
            ("PPV", stated.positive_predictive_value),
            ("NPV", stated.negative_predictive_value),
        )
    )
    return f"{rates}; n = {stated.number} {stated.cohort}, {stated.high} with high expression (95 % intervals)"


def log_odds_text(value: float) -> str:
    """Return log-odds with sign and three decimals; zero has no sign."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text


def score_name(model: ModelMetadata) -> str:
    """Return what the score may be called: a probability only where the model's calibration was found right."""
    return PROBABILITY.meaning if model.calibrated else SCORE.meaning


@dataclass(frozen=True, slots=True)
class ReportedGroup:
    """A group that the reports speak of.

    Attributes
    ----------
    name
        As in ``result.json``.
    group
        In the model's words; None where it is not given.
    text
        The group, or that it is not given.
    """

    name: GroupName
    group: str | None
    text: str


def reported_groups(assessment: Assessment) -> tuple[ReportedGroup, ...]:
    """Return the groups in their order: those by the score, then those of the Cox models that the model has."""
    model = assessment.model
    found = [_reported("expression", assessment.expression_group), _reported("risk", assessment.risk_group)]
    if model.clinical_cut_off is not None:
        found.append(_reported("clinical_risk", assessment.clinical_risk_group))
    if model.fusion_cut_off is not None:
        found.append(
            _reported("fusion_risk", assessment.fusion_risk_group)
            if assessment.clinical.on_pembrolizumab
            else ReportedGroup("fusion_risk", None, TREATMENT_UNKNOWN)
        )
    return tuple(found)


def _reported(name: GroupName, group: str | None) -> ReportedGroup:
    return ReportedGroup(name, group, group or WITHHELD)


def contour_source(assessment: Assessment) -> str:
    """Return what was scored: ``segment 1 of the DICOM SEG``."""
    selection = assessment.selection
    number = selection.segment.number
    return (
        f"segment {number} of the DICOM SEG"
        if selection.segmentation.kind == "SEG"
        else f"ROI {number} of the RT Structure Set"
    )


def contour_text(assessment: Assessment) -> str:
    """Return what the contour is, and who drew it."""
    source = contour_source(assessment)
    return f"{source[0].upper()}{source[1:]}, {origin_text(assessment.selection.segment)}"


def axial_place(assessment: Assessment) -> str:
    """Return where the longest axial diameter lies, from the slice of largest tumour area."""
    distance = assessment.tumour.axial_grid_z_mm - assessment.patches.roi_z
    if distance == 0:
        return "that of largest tumour area"
    return f"{abs(distance)} mm towards the {'head' if distance > 0 else 'feet'} from that of largest tumour area"


def disagreement(assessment: Assessment) -> str | None:
    """Return the sentence that the secondary risk groups differ from the first, or None where they agree."""
    if assessment.risk_group is None:
        return None
    named = (
        ("by clinical values alone", assessment.clinical_risk_group),
        ("by score and clinical values", assessment.fusion_risk_group),
    )
    other = [f"{words} it is {group}" for words, group in named if group not in (None, assessment.risk_group)]
    return (
        f"The risk groups disagree: by the score it is {assessment.risk_group}, {', '.join(other)}." if other else None
    )


def clinical_lines(assessment: Assessment, *, show_values: bool = True) -> tuple[tuple[str, str], ...]:
    """Return what is said of the four clinical variables.

    Parameters
    ----------
    assessment
        What is reported.
    show_values
        Without it only the source is said, or that the value was imputed.

    Returns
    -------
    tuple of (str, str)
        Name as in `clinical.VARIABLES`, and value with its source or that it was imputed.
    """
    names = assessment.model.clinical_names
    lines = []
    for name, given, used in zip(
        names, assessment.clinical.values(), assessment.prediction.imputed_clinical.tolist(), strict=True
    ):
        if not show_values:
            text = f"from {given.source}" if given.value is not None else "imputed"
        elif given.value is not None:
            text = f"{_clinical_text(name, given.value)} (from {given.source})"
        elif not given.graded:
            text = f"smoker of unknown grade (from {given.source}); imputed: {_clinical_text(name, used)}"
        else:
            text = f"not known; imputed: {_clinical_text(name, used)}"
        lines.append((name, text))
    return tuple(lines)


def _clinical_text(name: str, value: float) -> str:
    """Return a variable's code in words. An imputed value between two codes stays a number, with its scale."""
    if name == "age":
        return f"{value:.0f} years" if value == round(value) else f"{value:.1f} years"
    grades = {"sex": ("female", "male"), "smoking": SMOKING_GRADES, "family_history": ("no", "yes")}[name]
    if value == round(value) and 0 <= value < len(grades):
        return grades[round(value)]
    scale = ", ".join(f"{code} {word}" for code, word in enumerate(grades))
    return f"{value:.2f} ({scale})"
