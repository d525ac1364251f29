"""The statements of a report, in the order in which a reader needs them: the one source of what every report says.

Structured report, page, FHIR resource and ``result.json`` take their words from `report_statements`. A writer may leave out
a section that its form has no place for, and may lay a section out as it likes (a list, a table, bars), but it neither adds a
sentence on the result nor words one of its own. The first two lines of every report are the sections 'notice' and 'summary'.

A statement that is a number has ``value`` and ``unit``; its ``text`` is the number as it is written, and `ReportStatement.words` adds
the unit. A label is the Code Meaning of the statement's concept, so that report and code table cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from pdl1es.assessment import Assessment
from pdl1es.dicom.coded_concept import Code
from pdl1es.report import codes as concept
from pdl1es.report import wording
from pdl1es.report.predecessors import Predecessor
from pdl1es.report.summary import further_warnings, summary_sentences

Section = Literal["notice", "summary", "result", "why", "warnings", "tumour", "clinical", "limits", "model"]
"""In the order in which a report shows them."""

_GROUPS: Final[dict[wording.GroupName, Code]] = {
    "expression": concept.EXPRESSION_GROUP,
    "risk": concept.RISK_GROUP,
    "clinical_risk": concept.CLINICAL_RISK_GROUP,
    "fusion_risk": concept.FUSION_RISK_GROUP,
}
CLINICAL_CONCEPTS: Final = {
    "age": concept.SUBJECT_AGE,
    "sex": concept.SUBJECT_SEX,
    "smoking": concept.SMOKING,
    "family_history": concept.FAMILY_HISTORY,
}


@dataclass(frozen=True, slots=True)
class ReportStatement:
    """One thing that a report says.

    Attributes
    ----------
    section
        Where it belongs.
    concept
        What it is about; its meaning is the label that a reader sees before the text.
    text
        A sentence, a few words, or a number without its unit.
    value
        The whole number where the text is one; else None.
    unit
        Of the value (UCUM); a unit in braces, as ``{score}``, is not written.
    group
        The model's words where the statement is a group that is given; else None.
    """

    section: Section
    concept: Code
    text: str
    value: float | None = None
    unit: Code | None = None
    group: str | None = None

    @property
    def label(self) -> str:
        """What a reader sees before the text."""
        return self.concept.meaning

    @property
    def words(self) -> str:
        """The text, a number with its unit."""
        if self.unit is None or self.unit.value.startswith("{"):
            return self.text
        return f"{self.text} {self.unit.value}"


def report_statements(
    assessment: Assessment, *, show_clinical_values: bool = True, predecessors: tuple[Predecessor, ...] = ()
) -> tuple[ReportStatement, ...]:
    """Return everything that a report says of an assessment.

    Parameters
    ----------
    assessment
        What is reported.
    show_clinical_values
        Whether the values of age, sex, smoking and family history are said; their sources always are.
    predecessors
        Earlier reports that this one replaces.

    Returns
    -------
    tuple of ReportStatement
        By section, in the order of `Section`.
    """
    return (
        ReportStatement("notice", concept.NOTICE, wording.notice(assessment.model)),
        *_summary(assessment, predecessors),
        *_result(assessment),
        *_why(assessment),
        *(ReportStatement("warnings", concept.WARNING, warning.message) for warning in further_warnings(assessment)),
        *_tumour(assessment),
        *(
            ReportStatement("clinical", CLINICAL_CONCEPTS[name], line)
            for name, line in wording.clinical_lines(assessment, show_values=show_clinical_values)
        ),
        *_limits(assessment),
        *_model(assessment),
    )


def in_section(statements: Iterable[ReportStatement], section: Section) -> tuple[ReportStatement, ...]:
    """Return the statements of one section.

    Parameters
    ----------
    statements
        From `report_statements`.
    section
        Which.

    Returns
    -------
    tuple of ReportStatement
    """
    return tuple(statement for statement in statements if statement.section == section)


def _summary(assessment: Assessment, predecessors: tuple[Predecessor, ...]) -> list[ReportStatement]:
    said = [ReportStatement("summary", concept.SUMMARY, sentence) for sentence in summary_sentences(assessment)]
    if predecessors:
        said.append(ReportStatement("summary", concept.REPLACES, wording.replaces(predecessors)))
    return said


def _result(assessment: Assessment) -> list[ReportStatement]:
    prediction, model = assessment.prediction, assessment.model
    name, unit = (
        (concept.PROBABILITY, concept.PROBABILITY_UNIT) if model.calibrated else (concept.SCORE, concept.SCORE_UNIT)
    )

    def score(of: Code, value: float) -> ReportStatement:
        return ReportStatement("result", of, wording.score_text(value), value, unit)

    found = [
        ReportStatement("result", _GROUPS[reported.name], reported.text, group=reported.group)
        for reported in wording.reported_groups(assessment)
    ]
    for of, sentence in (
        (concept.DISAGREEMENT, wording.disagreement(assessment)),
        (concept.DIRECTION, wording.direction(assessment)),
    ):
        if sentence is not None:
            found.append(ReportStatement("result", of, sentence))
    found.append(score(name, prediction.score))
    accuracy = wording.accuracy(assessment)
    if accuracy is not None:
        found.append(ReportStatement("result", concept.ACCURACY, accuracy))
    found += [
        score(concept.SLICE_SCORE_LOWEST, float(prediction.slice_scores.min())),
        score(concept.SLICE_SCORE_HIGHEST, float(prediction.slice_scores.max())),
    ]
    if assessment.contour_stability is not None:
        found += [
            score(concept.CONTOUR_SCORE_LOWEST, assessment.contour_stability.lowest),
            score(concept.CONTOUR_SCORE_HIGHEST, assessment.contour_stability.highest),
        ]
    tried = wording.contours_tried(assessment)
    if tried is not None:
        found.append(ReportStatement("result", concept.CONTOURS_TRIED, tried))
    return found


def _why(assessment: Assessment) -> list[ReportStatement]:
    prediction = assessment.prediction
    return [
        *(
            ReportStatement("why", name, wording.log_odds_text(value), value, concept.LOG_ODDS)
            for name, value in (
                (concept.CONTRIBUTION_DEEP, prediction.deep),
                (concept.CONTRIBUTION_RADIOMIC, prediction.radiomic_total),
                (concept.CONTRIBUTION_CLINICAL, prediction.clinical_total),
                (concept.CONTRIBUTION_BIAS, prediction.bias),
                (concept.CONTRIBUTION_SUM, prediction.logit),
            )
        ),
        ReportStatement("why", concept.READING_OF_CONTRIBUTIONS, wording.READING_OF_CONTRIBUTIONS),
    ]


def _tumour(assessment: Assessment) -> list[ReportStatement]:
    tumour, roi = assessment.tumour, assessment.roi_slice
    numbers = (
        (concept.CT_SERIES_NUMBER, roi.instance.header.get("SeriesNumber")),
        (concept.ROI_INSTANCE_NUMBER, roi.instance_number),
        (concept.ROI_FRAME_NUMBER, roi.frame_number),
    )
    return [
        ReportStatement("tumour", concept.VOLUME, f"{tumour.volume_ml:.2f}", tumour.volume_ml, concept.MILLILITRE),
        *(
            ReportStatement("tumour", name, f"{length:.1f}", length, concept.MILLIMETRE)
            for name, length in (
                (concept.DIAMETER_3D, tumour.longest_diameter_mm),
                (concept.DIAMETER_AXIAL, tumour.longest_axial_diameter_mm),
                (concept.DIAMETER_ACROSS, tumour.perpendicular_diameter_mm),
            )
        ),
        ReportStatement("tumour", concept.AXIAL_PLACE, wording.axial_place(assessment)),
        ReportStatement("tumour", concept.CONTOUR, wording.contour_text(assessment)),
        *(ReportStatement("tumour", name, str(number)) for name, number in numbers if number is not None),
        ReportStatement("tumour", concept.ROI_POSITION_Z, f"{roi.table_position_mm:.1f} mm"),
    ]


def _limits(assessment: Assessment) -> list[ReportStatement]:
    return [
        ReportStatement("limits", concept.APPLIES_TO, wording.APPLIES_TO),
        ReportStatement("limits", concept.NO_SUBSTITUTE, wording.NO_SUBSTITUTE),
        *(ReportStatement("limits", concept.LIMITATION, limitation) for limitation in assessment.model.limitations),
    ]


def _model(assessment: Assessment) -> list[ReportStatement]:
    model = assessment.model
    return [
        ReportStatement("model", concept.MODEL, wording.model_text(assessment)),
        ReportStatement("model", concept.TRAINED_ON, model.trained_on),
        ReportStatement("model", concept.INTENDED_USE, model.intended_use),
        *(ReportStatement("model", concept.CUT_OFF, line) for line in wording.cut_off_lines(assessment)),
    ]
