"""What one run writes: every report named after its own UID, all of them gone again where the run fails."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from pdl1es.dicom.instance import Instance
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.report.build import build_cam, build_pdf, build_refusal_sr, build_sr, draw_roi
from pdl1es.report.delivery import BuiltReport, Delivery
from pdl1es.report.options import ReportOptions
from tests.report_cases import WHEN, Case, report_case


@pytest.fixture(scope="module")
def case() -> Case:
    return report_case()


@pytest.fixture(scope="module")
def reports(case: Case) -> tuple[BuiltReport, ...]:
    options = ReportOptions(WHEN, series_number=71)
    pictures = draw_roi(case.assessment)
    cam = build_cam(case.assessment, options, pictures)
    return build_sr(case.assessment, options, cam=cam), cam, build_pdf(case.assessment, options, pictures)


def test_every_report_is_a_dicom_file_named_after_its_own_uid(reports: tuple[BuiltReport, ...], tmp_path: Path) -> None:
    delivery = Delivery(tmp_path)
    for report in reports:
        named = delivery.deliver(report)
        read = pydicom.dcmread(tmp_path / named.file)
        assert named.file == f"{read.SOPInstanceUID}.dcm"
        assert (named.kind, named.sop_instance_uid) == (report.kind, read.SOPInstanceUID)
    assert [report.kind for report in reports] == ["sr", "cam", "pdf"]
    assert len(list(tmp_path.iterdir())) == 3


def test_picture_and_page_have_the_next_series_numbers(reports: tuple[BuiltReport, ...]) -> None:
    assert [int(report.dataset.SeriesNumber) for report in reports] == [71, 72, 73]


def test_the_report_of_a_refusal_goes_into_the_series_of_the_structured_reports(case: Case) -> None:
    image = case.assessment.selection.ct.slices[0].instance
    study = Study(Path("study"), (image,))
    report = build_refusal_sr(
        Refusal(RefusalCode.NO_SEG, "no object of the study is a segmentation"), study, ReportOptions(WHEN, 71)
    )
    assert report is not None
    assert (report.kind, int(report.dataset.SeriesNumber)) == ("sr", 71)


def test_a_refusal_that_belongs_to_no_one_has_no_report(case: Case) -> None:
    images: tuple[Instance, ...] = tuple(ct.instance for ct in case.assessment.selection.ct.slices)
    study = Study(Path("study"), images)
    refusal = Refusal(RefusalCode.SEVERAL_PATIENTS, "2 patients")
    assert build_refusal_sr(refusal, study, ReportOptions(WHEN)) is None


def test_a_run_that_fails_leaves_no_report(reports: tuple[BuiltReport, ...], tmp_path: Path) -> None:
    other = tmp_path / "someone-elses.dcm"
    other.write_bytes(b"kept")
    delivery = Delivery(tmp_path)
    for report in reports:
        delivery.deliver(report)
    delivery.withdraw()
    assert list(tmp_path.iterdir()) == [other]


def test_a_run_that_fails_leaves_the_report_of_an_earlier_run_as_it_was(
    reports: tuple[BuiltReport, ...], tmp_path: Path
) -> None:
    """The same study gives the same file name."""
    earlier = tmp_path / reports[0].file_name
    earlier.write_bytes(b"an earlier run's report")

    def fail() -> None:
        with Delivery(tmp_path) as delivery:
            for report in reports:
                delivery.deliver(report)
            raise KeyError("any error")

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == [earlier]
    assert earlier.read_bytes() == b"an earlier run's report"


def test_a_report_shows_itself_in_one_line(reports: tuple[BuiltReport, ...]) -> None:
    assert all(len(repr(report)) < 120 for report in reports)
