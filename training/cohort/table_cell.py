"""What a single cell of a cohort's table means: numbers, dates and tumour proportion scores as hospitals write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

from training.cohort.rules import HIGH_EXPRESSION_TPS
from training.errors import UsageError

DAYS_PER_MONTH: Final = 365.25 / 12

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_COMMA: Final = re.compile(r"[+-]?\d+,\d+")
_THOUSANDS: Final = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_DATE: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})( 00:00(:00)?)?", re.ASCII)
_YEAR_FIRST: Final = re.compile(
    r"(?:(\d{4})([-/.])(\d{1,2})\2(\d{1,2})|(\d{4})年(\d{1,2})月(\d{1,2})日|((?:19|20)\d{2})(\d{2})(\d{2}))"
    r"(?: \d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?",
    re.ASCII,
)
_DAY_MONTH: Final = re.compile(r"\d{1,2}([-/.])\d{1,2}\1(\d{2}|\d{4})", re.ASCII)
_POINT: Final = re.compile(r"[1-9]\d{0,2}\.\d{3}", re.ASCII)
_SIGNS: Final = str.maketrans({"≥": ">=", "≧": ">=", "≤": "<=", "≦": "<=", "＞": ">", "＜": "<", "％": "%", "–": "-", "—": "-", "～": "-", "~": "-"})  # fmt: skip
_BOUND: Final = re.compile(r"(>=|<=|>|<)(\d+(?:\.\d+)?)")
_RANGE: Final = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")


class CohortTableError(UsageError):
    """The table cannot be read at all; the message says why."""


class CellError(ValueError):
    """A cell is not what its column holds; the message says what it should be, and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Expression:
    """What a cell says of the tumour proportion score.

    Attributes
    ----------
    tps
        Per cent; None where the cell is an interval, because no number within it is known.
    label
        1 or 0 where an interval lies on one side of 50 %; None where ``tps`` says it.
    """

    tps: str | None
    label: int | None


def number_text(value: str) -> str:
    """Return a number with a decimal point; a decimal comma is read as one.

    Parameters
    ----------
    value
        A cell's text of a number, stripped.

    Returns
    -------
    str

    Raises
    ------
    CellError
        It is no number, or a comma could divide thousands.
    """
    if value.startswith("#"):
        raise CellError("it is a spreadsheet's error: correct its formula, or empty the cell")
    if _NUMBER.fullmatch(value):
        return value
    if _THOUSANDS.fullmatch(value):
        raise CellError("the comma could divide thousands or decimals: write a decimal point, or no comma")
    if _COMMA.fullmatch(value):
        return value.replace(",", ".")
    raise CellError("it is no number")


def days_text(value: str) -> str:
    """Return a number of days, as `number_text`; a point that could divide thousands (``1.234``) is refused too."""
    if _POINT.fullmatch(value):
        raise CellError("the point could divide thousands or decimals: write whole days")
    return number_text(value)


def date_text(value: str) -> str:
    """Return a date as YYYY-MM-DD.

    Parameters
    ----------
    value
        A cell's text of a date, stripped: the year first, in whatever way it is divided (``2020/1/5``, ``20200105``); a
        time of day is left out.

    Returns
    -------
    str

    Raises
    ------
    CellError
        It is written otherwise, or there is no such day. A spreadsheet's count of days, and dates whose day and month
        could be exchanged, are told apart.
    """
    if found := _YEAR_FIRST.fullmatch(value):
        year, month, day = (int(part) for part in found.groups() if part is not None and part.isdigit())
        try:
            return date(year, month, day).isoformat()
        except ValueError:
            raise CellError("there is no such day") from None
    if _DAY_MONTH.fullmatch(value):
        raise CellError("day and month could be exchanged, or the century is missing")
    if value.replace(".", "", 1).isdigit():
        raise CellError("it is a number, as spreadsheets store dates: format the column as a date")
    raise CellError("it is no date as YYYY-MM-DD")


def is_plain_date(value: str) -> bool:
    """Tell whether a date is written as YYYY-MM-DD, so that nothing about its reading has to be told."""
    return _DATE.fullmatch(value) is not None


def expression(value: str) -> Expression:
    """Read a tumour proportion score.

    Parameters
    ----------
    value
        A number of per cent, with or without the sign; or an interval: ``>=50 %``, ``<1``, ``50-60``.

    Returns
    -------
    Expression
        An interval gives the label alone, where all of it lies on one side of 50 %. ``<1`` is 0 %, as pathologists
        report no stained cell.

    Raises
    ------
    CellError
        It is neither, or an interval holds scores on both sides of 50 %.
    """
    if _DATE.fullmatch(value):
        raise CellError("it is a date: spreadsheets make one of 1-5; format the column as text")
    text = value.translate(_SIGNS).replace(" ", "").replace("\u00a0", "").replace("%", "")
    if bound := _BOUND.fullmatch(re.sub(r"(\d),(\d)", r"\1.\2", text)):
        sign, limit = bound[1], float(bound[2])
        if sign == "<" and limit == 1:
            return Expression("0", None)
        low, high, above = (limit, 100.0, 0) if sign[0] == ">" else (0.0, limit, 1)
        # TPS < 50 lies below 50, TPS <= 50 does not.
        reaches = high > HIGH_EXPRESSION_TPS or (high == HIGH_EXPRESSION_TPS and not (above and sign == "<"))
        return _interval(low, high, reaches)
    if span := _RANGE.fullmatch(re.sub(r"(\d),(\d)", r"\1.\2", text)):
        low, high = float(span[1]), float(span[2])
        return _interval(low, high, high >= HIGH_EXPRESSION_TPS)
    return Expression(number_text(text), None)


def _interval(low: float, high: float, reaches: bool) -> Expression:
    if not 0 <= low <= high <= 100:
        raise CellError("the interval is not within 0 to 100")
    if low >= HIGH_EXPRESSION_TPS:
        return Expression(None, 1)
    if not reaches:
        return Expression(None, 0)
    raise CellError(f"the interval holds scores on both sides of {HIGH_EXPRESSION_TPS:g} %: the label is not known")
