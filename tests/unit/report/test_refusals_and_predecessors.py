"""A refused study's report, and reports that replace earlier ones, read back with pydicom alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from pdl1es.dicom.instance import Instance
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.report.build import build_refusal_sr, build_sr
from pdl1es.report.options import ReportOptions
from pdl1es.report.refusal_report import REASON_CODES, header_to_file_under, refusal_code
from pdl1es.report.software import SOFTWARE
from pdl1es.report.study_context import encode
from tests.report_cases import OPTIONS, ROOT, WHEN, Case, as_read, metadata, report_case

REFUSAL = Refusal(
    RefusalCode.SEG_FRAME_OF_REFERENCE,
    "the segmentation lies in another frame of reference",
    tag="FrameOfReferenceUID (0020,0052)",
    value="1.2.3",
    uid=f"{ROOT}.5",
)


@pytest.fixture(scope="module")
def case() -> Case:
    return report_case()


def study_of(case: Case, *more: Dataset) -> Study:
    """The case's CT, and further objects, as the loader gives them."""
    headers = [*(as_read(image) for image in case.ct[:2]), *(as_read(dataset) for dataset in more)]
    return Study(Path("study"), tuple(Instance(Path(f"{i}.dcm"), header) for i, header in enumerate(headers)))


def refused(case: Case, refusal: Refusal = REFUSAL) -> Dataset:
    report = build_refusal_sr(refusal, study_of(case), OPTIONS)
    assert report is not None
    return pydicom.dcmread(BytesIO(report.data))


def items(report: Dataset) -> dict[str, str]:
    return {
        item.ConceptNameCodeSequence[0].CodeMeaning: (
            item.TextValue if item.ValueType == "TEXT" else item.ConceptCodeSequence[0].CodeMeaning
        )
        for item in report.ContentSequence
        if item.ValueType in ("TEXT", "CODE")
    }


def test_a_refusal_says_not_analysed_with_coded_reason_and_remedy(case: Case) -> None:
    report = refused(case)
    said = items(report)
    assert report.SeriesDescription == "PD-L1ES: NOT ANALYSED"
    assert report.ConceptNameCodeSequence[0].CodeMeaning == "PD-L1ES: study not analysed"
    assert next(iter(said)) == "Notice"
    assert said["Summary of Analyses"] == "Not Attempted"
    assert said["Reason"] == "SEG_FRAME_OF_REFERENCE"
    assert said["What was found"] == "The segmentation lies in another frame of reference."
    assert said["Attribute at fault"] == "FrameOfReferenceUID (0020,0052) = 1.2.3"
    assert said["Object at fault"] == f"UID {ROOT}.5"
    assert said["What to do"].casefold().rstrip(".") == REFUSAL.remedy.casefold()
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")


def test_a_refusal_tells_a_reader_what_to_do_in_its_second_line_and_tags_and_codes_last(case: Case) -> None:
    labels = [item.ConceptNameCodeSequence[0].CodeMeaning for item in refused(case).ContentSequence]
    assert labels[:4] == ["Notice", "What to do", "What is wrong", "What was found"]
    assert labels[-3:] == ["Reason", "Attribute at fault", "Object at fault"]


def test_a_refusal_holds_no_score_and_no_group(case: Case) -> None:
    report = refused(case)
    assert {item.ValueType for item in report.ContentSequence} <= {"TEXT", "CODE", "UIDREF"}
    assert not [label for label in items(report) if "group" in label.lower() or "score" in label.lower()]


def test_a_refusal_is_filed_under_the_study_that_it_is_about(case: Case) -> None:
    report = refused(case)
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber"):
        assert report[keyword].value == case.ct[0][keyword].value, keyword
    assert report.ContributingEquipmentSequence[0].SoftwareVersions == f"PD-L1ES {SOFTWARE.version}"


def test_a_refusal_is_the_same_bytes_again_and_another_uid_for_another_reason(case: Case) -> None:
    first, second = (encode(refused(case)) for _ in range(2))
    assert first == second
    other = refused(case, Refusal(RefusalCode.NO_SEG, "none"))
    assert other.SOPInstanceUID != refused(case).SOPInstanceUID
    assert other.SeriesInstanceUID == refused(case).SeriesInstanceUID


@pytest.mark.parametrize("code", list(RefusalCode), ids=lambda code: code.name)
def test_every_reason_has_a_code_that_dicom_can_hold(code: RefusalCode) -> None:
    coded = refusal_code(code)
    assert 0 < len(coded.value) <= 16
    assert coded.meaning == code.name
    assert len(coded.meaning) <= 64


def test_no_two_reasons_share_a_code() -> None:
    assert len(set(REASON_CODES.values())) == len(REASON_CODES) == len(RefusalCode)


@pytest.mark.parametrize("code", [RefusalCode.SEVERAL_PATIENTS, RefusalCode.SEVERAL_STUDIES])
def test_a_refusal_is_not_filed_where_it_is_open_whose_it_would_be(case: Case, code: RefusalCode) -> None:
    assert header_to_file_under(Refusal(code, "two"), study_of(case)) is None


def test_a_refusal_needs_a_readable_object() -> None:
    assert header_to_file_under(REFUSAL, None) is None
    assert header_to_file_under(REFUSAL, Study(Path("study"), ())) is None


def test_a_refusal_without_ct_is_filed_by_whatever_is_there(case: Case) -> None:
    header = as_read(case.segmentation)
    study = Study(Path("study"), (Instance(Path("seg.dcm"), header),))
    instance = header_to_file_under(Refusal(RefusalCode.NO_CT, "none"), study)
    assert instance is not None
    assert instance.sop_instance_uid == f"{ROOT}.5"


def report_of(case: Case, study: Study, minutes: int = 0) -> Dataset:
    """The report on a case, in the light of what the study holds."""
    return build_sr(case.assessment, ReportOptions(WHEN + timedelta(minutes=minutes)), study=study).dataset


def predecessors_of(report: Dataset) -> list[tuple[str, str, str, str]]:
    return [
        (study.StudyInstanceUID, series.SeriesInstanceUID, sop.ReferencedSOPClassUID, sop.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence", [])
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    ]


def test_a_first_report_has_no_predecessor(case: Case) -> None:
    report = report_of(case, study_of(case))
    assert "PredecessorDocumentsSequence" not in report
    assert "Replaces" not in items(report)


def test_a_report_by_another_version_of_the_model_names_the_earlier_one(case: Case) -> None:
    first = report_of(case, study_of(case))
    newer = report_case(model=metadata(version="0.4.0"))
    second = report_of(newer, study_of(case, first), minutes=60)
    assert predecessors_of(second) == [
        (first.StudyInstanceUID, first.SeriesInstanceUID, first.SOPClassUID, first.SOPInstanceUID)
    ]
    assert items(second)["Replaces"] == "This report replaces an earlier one of this study: 2026-03-01 09:30."
    assert second.SeriesInstanceUID != first.SeriesInstanceUID


def test_a_report_on_another_segmentation_names_the_earlier_one(case: Case) -> None:
    first = report_of(case, study_of(case))
    selection = case.assessment.selection
    header = as_read(case.segmentation)
    header.SOPInstanceUID = f"{ROOT}.55"
    redrawn = replace(selection.segmentation, instance=Instance(Path("seg2.dcm"), header))
    corrected = replace(case, assessment=replace(case.assessment, selection=replace(selection, segmentation=redrawn)))
    second = report_of(corrected, study_of(case, first), minutes=5)
    assert [entry[3] for entry in predecessors_of(second)] == [first.SOPInstanceUID]


def test_a_third_report_names_the_second_and_not_the_first_again(case: Case) -> None:
    first = report_of(case, study_of(case))
    second = report_of(case, study_of(case, first), minutes=5)
    third = report_of(case, study_of(case, first, second), minutes=10)
    assert [entry[3] for entry in predecessors_of(third)] == [second.SOPInstanceUID]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyInstanceUID", f"{ROOT}.999"),
        ("Manufacturer", "Another maker"),
        ("ManufacturerModelName", "Another product"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.88.22"),
    ],
)
def test_reports_of_others_and_of_other_studies_are_no_predecessors(case: Case, keyword: str, value: str) -> None:
    foreign = report_of(case, study_of(case))
    setattr(foreign, keyword, value)
    assert predecessors_of(report_of(case, study_of(case, foreign), minutes=5)) == []


def test_a_scored_report_replaces_the_one_that_the_study_was_not_analysed(case: Case) -> None:
    earlier = refused(case)
    second = report_of(case, study_of(case, earlier), minutes=5)
    assert [entry[3] for entry in predecessors_of(second)] == [earlier.SOPInstanceUID]
    assert items(second)["Replaces"] == (
        "This report replaces an earlier one of this study: 2026-03-01 09:30 (not analysed)."
    )


def test_a_refusal_replaces_an_earlier_refusal_and_no_score(case: Case) -> None:
    first, scored = refused(case), report_of(case, study_of(case))
    again = build_refusal_sr(Refusal(RefusalCode.NO_SEG, "none"), study_of(case, first, scored), OPTIONS)
    assert again is not None
    assert [entry[3] for entry in predecessors_of(again.dataset)] == [first.SOPInstanceUID]


def test_a_comprehensive_3d_report_holds_the_same_and_is_a_predecessor_too(case: Case) -> None:
    plain = report_of(case, study_of(case))
    other = build_sr(case.assessment, replace(OPTIONS, comprehensive_3d=True), study=study_of(case)).dataset
    assert other.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    assert other.ContentSequence == plain.ContentSequence
    later = report_of(case, study_of(case, other), minutes=5)
    assert [entry[2:] for entry in predecessors_of(later)] == [(other.SOPClassUID, other.SOPInstanceUID)]


def test_the_order_of_the_input_does_not_change_the_report(case: Case) -> None:
    one = report_of(case, study_of(case))
    other = report_of(report_case(model=metadata(version="0.2")), study_of(case))
    ways = [encode(report_of(case, study_of(case, *order), minutes=9)) for order in ((one, other), (other, one))]
    assert ways[0] == ways[1]
