"""The structured report as four programs of other people render it, against what pydicom alone reads."""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.e2e.written_reports import Line, Written, lines, one_line

RequireTool = Callable[[str], str]
PIXELMED = "/usr/share/java/pixelmed.jar"
JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.awt.headless=true")
"""A short run: compiling less of it takes half the time."""

EXPLAINED_ERRORS = (
    # CID 100 is extensible (PS3.16), and LOINC 24627-2 'CT Chest' says more than its own 'CT unspecified body region'.
    re.compile(r"Code \(24627-2,LN,\"CT Chest\"\) not found in context group 100$"),
)
"""The same as the table in docs/dicom-conformance.md."""


def said(*command: str | Path, timeout: int = 120) -> str:
    """Everything that a tool says, on both channels."""
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False
    )
    return done.stdout.decode("utf-8", errors="replace")


@pytest.fixture(scope="module")
def path(written: Written) -> Path:
    """The structured report's file."""
    return written.reports["sr"]


@pytest.fixture(scope="module")
def numbers(report: Dataset) -> list[Line]:
    """Every number of the report."""
    found = [line for line in lines(report) if line.kind == "NUM"]
    assert len(found) >= 10
    return found


def by_dsrdump(require_tool: RequireTool, path: Path) -> list[tuple[str, str, str]]:
    dumped = said(require_tool("dsrdump"), "+Pl", path)
    return re.findall(r'NUM:\(,,"([^"]+)"\)="([^"]+)" \(([^,]+),UCUM', dumped)


def by_dsr2html(require_tool: RequireTool, path: Path, numbers: list[Line]) -> list[tuple[str, str, str]]:
    page = one_line(html.unescape(re.sub(r"<[^>]+>", " ", said(require_tool("dsr2html"), path))))
    page = page[page.index("Imaging Measurements") :]  # the summary before it names the score too
    return [
        (line.label, *found)
        for line in numbers
        for found in re.findall(re.escape(line.label) + r": ([-+]?[0-9.]+) (\S+)", page)
    ]


def by_tid1500reader(require_tool: RequireTool, path: Path, folder: Path) -> list[tuple[str, str, str]]:
    output = folder / "measurements.json"
    said(require_tool("tid1500reader"), "--inputDICOM", path, "--outputMetadata", output)
    (group,) = json.loads(output.read_text(encoding="utf-8"))["Measurements"]
    return [
        (item["quantity"]["CodeMeaning"], item["value"], item["units"]["CodeValue"])
        for item in group["measurementItems"]
    ]


def by_pixelmed(require_tool: RequireTool, path: Path) -> list[tuple[str, str, str]]:
    """PixelMed shows a unit's meaning, not its code."""
    tree = said(
        require_tool("java"), *JVM, "-cp", require_tool(PIXELMED),
        "com.pixelmed.dicom.StructuredReport", path,
    )  # fmt: skip
    return re.findall(r"NUM: (.+?) = ([-+]?[0-9.]+) (\S+)", tree)


def test_four_programs_read_the_same_labels_numbers_and_units(
    path: Path, numbers: list[Line], require_tool: RequireTool, tmp_path: Path
) -> None:
    with_code = sorted((line.label, line.value, line.unit) for line in numbers)
    with_meaning = sorted((line.label, line.value, line.unit_meaning) for line in numbers)
    assert sorted(by_dsrdump(require_tool, path)) == with_code
    assert sorted(by_dsr2html(require_tool, path, numbers)) == with_code
    assert sorted(by_tid1500reader(require_tool, path, tmp_path)) == with_code
    assert sorted(by_pixelmed(require_tool, path)) == with_meaning


def test_pixelmeds_validator_finds_no_error_that_is_not_explained(path: Path, require_tool: RequireTool) -> None:
    """It always exits with 0; what it says counts. Its warnings are of items that an extensible template doesn't name."""
    limits = [f"-Djdk.xml.{name}=0" for name in ("xpathTotalOpLimit", "xpathExprGrpLimit", "xpathExprOpLimit")]
    lines_said = said(
        require_tool("java"), *JVM, *limits, "-cp", require_tool(PIXELMED),
        "com.pixelmed.validate.DicomSRValidator", path,
    ).splitlines()  # fmt: skip
    assert "Found Root Template TID_1500 (MeasurementReport)" in lines_said
    assert "IOD validation complete" in lines_said
    errors = [line for line in lines_said if line.startswith("Error")]
    assert [error for error in errors if not any(known.search(error) for known in EXPLAINED_ERRORS)] == []
    warnings = [line for line in lines_said if line.startswith("Warning")]
    assert [warning for warning in warnings if not warning.endswith("Content Item not in template")] == []
