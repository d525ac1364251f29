"""What the structured report says, and in which order, read back with pydicom alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from pdl1es.assessment import Assessment
from pdl1es.clinical import ClinicalValue
from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.instance import Instance
from pdl1es.model.metadata import CutOff
from pdl1es.report.build import build_sr
from pdl1es.report.kinds import REPORT_KINDS
from pdl1es.report.software import SOFTWARE
from pdl1es.report.wording import log_odds_text, series_description
from tests.report_cases import (
    CLINICAL,
    OPTIONS,
    ROOT,
    SMOOTH,
    Case,
    as_read,
    metadata,
    prediction,
    report_case,
    with_segment,
)

SCORE = "PD-L1ES score (0 to 1; not a probability)"
EXPRESSION = "Estimated PD-L1 expression"
RISK = "Estimated risk of progression under first-line pembrolizumab"
CLINICAL_RISK = "Estimated risk by clinical values alone (secondary)"
FUSION_RISK = "Estimated risk by score and clinical values (secondary)"
COX = {
    "clinical_cut_off": CutOff(value=0.05, method="X-tile", above="high risk", below="low risk"),
    "fusion_cut_off": CutOff(value=1.78, method="X-tile", above="high risk", below="low risk"),
}


def written(assessment: Assessment) -> Dataset:
    return pydicom.dcmread(BytesIO(build_sr(assessment, OPTIONS).data))


def lines(node: Dataset) -> Iterator[tuple[str, Any]]:
    """Every content item in document order: its label, and its value as a reader sees it."""
    for item in node.get("ContentSequence", []):
        label = item.ConceptNameCodeSequence[0].CodeMeaning
        match item.ValueType:
            case "TEXT":
                yield label, item.TextValue
            case "CODE":
                yield label, item.ConceptCodeSequence[0].CodeMeaning
            case "NUM":
                measured = item.MeasuredValueSequence[0]
                yield label, (str(measured.NumericValue), measured.MeasurementUnitsCodeSequence[0].CodeValue)
            case "UIDREF":
                yield label, item.UID
            case other:
                yield label, other
        yield from lines(item)


def said(assessment: Assessment) -> dict[str, list[Any]]:
    """What the report says under each label."""
    found: dict[str, list[Any]] = {}
    for label, value in lines(written(assessment)):
        found.setdefault(label, []).append(value)
    return found


def nodes(node: Dataset) -> Iterator[Dataset]:
    yield node
    for item in node.get("ContentSequence", []):
        yield from nodes(item)


@pytest.fixture(scope="module")
def case() -> Case:
    return report_case()


@pytest.fixture(scope="module")
def report(case: Case) -> Dataset:
    return written(case.assessment)


def test_the_title_is_the_one_that_viewers_show(report: Dataset) -> None:
    """With 126000 OHIF shows a blank viewport."""
    (title,) = report.ConceptNameCodeSequence
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("126001", "DCM")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"


def test_every_container_is_separate(report: Dataset) -> None:
    """Viewers drop the labels of continuous containers."""
    containers = [node for node in nodes(report) if node.ValueType == "CONTAINER"]
    assert len(containers) >= 5
    assert {container.ContinuityOfContent for container in containers} == {"SEPARATE"}


@pytest.mark.parametrize("trained", ["untrained", "synthetic"])
def test_a_model_without_patients_says_so_first_of_all(trained: str) -> None:
    report = written(report_case(model=metadata(training_data=trained)).assessment)
    first = next(lines(report))
    assert report.SeriesDescription == "DEMO PD-L1ES report, not clinical"
    assert first[1].startswith("DEMONSTRATION MODEL - NOT FOR CLINICAL USE")


def test_a_model_trained_on_patients_is_for_research_and_no_demonstration() -> None:
    report = written(report_case(model=metadata(training_data="patients")).assessment)
    everything = " ".join(str(value) for _, value in lines(report)) + report.SeriesDescription
    assert "DEMO" not in everything
    assert next(lines(report))[1].startswith("RESEARCH USE ONLY")


@pytest.mark.parametrize("trained", ["synthetic", "patients"])
def test_a_viewer_that_shows_16_characters_tells_the_series_apart(trained: str) -> None:
    model = metadata(training_data=trained)
    shown = [series_description(model, kind)[:16] for kind in REPORT_KINDS]
    assert len(set(shown)) == len(REPORT_KINDS)
    assert all("PD-L1ES" in text for text in shown)
    assert all(text.startswith("DEMO ") == (trained != "patients") for text in shown)


def test_the_second_line_is_the_summary_whatever_was_imputed(report: Dataset) -> None:
    assert [label for label, _ in lines(report)][1] == "Summary"
    warnings = [text for label, text in lines(report) if label == "Warning"]
    assert "2 of the 4 clinical variables" in warnings[0]
    assert "smoking" in warnings[0]


def test_the_order_is_a_readers(report: Dataset) -> None:
    """Groups first, then the score, why, warnings, the tumour, what went in, limits, method; references last."""
    labels = [label for label, _ in lines(report)]
    order = ["Notice", "Summary", EXPRESSION, RISK, "Direction of the score", SCORE,
             "Contribution to the score: deep features", "Warnings", "Tracking Identifier", "Finding", "Volume",
             "CT series number", "Clinical values used", "Applies to", "Not a substitute", "Limitation", "Method",
             "Algorithm Name", "Referenced Segment", "Source series for segmentation", "Illustration of ROI"]  # fmt: skip
    places = [labels.index(label) for label in order]
    assert places == sorted(places)


def test_a_reader_needs_no_scrolling_to_see_the_result(report: Dataset) -> None:
    """OHIF shows some 24 lines at once."""
    labels = [label for label, _ in lines(report)]
    assert labels.index(RISK) < 20


def test_score_and_groups_stand_in_the_summary_line(report: Dataset) -> None:
    (summary,) = [text for label, text in lines(report) if label == "Summary"]
    assert summary == (
        "Estimated PD-L1 expression: high. Estimated risk of progression under first-line pembrolizumab: high. PD-L1ES "
        "score (0 to 1; not a probability): 0.731 (cut-off of expression 0.500, of risk 0.660). 2 warnings below."
    )


def test_numbers_are_short_for_the_eye_and_whole_for_programs(case: Case, report: Dataset) -> None:
    numbers = {
        node.ConceptNameCodeSequence[0].CodeMeaning: node.MeasuredValueSequence[0]
        for node in nodes(report)
        if node.ValueType == "NUM"
    }
    assert str(numbers[SCORE].NumericValue) == "0.731"
    assert numbers[SCORE].FloatingPointValue == case.assessment.prediction.score
    for number in numbers.values():
        assert len(str(number.NumericValue)) <= 16
        assert float(number.NumericValue) == pytest.approx(number.FloatingPointValue, abs=0.051)


def test_the_score_is_called_a_probability_only_where_the_model_is_calibrated() -> None:
    plain, calibrated = said(report_case().assessment), said(report_case(model=metadata(calibrated=True)).assessment)
    assert "Estimated probability of PD-L1 TPS >= 50 %" not in plain
    assert calibrated["Estimated probability of PD-L1 TPS >= 50 %"] == [("0.731", "{probability}")]


def test_groups_are_coded_where_the_models_words_have_a_code(report: Dataset) -> None:
    coded = {
        node.ConceptNameCodeSequence[0].CodeMeaning: node.ConceptCodeSequence[0]
        for node in nodes(report)
        if node.ValueType == "CODE"
    }
    assert (coded[RISK].CodeValue, coded[RISK].CodingSchemeDesignator) == ("15508007", "SCT")
    assert coded[EXPRESSION].CodeMeaning == "Estimated high PD-L1 expression"


def test_groups_in_other_words_are_reported_in_those_words() -> None:
    cut = CutOff(value=0.66, method="X-tile", above="early progression expected", below="late")
    assert said(report_case(model=metadata(progression_cut_off=cut)).assessment)[RISK] == ["early progression expected"]


def test_the_direction_of_the_groups_is_the_models() -> None:
    cut = CutOff(value=0.66, method="X-tile", above="low risk", below="high risk")
    assert said(report_case(model=metadata(progression_cut_off=cut)).assessment)[RISK] == ["Low risk"]


def test_a_withheld_group_says_why_and_names_no_risk() -> None:
    assessment = report_case(warnings=(SMOOTH,)).assessment
    report = written(assessment)
    found = said(assessment)
    assert found[RISK] == found[EXPRESSION] == ["withheld (reason: see the summary)"]
    assert found[SCORE] == [("0.731", "{score}")]
    (summary,) = found["Summary"]
    assert summary.startswith("Estimated PD-L1 expression and risk of progression: withheld. Reason: The CT was recons")
    everything = " ".join(str(value) for _, value in lines(report))
    assert everything.count("smooth kernel B30f") == 1
    assert "Cut-off" not in found
    assert "0.660" not in everything
    assert "Direction of the score" not in found
    codes = {node.ConceptCodeSequence[0].CodeValue for node in nodes(report) if node.ValueType == "CODE"}
    assert not codes & {"15508007", "75976002", "PDL1-HIGH", "PDL1-LOW"}


def test_secondary_groups_are_reported_and_their_disagreement_is_stated() -> None:
    case = report_case(
        model=metadata(**COX),
        predicted=prediction(clinical_risk=0.2, fusion_risk=1.2),
        clinical=replace(CLINICAL, treatment="pembrolizumab"),
    )
    found = said(case.assessment)
    assert found[CLINICAL_RISK] == ["High risk"]
    assert found[FUSION_RISK] == ["Low risk"]
    assert found["Risk groups that disagree"] == [
        "The risk groups disagree: by the score it is high risk, by score and clinical values it is low risk."
    ]


@pytest.mark.parametrize("treatment", [None, "other"])
def test_a_fusion_group_is_reported_only_where_pembrolizumab_is_known_to_be_the_treatment(
    treatment: str | None,
) -> None:
    case = report_case(
        model=metadata(**COX),
        predicted=prediction(clinical_risk=0.2, fusion_risk=1.2),
        clinical=replace(CLINICAL, treatment=treatment),
    )
    found = said(case.assessment)
    assert found[FUSION_RISK] == ["not reported: first-line pembrolizumab is not known to be this patient's treatment"]
    assert case.assessment.fusion_risk_group is None
    assert "Risk groups that disagree" not in found


def test_a_model_without_cox_terms_reports_no_secondary_group(report: Dataset) -> None:
    assert not [label for label, _ in lines(report) if "secondary" in label]


def test_slices_on_both_sides_of_the_cut_off_are_a_warning() -> None:
    found = said(report_case(predicted=prediction(slice_scores=np.array([0.6, 0.73, 0.8]))).assessment)
    assert found["Lowest score of a single slice"] == [("0.600", "{score}")]
    assert found["Highest score of a single slice"] == [("0.800", "{score}")]
    assert any("(0.600 to 0.800) lie on both sides of the cut-off 0.660" in text for text in found["Warning"])
    assert "pembrolizumab: high, borderline: 1 of the 3 slices alone gives low." in found["Summary"][0]


def test_every_warning_is_in_the_report(case: Case, report: Dataset) -> None:
    texts = [text for label, text in lines(report) if label == "Warning"]
    assert sorted(texts) == sorted(warning.message for warning in case.assessment.warnings)


def test_scope_and_limits_of_the_model_are_told(report: Dataset) -> None:
    found = dict(lines(report))
    assert "Stage IV non-small cell lung cancer before treatment" in found["Applies to"]
    assert "not checked" in found["Applies to"]
    assert "no substitute for immunohistochemistry" in found["Not a substitute"]
    assert [v for label, v in lines(report) if label == "Limitation"] == list(metadata().limitations)


def test_contributions_are_totals_in_log_odds_that_add_up(case: Case, report: Dataset) -> None:
    found = dict(lines(report))
    terms = ("deep features", "radiomic features", "clinical values", "constant of the model")
    shown = [found[f"Contribution to the score: {term}"] for term in terms]
    assert {unit for _, unit in shown} == {"{log-odds}"}
    assert sum(float(value) for value, _ in shown) == pytest.approx(
        float(found["Sum of the contributions"][0]), abs=0.003
    )
    score = 1 / (1 + np.exp(-float(found["Sum of the contributions"][0])))
    assert score == pytest.approx(case.assessment.prediction.score, abs=0.001)


def test_clinical_values_stand_with_source_or_as_imputed(report: Dataset) -> None:
    found = dict(lines(report))
    assert found["Subject Age"] == "66 years (from DICOM PatientAge (0010,1010))"
    assert found["Subject Sex"] == "male (from DICOM PatientSex (0010,0040))"
    assert found["Smoking"] == "not known; imputed: 1.33 (0 never, 1 occasionally, 2 constantly)"
    assert found["Family history of cancer"] == "not known; imputed: no"


def test_a_smoker_of_unknown_grade_is_told_apart_from_an_unknown() -> None:
    clinical = replace(CLINICAL, smoking=ClinicalValue(None, "DICOM SmokingStatus (0010,21A0)", graded=False))
    assert said(report_case(clinical=clinical).assessment)["Smoking"] == [
        "smoker of unknown grade (from DICOM SmokingStatus (0010,21A0)); imputed: "
        "1.33 (0 never, 1 occasionally, 2 constantly)"
    ]


def test_lesion_segment_series_and_slice_can_be_found(case: Case, report: Dataset) -> None:
    """What no validator misses: tracking UID, referenced segment, units, site."""
    found = dict(lines(report))
    assert pydicom.uid.UID(found["Tracking Unique Identifier"]).is_valid
    assert found["Finding"] == "Neoplasm"
    assert found["Finding Site"] == "Lung"
    assert found["Source series for segmentation"] == f"{ROOT}.2"
    assert found["Volume"] == ("1.15", "mL")
    assert found["3-D maximum diameter"] == ("17.2", "mm")
    assert found["Longest axial diameter (RECIST)"] == ("15.6", "mm")
    assert found["Longest diameter perpendicular to it on that slice"] == ("14.1", "mm")
    assert found["Slice of the longest axial diameter"] == "1 mm towards the head from that of largest tumour area"
    assert found["Derivation"] == "Maximum"
    assert found["CT series number"] == "3"
    assert found["Image number of the slice of largest tumour area"] == "5"
    assert found["Image Position z of the slice of largest tumour area"] == "-94.0 mm"
    references = {
        node.ConceptNameCodeSequence[0].CodeMeaning: node.ReferencedSOPSequence[0]
        for node in nodes(report)
        if node.ValueType == "IMAGE"
    }
    assert references["Referenced Segment"].ReferencedSOPInstanceUID == f"{ROOT}.5"
    assert references["Referenced Segment"].ReferencedSegmentNumber == 1
    assert references["Illustration of ROI"].ReferencedSOPInstanceUID == case.ct[3].SOPInstanceUID


def test_a_label_map_is_referred_to_as_a_region_because_dcmtk_reads_no_image_item_on_it(case: Case) -> None:
    selection = case.assessment.selection
    header = as_read(case.segmentation)
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"
    drawn = replace(selection.segmentation, instance=Instance(Path("seg.dcm"), header))
    report = written(replace(case.assessment, selection=replace(selection, segmentation=drawn)))
    (region,) = [node for node in nodes(report) if node.get("ValueType") == "COMPOSITE"]
    assert region.ConceptNameCodeSequence[0].CodeMeaning == "Region in Space"
    assert region.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == f"{ROOT}.5"
    assert "Segment 1 of the DICOM SEG" in dict(lines(report))["Contour"]


def test_a_frame_of_an_enhanced_image_is_named_as_such(case: Case) -> None:
    roi = replace(case.assessment.roi_slice, frame_number=41)
    report = written(replace(case.assessment, roi_slice=roi))
    (image,) = [
        node
        for node in nodes(report)
        if node.ValueType == "IMAGE" and "ReferencedFrameNumber" in node.ReferencedSOPSequence[0]
    ]
    assert image.ReferencedSOPSequence[0].ReferencedFrameNumber == 41
    assert dict(lines(report))["Frame number of the slice of largest tumour area"] == "41"


def test_no_site_is_invented() -> None:
    assert "Finding Site" not in said(report_case(site=False).assessment)


@pytest.mark.parametrize(
    "code", [None, Code("", "SCT", "x"), Code("123456789012345678", "SCT", "x"), Code("1", "SCT", "y" * 65)]
)
def test_a_segment_without_a_usable_code_is_a_neoplasm(case: Case, code: Code | None) -> None:
    """It was chosen as the tumour by its label."""
    assert said(with_segment(case.assessment, property_type=code))["Finding"] == ["Neoplasm"]


def test_the_tracking_identifier_never_begins_with_a_viewers_tool(case: Case) -> None:
    tracked = with_segment(case.assessment, tracking_id="Cornerstone3DTools@^1:Length")
    assert said(tracked)["Tracking Identifier"] == ["PD-L1ES tumour, segment 1"]


def test_algorithm_and_device_are_identified(report: Dataset) -> None:
    found = dict(lines(report))
    assert found["Algorithm Name"] == "PD-L1ES phantom"
    assert found["Algorithm Version"] == "0.3.1"
    assert found["Observer Type"] == "Device"
    assert found["Device Observer UID"] == SOFTWARE.device_uid_with("5e" * 32)
    assert found["Device Observer Name"] == "PD-L1ES"


def test_the_procedure_is_the_headers_or_ct_of_the_chest() -> None:
    assert said(report_case().assessment)["Procedure reported"] == ["CT Chest"]
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "CTTHX", "99SITE", "CT Thorax mit KM"
    assert said(report_case(ct={"ProcedureCodeSequence": [code]}).assessment)["Procedure reported"] == [
        "CT Thorax mit KM"
    ]


def test_there_is_no_list_of_source_images(report: Dataset) -> None:
    """A long one buries the result in a viewer."""
    assert sum(node.ValueType == "IMAGE" for node in nodes(report)) == 2


@pytest.mark.parametrize(("value", "text"), [(0.5, "+0.500"), (-1.23456, "-1.235"), (-0.0001, "0.000"), (0.0, "0.000")])
def test_log_odds_carry_their_sign_but_zero_has_none(value: float, text: str) -> None:
    assert log_odds_text(value) == text
