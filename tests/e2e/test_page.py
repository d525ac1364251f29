"""The page as poppler reads it: everything that a report says stands on it, whole and once it is printed readable."""

from __future__ import annotations

import re
import subprocess
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pdl1es.assessment import Assessment
from pdl1es.report import pdf_page, wording
from pdl1es.report.build import build_pdf, build_sr, draw_roi
from pdl1es.report.codes import (
    CONTOUR_SCORE_HIGHEST,
    CONTOUR_SCORE_LOWEST,
    EXPRESSION_GROUP,
    PROBABILITY,
    RISK_GROUP,
    SCORE,
    SLICE_SCORE_HIGHEST,
    SLICE_SCORE_LOWEST,
)
from pdl1es.report.options import ReportOptions
from pdl1es.report.page_drawings import CONTOURS_FILL, SCORE_FILL, SLICES_FILL
from pdl1es.report.pdf_page import report_page
from pdl1es.report.roi_picture import HEIGHT, WIDTH
from pdl1es.report.statements import in_section, report_statements
from pdl1es.score_warning import ScoreWarning
from pdl1es.stability import ContourStability
from tests.e2e.poppler import page_text, rendered_page
from tests.report_cases import OPTIONS, SMOOTH, WHEN, Case, metadata, prediction, report_case
from tests.varied_reports import VariedReport, varied_report

RequireTool = Callable[[str], str]
REPORTS = 200
MOST_PAGES = 6
DARK: NDArray[np.uint8] = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
"""A picture for tests of the text."""


@pytest.fixture(scope="module")
def case() -> Case:
    return report_case()


@pytest.fixture(scope="module")
def read(require_tool: RequireTool) -> Callable[..., str]:
    """The text of the page of an assessment, on one line."""

    def text(assessment: Assessment, options: ReportOptions = OPTIONS) -> str:
        document = build_pdf(assessment, options, DARK).dataset
        pdf = document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]
        return page_text(require_tool("pdftotext"), pdf)

    return text


def without_blanks(text: str) -> str:
    """How a text breaks into lines does not matter."""
    return "".join(text.split())


# --- nothing is lost -------------------------------------------------------------------------------------------------


def said_on_the_page(report: VariedReport) -> list[str]:
    """What the structured report says, and the page has to say.

    The estimates stand in the summary. Where a ruler is drawn, it says the score and its ranges.
    """
    found = report.assessment
    statements = report_statements(
        found, show_clinical_values=report.options.show_clinical_values, predecessors=report.predecessors
    )
    texts = [said.words for said in statements if said.section not in ("notice", "result")]
    texts += [f"{said.label}: {said.words}" for said in statements if said.section in ("tumour", "clinical", "model")]
    texts += [said.label for said in statements if said.section == "why" and said.value is not None]
    result = [said for said in in_section(statements, "result") if said.concept not in (EXPRESSION_GROUP, RISK_GROUP)]
    scores = (SCORE, PROBABILITY, SLICE_SCORE_LOWEST, SLICE_SCORE_HIGHEST, CONTOUR_SCORE_LOWEST, CONTOUR_SCORE_HIGHEST)
    if found.withheld is not None:
        return texts + [f"{said.label}: {said.words}" for said in result]
    texts += [f"{said.label}: {said.words}" for said in result if said.concept not in scores]
    low, high = (wording.score_text(float(end)) for end in (found.prediction.slice_scores[[0, -1]]))
    texts += [f"score {wording.score_text(found.prediction.score)}", f"single slices {low} to {high}"]
    if found.contour_stability is not None:
        low, high = (
            wording.score_text(end) for end in (found.contour_stability.lowest, found.contour_stability.highest)
        )
        texts.append(f"contours that differ by 1 mm {low} to {high}")
    return texts


def in_the_font(text: str) -> str:
    """A text with ? for its letters that are neither Latin, Greek nor Cyrillic."""
    scripts = ("CJK", "THAI", "ARABIC", "HANGUL")
    return "".join("?" if unicodedata.name(letter, "").startswith(scripts) else letter for letter in text)


def printed(text: str, *, whole: str = "result.json") -> str:
    """A text as the page prints it: never with a ? that nothing explains."""
    shown = in_the_font(text)
    return text if shown == text else f"{shown} (? for letters that are not printed here: see {whole})"


def test_every_sentence_of_200_varied_reports_stands_on_their_pages(
    case: Case, require_tool: RequireTool, tmp_path: Path
) -> None:
    """All pages are read at once, because starting a program for each would take most of the time."""
    reports = [varied_report(case, seed) for seed in range(REPORTS)]
    files, counts = [], []
    for number, report in enumerate(reports):
        pdf = report_page(
            report.assessment, report.options, WHEN, report.patient, DARK, predecessors=report.predecessors
        )
        files.append(tmp_path / f"{number:03}.pdf")
        files[-1].write_bytes(pdf)
        counts.append(int(re.findall(rb"/Count (\d+)", pdf)[0]))
    whole = tmp_path / "all.pdf"
    subprocess.run([require_tool("pdfunite"), *files, whole], check=True, timeout=120)
    done = subprocess.run(
        [require_tool("pdftotext"), "-enc", "UTF-8", whole, "-"], capture_output=True, check=True, timeout=120
    )
    pages = done.stdout.decode("utf-8").split("\f")[:-1]
    assert len(pages) == sum(counts)
    missing, lacking = [], 0
    for report, count in zip(reports, counts, strict=True):
        own, pages = pages[:count], pages[count:]
        assert all(f"page {number + 1} of {count}" in page for number, page in enumerate(own))
        text = "".join(without_blanks(without_frame(page, report)) for page in own)
        missing += [said for said in said_on_the_page(report) if without_blanks(printed(said)) not in text]
        assert "..." not in text
        table = sorted(without_blanks(own[0].split("Estimated", 1)[0]))
        for keyword in ("PatientID", "AccessionNumber", "StudyDescription"):
            value = report.patient[keyword].value
            if (shown := printed(value, whole="the DICOM header")) != value:
                lacking += 1
                assert not Counter(without_blanks(shown)) - Counter(table), shown
    assert missing == []
    assert lacking > 50, "many have letters that the font lacks"
    assert counts.count(1) > REPORTS / 4, "most texts fit on one page"
    assert 2 <= max(counts) <= MOST_PAGES, "long ones flow on"


def without_frame(page: str, report: VariedReport) -> str:
    """A page's text without what is drawn around it on every page, which may come within a sentence that goes on."""
    lines = [
        line
        for line in page.splitlines()
        if line not in (pdf_page.PRELIMINARY, wording.notice(report.assessment.model))
    ]
    kept = [
        line for line in lines if not line.startswith("Written 2026") and not re.fullmatch(r"page \d+ of \d+", line)
    ]
    patient = [number for number, line in enumerate(kept[:3]) if re.search(r"; P-0815", line)]
    return "\n".join(line for number, line in enumerate(kept) if number not in patient)


def test_text_that_is_far_too_long_flows_onto_further_pages_whole(read: Callable[..., str]) -> None:
    sentence = "This is a sentence that someone wrote at length. " * 12
    case = report_case(
        model=metadata(limitations=tuple(f"{number} {sentence}" for number in range(30)), name="Щ" * 300),
        warnings=tuple(ScoreWarning(f"F{number}", f"{number} {sentence}", "withhold_group") for number in range(30)),
        ct={
            "SpecificCharacterSet": "ISO_IR 192",
            "StudyDescription": "Ж" * 5000,
            "PatientName": "Ю" * 900,
            "PatientID": "Я" * 900,
        },
    )
    text = read(case.assessment)
    assert text.count("This is a sentence that someone wrote at length.") > 700
    for letter, count in (("Ж", 5000), ("Ю", 900), ("Я", 900), ("Щ", 300)):
        assert text.count(letter) >= count, "lines of two columns may be read in turn"


@pytest.mark.parametrize("keyword", ["PatientID", "AccessionNumber", "StudyDescription"])
@pytest.mark.parametrize(("written", "shown"), [("王小0815", "??0815"), ("ตรวจ", "????"), ("صدر 3", "??? 3")])
def test_a_field_in_letters_that_the_font_lacks_says_where_it_is_whole(
    case: Case, keyword: str, written: str, shown: str, require_tool: RequireTool
) -> None:
    patient = Dataset()
    setattr(patient, keyword, written)
    text = page_text(require_tool("pdftotext"), report_page(case.assessment, OPTIONS, WHEN, patient, DARK))
    assert f"{shown} (? for letters that are not printed here: see the DICOM header)" in text


def test_a_models_words_in_letters_that_the_font_lacks_say_where_they_are_whole(read: Callable[..., str]) -> None:
    text = read(report_case(model=metadata(name="肺 model", limitations=("胸部CT only.",))).assessment)
    for shown in ("? model, version 0.3.1", "??CT only."):
        assert re.search(rf"{re.escape(shown)}.*?\(\? for letters that are not printed here: see result.json\)", text)


# --- what it says ----------------------------------------------------------------------------------------------------


def test_the_page_says_what_a_reader_needs_first_things_first(case: Case, read: Callable[..., str]) -> None:
    text = read(case.assessment)
    places = [
        text.index(part)
        for part in (
            "DEMONSTRATION MODEL - NOT FOR CLINICAL USE (research use only",
            "Müller, Jörg",
            "Estimated PD-L1 expression: high.",
            "not a probability): 0.731",
            "cut-off of expression 0.500",
            "Why",
            "+0.250",
            "Warnings (2)",
            "The slices are 6 mm thick",
            "Volume: 1.15 mL",
            "66 years",
            "The score is no substitute for immunohistochemistry.",
            "phantom, version 0.3.1",
        )
    ]
    assert places == sorted(places)
    for part in ("P-0815", "A-4711", "2026-02-27", "page 1 of 1"):
        assert part in text


def test_a_withheld_result_has_its_reason_once_and_no_ruler_with_cut_offs(read: Callable[..., str]) -> None:
    text = read(report_case(warnings=(SMOOTH,)).assessment)
    assert text.count("The CT was reconstructed with the smooth kernel B30f.") == 1
    assert "withheld." in text
    for absent in ("cut-off of", "high risk", "low risk", "0.660", "0.500"):
        assert absent not in text


def test_clinical_values_can_be_kept_off_the_page(case: Case, read: Callable[..., str]) -> None:
    text = read(case.assessment, ReportOptions(WHEN, show_clinical_values=False))
    assert "66 years" not in text
    assert "Subject Age: from DICOM PatientAge" in text


def test_the_page_refers_to_no_structured_report_that_may_not_have_been_written(
    case: Case, read: Callable[..., str]
) -> None:
    assert "structured report" not in read(case.assessment).lower()


def test_the_page_names_the_report_that_it_replaces(case: Case, require_tool: RequireTool) -> None:
    from pdl1es.dicom.instance import Instance
    from pdl1es.dicom.study import Study

    first = build_sr(case.assessment, OPTIONS).dataset
    study = Study(Path("study"), (Instance(Path("sr.dcm"), first),))
    document = build_pdf(case.assessment, ReportOptions(WHEN + timedelta(hours=1)), DARK, study=study).dataset
    text = page_text(require_tool("pdftotext"), document.EncapsulatedDocument[: document.EncapsulatedDocumentLength])
    assert "This report replaces an earlier one of this study: 2026-03-01 09:30." in text


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
        ("A<b>&lt;^&", "A<b>&lt;, &"),
        ("", pdf_page.NOT_STATED),
    ],
)
def test_a_name_is_printed_in_its_alphabetic_form_or_said_to_be_in_the_header(
    case: Case, name: str, printed: str, require_tool: RequireTool
) -> None:
    patient = Dataset()
    patient.PatientName = name
    pdf = report_page(case.assessment, OPTIONS, WHEN, patient, DARK)
    text = page_text(require_tool("pdftotext"), pdf)
    # poppler reads the table column by column
    assert f"Patient Patient ID Born Sex {printed} {pdf_page.NOT_STATED} " in text


def test_cut_offs_near_the_ends_or_each_other_are_named_within_the_page(read: Callable[..., str]) -> None:
    for expression, risk in ((0.0, 0.001), (0.999, 1.0), (0.5, 0.5), (0.5, 0.501)):
        model = metadata()
        model = model.model_copy(
            update={
                "expression_cut_off": model.expression_cut_off.model_copy(update={"value": expression}),
                "progression_cut_off": model.progression_cut_off.model_copy(update={"value": risk}),
            }
        )
        text = read(report_case(model=model).assessment)
        names = {"expression and risk": expression} if expression == risk else {"expression": expression, "risk": risk}
        for name, value in names.items():
            assert f"cut-off of {name} {value:.3f}" in text


def test_the_ruler_shows_score_and_ranges_at_their_places(
    case: Case, require_tool: RequireTool, tmp_path: Path
) -> None:
    """In a picture of the page: the contours' range is a blue line, the score a red dot on it."""
    scores = np.array([0.25, 0.3, 0.35])
    found = replace(
        case.assessment,
        prediction=replace(case.assessment.prediction, score=0.3, slice_scores=scores),
        contour_stability=ContourStability((), 0.2, 0.6),
    )
    document = build_pdf(found, OPTIONS, DARK).dataset
    pdf = document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]
    page = np.asarray(rendered_page(require_tool("pdftoppm"), pdf, tmp_path / "page")).astype(int)

    def coloured(shade: tuple[float, float, float]) -> NDArray[np.bool_]:
        return np.abs(page - np.rint(np.array(shade) * 255)).max(axis=2) <= 3

    scale = page.shape[1] / pdf_page.PAGE_WIDTH
    left, width = (pdf_page.MARGIN + 8) * scale, (pdf_page.WIDTH - 16) * scale
    blue = coloured(CONTOURS_FILL)
    row = int(blue.sum(axis=1).argmax())
    ends = np.flatnonzero(blue[row])[[0, -1]]
    assert ends == pytest.approx([left + 0.2 * width, left + 0.6 * width], abs=2)
    dot = np.flatnonzero(coloured(SCORE_FILL)[row])
    assert dot.mean() == pytest.approx(left + 0.3 * width, abs=2)
    slices = np.flatnonzero(coloured(SLICES_FILL)[row - 4])
    assert slices[[0, -1]] == pytest.approx([left + 0.25 * width, left + 0.35 * width], abs=2)


def test_a_picture_is_on_the_page(case: Case, require_tool: RequireTool, tmp_path: Path) -> None:
    document = build_pdf(case.assessment, OPTIONS, draw_roi(case.assessment)).dataset
    (tmp_path / "page.pdf").write_bytes(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength])
    listed = subprocess.run(
        [require_tool("pdfimages"), "-list", tmp_path / "page.pdf"], capture_output=True, check=True, timeout=60
    )
    (image,) = listed.stdout.decode().splitlines()[2:]
    assert image.split()[2] == "image"
    assert int(image.split()[3]) > 1000


def test_many_contributions_of_any_size_are_bars_within_the_page(read: Callable[..., str]) -> None:
    wide = report_case(predicted=replace(prediction(), deep=-123.456, bias=99.0)).assessment
    text = read(wide)
    assert "-123.456" in text
    assert "+99.000" in text
