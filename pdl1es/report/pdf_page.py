"""The report on one printable page (PDF, A4): for a file or a meeting where no viewer of structured reports is at hand."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader, simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from pdl1es.assessment import Assessment
from pdl1es.report import wording
from pdl1es.report.options import ReportOptions
from pdl1es.report.roi_panels import LOWERS, RAISES
from pdl1es.report.roi_picture import PANEL_BOXES
from pdl1es.report.software import SoftwareIdentity
from pdl1es.report.typeface import typeface

MARGIN: Final = 36.0
"""Points, as all lengths here."""
PAGE_WIDTH, PAGE_HEIGHT = A4
WIDTH: Final = PAGE_WIDTH - 2 * MARGIN
GAP: Final = 16.0
COLUMN: Final = (WIDTH - GAP) / 2
REGULAR: Final = "PDL1ES-NotoSans"
BOLD: Final = "PDL1ES-NotoSans-Bold"
LEADING: Final = 1.28
PARAGRAPH_SIZE: Final = 7.2

NOTICE_FILL: Final = (0.69, 0.08, 0.13)
SHADE: Final = (0.94, 0.95, 0.96)
GREY: Final = (0.35, 0.37, 0.40)
BLACK: Final = (0.0, 0.0, 0.0)
WARNING: Final = (0.60, 0.30, 0.0)

GROUP_LABELS: Final = {
    "expression": "Expression group by the score",
    "risk": "Risk group: progression under first-line pembrolizumab",
    "clinical_risk": "Secondary, by clinical values alone",
    "fusion_risk": "Secondary, by score and clinical values",
}
IN_THE_HEADER: Final = "(in letters that this page lacks: see the DICOM header)"
CUT: Final = "... (in full in the structured report)"


def report_page(
    assessment: Assessment,
    options: ReportOptions,
    when: datetime,
    patient: Dataset,
    pictures: NDArray[np.uint8],
) -> bytes:
    """Write the page.

    Parameters
    ----------
    assessment
        What is reported.
    options
        What the run's reports have in common.
    when
        Their time in the study's zone.
    patient
        Patient and study, decoded (`study_context.copy_patient_and_study`): a page that is filed must say whose it is.
    pictures
        From `roi_picture.roi_pictures`; the ROI slice, which is the first, is shown.
    Returns
    -------
    bytes
        A PDF of one page, its fonts embedded; the same arguments give the same bytes. What is too long for its place
        is cut, and says so.
    """
    _register_fonts()
    buffer = BytesIO()
    # invariant: no time of writing and no random id in the file.
    canvas = Canvas(buffer, pagesize=A4, invariant=1, pageCompression=1, initialFontName=REGULAR)
    canvas.setTitle("PD-L1ES report")
    canvas.setAuthor(f"{options.software.name} {options.software.version}")
    canvas.setSubject(wording.notice(assessment.model))
    page = _Page(canvas)
    _heading(page, assessment)
    _patient(page, patient)
    _result(page, assessment)
    _picture(page, pictures)
    _reasons_and_warnings(page, assessment)
    _scope_and_model(page, assessment, options.show_clinical_values)
    _footer(page, assessment, options.software, when)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


@cache
def _register_fonts() -> None:
    for name, bold in ((REGULAR, False), (BOLD, True)):
        pdfmetrics.registerFont(TTFont(name, BytesIO(typeface(bold))))


def _printable(text: str) -> bool:
    return all(ord(letter) in pdfmetrics.getFont(REGULAR).face.charToGlyph for letter in text)


def _shown(text: str) -> str:
    """Return text whose letters the font has; others become question marks, line ends spaces."""
    glyphs = pdfmetrics.getFont(REGULAR).face.charToGlyph
    return "".join(letter if ord(letter) in glyphs else "?" for letter in " ".join(text.split()))


class _Page:
    """A page with a cursor ``y`` that moves down, points from the lower edge."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self.y = PAGE_HEIGHT - MARGIN

    def line(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 8.0,
        *,
        bold: bool = False,
        colour: tuple[float, float, float] = BLACK,
        anchor: str = "left",
    ) -> None:
        """Write one line whose baseline is at y."""
        self.canvas.setFont(BOLD if bold else REGULAR, size)
        self.canvas.setFillColorRGB(*colour)
        write = {
            "left": self.canvas.drawString,
            "middle": self.canvas.drawCentredString,
            "right": self.canvas.drawRightString,
        }[anchor]
        write(x, y, _shown(text))

    def fitted(self, x: float, y: float, text: str, width: float, size: float = 8.0) -> None:
        """Write one line; where it is too long, its end is replaced by three dots."""
        text = _shown(text)
        if pdfmetrics.stringWidth(text, REGULAR, size) > width:
            while text and pdfmetrics.stringWidth(text + "...", REGULAR, size) > width:
                text = text[:-1]
            text += "..."
        self.line(x, y, text, size)

    def paragraphs(
        self,
        x: float,
        top: float,
        width: float,
        height: float,
        title: str,
        texts: list[tuple[str, tuple[float, float, float]]],
    ) -> None:
        """Write a title and paragraphs into a box; a last line says so where text was left out."""
        self.line(x, top - 9, title, 8.5, bold=True)
        y, size = top - 12.0, PARAGRAPH_SIZE
        step = size * LEADING
        lines = [
            (line, colour, first)
            for text, colour in texts
            for first, line in (
                (number == 0, line) for number, line in enumerate(simpleSplit(_shown(text), REGULAR, size, width))
            )
        ]
        room = max(1, int((height - 12.0) / (step + 0.4)))
        if len(lines) > room:
            lines = [*lines[: room - 1], (CUT, GREY, True)]
        for line, colour, first in lines:
            y -= step + (1.2 if first and len(lines) < room - len(texts) else 0.0)
            self.line(x, y, line, size, colour=colour)


def _heading(page: _Page, assessment: Assessment) -> None:
    canvas, model = page.canvas, assessment.model
    canvas.setFillColorRGB(*NOTICE_FILL)
    canvas.rect(MARGIN, page.y - 32, WIDTH, 32, stroke=0, fill=1)
    white, middle = (1.0, 1.0, 1.0), PAGE_WIDTH / 2
    notice = _shown(wording.notice(model))
    size = min(11.0, 11.0 * (WIDTH - 16) / pdfmetrics.stringWidth(notice, BOLD, 11.0))
    page.line(middle, page.y - 14, notice, size, bold=True, colour=white, anchor="middle")
    second = "RESEARCH USE ONLY - PRELIMINARY, NOT VERIFIED BY A READER"
    page.line(middle, page.y - 26, second, 8, bold=True, colour=white, anchor="middle")
    page.y -= 50
    page.line(MARGIN, page.y, "PD-L1 expression score from chest CT (PD-L1ES)", 14, bold=True)
    page.y -= 8


def _patient(page: _Page, patient: Dataset) -> None:
    def value(keyword: str) -> str:
        return str(patient.get(keyword, "") or "")

    left = (
        ("Patient", _name(value("PatientName"))),
        ("Patient ID", value("PatientID")),
        ("Born", _date(value("PatientBirthDate"))),
        ("Sex", value("PatientSex")),
    )
    right = (
        ("Accession number", value("AccessionNumber")),
        ("Study date", _date(value("StudyDate"))),
        ("Study", value("StudyDescription")),
        ("Referring physician", _name(value("ReferringPhysicianName"))),
    )
    for x, rows, label_width in ((MARGIN, left, 50.0), (MARGIN + COLUMN + GAP, right, 84.0)):
        for row, (label, text) in enumerate(rows):
            y = page.y - 10 - 10.5 * row
            page.line(x, y, label, 8, colour=GREY)
            page.fitted(x + label_width, y, text or "not stated", COLUMN - label_width)
    page.y -= 50


def _name(text: str) -> str:
    """Return a person's name as it is printed: its alphabetic form (PS3.5 6.2.1.1), or a note that the font lacks it."""
    alphabetic, *others = text.split("=")
    parts = [part.strip() for part in alphabetic.split("^")]
    printed = ", ".join(part for part in (parts[0], " ".join(filter(None, parts[1:3]))) if part)
    if not printed and not any(others):
        return ""
    if not printed or not _printable(printed):
        return IN_THE_HEADER
    return printed


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def _result(page: _Page, assessment: Assessment) -> None:
    canvas, model, score = page.canvas, assessment.model, assessment.prediction.score
    top, height = page.y, 104.0
    canvas.setFillColorRGB(*SHADE)
    canvas.rect(MARGIN, top - height, WIDTH, height, stroke=0, fill=1)
    x = MARGIN + 10
    page.line(x, top - 15, wording.score_name(model), 9, bold=True)
    page.line(x, top - 46, wording.score_text(score), 30, bold=True)
    if not model.calibrated:
        page.line(x, top - 59, "a scale from 0 to 1, not a probability", 7.5, colour=GREY)
    groups = [(GROUP_LABELS[reported.name], reported.text) for reported in wording.reported_groups(assessment)]
    x = MARGIN + 200
    for row, (label, text) in enumerate(groups):
        y = top - 13 - (15.5 if len(groups) > 2 else 26) * row
        page.line(x, y, label, 7, colour=GREY)
        if len(groups) > 2:
            page.fitted(x + 186, y, text, WIDTH - 396, 8)
        else:
            page.fitted(x, y - 12, text, WIDTH - 210, 11)
    disagreement = wording.disagreement(assessment)
    if disagreement:
        page.line(x, top - 74, disagreement, 7, colour=WARNING)
    _scale(page, assessment, top - 88)
    page.y = top - height - 8


def _scale(page: _Page, assessment: Assessment, y: float) -> None:
    """Draw the scale from 0 to 1 with the score, the spread of the slices, and the cut-offs."""
    canvas, model, prediction = page.canvas, assessment.model, assessment.prediction
    left, width = MARGIN + 20, WIDTH - 40
    canvas.setStrokeColorRGB(*GREY)
    canvas.setLineWidth(0.8)
    canvas.line(left, y, left + width, y)
    for value in (0.0, 1.0):
        canvas.line(left + width * value, y - 3, left + width * value, y + 3)
        page.line(left + width * value, y - 11, f"{value:.0f}", 7, colour=GREY, anchor="middle")
    low, high = float(prediction.slice_scores.min()), float(prediction.slice_scores.max())
    canvas.setFillColorRGB(0.75, 0.78, 0.82)
    canvas.rect(left + width * low, y - 2.5, max(1.0, width * (high - low)), 5, stroke=0, fill=1)
    cuts = {model.expression_cut_off.value: "expression", model.progression_cut_off.value: "risk"}
    if len(cuts) == 1:
        cuts = dict.fromkeys(cuts, "expression and risk")
    canvas.setStrokeColorRGB(*BLACK)
    near = len(cuts) == 2 and abs(model.expression_cut_off.value - model.progression_cut_off.value) < 0.2
    for place, (value, name) in enumerate(sorted(cuts.items())):
        if not 0 <= value <= 1:
            continue
        x = left + width * value
        canvas.line(x, y - 5, x, y + 5)
        anchor = ("right", "left")[place] if near else "middle"
        page.line(x, y - 12, f"cut-off {name} {wording.score_text(value)}", 6.5, colour=GREY, anchor=anchor)
    x = left + width * prediction.score
    canvas.setFillColorRGB(*NOTICE_FILL)
    canvas.circle(x, y, 3.4, stroke=0, fill=1)


PANEL_TITLES: Final = {
    "lung": "Lung window",
    "soft": "Soft-tissue window",
    "map": "Class activation map, log-odds",
    "locator": "Where it lies",
}
PANELS_HEIGHT: Final = 150.0


def _picture(page: _Page, pictures: NDArray[np.uint8]) -> None:
    """Show the ROI slice's parts side by side, each under its title."""
    whole, bottom = Image.fromarray(pictures[0]), page.y - PANELS_HEIGHT
    scale = WIDTH / sum(right - left for left, _, right, _ in PANEL_BOXES.values())
    x = MARGIN
    for name, (left, upper, right, lower) in PANEL_BOXES.items():
        width, height = scale * (right - left), scale * (lower - upper)
        page.line(x, page.y - 7, PANEL_TITLES[name], 7, colour=GREY)
        part = ImageReader(whole.crop((left, upper, right, lower)))
        page.canvas.drawImage(part, x, page.y - 12 - height, width, height)
        x += width
    page.y = bottom
    page.line(
        PAGE_WIDTH / 2,
        page.y,
        "Class activation map: resolution = 1/3 of the patch, not a cause. Orange raises the score, blue lowers it.",
        7,
        colour=GREY,
        anchor="middle",
    )
    page.y -= 6


def _reasons_and_warnings(page: _Page, assessment: Assessment) -> None:
    top, height = page.y, 118.0
    _bars(page, assessment, top)
    warnings = [(f"- {warning.message}", WARNING) for warning in assessment.warnings]
    page.paragraphs(
        MARGIN + COLUMN + GAP,
        top,
        COLUMN,
        height,
        f"Warnings ({len(warnings)})" if warnings else "Warnings",
        warnings or [("None.", BLACK)],
    )
    page.y = top - height


def _bars(page: _Page, assessment: Assessment, top: float) -> None:
    """Draw the terms of the score's log-odds as bars around zero."""
    canvas, prediction = page.canvas, assessment.prediction
    page.line(MARGIN, top - 9, "Why: contributions to the score, log-odds", 8.5, bold=True)
    terms = (
        ("deep features", prediction.deep),
        ("radiomic features", prediction.radiomic_total),
        ("clinical values", prediction.clinical_total),
        ("constant of the model", prediction.bias),
        ("sum", prediction.logit),
    )
    label, number = 82.0, 40.0
    half = (COLUMN - label - 2 * number) / 2
    zero = MARGIN + label + number + half
    largest = max(abs(value) for _, value in terms) or 1.0
    for row, (name, value) in enumerate(terms):
        y = top - 26 - 14 * row
        bold = name == "sum"
        page.line(MARGIN, y, name, 7.5, bold=bold)
        length = half * value / largest
        colour = tuple(part / 255 for part in (RAISES if value > 0 else LOWERS))
        canvas.setFillColorRGB(*colour)
        canvas.rect(min(zero, zero + length), y - 1.5, abs(length), 8, stroke=0, fill=1)
        page.line(
            zero + length + (3 if value >= 0 else -3),
            y,
            wording.log_odds_text(value),
            7.5,
            bold=bold,
            anchor="left" if value >= 0 else "right",
        )
    canvas.setStrokeColorRGB(*GREY)
    canvas.setLineWidth(0.6)
    canvas.line(zero, top - 16, zero, top - 26 - 14 * (len(terms) - 1) - 4)
    y = top - 26 - 14 * len(terms) + 1
    for line in simpleSplit(wording.READING_OF_CONTRIBUTIONS, REGULAR, 6.8, COLUMN)[:3]:
        page.line(MARGIN, y, line, 6.8, colour=GREY)
        y -= 8.6


def _scope_and_model(page: _Page, assessment: Assessment, show_clinical_values: bool) -> None:
    model, tumour = assessment.model, assessment.tumour
    top, height = page.y - 4, page.y - 4 - (MARGIN + 26)
    page.paragraphs(
        MARGIN,
        top,
        COLUMN,
        height,
        "What it applies to, and its limits",
        [
            (wording.APPLIES_TO, BLACK),
            (wording.NO_SUBSTITUTE, BLACK),
            *((f"- {limitation}", BLACK) for limitation in model.limitations),
        ],
    )
    clinical = "; ".join(
        f"{name.replace('_', ' ')} {text}"
        for name, text in wording.clinical_lines(assessment, show_values=show_clinical_values)
    )
    page.paragraphs(
        MARGIN + COLUMN + GAP,
        top,
        COLUMN,
        height,
        "Model, and what went in",
        [
            (f"{model.name}, version {model.version}. Trained on: {model.trained_on}", BLACK),
            (f"Intended use: {model.intended_use}", BLACK),
            *((line, BLACK) for line in wording.cut_off_lines(assessment)),
            (f"Clinical values: {clinical}.", BLACK),
            (f"Tumour: {tumour.volume_ml:.2f} mL, longest diameter {tumour.longest_diameter_mm:.1f} mm.", BLACK),
            (f"Contour: {wording.contour_text(assessment)}.", BLACK),
        ],
    )


def _footer(page: _Page, assessment: Assessment, software: SoftwareIdentity, when: datetime) -> None:
    roi, canvas = assessment.roi_slice, page.canvas
    canvas.setStrokeColorRGB(*GREY)
    canvas.setLineWidth(0.5)
    canvas.line(MARGIN, MARGIN + 20, PAGE_WIDTH - MARGIN, MARGIN + 20)
    image = f"image {roi.instance_number}, " if roi.instance_number is not None else ""
    page.fitted(
        MARGIN,
        MARGIN + 10,
        f"Scored: {image}Image Position z {roi.table_position_mm:.1f} mm; {wording.contour_source(assessment)} "
        f"{assessment.selection.segmentation.instance.sop_instance_uid}",
        WIDTH,
        6.5,
    )
    page.fitted(
        MARGIN,
        MARGIN + 1,
        f"Written {when:%Y-%m-%d %H:%M} by {software.name} {software.version} ({software.manufacturer}); in full in the "
        "structured report of this study",
        WIDTH,
        6.5,
    )
