"""The picture of the network's input: each ROI slice, and beside it the same slice with the class activation map's cells."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pdl1es.assessment import Assessment
from pdl1es.model.prediction import CAM_SIZE
from pdl1es.report import wording
from pdl1es.report.typeface import picture_font

WIDTH: Final = 1120
HEIGHT: Final = 704
LUNG_WINDOW_HU: Final = (-600.0, 1500.0)
"""Centre and width."""
PANEL: Final = 460
"""Longer side of a slice, pixels."""
PANEL_TOP: Final = 122
PANELS_LEFT: Final = (32, 540)
PANELS_BOX: Final = (0, 70, WIDTH, 600)
"""Left, top, right, bottom of the two panels with their titles and the colour bar: the picture without notice and caption."""
BAR: Final = (1038, 1058)
"""Left and right edge of the colour bar."""

BACKGROUND: Final = (16, 18, 22)
TEXT: Final = (235, 235, 235)
NOTICE_FILL: Final = (176, 20, 32)
CONTOUR: Final = (255, 214, 0)
CELL_LINES: Final = (255, 255, 255)
RAISES: Final = (240, 120, 20)
LOWERS: Final = (40, 130, 240)
"""Orange and blue are told apart by every common kind of colour blindness."""
STRONGEST_TINT: Final = 0.55
SMALLEST_LETTERS: Final = 6
"""Pixels."""

POSITIONS: Final = {-1: "1 mm below the ROI slice", 0: "ROI slice (largest tumour area)", 1: "1 mm above the ROI slice"}


def roi_pictures(assessment: Assessment) -> NDArray[np.uint8]:
    """Draw the slices from the feet to the head.

    Parameters
    ----------
    assessment
        Its patches and class activation map are drawn.

    Returns
    -------
    ndarray
        uint8 RGB, shape (S, 704, 1120, 3). Left the slice in the lung window with the tumour's contour; right the same
        with the 3 x 3 cells of the map, each tinted by and labelled with its own share of the slice's deep term in
        log-odds. The colour scale is the same on all slices. No name, id or date is drawn.
    """
    count = len(assessment.prediction.cam)
    return np.stack([np.asarray(_frame(assessment, index), dtype=np.uint8) for index in range(count)])


def roi_slice_picture(assessment: Assessment) -> Image.Image:
    """Draw the ROI slice alone, as `roi_pictures` draws it."""
    return _frame(assessment, len(assessment.prediction.cam) // 2)


def _frame(assessment: Assessment, index: int) -> Image.Image:
    cam = assessment.prediction.cam
    largest = float(np.abs(cam).max())
    picture = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    _heading(draw, assessment, index)
    size, per_mm = _panel_size(assessment)
    plain = _slice(assessment, index, size)
    tinted = _tinted(plain, cam[index], largest)
    for left, panel in zip(PANELS_LEFT, (plain, tinted), strict=True):
        _outlined(panel, assessment.patches.mask[index])
        picture.paste(panel, (left, PANEL_TOP))
        _sides(draw, left, size)
    _scale_bar(draw, PANELS_LEFT[0], size, per_mm)
    _cells(draw, PANELS_LEFT[1], size, cam[index])
    _colour_bar(picture, draw, largest)
    _caption(draw, assessment, index, size, per_mm)
    return picture


def _panel_size(assessment: Assessment) -> tuple[tuple[int, int], float]:
    """Return width and height of a slice in pixels, in the patient's own proportions, and pixels per millimetre."""
    x_low, y_low, x_high, y_high = assessment.patches.rectangle
    width, height = x_high - x_low + 1, y_high - y_low + 1
    per_mm = PANEL / max(width, height)
    return (max(1, round(width * per_mm)), max(1, round(height * per_mm))), per_mm


def _slice(assessment: Assessment, index: int, size: tuple[int, int]) -> Image.Image:
    centre, width = LUNG_WINDOW_HU
    grey = (assessment.patches.hu[index].astype(np.float64) - (centre - width / 2)) / width
    small = Image.fromarray(np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8))
    return small.resize(size, Image.Resampling.BILINEAR).convert("RGB")


def _outlined(panel: Image.Image, mask: NDArray[np.bool_]) -> None:
    """Draw the tumour's contour, two pixels wide, inside the tumour."""
    large = Image.fromarray(mask.astype(np.uint8) * 255).resize(panel.size, Image.Resampling.BILINEAR)
    tumour = np.asarray(large) >= 128
    line = tumour & ~_eroded(_eroded(tumour))
    panel.paste(CONTOUR, mask=Image.fromarray(line.astype(np.uint8) * 255))


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels whose four neighbours are in the mask too; beyond the picture all count as in it.

    As scipy.ndimage.binary_erosion with a border value of 1, whose import takes 0.25 s.
    """
    padded = np.pad(mask, 1, constant_values=True)
    across = padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & across & padded[:-2, 1:-1] & padded[2:, 1:-1]


def _edges(length: int) -> list[int]:
    return [round(length * step / CAM_SIZE) for step in range(CAM_SIZE + 1)]


def _tinted(plain: Image.Image, cells: NDArray[np.float64], largest: float) -> Image.Image:
    tinted = plain.copy()
    columns, rows = _edges(plain.width), _edges(plain.height)
    for row in range(CAM_SIZE):
        for column in range(CAM_SIZE):
            box = (columns[column], rows[row], columns[column + 1], rows[row + 1])
            colour, alpha = _tint(float(cells[row, column]), largest)
            part = plain.crop(box)
            tinted.paste(Image.blend(part, Image.new("RGB", part.size, colour), alpha), box)
    return tinted


def _tint(value: float, largest: float) -> tuple[tuple[int, int, int], float]:
    return (RAISES if value > 0 else LOWERS), (STRONGEST_TINT * abs(value) / largest if largest > 0 else 0.0)


def _cells(draw: ImageDraw.ImageDraw, left: int, size: tuple[int, int], cells: NDArray[np.float64]) -> None:
    columns, rows = _edges(size[0]), _edges(size[1])
    for x in columns:
        draw.line([(left + x, PANEL_TOP), (left + x, PANEL_TOP + size[1])], fill=CELL_LINES, width=1)
    for y in rows:
        draw.line([(left, PANEL_TOP + y), (left + size[0], PANEL_TOP + y)], fill=CELL_LINES, width=1)
    labels = [[wording.log_odds_text(float(value)) for value in row] for row in cells]
    room = columns[1] - columns[0] - 10
    font = _fitting([label for row in labels for label in row], room, 22)
    for row in range(CAM_SIZE):
        for column in range(CAM_SIZE):
            centre = (
                left + (columns[column] + columns[column + 1]) // 2,
                PANEL_TOP + (rows[row] + rows[row + 1]) // 2,
            )
            draw.text(
                centre,
                labels[row][column],
                font=font,
                fill=(255, 255, 255),
                anchor="mm",
                stroke_width=2,
                stroke_fill=(0, 0, 0),
            )


def _fitting(texts: list[str], width: float, largest: int) -> ImageFont.FreeTypeFont:
    """Return the largest bold letters with which every text fits into a width, pixels."""
    fonts = (picture_font(size, bold=True) for size in range(largest, SMALLEST_LETTERS, -1))
    fitting = (font for font in fonts if max(font.getlength(text) for text in texts) <= width)
    return next(fitting, picture_font(SMALLEST_LETTERS, bold=True))


def _heading(draw: ImageDraw.ImageDraw, assessment: Assessment, index: int) -> None:
    draw.rectangle([(0, 0), (WIDTH, 62)], fill=NOTICE_FILL)
    notice = wording.notice(assessment.model)
    font = _fitting([notice], WIDTH - 20, 20)
    draw.text((WIDTH // 2, 20), notice, font=font, fill=(255, 255, 255), anchor="mm")
    second = "RESEARCH USE ONLY - NOT VERIFIED BY A READER"
    draw.text((WIDTH // 2, 46), second, font=picture_font(16, bold=True), fill=(255, 255, 255), anchor="mm")
    count = len(assessment.prediction.cam)
    where = POSITIONS[index - count // 2] if index - count // 2 in POSITIONS else f"{index - count // 2} mm"
    font = picture_font(16)
    draw.text((PANELS_LEFT[0], 86), f"Slice {index + 1} of {count}: {where}", font=font, fill=TEXT, anchor="lm")
    draw.text((PANELS_LEFT[0], 107), "CT, lung window, with the tumour's contour", font=font, fill=TEXT, anchor="lm")
    draw.text((PANELS_LEFT[1], 86), "Class activation map of the network", font=font, fill=TEXT, anchor="lm")
    draw.text(
        (PANELS_LEFT[1], 107), "each cell: its share of the deep term, log-odds", font=font, fill=TEXT, anchor="lm"
    )


def _sides(draw: ImageDraw.ImageDraw, left: int, size: tuple[int, int]) -> None:
    """Mark the patient's right and left, front and back: the picture is seen from the feet."""
    font, middle = picture_font(14, bold=True), PANEL_TOP + size[1] // 2
    draw.text((left - 14, middle), "R", font=font, fill=TEXT, anchor="mm")
    draw.text((left + size[0] + 13, middle), "L", font=font, fill=TEXT, anchor="mm")


def _scale_bar(draw: ImageDraw.ImageDraw, left: int, size: tuple[int, int], per_mm: float) -> None:
    y, length = PANEL_TOP + size[1] - 14, round(10 * per_mm)
    draw.rectangle([(left + 11, y - 2), (left + 13 + length, y + 2)], fill=(255, 255, 255), outline=(0, 0, 0))
    draw.text(
        (left + 12, y - 14),
        "10 mm",
        font=picture_font(14, bold=True),
        fill=(255, 255, 255),
        anchor="lm",
        stroke_width=1,
        stroke_fill=(0, 0, 0),
    )


def _colour_bar(picture: Image.Image, draw: ImageDraw.ImageDraw, largest: float) -> None:
    """Draw the tints over a middle grey, with the ends' values; zero is no tint."""
    grey, low, high = Image.new("RGB", (BAR[1] - BAR[0], 1), (128, 128, 128)), PANEL_TOP + 20, PANEL_TOP + PANEL - 20
    for y in range(low, high):
        colour, alpha = _tint(1.0 - 2.0 * (y - low) / (high - 1 - low), 1.0)
        picture.paste(Image.blend(grey, Image.new("RGB", grey.size, colour), alpha), (BAR[0], y))
    draw.rectangle([(BAR[0], low), (BAR[1] - 1, high - 1)], outline=TEXT)
    font = picture_font(14)
    for y, value in ((low, largest), ((low + high) // 2, 0.0), (high - 1, -largest)):
        draw.text((BAR[1] + 5, y), wording.log_odds_text(value), font=font, fill=TEXT, anchor="lm")
    draw.text((BAR[0], low - 14), "raises", font=font, fill=TEXT, anchor="lm")
    draw.text((BAR[0], high + 12), "lowers", font=font, fill=TEXT, anchor="lm")


def _caption(
    draw: ImageDraw.ImageDraw, assessment: Assessment, index: int, size: tuple[int, int], per_mm: float
) -> None:
    prediction, model = assessment.prediction, assessment.model
    cell = f"{size[0] / per_mm / CAM_SIZE:.0f} x {size[1] / per_mm / CAM_SIZE:.0f} mm"
    count = len(prediction.cam)
    lines = (
        f"Resolution = 1/3 of the patch ({cell} a cell), not a cause: it shows what the network added up where, and no finer.",
        f"The cells add up to this slice's deep term, {wording.log_odds_text(float(prediction.cam[index].sum()))}; "
        f"the report's, {wording.log_odds_text(prediction.deep)}, is the mean of the {count} slices.",
        f"{wording.score_name(model)}: {wording.score_text(prediction.score)} "
        f"(this slice alone: {wording.score_text(float(prediction.slice_scores[index]))}). {wording.NO_SUBSTITUTE}",
        f"Model: {model.name[:60]}, version {model.version[:32]}. Contour: {wording.contour_source(assessment)}.",
    )
    for row, line in enumerate(lines):
        draw.text((PANELS_LEFT[0], 612 + 24 * row), line, font=picture_font(16), fill=TEXT, anchor="lm")
