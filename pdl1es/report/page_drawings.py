"""What the page draws rather than writes: the ruler of scores, the bars of the contributions, the panels of the picture."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus.flowables import Flowable

from pdl1es.assessment import Assessment
from pdl1es.report import wording
from pdl1es.report.roi_panels import LOWERS, RAISES
from pdl1es.report.roi_picture import BACKGROUND, PANEL_BOXES
from pdl1es.report.statements import ReportStatement
from pdl1es.report.typeface import typeface

REGULAR: Final = "PDL1ES-NotoSans"
BOLD: Final = "PDL1ES-NotoSans-Bold"
SMALL: Final = 7.0
"""Height of the letters in drawings, points, as all lengths here."""

Shade = tuple[float, float, float]
"""Red, green and blue, 0 to 1."""
SCORE_FILL: Final[Shade] = (0.69, 0.08, 0.13)
SLICES_FILL: Final[Shade] = (0.72, 0.75, 0.80)
CONTOURS_FILL: Final[Shade] = (0.10, 0.35, 0.65)
GREY: Final[Shade] = (0.35, 0.37, 0.40)
BLACK: Final[Shade] = (0.0, 0.0, 0.0)

PANEL_TITLES: Final = {
    "lung": "CT, lung window",
    "soft": "CT, soft-tissue window",
    "map": "Class activation map, log-odds",
    "locator": "Whole slice",
}
"""Above the parts of `roi_picture.PANEL_BOXES`, in the page's order."""


@cache
def register_fonts() -> None:
    """Make the typeface known to reportlab, once."""
    for name, bold in ((REGULAR, False), (BOLD, True)):
        pdfmetrics.registerFont(TTFont(name, BytesIO(typeface(bold))))
    pdfmetrics.registerFontFamily(REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR, boldItalic=BOLD)


def write(
    canvas: Canvas,
    place: tuple[float, float],
    text: str,
    size: float = SMALL,
    *,
    bold: bool = False,
    colour: Shade = BLACK,
    anchor: str = "left",
) -> None:
    """Write one line.

    Parameters
    ----------
    canvas
        On which.
    place
        x of the anchor and y of the baseline.
    text
        In letters that the font has.
    size
        Height of the letters.
    bold, colour
        Of the letters.
    anchor
        Which part of the line lies at x: ``left``, ``middle`` or ``right``.
    """
    canvas.setFont(BOLD if bold else REGULAR, size)
    canvas.setFillColorRGB(*colour)
    draw = {"left": canvas.drawString, "middle": canvas.drawCentredString, "right": canvas.drawRightString}[anchor]
    draw(*place, text)


def width_of(text: str, size: float = SMALL, *, bold: bool = False) -> float:
    """Return the width of a line.

    Parameters
    ----------
    text
        The line.
    size
        Height of the letters.
    bold
        Whether they are bold.

    Returns
    -------
    float
    """
    return float(pdfmetrics.stringWidth(text, BOLD if bold else REGULAR, size))


class ScoreRuler(Flowable):
    """The scale from 0 to 1 with the score, its range over slices and over contours, the cut-offs, and a legend."""

    HEIGHT: Final = 52.0

    def __init__(self, assessment: Assessment) -> None:
        super().__init__()
        self.assessment = assessment

    def wrap(self, available_width: float, _: float) -> tuple[float, float]:
        """Take the whole width."""
        self.width, self.height = available_width, self.HEIGHT
        return self.width, self.height

    def draw(self) -> None:
        """Draw it."""
        canvas, found = self.canv, self.assessment
        left, width, y = 8.0, self.width - 16.0, 30.0
        canvas.setStrokeColorRGB(*GREY)
        canvas.setLineWidth(0.8)
        canvas.line(left, y, left + width, y)
        for value in (0, 1):
            canvas.line(left + width * value, y - 4, left + width * value, y + 4)
            write(canvas, (left + width * value, y - 13), str(value), colour=GREY, anchor="middle")
        scores = found.prediction.slice_scores
        slices = float(scores.min()), float(scores.max())
        self._range(slices, (left, width, y), SLICES_FILL, 9.0)
        stability = found.contour_stability
        if stability is not None:
            self._range((stability.lowest, stability.highest), (left, width, y), CONTOURS_FILL, 2.4)
        self._cut_offs(left, width, y)
        canvas.setFillColorRGB(*SCORE_FILL)
        canvas.circle(left + width * found.prediction.score, y, 3.6, stroke=0, fill=1)
        entries = [
            (SCORE_FILL, 7.2, f"score {wording.score_text(found.prediction.score)}"),
            (SLICES_FILL, 9.0, f"single slices {_from_to(*slices)}"),
        ]
        if stability is not None:
            words = f"contours that differ by 1 mm {_from_to(stability.lowest, stability.highest)}"
            entries.append((CONTOURS_FILL, 2.4, words))
        self._legend(entries)

    def _range(self, ends: tuple[float, float], scale: tuple[float, float, float], fill: Shade, height: float) -> None:
        left, width, y = scale
        low, high = ends
        self.canv.setFillColorRGB(*fill)
        self.canv.rect(left + width * low, y - height / 2, max(1.0, width * (high - low)), height, stroke=0, fill=1)

    def _cut_offs(self, left: float, width: float, y: float) -> None:
        """Draw the cut-offs: that of the expression is named below the scale, that of the risk above it."""
        model = self.assessment.model
        expression, risk = model.expression_cut_off.value, model.progression_cut_off.value
        names = (
            [("expression and risk", expression, y - 13)]
            if expression == risk
            else [("expression", expression, y - 13), ("risk", risk, y + 9)]
        )
        for name, value, text_y in names:
            if not 0 <= value <= 1:
                continue
            x, text = left + width * value, f"cut-off of {name} {wording.score_text(value)}"
            self.canv.setStrokeColorRGB(*BLACK)
            self.canv.setLineWidth(1.0)
            self.canv.line(x, y - 7, x, y + 7)
            half = width_of(text) / 2
            room = 12.0 if text_y < y else 0.0  # 0 and 1 are written below the scale
            middle = min(max(x, left + room + half), left + width - room - half)
            write(self.canv, (middle, text_y), text, anchor="middle")

    def _legend(self, entries: list[tuple[Shade, float, str]]) -> None:
        x = 8.0
        for place, (fill, height, text) in enumerate(entries):
            self.canv.setFillColorRGB(*fill)
            if place == 0:
                self.canv.circle(x + 6, 6.4, height / 2, stroke=0, fill=1)
            else:
                self.canv.rect(x, 6.4 - height / 2, 12, height, stroke=0, fill=1)
            write(self.canv, (x + 16, 4), text)
            x += 16 + width_of(text) + 18


class ContributionBars(Flowable):
    """The terms of the score's log-odds as bars around zero; the last, their sum, is bold."""

    def __init__(self, statements: tuple[ReportStatement, ...], size: float) -> None:
        super().__init__()
        self.terms = [(said.label, said.words, said.value) for said in statements if said.value is not None]
        self.size = size
        self.step = size * 1.4

    def wrap(self, available_width: float, _: float) -> tuple[float, float]:
        """Take the whole width, and a line for each term."""
        self.width, self.height = available_width, self.step * len(self.terms) + 2
        return self.width, self.height

    def draw(self) -> None:
        """Draw them."""
        canvas = self.canv
        last = len(self.terms) - 1
        label = max(width_of(name, self.size, bold=True) for name, _, _ in self.terms) + 8
        number = max(width_of(words, self.size, bold=True) for _, words, _ in self.terms) + 10
        half = (self.width - label - number) / 2
        zero = label + number + half
        largest = max(abs(value) for _, _, value in self.terms) or 1.0
        for row, (name, words, value) in enumerate(self.terms):
            y = self.height - self.step * (row + 1) + 2.5
            write(canvas, (0, y), name, self.size, bold=row == last)
            write(canvas, (label + number - 10, y), words, self.size, bold=row == last, anchor="right")
            length = half * value / largest
            canvas.setFillColorRGB(*(part / 255 for part in (RAISES if value > 0 else LOWERS)))
            canvas.rect(min(zero, zero + length), y - 1.0, abs(length), self.size * 0.9, stroke=0, fill=1)
        canvas.setStrokeColorRGB(*GREY)
        canvas.setLineWidth(0.6)
        canvas.line(zero, 0, zero, self.height)


class PanelsRow(Flowable):
    """The picture of `panels_in_a_row`, a title above each of its parts."""

    TITLE: Final = 10.0

    def __init__(self, row: Image.Image) -> None:
        super().__init__()
        self.row = row
        self.spaceBefore = 4.0

    def wrap(self, available_width: float, _: float) -> tuple[float, float]:
        """Take the whole width."""
        self.width = available_width
        self.height = available_width * self.row.height / self.row.width + self.TITLE
        return self.width, self.height

    def draw(self) -> None:
        """Draw them."""
        x = 0.0
        for name, title in PANEL_TITLES.items():
            write(self.canv, (x, self.height - 7), title, colour=GREY)
            left, _, right, _ = PANEL_BOXES[name]
            x += self.width * (right - left) / self.row.width
        self.canv.drawImage(ImageReader(self.row), 0, 0, self.width, self.height - self.TITLE)


def panels_in_a_row(pictures: NDArray[np.uint8]) -> Image.Image:
    """Return the parts of the ROI slice's picture, the first of `roi_pictures`, side by side, low ones half-way up."""
    picture = Image.fromarray(pictures[0])
    parts = [picture.crop(PANEL_BOXES[name]) for name in PANEL_TITLES]
    row = Image.new("RGB", (sum(part.width for part in parts), max(part.height for part in parts)), BACKGROUND)
    x = 0
    for part in parts:
        row.paste(part, (x, (row.height - part.height) // 2))
        x += part.width
    return row


def _from_to(low: float, high: float) -> str:
    return f"{wording.score_text(low)} to {wording.score_text(high)}"
