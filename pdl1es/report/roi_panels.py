"""The parts of the ROI picture: the slice in two windows with the contour, the class activation map, the whole slice.

Every part is a picture of its own in the patient's proportions, seen from the feet: the patient's right is left, the
front is up.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pdl1es.grid.whole_slice import WholeSlice
from pdl1es.model.prediction import CAM_SIZE
from pdl1es.report.typeface import picture_font

LUNG_WINDOW_HU: Final = (-600.0, 1500.0)
"""Centre and width."""
SOFT_TISSUE_WINDOW_HU: Final = (40.0, 400.0)
"""Centre and width."""

AROUND_THE_BODY_HU: Final = -300.0
"""The locator leaves out rows and columns in which nothing is denser."""
MARGIN_MM: Final = 8
"""Around the body on the locator."""

Colour = tuple[int, int, int]
CONTOUR: Final = (255, 214, 0)
HALO: Final = (0, 0, 0)
"""On either side of the contour: the yellow line stands out from dark tissue, its black border from bright tissue."""
LINE: Final = 2
"""Width of the contour, and of the halo on either side, pixels."""
WHITE: Final = (255, 255, 255)
NO_SHARE: Final = (52, 56, 64)
"""The map's colour of zero."""
RAISES: Final = (240, 120, 20)
LOWERS: Final = (40, 130, 240)
"""Orange and blue are told apart by every common kind of colour blindness."""
SMALLEST_LETTERS: Final = 6
"""Pixels."""


def windowed(hu: NDArray[np.float32] | NDArray[np.int16], window: tuple[float, float]) -> Image.Image:
    """Return a slice in grey.

    Parameters
    ----------
    hu
        Shape (rows, columns), HU.
    window
        Centre and width, HU.

    Returns
    -------
    Image
        Of one channel, 0 to 255, a pixel for each of ``hu``.
    """
    centre, width = window
    grey = (hu.astype(np.float64) - (centre - width / 2)) / width
    return Image.fromarray(np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8))


def slice_panel(
    hu: NDArray[np.float32], mask: NDArray[np.bool_], window: tuple[float, float], size: tuple[int, int]
) -> Image.Image:
    """Draw one slice of the patch with the tumour's contour.

    Parameters
    ----------
    hu, mask
        Shape (rows, columns), HU and tumour.
    window
        Centre and width, HU.
    size
        Width and height of the panel, pixels.

    Returns
    -------
    Image
        RGB.
    """
    panel = windowed(hu, window).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    outline(panel, mask)
    return panel


def outline(panel: Image.Image, mask: NDArray[np.bool_]) -> None:
    """Draw the tumour's contour with its halo.

    Parameters
    ----------
    panel
        RGB; it is drawn on.
    mask
        The tumour, stretched over the panel. The line lies inside the tumour, and not along the panel's own edge.
    """
    large = Image.fromarray(mask.astype(np.uint8) * 255).resize(panel.size, Image.Resampling.BILINEAR)
    tumour = np.asarray(large) >= 128
    inner = _eroded(tumour, LINE)
    line = tumour & ~inner
    around = ~_eroded(~tumour, LINE) & ~tumour
    within = inner & ~_eroded(inner, LINE)
    panel.paste(HALO, mask=_stencil(around | within))
    panel.paste(CONTOUR, mask=_stencil(line))


def tint(value: float, largest: float) -> Colour:
    """Return the map's colour of a share, the same in the cells and in the bar.

    Parameters
    ----------
    value
        Log-odds.
    largest
        The largest share of all slices, which has the full colour; 0 where all are 0.

    Returns
    -------
    tuple of int
        RGB. A share of zero is grey; with its size the colour goes to orange (raises) or blue (lowers).
    """
    strength = abs(value) / largest if largest > 0 else 0.0
    full = RAISES if value > 0 else LOWERS
    red, green, blue = (round(low + strength * (high - low)) for low, high in zip(NO_SHARE, full, strict=True))
    return red, green, blue


def map_panel(
    cells: NDArray[np.float64], labels: list[list[str]], mask: NDArray[np.bool_], largest: float, size: tuple[int, int]
) -> Image.Image:
    """Draw the class activation map beside the CT, not over it, so that no grey changes its colours.

    Parameters
    ----------
    cells
        One slice's shares, log-odds, shape (3, 3).
    labels
        What each cell says.
    mask
        The tumour on that slice; its contour is drawn, so that the eye finds the place.
    largest
        As for `tint`.
    size
        Width and height of the panel, pixels.

    Returns
    -------
    Image
        RGB.
    """
    panel = Image.new("RGB", size)
    columns, rows = _edges(size[0]), _edges(size[1])
    for row in range(CAM_SIZE):
        for column in range(CAM_SIZE):
            box = (columns[column], rows[row], columns[column + 1], rows[row + 1])
            panel.paste(tint(float(cells[row, column]), largest), box)
    outline(panel, mask)
    draw = ImageDraw.Draw(panel)
    for x in columns[1:-1]:
        draw.line([(x, 0), (x, size[1])], fill=WHITE, width=1)
    for y in rows[1:-1]:
        draw.line([(0, y), (size[0], y)], fill=WHITE, width=1)
    font = fitting([label for line in labels for label in line], columns[1] - columns[0] - 8, 24)
    for row in range(CAM_SIZE):
        for column in range(CAM_SIZE):
            centre = ((columns[column] + columns[column + 1]) // 2, (rows[row] + rows[row + 1]) // 2)
            draw.text(centre, labels[row][column], font=font, fill=WHITE, anchor="mm", stroke_width=2, stroke_fill=HALO)
    return panel


def locator_panel(whole: WholeSlice, rectangle: tuple[int, int, int, int], room: tuple[int, int]) -> Image.Image:
    """Draw the whole slice in the lung window, without the air around the body, with the box that the other panels show.

    Parameters
    ----------
    whole
        The slice.
    rectangle
        (x_low, y_low, x_high, y_high) in grid coordinates, both ends included.
    room
        Largest width and height, pixels.

    Returns
    -------
    Image
        RGB, as large as the room allows.
    """
    rows, columns = _body(whole, rectangle)
    shown = whole.hu[rows, columns]
    height, width = shown.shape
    scale = min(room[0] / width, room[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    panel = windowed(shown, LUNG_WINDOW_HU).resize(size, Image.Resampling.BOX).convert("RGB")
    first = whole.origin[0] + columns.start, whole.origin[1] + rows.start
    low = [round((rectangle[axis] - first[axis]) * scale) for axis in (0, 1)]
    high = [round((rectangle[axis + 2] + 1 - first[axis]) * scale) for axis in (0, 1)]
    draw = ImageDraw.Draw(panel)
    for beyond, colour, line in ((2 * LINE, HALO, 3 * LINE), (LINE, CONTOUR, LINE)):
        draw.rectangle(
            [(low[0] - beyond, low[1] - beyond), (high[0] + beyond, high[1] + beyond)], outline=colour, width=line
        )
    return panel


def _body(whole: WholeSlice, rectangle: tuple[int, int, int, int]) -> tuple[slice, slice]:
    """Return the rows and columns that hold anything denser than air, or the box, with a margin."""
    dense = whole.hu > AROUND_THE_BODY_HU
    found = []
    for axis in (1, 0):
        held = np.flatnonzero(dense.any(axis=axis))
        box = rectangle[axis] - whole.origin[axis], rectangle[axis + 2] - whole.origin[axis]
        first, last = min([*held[:1], box[0]]), max([*held[-1:], box[1]])
        found.append(slice(max(0, int(first) - MARGIN_MM), int(last) + 1 + MARGIN_MM))
    return found[0], found[1]


def fitting(texts: list[str], width: float, largest: int) -> ImageFont.FreeTypeFont:
    """Return the largest bold letters with which every text fits into a width.

    Parameters
    ----------
    texts
        Each is one line.
    width
        Pixels.
    largest
        Height of the letters, pixels; they are never smaller than `SMALLEST_LETTERS`.

    Returns
    -------
    FreeTypeFont
    """
    fonts = (picture_font(size, bold=True) for size in range(largest, SMALLEST_LETTERS, -1))
    found = (font for font in fonts if max(font.getlength(text) for text in texts) <= width)
    return next(found, picture_font(SMALLEST_LETTERS, bold=True))


def _edges(length: int) -> list[int]:
    return [round(length * step / CAM_SIZE) for step in range(CAM_SIZE + 1)]


def _stencil(mask: NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255)


def _eroded(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """Return the pixels whose neighbours, so many steps away, are in the mask too; beyond the picture all count as in it.

    As scipy.ndimage.binary_erosion with a border value of 1, whose import takes 0.25 s.
    """
    for _ in range(steps):
        padded = np.pad(mask, 1, constant_values=True)
        across = padded[1:-1, :-2] & padded[1:-1, 2:]
        mask = mask & across & padded[:-2, 1:-1] & padded[2:, 1:-1]
    return mask
