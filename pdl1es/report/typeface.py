"""The typeface of pictures and PDF: Noto Sans. Its files come with a Python package, so that all machines have the same."""

from __future__ import annotations

from functools import cache
from io import BytesIO

from PIL import ImageFont
from pymupdf_fonts import NotoSans_Bold, NotoSans_Regular


@cache
def typeface(bold: bool = False) -> bytes:
    """Return the font's file (TrueType, SIL Open Font Licence 1.1)."""
    return bytes((NotoSans_Bold if bold else NotoSans_Regular).fontbuffer)


@cache
def picture_font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font for pictures.

    The layout engine is Pillow's own: the other one depends on libraries that a machine may lack.

    Parameters
    ----------
    size
        Height, pixels.
    bold
        Whether the letters are bold.

    Returns
    -------
    FreeTypeFont
    """
    return ImageFont.truetype(BytesIO(typeface(bold)), size, layout_engine=ImageFont.Layout.BASIC)
