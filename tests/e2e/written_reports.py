"""What the application wrote of one study, and what a reader of its structured report has to find in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydicom.dataset import Dataset

from pdl1es.report.result import ResultDocument

WHEN = datetime(2025, 1, 16, 8, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Written:
    """A study and the reports of it.

    Attributes
    ----------
    ct, segmentation
        The study's files.
    reports
        The reports' files by kind: sr, cam, pdf.
    result
        What ``result.json`` holds.
    """

    ct: tuple[Path, ...]
    segmentation: Path
    reports: dict[str, Path]
    result: ResultDocument


@dataclass(frozen=True)
class Line:
    """One labelled line of the report: a number with its unit, a code or a text."""

    kind: str
    label: str
    value: str
    unit: str = ""
    unit_meaning: str = ""


def lines(node: Dataset) -> Iterator[Line]:
    """Every number, and every contained code and text, in document order, by pydicom alone."""
    for item in node.get("ContentSequence", []):
        label = item.ConceptNameCodeSequence[0].CodeMeaning
        if item.ValueType == "NUM":
            measured = item.MeasuredValueSequence[0]
            unit = measured.MeasurementUnitsCodeSequence[0]
            yield Line("NUM", label, str(measured.NumericValue), unit.CodeValue, unit.CodeMeaning)
        elif item.RelationshipType == "CONTAINS" and item.ValueType == "CODE":
            yield Line("CODE", label, item.ConceptCodeSequence[0].CodeMeaning)
        elif item.RelationshipType == "CONTAINS" and item.ValueType == "TEXT":
            yield Line("TEXT", label, item.TextValue)
        yield from lines(item)


def one_line(text: str) -> str:
    """Text with every run of blanks and line ends as one blank."""
    return re.sub(r"\s+", " ", text).strip()


def shown_value(line: Line) -> str:
    """A line's value as the viewer shows it, which drops a number's plus and its last zeros."""
    if line.kind != "NUM":
        return line.value
    return f"{float(line.value):g} {line.unit}"
