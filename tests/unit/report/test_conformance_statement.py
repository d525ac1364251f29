"""The conformance statement says what the software does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pdl1es import __version__
from pdl1es.dicom.pixels.frames import ENCAPSULATED_TRANSFER_SYNTAXES, NATIVE_TRANSFER_SYNTAXES
from pdl1es.dicom.segmentation import SEGMENTATION_SOP_CLASSES
from pdl1es.dicom.series import CT_SOP_CLASSES
from pdl1es.dicom.structure_set import RT_STRUCTURE_SET
from pdl1es.report.codes import code_table
from pdl1es.report.refusal_report import REASON_CODES


@pytest.fixture(scope="module")
def statement(repository: Path) -> str:
    return (repository / "docs" / "dicom-conformance.md").read_text(encoding="utf-8")


def test_it_is_of_this_version(statement: str) -> None:
    assert f"PD-L1ES, version {__version__}." in statement


def test_it_lists_every_code_of_the_reports_and_no_other(statement: str) -> None:
    """`python -m pdl1es.report.codes` prints the table."""
    assert code_table() in statement


def test_it_lists_every_reason_of_a_refusal(statement: str) -> None:
    assert re.findall(r"^\| (R-\S+) \| `(\w+)` \|$", statement, re.MULTILINE) == [
        (value, code.name) for code, value in REASON_CODES.items()
    ]


def test_it_lists_every_sop_class_that_is_read(statement: str) -> None:
    read = set(re.findall(r"^\| [^|]+ \| ([\d.]+) \| read \|$", statement, re.MULTILINE))
    assert read == {str(uid) for uid in CT_SOP_CLASSES | SEGMENTATION_SOP_CLASSES | {RT_STRUCTURE_SET}}


def test_it_lists_every_transfer_syntax_that_is_read(statement: str) -> None:
    root = "1.2.840.10008.1.2"
    row = {kind: next(line for line in statement.splitlines() if line.startswith(f"| read, {kind}")) for kind in
           ("native", "encapsulated")}  # fmt: skip
    native = {root + tail for tail in re.findall(r"\((\.[\d.]+)\)", row["native"])} | {root}
    encapsulated = {root + tail for tail in re.findall(r"[( ](\.[\d.]+)[,)]", row["encapsulated"])}
    assert native == {str(uid) for uid in NATIVE_TRANSFER_SYNTAXES}
    assert encapsulated == {str(uid) for uid in ENCAPSULATED_TRANSFER_SYNTAXES}


def test_every_concept_that_it_names_exists(statement: str) -> None:
    named = set(re.findall(r"\(([A-Z][A-Z0-9]*(?:-[A-Z0-9]+)+)[,)]", statement))
    known = set(re.findall(r"^\| 99PDL1ES \| (\S+) \|", code_table(), re.MULTILINE))
    assert named - {"UTF-8"} <= known
