"""The report on one page, as a DICOM object and as a PDF."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from pdl1es.assessment import Assessment
from pdl1es.model.metadata import CutOff
from pdl1es.report import pdf_page
from pdl1es.report.build import build_pdf, draw_roi
from pdl1es.report.delivery import BuiltReport
from pdl1es.report.options import ReportOptions
from pdl1es.score_warning import ScoreWarning
from tests.report_cases import CLINICAL, OPTIONS, SMOOTH, WHEN, Case, metadata, prediction, report_case


def built(assessment: Assessment, options: ReportOptions = OPTIONS) -> BuiltReport:
    return build_pdf(assessment, options, draw_roi(assessment))


def written(assessment: Assessment, options: ReportOptions = OPTIONS) -> Dataset:
    return pydicom.dcmread(BytesIO(built(assessment, options).data))


def drawn(assessment: Assessment, monkeypatch: pytest.MonkeyPatch, options: ReportOptions = OPTIONS) -> list[str]:
    """Every line of text that is written on the page."""
    texts: list[str] = []
    original = pdf_page._Page.line

    def keep(page: pdf_page._Page, x: float, y: float, text: str, *rest: Any, **style: Any) -> None:
        assert x >= 0
        assert y >= pdf_page.MARGIN, f"below the page's margin: {text}"
        texts.append(text)
        original(page, x, y, text, *rest, **style)

    monkeypatch.setattr(pdf_page._Page, "line", keep)
    written(assessment, options)
    return texts


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


def test_the_page_says_what_a_reader_needs(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = drawn(case.assessment, monkeypatch)
    whole = " ".join(texts)
    assert texts[0].startswith("DEMONSTRATION MODEL - NOT FOR CLINICAL USE (research use only")
    for part in ("0.731", "high expression", "high risk", "Müller, Jörg", "P-0815", "A-4711", "2026-02-27",
                 "Warnings (2)", "The slices are 6 mm thick", "The score is no substitute for immunohistochemistry.",
                 "phantom, version 0.3.1", "+0.250", "radiomic features", "not a probability"):  # fmt: skip
        assert part in whole, part


def test_a_withheld_group_is_said_to_be_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = " ".join(drawn(report_case(warnings=(SMOOTH,)).assessment, monkeypatch))
    assert whole.count("withheld (reason: see the summary)") == 2
    assert "The CT was reconstructed with the smooth kernel B30f." in whole
    assert "high risk" not in whole


def test_clinical_values_can_be_kept_off_the_page(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = " ".join(drawn(case.assessment, monkeypatch, ReportOptions(WHEN, show_clinical_values=False)))
    assert "66 years" not in whole
    assert "age from DICOM PatientAge" in whole


def test_much_too_long_texts_stay_on_the_one_page_and_say_that_they_were_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "This is a sentence that someone wrote at length. " * 12
    case = report_case(
        model=metadata(
            limitations=(sentence,) * 9,
            trained_on=sentence,
            intended_use=sentence,
            name="n" * 200,
            clinical_cut_off=CutOff(value=0.1, method=sentence, above="high risk", below="low risk"),
            fusion_cut_off=CutOff(value=0.1, method=sentence, above="high risk", below="low risk"),
        ),
        predicted=prediction(clinical_risk=0.0, fusion_risk=2.0),
        clinical=replace(CLINICAL, treatment="pembrolizumab"),
        warnings=tuple(ScoreWarning(f"F{number}", sentence) for number in range(12)),
        ct={"StudyDescription": "S" * 64, "PatientName": "N" * 60},
    )
    texts = drawn(case.assessment, monkeypatch)
    assert texts.count(pdf_page.CUT) == 3


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("Müller^Jörg", "Müller, Jörg"),
        ("Σωκράτης^Ωμέγα=王^小東", "Σωκράτης, Ωμέγα"),
        ("Wang^XiaoDong=王^小东", "Wang, XiaoDong"),
        ("Люкceмбypг", "Люкceмбypг"),
        ("=王^小东", pdf_page.IN_THE_HEADER),
        ("王^小东", pdf_page.IN_THE_HEADER),
        ("Doe^Jane^Q^Dr", "Doe, Jane Q"),
        ("", "not stated"),
    ],
)
def test_a_name_is_printed_in_its_alphabetic_form_or_said_to_be_in_the_header(
    name: str, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = report_case(ct={"SpecificCharacterSet": "ISO_IR 192", "PatientName": name})
    texts = drawn(case.assessment, monkeypatch)
    assert texts[texts.index("Patient") + 1] == printed


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
