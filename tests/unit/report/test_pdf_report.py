"""The page as a DICOM object and as a PDF; tests/e2e/test_page.py reads what it says."""

from __future__ import annotations

import re
from datetime import timedelta
from io import BytesIO

import pydicom
import pytest
from pydicom.dataset import Dataset

from pdl1es.assessment import Assessment
from pdl1es.report.build import build_pdf, draw_roi
from pdl1es.report.delivery import BuiltReport
from pdl1es.report.options import ReportOptions
from tests.report_cases import OPTIONS, WHEN, Case, metadata, report_case


def built(assessment: Assessment, options: ReportOptions = OPTIONS) -> BuiltReport:
    return build_pdf(assessment, options, draw_roi(assessment))


def written(assessment: Assessment, options: ReportOptions = OPTIONS) -> Dataset:
    return pydicom.dcmread(BytesIO(built(assessment, options).data))


@pytest.fixture(scope="module")
def case() -> Case:
    return report_case()


@pytest.fixture(scope="module")
def document(case: Case) -> Dataset:
    return written(case.assessment)


def test_it_is_an_encapsulated_pdf_of_the_study(case: Case, document: Dataset) -> None:
    assert document.SOPClassUID == document.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.104.1"
    assert (document.Modality, document.SeriesNumber) == ("DOC", 9603)
    assert document.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert document.BurnedInAnnotation == "YES"
    assert document.VerificationFlag == "UNVERIFIED"
    assert document.DocumentTitle == "PD-L1ES report: DEMONSTRATION MODEL - NOT FOR CLINICAL USE"
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber", "ReferringPhysicianName"):
        assert document[keyword].value == case.ct[0][keyword].value, keyword
    sources = {item.ReferencedSOPInstanceUID for item in document.SourceInstanceSequence}
    assert sources == {case.assessment.roi_slice.sop_instance_uid, str(case.segmentation.SOPInstanceUID)}


def test_text_that_fits_takes_one_page_and_long_text_more(document: Dataset) -> None:
    def pages(assessment: Assessment) -> int:
        (count,) = re.findall(rb"/Count (\d+)", written(assessment).EncapsulatedDocument)
        return int(count)

    sentence = "This is a sentence that someone wrote at length. " * 12
    assert re.findall(rb"/Count (\d+)", document.EncapsulatedDocument) == [b"1"]
    assert pages(report_case(model=metadata(limitations=("A limit.",) * 12)).assessment) == 1
    assert pages(report_case(model=metadata(limitations=(sentence,) * 9)).assessment) == 2


def test_it_holds_one_page_and_no_time_of_its_own(document: Dataset) -> None:
    pdf = document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert re.findall(rb"/Count (\d+)", pdf) == [b"1"]
    assert set(re.findall(rb"D:(\d{4})", pdf)) == {b"2000"}


def test_the_same_assessment_and_clock_give_the_same_bytes_and_another_clock_another_uid(case: Case) -> None:
    first, second = (built(case.assessment).data for _ in range(2))
    assert first == second
    later = built(case.assessment, ReportOptions(WHEN + timedelta(minutes=1)))
    assert later.sop_instance_uid != pydicom.dcmread(BytesIO(first)).SOPInstanceUID


def test_letters_that_the_font_lacks_cost_no_page() -> None:
    case = report_case(model=metadata(trained_on="王 patients 🫁"))
    pdf = written(case.assessment).EncapsulatedDocument
    assert pdf.startswith(b"%PDF-")


def test_the_fonts_are_embedded(document: Dataset) -> None:
    pdf = document.EncapsulatedDocument
    fonts = set(re.findall(rb"/BaseFont /([A-Za-z0-9+#-]+)", pdf))
    assert fonts
    assert all(b"NotoSans" in font for font in fonts)
    assert len(re.findall(rb"/FontFile2 ", pdf)) == len(fonts)
