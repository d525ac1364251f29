"""The picture of the network's input: each ROI slice in two windows, its class activation map, and where it lies."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pdl1es.assessment import Assessment
from pdl1es.report import wording
from pdl1es.report.roi_panels import (
    HALO,
    LUNG_WINDOW_HU,
    SOFT_TISSUE_WINDOW_HU,
    WHITE,
    fitting,
    locator_panel,
    map_panel,
    slice_panel,
    tint,
)
from pdl1es.report.summary import estimate_sentences
from pdl1es.report.typeface import in_own_letters, picture_font

WIDTH: Final = 1200
HEIGHT: Final = 900
CORNER: Final = (270, 72)
"""Width and height of the four corners, pixels: viewers write their own text there."""
BANNER: Final = (CORNER[1], 196)
"""Upper and lower edge."""
BANNER_LETTERS: Final = 100
"""Largest height of the banner's first line, pixels: it is read on a thumbnail of 128 pixels too."""
SUMMARY: Final = (BANNER[1] + 6, 268)
"""Upper and lower edge of the summary's first sentences, below the banner."""
SUMMARY_LETTERS: Final = (26, 15)
"""Largest and smallest height of their letters, pixels."""
PANEL: Final = 278
"""Longer side of a slice, pixels."""
PANEL_TOP: Final = 316
PANELS_LEFT: Final = (40, 408, 776)
"""Lung window, soft-tissue window, map."""
BAR: Final = (1122, 1142)
"""Left and right edge of the colour bar."""
LOCATOR: Final = (40, 640, 320, 164)
"""Left, top, and largest width and height of the whole slice."""
LETTERS: Final = 19
"""Height of all other letters, pixels."""
CAPTION_LEFT: Final = 408
CAPTION_TOP: Final = 622
"""Below the middle panel; its lines end above the lower corners."""
BESIDE: Final = 24
"""From a panel's edge to the letters R, L, A and P, and their own room, pixels."""

IN_THE_REPORT: Final = "More: see the report."
RESULT: Final = "result.json"
"""Where texts stand whole whose letters the typeface lacks."""

BACKGROUND: Final = (16, 18, 22)
TEXT: Final = (235, 235, 235)
NOTICE_FILL: Final = (176, 20, 32)

PANEL_BOXES: Final = {
    "lung": (PANELS_LEFT[0] - BESIDE, PANEL_TOP - BESIDE, PANELS_LEFT[0] + PANEL + BESIDE, PANEL_TOP + PANEL + BESIDE),
    "soft": (PANELS_LEFT[1] - BESIDE, PANEL_TOP - BESIDE, PANELS_LEFT[1] + PANEL + BESIDE, PANEL_TOP + PANEL + BESIDE),
    "map": (PANELS_LEFT[2] - BESIDE, PANEL_TOP - BESIDE, WIDTH, PANEL_TOP + PANEL + BESIDE),
    "locator": (
        LOCATOR[0] - BESIDE,
        LOCATOR[1] - BESIDE,
        LOCATOR[0] + LOCATOR[2] + BESIDE,
        LOCATOR[1] + LOCATOR[3] + BESIDE,
    ),
}
"""Left, top, right and bottom of the parts with the letters beside them, for whoever shows them elsewhere."""


def frame_order(count: int) -> tuple[int, ...]:
    """Return the order of the frames: the ROI slice first, because viewers open a picture there, then from the feet up."""
    middle = count // 2
    return (middle, *(index for index in range(count) if index != middle))


def roi_pictures(assessment: Assessment) -> NDArray[np.uint8]:
    """Draw the slices, in the order of `frame_order`.

    Parameters
    ----------
    assessment
        Its patches and class activation map are drawn.

    Returns
    -------
    ndarray
        uint8 RGB, shape (S, 900, 1200, 3): below the notice, the summary's first sentences; the slice in the lung and in the soft-tissue window with the tumour's contour;
        beside them the 3 x 3 cells of the map, each coloured by and labelled with its own share of the slice's deep term
        in log-odds; below, the whole slice with the box that the panels show. The colour scale is the same on all
        slices. No name, id or date is drawn, and nothing in the four corners.
    """
    order = frame_order(len(assessment.prediction.cam))
    return np.stack([np.asarray(_frame(assessment, index), dtype=np.uint8) for index in order])


def roi_slice_picture(assessment: Assessment) -> Image.Image:
    """Draw the ROI slice alone, as `roi_pictures` draws it."""
    return _frame(assessment, len(assessment.prediction.cam) // 2)


def _frame(assessment: Assessment, index: int) -> Image.Image:
    patches, cam = assessment.patches, assessment.prediction.cam
    largest = float(np.abs(cam).max())
    picture = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    _heading(draw, assessment, index)
    _summary(draw, assessment)
    size, per_mm = _panel_size(assessment)
    hu, mask = patches.hu[index], patches.mask[index]
    labels = [[wording.log_odds_text(float(value)) for value in row] for row in cam[index]]
    panels = (
        ("CT, lung window", slice_panel(hu, mask, LUNG_WINDOW_HU, size)),
        ("CT, soft-tissue window", slice_panel(hu, mask, SOFT_TISSUE_WINDOW_HU, size)),
        ("Class activation map, log-odds", map_panel(cam[index], labels, mask, largest, size)),
    )
    for left, (title, panel) in zip(PANELS_LEFT, panels, strict=True):
        place = left + (PANEL - size[0]) // 2, PANEL_TOP + (PANEL - size[1]) // 2
        picture.paste(panel, place)
        _sides(draw, place, size)
        _text(draw, (left, PANEL_TOP - 38), title)
    _scale_bar(draw, size, per_mm)
    _colour_bar(picture, draw, largest)
    _locator(picture, draw, assessment)
    _caption(draw, assessment, index, size, per_mm)
    return picture


def _panel_size(assessment: Assessment) -> tuple[tuple[int, int], float]:
    """Return width and height of a slice in pixels, in the patient's own proportions, and pixels per millimetre."""
    x_low, y_low, x_high, y_high = assessment.patches.rectangle
    width, height = x_high - x_low + 1, y_high - y_low + 1
    per_mm = PANEL / max(width, height)
    return (max(1, round(width * per_mm)), max(1, round(height * per_mm))), per_mm


def _text(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, *, anchor: str = "lm") -> None:
    draw.text(place, text, font=picture_font(LETTERS), fill=TEXT, anchor=anchor)


def _heading(draw: ImageDraw.ImageDraw, assessment: Assessment, index: int) -> None:
    """Write which slice it is between the upper corners, and the notice below them.

    Between the two a viewer may lay its buttons to play the frames (OHIF 3.13).
    """
    count = len(assessment.prediction.cam)
    middle, room = WIDTH // 2, WIDTH - 2 * CORNER[0]
    beside = index - count // 2
    where = "ROI slice (largest tumour area)" if beside == 0 else _side(beside)
    title = f"{where}, picture {frame_order(count).index(index) + 1} of {count}"
    draw.text((middle, 22), title, font=fitting([title], room, 26), fill=TEXT, anchor="mm")
    top, bottom = BANNER
    draw.rectangle([(0, top), (WIDTH, bottom)], fill=NOTICE_FILL)
    banner, notice = wording.banner(assessment.model), wording.notice(assessment.model)
    draw.text((middle, top + 48), banner, font=fitting([banner], WIDTH - 40, BANNER_LETTERS), fill=WHITE, anchor="mm")
    draw.text((middle, bottom - 16), notice, font=fitting([notice], WIDTH - 40, LETTERS), fill=WHITE, anchor="mm")


def summary_lines(assessment: Assessment) -> tuple[int, tuple[str, ...]]:
    """Break the summary's first sentences, the estimates or that they are withheld, into the lines that every frame bears.

    Parameters
    ----------
    assessment
        What is reported.

    Returns
    -------
    letters : int
        Height of the letters, pixels.
    lines : tuple of str
        A line for each sentence or more, where there is room; else one sentence after the other. Where even the smallest
        letters leave no room for all, the last sentences are left out, and `IN_THE_REPORT` says so.
    """
    room, height = WIDTH - 40, SUMMARY[1] - SUMMARY[0]
    said = tuple(in_own_letters(sentence, RESULT) for sentence in estimate_sentences(assessment))
    largest, smallest = SUMMARY_LETTERS
    shortened = [(" ".join((*said[:count], IN_THE_REPORT)),) for count in range(len(said) - 1, 0, -1)]
    tries = [
        (paragraphs, letters)
        for paragraphs in (said, (" ".join(said),), *shortened)
        for letters in range(largest, smallest - 1, -1)
    ]
    tries += [(shortened[-1] if shortened else said, letters) for letters in range(smallest - 1, 0, -1)]
    for paragraphs, letters in tries:
        lines = _lines(paragraphs, letters, room, bold=True)
        if len(lines) * _step(letters) <= height:
            break
    return letters, tuple(lines)


def _summary(draw: ImageDraw.ImageDraw, assessment: Assessment) -> None:
    letters, lines = summary_lines(assessment)
    top = (SUMMARY[0] + SUMMARY[1] - len(lines) * _step(letters)) // 2
    for row, line in enumerate(lines):
        place = 20, top + _step(letters) * row
        draw.text(place, line, font=picture_font(letters, bold=True), fill=WHITE, anchor="la")


def _side(away: int) -> str:
    """Return where a slice lies that is not the ROI slice, from the difference along z, mm."""
    return f"{abs(away)} mm {'above' if away > 0 else 'below'} the ROI slice"


def _sides(draw: ImageDraw.ImageDraw, place: tuple[int, int], size: tuple[int, int]) -> None:
    """Mark the patient's right and left, front and back: the picture is seen from the feet."""
    font = picture_font(18, bold=True)
    (left, top), (width, height), away = place, size, BESIDE // 2
    for letter, x, y in (
        ("R", left - away, top + height // 2),
        ("L", left + width + away, top + height // 2),
        ("A", left + width // 2, top - away),
        ("P", left + width // 2, top + height + away),
    ):
        draw.text((x, y), letter, font=font, fill=TEXT, anchor="mm")


def _scale_bar(draw: ImageDraw.ImageDraw, size: tuple[int, int], per_mm: float) -> None:
    """Draw 10 mm on the first panel."""
    left, bottom = PANELS_LEFT[0] + (PANEL - size[0]) // 2, PANEL_TOP + (PANEL + size[1]) // 2
    y, length = bottom - 12, round(10 * per_mm)
    draw.rectangle([(left + 8, y - 2), (left + 10 + length, y + 2)], fill=WHITE, outline=HALO)
    font = picture_font(16, bold=True)
    draw.text((left + 9, y - 15), "10 mm", font=font, fill=WHITE, anchor="lm", stroke_width=2, stroke_fill=HALO)


def _colour_bar(picture: Image.Image, draw: ImageDraw.ImageDraw, largest: float) -> None:
    """Draw the map's colours from the strongest that raises down to the strongest that lowers."""
    low, high = PANEL_TOP + 20, PANEL_TOP + PANEL - 20
    for y in range(low, high):
        picture.paste(tint(1.0 - 2.0 * (y - low) / (high - 1 - low), 1.0), (BAR[0], y, BAR[1], y + 1))
    draw.rectangle([(BAR[0], low), (BAR[1] - 1, high - 1)], outline=TEXT)
    texts = [wording.log_odds_text(value) for value in (largest, 0.0, -largest)]
    font = fitting(texts, WIDTH - BAR[1] - 6, 17)
    for y, text in zip((low + 8, (low + high) // 2, high - 9), texts, strict=True):
        draw.text((BAR[1] + 4, y), text, font=font, fill=TEXT, anchor="lm")
    for y, word in ((low - 12, "raises"), (high + 12, "lowers")):
        draw.text((WIDTH - 8, y), word, font=picture_font(17, bold=True), fill=TEXT, anchor="rm")


def _locator(picture: Image.Image, draw: ImageDraw.ImageDraw, assessment: Assessment) -> None:
    """Draw the whole slice, or say that there is none."""
    patches, (left, top, width, height) = assessment.patches, LOCATOR
    whole = patches.whole_slice
    if whole is None:
        _text(draw, (left, top + height // 2), "The whole slice was not kept.")
        return
    panel = locator_panel(whole, patches.rectangle, (width, height))
    place = left + (width - panel.width) // 2, top
    picture.paste(panel, place)
    _sides(draw, place, panel.size)


def _caption(
    draw: ImageDraw.ImageDraw, assessment: Assessment, index: int, size: tuple[int, int], per_mm: float
) -> None:
    prediction, model, patches = assessment.prediction, assessment.model, assessment.patches
    cell = f"{size[0] / per_mm / 3:.0f} x {size[1] / per_mm / 3:.0f} mm"
    away = patches.whole_slice.z - patches.roi_z if patches.whole_slice is not None else 0
    place = "the whole ROI slice" if away == 0 else f"the whole slice {_side(away)}"
    paragraphs = (
        f"Map: each cell ({cell}) is its share of the deep term. It shows what the network added up where, no finer; "
        "it is not a cause.",
        f"The cells add up to this slice's deep term, {wording.log_odds_text(float(prediction.cam[index].sum()))}; "
        f"the report's, {wording.log_odds_text(prediction.deep)}, is the mean of the {len(prediction.cam)} slices.",
        f"{wording.score_name(model)}: {wording.score_text(prediction.score)} (this slice alone: "
        f"{wording.score_text(float(prediction.slice_scores[index]))}). {wording.NO_SUBSTITUTE}",
        f"Left: {place}; the box is what the panels show. Contour: {in_own_letters(wording.contour_source(assessment), RESULT)}. "
        f"Model: {in_own_letters(model.name[:60], RESULT)}, version {in_own_letters(model.version[:32], RESULT)}.",
    )
    room = WIDTH - CAPTION_LEFT - 16
    height = HEIGHT - CORNER[1] - CAPTION_TOP
    letters, lines = next(
        (letters, lines)
        for letters in range(LETTERS, 0, -1)
        if (len(lines := _lines(paragraphs, letters, room)) * _step(letters) <= height)
    )
    for row, line in enumerate(lines):
        y = CAPTION_TOP + _step(letters) * row
        draw.text((CAPTION_LEFT, y), line, font=picture_font(letters), fill=TEXT, anchor="la")


def _step(letters: int) -> int:
    """Return the distance of two lines, pixels."""
    return letters + letters // 3


def _lines(paragraphs: tuple[str, ...], letters: int, width: int, *, bold: bool = False) -> list[str]:
    """Break paragraphs into lines no wider than ``width``; a word that is wider is broken too."""
    font, lines, blank = picture_font(letters, bold), [], _length(" ", letters, bold)
    for paragraph in paragraphs:
        line, taken = "", 0.0
        for word in paragraph.split():
            length = _length(word, letters, bold)
            if line and taken + blank + length <= width:
                line, taken = f"{line} {word}", taken + blank + length
                continue
            if line:
                lines.append(line)
            while length > width:
                held = _held(font, word, width)
                lines.append(word[:held])
                word = word[held:]
                length = _length(word, letters, bold)
            line, taken = word, length
        lines.append(line)
    return lines


@lru_cache(maxsize=512)
def _length(word: str, letters: int, bold: bool) -> float:
    """Return the width of a word, pixels. It is kept, because the captions of all slices have mostly the same words."""
    return picture_font(letters, bold).getlength(word)


def _held(font: ImageFont.FreeTypeFont, word: str, width: int) -> int:
    """Return how many of a word's first letters fit into a width; at least one."""
    return max(1, sum(font.getlength(word[: end + 1]) <= width for end in range(len(word))))
