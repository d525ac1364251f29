"""What other people's programs say of a structured report, and what the report itself holds to compare it with."""

from __future__ import annotations

import html
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from pydicom.dataset import Dataset

RequireTool = Callable[[str], str]


def run(*command: str | Path) -> str:
    """Everything that a tool says."""
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
    )
    return done.stdout.decode("utf-8", errors="replace")


def numbers(node: Dataset) -> Iterator[tuple[str, str, str]]:
    """Label, value and unit of every number in the report."""
    for item in node.get("ContentSequence", []):
        if item.ValueType == "NUM":
            measured = item.MeasuredValueSequence[0]
            unit = measured.MeasurementUnitsCodeSequence[0].CodeValue
            yield item.ConceptNameCodeSequence[0].CodeMeaning, str(measured.NumericValue), unit
        yield from numbers(item)


def codes_and_texts(node: Dataset) -> Iterator[tuple[str, str]]:
    """Label and value of every contained code and text."""
    for item in node.get("ContentSequence", []):
        if item.ValueType == "CODE" and item.RelationshipType == "CONTAINS":
            yield item.ConceptNameCodeSequence[0].CodeMeaning, item.ConceptCodeSequence[0].CodeMeaning
        if item.ValueType == "TEXT" and item.RelationshipType == "CONTAINS":
            yield item.ConceptNameCodeSequence[0].CodeMeaning, item.TextValue
        yield from codes_and_texts(item)


def rendered(require_tool: RequireTool, report: Path) -> str:
    """What dsr2html shows, as plain text on one line."""
    page = run(require_tool("dsr2html"), report)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))
