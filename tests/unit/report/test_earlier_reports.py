"""Earlier reports that lie elsewhere: as a file, or as an archive's answer; what is no report is refused."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from pdl1es.report.build import build_sr
from pdl1es.report.earlier_reports import EarlierReportError, read_earlier_reports, require_reports_of
from pdl1es.report.study_context import encode
from tests.report_cases import OPTIONS, Case, report_case
from tests.unit.report.test_refusals_and_predecessors import items, predecessors_of, refused, study_of


@pytest.fixture(scope="module")
def case() -> Case:
    return report_case()


@pytest.fixture(scope="module")
def report(case: Case) -> Dataset:
    return build_sr(case.assessment, OPTIONS, study=study_of(case)).dataset


def answer(*reports: Dataset) -> list[dict[str, Any]]:
    """What QIDO-RS answers, with the included fields."""
    keywords = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Manufacturer", "ContentDate",
                "ManufacturerModelName", "ContentTime", "ConceptNameCodeSequence", "InstanceNumber",
                "PredecessorDocumentsSequence")  # fmt: skip
    found = []
    for report in reports:
        chosen = Dataset()
        for keyword in keywords:
            if keyword in report:
                chosen[keyword] = report[keyword]
        found.append(chosen.to_json_dict())
    return found


@pytest.mark.parametrize("form", ["DICOM", "JSON"])
def test_a_report_that_is_named_is_replaced_like_one_in_the_input(
    case: Case, report: Dataset, form: str, tmp_path: Path
) -> None:
    file = tmp_path / "earlier"
    file.write_bytes(encode(report) if form == "DICOM" else json.dumps(answer(report, case.ct[0])).encode())
    options = replace(OPTIONS, earlier=read_earlier_reports(file))
    named = build_sr(case.assessment, options, study=study_of(case))
    held = build_sr(case.assessment, OPTIONS, study=study_of(case, report))
    assert [entry[3] for entry in predecessors_of(named.dataset)] == [report.SOPInstanceUID]
    assert named.data == held.data
    assert items(named.dataset)["Replaces"].endswith(": 2026-03-01 09:30.")


def test_a_report_that_is_named_and_in_the_input_is_replaced_once(case: Case, report: Dataset, tmp_path: Path) -> None:
    (tmp_path / "earlier").write_bytes(encode(report))
    options = replace(OPTIONS, earlier=read_earlier_reports(tmp_path / "earlier"))
    second = build_sr(case.assessment, options, study=study_of(case, report)).dataset
    assert len(predecessors_of(second)) == 1


def test_an_answer_may_hold_refusals_and_what_replaced_them(case: Case, tmp_path: Path) -> None:
    earlier = refused(case)
    scored = build_sr(case.assessment, OPTIONS, study=study_of(case, earlier)).dataset
    (tmp_path / "answer.json").write_text(json.dumps(answer(earlier, scored)))
    options = replace(OPTIONS, earlier=read_earlier_reports(tmp_path / "answer.json"))
    third = build_sr(case.assessment, options, study=study_of(case)).dataset
    assert [entry[3] for entry in predecessors_of(third)] == [scored.SOPInstanceUID]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "neither a DICOM object nor"),
        (b"hello", "neither a DICOM object nor"),
        (b"[1, 2", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"00080018": {}}', "is no list"),
    ],
)
def test_what_is_no_report_is_an_error_that_says_so(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(EarlierReportError, match=said):
        read_earlier_reports(tmp_path / "file")


def test_a_dicom_object_of_others_is_no_earlier_report(case: Case, tmp_path: Path) -> None:
    (tmp_path / "ct.dcm").write_bytes(encode(case.ct[0]))
    with pytest.raises(EarlierReportError, match="is no report of this software"):
        read_earlier_reports(tmp_path / "ct.dcm")


def test_a_file_whose_reports_are_all_of_other_studies_is_an_error_that_names_both(
    case: Case, report: Dataset, tmp_path: Path
) -> None:
    other = deepcopy(report)
    other.StudyInstanceUID = "2.25.4711"
    (tmp_path / "other.dcm").write_bytes(encode(other))
    (tmp_path / "both.json").write_text(json.dumps(answer(other, report)))
    (tmp_path / "none.json").write_text("[]")
    study = study_of(case)
    for harmless in ("both.json", "none.json"):
        require_reports_of(study, read_earlier_reports(tmp_path / harmless))
    named = (*read_earlier_reports(tmp_path / "both.json"), *read_earlier_reports(tmp_path / "other.dcm"))
    with pytest.raises(EarlierReportError, match=rf"other.dcm .* {report.StudyInstanceUID}, .* \(2.25.4711\)"):
        require_reports_of(study, named)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"00080018": 5},
        {"00080018": {"Value": [[]]}},
        {"00080018": {"Value": ["not a uid"]}},
        {"0040A043": {"Value": [7]}},
        {"0040A360": {"Value": [{"00081115": {"Value": [None]}}]}},
    ],
)
def test_an_entry_that_is_no_report_is_left_out(entry: dict[str, Any], report: Dataset, tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text(json.dumps([entry, 3, *answer(report), {**answer(report)[0], **entry}]))
    found = read_earlier_reports(tmp_path / "answer.json")
    assert report.SOPInstanceUID in {instance.sop_instance_uid for instance in found}
