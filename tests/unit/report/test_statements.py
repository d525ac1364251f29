"""What every report says, before any of them is written: the summary's first words, and one source of sentences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pdl1es.assessment import Assessment
from pdl1es.model.metadata import CutOff, ExpressionAccuracy, StatedRate
from pdl1es.report.statements import in_section, report_statements
from pdl1es.report.summary import summary_sentences
from pdl1es.score_warning import ScoreWarning
from pdl1es.stability import ContourStability, VariantScore
from tests.report_cases import CLINICAL, SMOOTH, THICK, metadata, prediction, report_case

EXPRESSION = "Estimated PD-L1 expression: high"
RISK = "Estimated risk of progression under first-line pembrolizumab: high"
COX = {
    "clinical_cut_off": CutOff(value=0.05, method="X-tile", above="high risk", below="low risk"),
    "fusion_cut_off": CutOff(value=1.78, method="X-tile", above="high risk", below="low risk"),
}


def with_contours(**scores: float) -> Assessment:
    """The assessment of a score of 0.731 with other contours' scores; cut-offs lie at 0.5 and 0.66."""
    case = report_case(warnings=())
    variants = tuple(VariantScore(name.replace("_", " "), score) for name, score in scores.items())
    values = [case.assessment.prediction.score, *scores.values()]
    return replace(case.assessment, contour_stability=ContourStability(variants, min(values), max(values)))


def said(assessment: Assessment, section: str) -> dict[str, str]:
    return {s.label: s.words for s in report_statements(assessment) if s.section == section}


def test_the_estimates_come_before_any_number() -> None:
    first, second, third, last = summary_sentences(report_case().assessment)
    assert (first, second) == (f"{EXPRESSION}.", f"{RISK}.")
    assert third == "PD-L1ES score (0 to 1; not a probability): 0.731 (cut-off of expression 0.500, of risk 0.660)."
    assert last == "2 warnings below."


def test_a_smaller_contour_that_turns_the_group_over_is_said_beside_it() -> None:
    sentences = summary_sentences(with_contours(eroded_by_1_mm=0.61, dilated_by_1_mm=0.74))
    assert sentences[:2] == (f"{EXPRESSION}.", f"{RISK}, borderline: a contour 1 mm smaller gives low.")


def test_several_contours_that_turn_a_group_over_are_counted() -> None:
    sentences = summary_sentences(with_contours(eroded_by_1_mm=0.61, dilated_by_1_mm=0.74, shifted_1_mm_left=0.6))
    assert sentences[1] == f"{RISK}, borderline: 2 of 3 contours that differ by 1 mm give low."


def test_contours_on_the_same_side_unsettle_nothing() -> None:
    assert "borderline" not in " ".join(summary_sentences(with_contours(eroded_by_1_mm=0.661, dilated_by_1_mm=0.99)))


def test_a_contour_exactly_at_the_cut_off_is_on_the_lower_side() -> None:
    assert "a contour 1 mm larger gives low" in " ".join(summary_sentences(with_contours(dilated_by_1_mm=0.66)))


def test_slices_that_turn_a_group_over_are_counted_beside_the_contours() -> None:
    assessment = with_contours(eroded_by_1_mm=0.61)
    assessment = replace(assessment, prediction=prediction(slice_scores=np.array([0.6, 0.65, 0.9])))
    assert summary_sentences(assessment)[1] == (
        f"{RISK}, borderline: a contour 1 mm smaller gives low; 2 of the 3 slices alone give low."
    )


def test_contours_that_could_not_be_scored_are_told_beside_the_interval() -> None:
    assessment = with_contours(eroded_by_1_mm=0.7, dilated_by_1_mm=0.74)
    assert "Contours changed by 1 mm" not in said(assessment, "result")
    stability = assessment.contour_stability
    assert stability is not None
    too_small = replace(stability, variants=(VariantScore("eroded by 1 mm", None), stability.variants[1]))
    assert said(replace(assessment, contour_stability=too_small), "result")["Contours changed by 1 mm"] == (
        "1 of 2 could be scored; not the one eroded by 1 mm."
    )


def test_that_no_other_contours_were_tried_is_told() -> None:
    assert said(report_case().assessment, "result")["Contours changed by 1 mm"] == "Other contours were not tried."


def test_unknown_clinical_values_that_turn_a_group_over_come_first() -> None:
    assessment = with_contours(eroded_by_1_mm=0.61)
    unknown = prediction(imputed=("age", "smoking", "family_history"), imputed_range=(0.52, 0.9))
    sentences = summary_sentences(replace(assessment, prediction=unknown))
    assert sentences[:2] == (
        f"{EXPRESSION}.",
        f"{RISK}, borderline: other values of age, smoking and family history, not known here, give low; a contour 1 mm smaller "
        "gives low.",
    )


def test_a_tumour_unlike_the_training_is_said_before_the_score() -> None:
    warning = ScoreWarning("UNLIKE_TRAINING", "The tumour is unlike those of the training: too large.")
    sentences = summary_sentences(report_case(warnings=(warning,)).assessment)
    assert sentences[2] == "The tumour is unlike those that the model was trained on."
    assert "score" in sentences[3]


def test_a_withheld_result_gives_its_reason_once_and_no_cut_off_anywhere() -> None:
    statements = report_statements(report_case(warnings=(SMOOTH, THICK)).assessment)
    everything = " ".join(statement.words for statement in statements)
    assert everything.count(SMOOTH.message.rstrip(".")) == 1
    assert "withheld: withheld" not in everything
    for cut_off in ("0.500", "0.660", "borderline", "high risk", "high expression"):
        assert cut_off not in everything, cut_off


def test_where_groups_are_withheld_nothing_is_said_of_what_would_turn_them_over() -> None:
    """Such a warning names the cut-off."""
    spread = prediction(slice_scores=np.array([0.4, 0.73, 0.8]))
    given, withheld = (
        {warning.code for warning in report_case(warnings=warnings, predicted=spread).assessment.warnings}
        for warnings in ((), (SMOOTH,))
    )
    assert "SLICES_DISAGREE" in given
    assert withheld == {"SMOOTH_KERNEL", "CLINICAL_VALUES_IMPUTED"}
    everything = " ".join(
        s.words for s in report_statements(report_case(warnings=(SMOOTH,), predicted=spread).assessment)
    )
    assert "0.660" not in everything


@pytest.mark.parametrize(("warnings", "count"), [((), "1 warning below."), ((THICK,), "2 warnings below."),
                                                 ((THICK, SMOOTH), "2 other warnings below.")])  # fmt: skip
def test_the_summary_counts_the_warnings_that_follow(warnings: tuple[ScoreWarning, ...], count: str) -> None:
    statements = report_statements(report_case(warnings=warnings).assessment)
    assert in_section(statements, "summary")[-1].text == count
    assert len(in_section(statements, "warnings")) == int(count[0])


def test_no_warnings_are_said_to_be_none() -> None:
    clear = report_case(warnings=(), predicted=prediction(imputed=())).assessment
    assert summary_sentences(clear)[-1] == "No warnings."


def test_the_risk_by_clinical_values_alone_is_not_withheld_for_a_ct_kernel() -> None:
    assessment = report_case(
        model=metadata(**COX),
        predicted=prediction(clinical_risk=0.2, fusion_risk=1.9),
        clinical=replace(CLINICAL, treatment="pembrolizumab"),
        warnings=(SMOOTH,),
    ).assessment
    result = said(assessment, "result")
    assert result["Estimated risk by clinical values alone (secondary)"] == "high risk"
    assert result["Estimated risk by score and clinical values (secondary)"].startswith("withheld")
    cut_offs = [s.text for s in report_statements(assessment) if s.label == "Cut-off"]
    assert cut_offs == ["Clinical risk > 0.050: high risk, else low risk (X-tile)"]


def test_the_direction_of_the_score_stands_with_the_groups() -> None:
    usual = said(report_case().assessment, "result")["Direction of the score"]
    assert "higher score means a higher risk of progression, contrary to what is expected" in usual
    cut = CutOff(value=0.66, method="X-tile", above="low risk", below="high risk")
    other = said(report_case(model=metadata(progression_cut_off=cut)).assessment, "result")["Direction of the score"]
    assert "higher score means a lower risk" in other


def test_the_accuracy_behind_the_cut_off_stands_with_its_cases_in_one_line() -> None:
    rate = StatedRate(value=0.53, lower=0.48, upper=0.58)
    accuracy = ExpressionAccuracy(
        cohort="further synthetic phantoms",
        number=1000,
        high=347,
        sensitivity=rate,
        specificity=StatedRate(value=0.73, lower=0.69, upper=0.76),
        positive_predictive_value=StatedRate(value=0.51, lower=0.46, upper=0.56),
        negative_predictive_value=StatedRate(value=0.74, lower=0.71, upper=0.78),
    )
    label = "Accuracy of the estimated expression at its cut-off"
    stated = report_case(model=metadata(expression_accuracy=accuracy)).assessment
    assert said(stated, "result")[label] == (
        "sensitivity 53 % (48 to 58), specificity 73 % (69 to 76), PPV 51 % (46 to 56), NPV 74 % (71 to 78); n = 1000 "
        "further synthetic phantoms, 347 with high expression (95 % intervals)"
    )
    assert "neither sensitivity nor specificity" in said(report_case().assessment, "result")[label]
    assert label not in said(report_case(warnings=(SMOOTH,)).assessment, "result")


def test_the_sections_come_in_a_readers_order() -> None:
    sections = [statement.section for statement in report_statements(report_case().assessment)]
    assert list(dict.fromkeys(sections)) == [
        "notice", "summary", "result", "why", "warnings", "tumour", "clinical", "limits", "model",
    ]  # fmt: skip
    assert sections == sorted(sections, key=list(dict.fromkeys(sections)).index)
