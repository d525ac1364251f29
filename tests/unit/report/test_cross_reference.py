"""Structured report and page that refer to each other, read back with pydicom alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pydicom
import pytest
from pydicom.dataset import Dataset

from pdl1es.chain import reports_in_order
from pdl1es.report.build import build_pdf, build_sr, draw_roi
from pdl1es.report.delivery import BuiltReport
from pdl1es.report.options import ReportOptions
from tests.report_cases import OPTIONS, Case, report_case
from tests.unit.report.test_report_content import nodes


@pytest.fixture(scope="module")
def case() -> Case:
    return report_case()


def both(case: Case, options: ReportOptions = OPTIONS) -> tuple[BuiltReport, BuiltReport]:
    assessment = case.assessment
    sr, page = build_sr(assessment, options), build_pdf(assessment, options, draw_roi(assessment))
    sr, page = reports_in_order(sr, None, page)
    return sr, page


def read(report: BuiltReport) -> Dataset:
    return pydicom.dcmread(BytesIO(report.data))


def test_each_names_the_other_and_files_know_their_own_uid(case: Case) -> None:
    sr, page = (read(report) for report in both(case))
    (named,) = [node for node in nodes(sr) if node.get("ValueType") == "COMPOSITE"]
    assert named.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == page.SOPInstanceUID
    assert named.ReferencedSOPSequence[0].ReferencedSOPClassUID == page.SOPClassUID
    assert sr.SOPInstanceUID in [item.ReferencedSOPInstanceUID for item in page.SourceInstanceSequence]
    for report in (sr, page):
        assert report.file_meta.MediaStorageSOPInstanceUID == report.SOPInstanceUID


def test_the_evidence_lists_what_the_tree_refers_to(case: Case) -> None:
    sr = read(both(case)[0])
    listed = {
        reference.ReferencedSOPInstanceUID
        for study in sr.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }
    named = {item.ReferencedSOPInstanceUID for node in nodes(sr) for item in node.get("ReferencedSOPSequence", [])}
    assert listed == named


def test_the_same_run_gives_the_same_bytes_and_every_difference_other_uids(case: Case) -> None:
    first, again = both(case), both(case)
    assert [report.data for report in first] == [report.data for report in again]
    later = both(case, replace(OPTIONS, when=OPTIONS.when + timedelta(seconds=1)))
    hidden = both(case, replace(OPTIONS, show_clinical_values=False))
    uids = [report.sop_instance_uid for pair in (first, later, hidden) for report in pair]
    assert len(set(uids)) == 6


def test_a_page_has_another_uid_with_another_structured_report(case: Case) -> None:
    """Its content differs by the reference, so its UID must."""
    assessment = case.assessment
    page = build_pdf(assessment, OPTIONS, draw_roi(assessment))
    plain, other = build_sr(assessment, OPTIONS), build_sr(assessment, replace(OPTIONS, comprehensive_3d=True))
    pages = [reports_in_order(sr, None, page)[1] for sr in (plain, other)]
    assert len({report.sop_instance_uid for report in (page, *pages)}) == 3


def test_one_alone_refers_to_no_other(case: Case) -> None:
    assessment = case.assessment
    sr, page = build_sr(assessment, OPTIONS), build_pdf(assessment, OPTIONS, draw_roi(assessment))
    assert reports_in_order(sr, None, None) == (sr,)
    assert reports_in_order(None, None, page) == (page,)
    assert not [node for node in nodes(read(sr)) if node.get("ValueType") == "COMPOSITE"]
