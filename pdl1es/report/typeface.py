"""The typeface of pictures and PDF: Noto Sans. Its files come with a Python package, so that all machines have the same."""

from __future__ import annotations

from functools import cache
from io import BytesIO

from PIL import ImageFont
from pymupdf_fonts import NotoSans_Bold, NotoSans_Regular
from reportlab.pdfbase.ttfonts import TTFontFile


@cache
def typeface(bold: bool = False) -> bytes:
    """Return the font's file (TrueType, SIL Open Font Licence 1.1)."""
    return bytes((NotoSans_Bold if bold else NotoSans_Regular).fontbuffer)


@cache
def _letters() -> frozenset[int]:
    return frozenset(TTFontFile(BytesIO(typeface())).charToGlyph)


def has_letters(text: str) -> bool:
    """Return whether the typeface has every letter of a text: Latin, Greek, Cyrillic and common signs."""
    return all(ord(letter) in _letters() for letter in text)


def in_own_letters(text: str, whole: str) -> str:
    """Return a text in letters that the typeface has, on one line, and say so where it lost any.

    Parameters
    ----------
    text
        Anything; line ends become spaces.
    whole
        Where the whole text stands, as ``"the DICOM header"``.

    Returns
    -------
    str
        With ``?`` for each letter that the typeface lacks, and then a note behind it.
    """
    line = " ".join(text.split())
    if has_letters(line):
        return line
    shown = "".join(letter if ord(letter) in _letters() else "?" for letter in line)
    return f"{shown} (? for letters that are not printed here: see {whole})"


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
