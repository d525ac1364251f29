"""The report as a printable page (PDF, A4): for a file or a meeting where no viewer of structured reports is at hand.

It says what `statements.report_statements` gives, whole: nothing is cut. Text that is too long for one page is written
smaller, down to `SMALLEST`; where that is not enough either, it goes on to further pages in its full size.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from io import BytesIO
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from reportlab.lib.colors import Color
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus.doctemplate import BaseDocTemplate, PageTemplate
from reportlab.platypus.flowables import Flowable
from reportlab.platypus.frames import Frame
from reportlab.platypus.paragraph import Paragraph
from reportlab.platypus.tables import Table, TableStyle

from pdl1es.assessment import Assessment
from pdl1es.report import codes as concept
from pdl1es.report import wording
from pdl1es.report.options import ReportOptions
from pdl1es.report.page_drawings import (
    BLACK,
    BOLD,
    GREY,
    REGULAR,
    SCORE_FILL,
    ContributionBars,
    PanelsRow,
    ScoreRuler,
    Shade,
    panels_in_a_row,
    register_fonts,
    width_of,
    write,
)
from pdl1es.report.predecessors import Predecessor
from pdl1es.report.statements import ReportStatement, in_section, report_statements
from pdl1es.report.typeface import has_letters, in_own_letters

MARGIN: Final = 36.0
"""Points, as all lengths here."""
PAGE_WIDTH, PAGE_HEIGHT = A4
WIDTH: Final = PAGE_WIDTH - 2 * MARGIN
BAND: Final = 32.0
"""Height of the red band with the notice, on every page."""
FIRST_HEADER: Final = BAND + 6.0
"""Height of what stands above the first page's text."""
HEADER: Final = BAND + 14.0
"""Height of band and patient above what further pages go on with."""
FOOTER: Final = 18.0
SIZES: Final = (8.4, 7.7, 7.0)
"""Heights of the letters: the largest with which all fits on one page is taken."""
SMALLEST: Final = SIZES[-1]
LEADING: Final = 1.24
SHADE: Final[Shade] = (0.93, 0.94, 0.96)
WARNING: Final[Shade] = (0.60, 0.30, 0.0)
WHITE: Final[Shade] = (1.0, 1.0, 1.0)

TITLE: Final = "PD-L1 expression score from chest CT (PD-L1ES)"
PRELIMINARY: Final = "RESEARCH USE ONLY - PRELIMINARY, NOT VERIFIED BY A READER"
READING_OF_MAP: Final = (
    "The map's cells are a third of the patch wide, and no cause; orange raises the score, blue lowers it. The box on the "
    "whole slice is what the others show."
)
HEADER_OF_PAGE: Final = "the DICOM header"
RESULT: Final = "result.json"
IN_THE_HEADER: Final = f"(in letters that this page lacks: see {HEADER_OF_PAGE})"
"""In place of a name; another text is printed with what the font has, and `typeface.in_own_letters` says where it is whole."""
NOT_STATED: Final = "not stated"
SAID_BY_SUMMARY: Final = (concept.EXPRESSION_GROUP, concept.RISK_GROUP)
"""The estimates, which are the summary's first sentences."""
SAID_BY_RULER: Final = (
    concept.SCORE,
    concept.PROBABILITY,
    concept.SLICE_SCORE_LOWEST,
    concept.SLICE_SCORE_HIGHEST,
    concept.CONTOUR_SCORE_LOWEST,
    concept.CONTOUR_SCORE_HIGHEST,
)
FREE_SECTIONS: Final = ("warnings", "limits")
"""Their statements are sentences that need no label."""


def report_page(
    assessment: Assessment,
    options: ReportOptions,
    when: datetime,
    patient: Dataset,
    pictures: NDArray[np.uint8],
    *,
    predecessors: tuple[Predecessor, ...] = (),
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
    predecessors
        Earlier reports that this one replaces.

    Returns
    -------
    bytes
        A PDF, its fonts embedded; the same arguments give the same bytes. One page, further ones where the text needs
        them.
    """
    register_fonts()
    statements = report_statements(
        assessment, show_clinical_values=options.show_clinical_values, predecessors=predecessors
    )
    page, panels = _Document(assessment, options, when, patient), panels_in_a_row(pictures)

    def story(size: float) -> list[Flowable]:
        return _story(assessment, statements, patient, panels, size)

    for size in (SIZES[0], SMALLEST, *SIZES[1:-1]):
        found = story(size)
        fits = _height(found) <= page.first_height
        if fits and size != SMALLEST:
            return page.written(found, 1)
        if not fits and size == SMALLEST:
            return page.written(story(SIZES[0]), page.counted(story(SIZES[0])))
    return page.written(story(SMALLEST), 1)


class _Document:
    """The pages' frame: the notice on each, whose they are, who wrote them, and which of how many each is."""

    first_height = PAGE_HEIGHT - 2 * MARGIN - FIRST_HEADER - FOOTER

    def __init__(self, assessment: Assessment, options: ReportOptions, when: datetime, patient: Dataset) -> None:
        self.notice = wording.notice(assessment.model)
        software = options.software
        self.author = f"{software.name} {software.version}"
        self.written_by = in_own_letters(
            f"Written {when:%Y-%m-%d %H:%M} by {self.author} ({software.manufacturer}); "
            f"{wording.contour_source(assessment)} {assessment.selection.segmentation.instance.sop_instance_uid}",
            RESULT,
        )
        self.patient = f"{_person(patient, 'PatientName') or NOT_STATED}; {_value(patient, 'PatientID')}"

    def counted(self, story: list[Flowable]) -> int:
        """Return how many pages a story takes."""
        document = self._document(BytesIO(), 0)
        document.build(story)
        return int(document.page)

    def written(self, story: list[Flowable], count: int) -> bytes:
        """Return the PDF of a story that takes so many pages."""
        buffer = BytesIO()
        self._document(buffer, count).build(story)
        return buffer.getvalue()

    def _document(self, buffer: BytesIO, count: int) -> BaseDocTemplate:
        def draw(canvas: Canvas, document: BaseDocTemplate) -> None:
            self._draw(canvas, int(document.page), count)

        bottom = MARGIN + FOOTER
        frames = {
            name: Frame(
                MARGIN, bottom, WIDTH, PAGE_HEIGHT - MARGIN - header - bottom,
                leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0,
            )
            for name, header in (("first", FIRST_HEADER), ("later", HEADER))
        }  # fmt: skip
        # invariant: no time of writing and no random id in the file.
        return BaseDocTemplate(
            buffer,
            pagesize=A4,
            pageTemplates=[
                PageTemplate("first", [frames["first"]], onPage=draw, autoNextPageTemplate="later"),
                PageTemplate("later", [frames["later"]], onPage=draw),
            ],
            invariant=1,
            pageCompression=1,
            initialFontName=REGULAR,
            title="PD-L1ES report",
            author=self.author,
            subject=self.notice,
        )

    def _draw(self, canvas: Canvas, number: int, count: int) -> None:
        top = PAGE_HEIGHT - MARGIN
        canvas.setFillColorRGB(*SCORE_FILL)
        canvas.rect(MARGIN, top - BAND, WIDTH, BAND, stroke=0, fill=1)
        middle = PAGE_WIDTH / 2
        _fitted(canvas, (middle, top - 14), self.notice, WIDTH - 16, 11.0, colour=WHITE, anchor="middle")
        _fitted(canvas, (middle, top - 26), PRELIMINARY, WIDTH - 16, 8.0, colour=WHITE, anchor="middle")
        if number > 1:
            _fitted(canvas, (MARGIN, top - BAND - 9), self.patient, WIDTH, 7.5, colour=GREY)
        canvas.setStrokeColorRGB(*GREY)
        canvas.setLineWidth(0.5)
        canvas.line(MARGIN, MARGIN + 11, PAGE_WIDTH - MARGIN, MARGIN + 11)
        pages = f"page {number} of {count}"
        room = WIDTH - width_of(pages, 6.5) - 12
        _fitted(canvas, (MARGIN, MARGIN + 2), self.written_by, room, 6.5, bold=False, colour=BLACK)
        write(canvas, (PAGE_WIDTH - MARGIN, MARGIN + 2), pages, 6.5, anchor="right")


def _fitted(
    canvas: Canvas,
    place: tuple[float, float],
    text: str,
    room: float,
    size: float,
    *,
    bold: bool = True,
    colour: Shade,
    anchor: str = "left",
) -> None:
    """Write one line, smaller where it would be wider than its room."""
    size = min(size, size * room / max(width_of(text, size, bold=bold), 1.0))
    write(canvas, place, text, size, bold=bold, colour=colour, anchor=anchor)


def _height(story: Iterable[Flowable]) -> float:
    """Return the height that a story takes on a page long enough, as a frame stacks it."""
    total = after = 0.0
    for number, part in enumerate(story):
        _, height = part.wrap(WIDTH, PAGE_HEIGHT)
        before = part.getSpaceBefore() if number else 0.0
        total += max(before - after, 0.0) + height
        after = part.getSpaceAfter()
        total += after
    return total


def _story(
    assessment: Assessment,
    statements: tuple[ReportStatement, ...],
    patient: Dataset,
    panels: Image.Image,
    size: float,
) -> list[Flowable]:
    """Return the parts of the page in a reader's order, in letters of one size."""
    text, title = _style(size), _style(size + 0.6, bold=True, before=4.5, with_next=True)
    small, caution = _style(SMALLEST, colour=GREY), _style(size, colour=WARNING)

    def section(heading: str, name: str, style: ParagraphStyle = text) -> list[Flowable]:
        said = in_section(statements, name)  # type: ignore[arg-type]
        if not said:
            return []
        if name in FREE_SECTIONS:
            return [Paragraph(heading, title), *(Paragraph(f"- {_marked(one.words)}", style) for one in said)]
        return [Paragraph(heading, title), Paragraph(_in_line(said), style)]

    warnings = in_section(statements, "warnings")
    why = in_section(statements, "why")
    return [
        Paragraph(TITLE, _style(13.0, bold=True, before=0.0)),
        _patient_table(patient, size),
        *_summary(in_section(statements, "summary"), size),
        *([ScoreRuler(assessment)] if assessment.withheld is None else []),
        *_result(in_section(statements, "result"), _style(size, before=4.0), ruler=assessment.withheld is None),
        PanelsRow(panels),
        Paragraph(READING_OF_MAP, small),
        Paragraph("Why", title),
        ContributionBars(why, size),
        *(Paragraph(_marked(said.words), text) for said in why if said.value is None),
        *section(f"Warnings ({len(warnings)})", "warnings", caution),
        *section("Tumour", "tumour"),
        *section("Clinical values", "clinical"),
        *section("What it applies to, and its limits", "limits"),
        *section("Model", "model", small),
    ]


def _style(
    size: float, *, bold: bool = False, colour: Shade = BLACK, before: float = 0.6, with_next: bool = False
) -> ParagraphStyle:
    return ParagraphStyle(
        "text",
        fontName=BOLD if bold else REGULAR,
        fontSize=size,
        leading=size * LEADING,
        textColor=Color(*colour),
        spaceBefore=before,
        keepWithNext=with_next,
    )


def _summary(statements: tuple[ReportStatement, ...], size: float) -> list[Flowable]:
    """Return the summary on a shade, its first sentences bold: they stand before everything else."""
    parts: list[Flowable] = []
    for number, said in enumerate(statements):
        style = _style(size + 1.6, bold=said.label == "Summary" and number < 2, before=0.0)
        style.backColor = Color(*SHADE)
        style.borderPadding = (1.5, 0, 1.5, 0)
        style.leftIndent = style.rightIndent = 4.0
        style.spaceBefore = 6.0 if number == 0 else 1.5
        parts.append(Paragraph(_marked(said.words), style))
    return parts


def _result(statements: tuple[ReportStatement, ...], style: ParagraphStyle, *, ruler: bool) -> list[Flowable]:
    """Return the result's statements but the two estimates, which the summary says, and the scores, where a ruler shows them."""
    said = tuple(
        one for one in statements if one.concept not in SAID_BY_SUMMARY and not (ruler and one.concept in SAID_BY_RULER)
    )
    return [Paragraph(_in_line(said), style)] if said else []


def _patient_table(patient: Dataset, size: float) -> Table:
    """Return whose page it is; a row that is too long for its column takes several lines."""
    rows = (
        ("Patient", _person(patient, "PatientName"), "Accession number", _value(patient, "AccessionNumber")),
        ("Patient ID", _value(patient, "PatientID"), "Study date", _date(_value(patient, "StudyDate"))),
        ("Born", _date(_value(patient, "PatientBirthDate")), "Study", _value(patient, "StudyDescription")),
        ("Sex", _value(patient, "PatientSex"), "Referring physician", _person(patient, "ReferringPhysicianName")),
    )
    label, text = _style(size, colour=GREY), _style(size)
    cells = [
        [
            Paragraph(_marked(value or NOT_STATED), style)
            for value, style in zip(row, (label, text, label, text), strict=True)
        ]
        for row in rows
    ]
    widths = [54.0, WIDTH / 2 - 62.0, 92.0, WIDTH / 2 - 84.0]
    flush: list[tuple[str, object]] = [
        ("FONTNAME", REGULAR),
        ("LEFTPADDING", 0),
        ("RIGHTPADDING", 8),
        ("TOPPADDING", 0),
        ("BOTTOMPADDING", 0.6),
    ]
    style = TableStyle(
        [*((name, (0, 0), (-1, -1), value) for name, value in flush), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    )
    return Table(cells, widths, style=style, spaceBefore=5.0, hAlign="LEFT", splitInRow=1)


def _in_line(statements: tuple[ReportStatement, ...]) -> str:
    """Return statements one after the other, their labels grey."""
    said = [f'<font color="#5a5f66">{_marked(one.label)}:</font> {_marked(one.words)}' for one in statements]
    ends = ["" if number == len(said) - 1 or text.endswith(".") else ";" for number, text in enumerate(said)]
    return " ".join(text + end for text, end in zip(said, ends, strict=True))


def _marked(text: str) -> str:
    """Return a text for a paragraph, in which no sign of its own is taken for markup."""
    return escape(in_own_letters(text, RESULT))


def _value(patient: Dataset, keyword: str) -> str:
    """Return a header's text as the page prints it."""
    return in_own_letters(_written(patient, keyword), HEADER_OF_PAGE)


def _written(patient: Dataset, keyword: str) -> str:
    return str(patient.get(keyword, "") or "")


def _person(patient: Dataset, keyword: str) -> str:
    """Return a person's name as it is printed: its alphabetic form (PS3.5 6.2.1.1), or a note that the font lacks it."""
    alphabetic, *others = " ".join(_written(patient, keyword).split()).split("=")
    parts = [part.strip() for part in alphabetic.split("^")]
    printed = ", ".join(part for part in (parts[0], " ".join(filter(None, parts[1:3]))) if part)
    if not printed and not any(others):
        return ""
    if not printed or not has_letters(printed):
        return IN_THE_HEADER
    return printed


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text
