"""The kinds of DICOM reports, and the series that each goes into."""

from __future__ import annotations

from typing import Final, Literal, get_args

ReportKind = Literal["sr", "cam", "pdf", "kos"]
"""Structured report, picture of the class activation map, page, Key Object Selection."""
REPORT_KINDS: Final[tuple[ReportKind, ...]] = get_args(ReportKind)
"""In the order in which ``result.json`` lists them, and of their series numbers."""
DEFAULT_SERIES_NUMBER: Final = 9601
"""Of the structured reports: above what scanners number their series with."""


def series_number_of(kind: ReportKind, first: int) -> int:
    """Return the number of the series that holds a study's reports of one kind.

    Parameters
    ----------
    kind
        Of the reports.
    first
        Number of the structured reports' series; pictures, pages and key objects follow with the next three.

    Returns
    -------
    int
    """
    return first + REPORT_KINDS.index(kind)
