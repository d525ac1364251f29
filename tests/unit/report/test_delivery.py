"""What one run writes: every report named after its own UID, all of them gone again where the run fails."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pdl1es.dicom.instance import Instance
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.report.build import build_cam, build_pdf, build_refusal_sr, build_sr, draw_roi
from pdl1es.report.delivery import RESULT_FILE, BuiltReport, Delivery
from pdl1es.report.options import ReportOptions
from pdl1es.report.result import scored_result
from pdl1es.report.result_schema import ResultDocument
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
    with Delivery(tmp_path) as delivery:
        files = [delivery.deliver(report) for report in reports]
        assert list(tmp_path.glob("*.dcm")) == []
    for report, named in zip(reports, files, strict=True):
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


# --- A run that is killed, and the run after it ---


def result_of(case: Case, *reports: BuiltReport) -> ResultDocument:
    files = tuple(report.file for report in reports)
    return scored_result(case.assessment, study=None, reports=files, seconds={}, when=WHEN)


def delivered(folder: Path, case: Case, *reports: BuiltReport) -> None:
    """Write reports and result, as a run does."""
    with Delivery(folder) as delivery:
        for report in reports:
            delivery.deliver(report)
        delivery.deliver_result(result_of(case, *reports))


def state(folder: Path) -> dict[str, bytes]:
    """What a reader of the folder sees: not what is hidden."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def in_a_child(work: Callable[[], None]) -> int:
    """Run in a forked child that never returns, and give its process id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


DISK_CALLS = ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "fsync", "fchmod")


def killed_at(call: int, work: Callable[[], None]) -> bool:
    """Run in a child that kills itself before its ``call``-th call that changes the disk; tell whether it came to that."""

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def before(*arguments: Any, **keywords: Any) -> Any:
            nonlocal call
            call -= 1
            if call == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **keywords)

        return before

    def child() -> None:
        for name in DISK_CALLS:
            setattr(os, name, counted(getattr(os, name)))
        work()

    _, status = os.waitpid(in_a_child(child), 0)
    return os.WIFSIGNALED(status)


def test_a_run_killed_at_any_call_leaves_the_state_of_before_or_the_new_one_or_no_result(
    case: Case, reports: tuple[BuiltReport, ...], tmp_path: Path
) -> None:
    sr, cam, pdf = reports
    delivered(tmp_path / "new", case, sr, cam)
    new, seen = state(tmp_path / "new"), set()
    for call in range(1, 1000):
        out = tmp_path / f"out-{call}"
        delivered(out, case, pdf)
        old = state(out)
        killed = killed_at(call, partial(delivered, out, case, sr, cam))
        left = state(out)
        assert left in (old, new) or RESULT_FILE not in left, call
        seen.add("old" if left == old else "new" if left == new else "none")
        # The run after it leaves its own files alone, and nothing hidden.
        delivered(out, case, sr, cam)
        assert state(out) == new, call
        assert len(list(out.iterdir())) == len(new), call
        if not killed:
            break
    assert not killed
    assert seen == {"old", "none", "new"}


def test_a_run_killed_at_any_moment_leaves_a_whole_state_or_no_result(
    case: Case, reports: tuple[BuiltReport, ...], tmp_path: Path
) -> None:
    sr, cam, pdf = reports
    delivered(tmp_path / "new", case, sr, cam)
    new = state(tmp_path / "new")
    for moment in range(12):
        out = tmp_path / f"out-{moment}"
        delivered(out, case, pdf)
        old = state(out)
        child = in_a_child(partial(delivered, out, case, sr, cam))
        time.sleep(moment * 0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        left = state(out)
        assert left in (old, new) or RESULT_FILE not in left


def test_a_new_run_leaves_no_report_of_an_earlier_one_and_every_other_file(
    case: Case, reports: tuple[BuiltReport, ...], tmp_path: Path
) -> None:
    (tmp_path / "someone-elses.dcm").write_bytes(b"kept")
    (tmp_path / "1.2.3.dcm").write_bytes(b"kept: no result of ours names it")
    delivered(tmp_path, case, *reports)
    delivered(tmp_path, case, reports[0])
    assert set(state(tmp_path)) == {"someone-elses.dcm", "1.2.3.dcm", reports[0].file_name, RESULT_FILE}


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"reports": [{"file": "../kept.dcm"}, {"file": "sub/1.2.dcm"}, {"file": ".."}]}', '{"reports": 3}'],
)
def test_a_result_that_someone_else_wrote_takes_nothing_away(
    case: Case, reports: tuple[BuiltReport, ...], tmp_path: Path, text: str
) -> None:
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    others = [tmp_path / "kept.dcm", out / "sub" / "1.2.dcm"]
    for other in others:
        other.write_bytes(b"kept")
    (out / RESULT_FILE).write_text(text, encoding="utf-8")
    delivered(out, case, reports[0])
    assert all(other.read_bytes() == b"kept" for other in others)


def test_a_run_beside_this_one_keeps_what_it_has_not_published_yet(
    case: Case, reports: tuple[BuiltReport, ...], tmp_path: Path
) -> None:
    sr, cam, _ = reports
    other = Delivery(tmp_path)
    other.deliver(cam)
    delivered(tmp_path, case, sr)
    other.deliver_result(result_of(case, cam))
    assert set(state(tmp_path)) == {cam.file_name, RESULT_FILE}


def test_an_error_while_files_are_brought_into_place_leaves_the_earlier_state(
    case: Case, reports: tuple[BuiltReport, ...], tmp_path: Path
) -> None:
    sr, cam, pdf = reports
    delivered(tmp_path, case, pdf)
    before = state(tmp_path)
    (tmp_path / cam.file_name).mkdir()
    with pytest.raises(Refusal) as refused:
        delivered(tmp_path, case, sr, cam)
    assert refused.value.code is RefusalCode.OUTPUT_NOT_WRITABLE
    (tmp_path / cam.file_name).rmdir()
    assert state(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == len(before)


@pytest.mark.parametrize(
    ("umask", "mode", "expected"), [(0o022, 0o640, 0o640), (0o077, 0o640, 0o600), (0, 0o644, 0o644)]
)
def test_files_have_the_settings_mode_less_the_umask(
    case: Case, reports: tuple[BuiltReport, ...], tmp_path: Path, umask: int, mode: int, expected: int
) -> None:
    before = os.umask(umask)
    try:
        with Delivery(tmp_path, mode=mode) as delivery:
            delivery.deliver(reports[0])
            delivery.deliver_result(result_of(case, reports[0]))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {expected}


def test_a_report_shows_itself_in_one_line(reports: tuple[BuiltReport, ...]) -> None:
    assert all(len(repr(report)) < 120 for report in reports)
