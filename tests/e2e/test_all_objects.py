"""Every kind of object that the application writes, before dicom3tools' verifiers: no error, one study."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from pdl1es.run import run_study
from pdl1es.settings import DEFAULT_FILE, load_settings
from tests.e2e.written_reports import WHEN, Written

RequireTool = Callable[[str], str]

EXPLAINED_WARNINGS = (
    # No standard code exists for a score of PD-L1 expression from CT; the scheme is declared in the object.
    re.compile(r"Unrecognized defined term <99PDL1ES> for value 1 of attribute <Coding Scheme Designator>"),
    # IHE AI Results 6.5.3.1 asks for it in the Contributing Equipment Sequence.
    re.compile(r"Attribute is not present in standard DICOM IOD - \(0x0018,0x1002\) UI Device UID"),
    re.compile(r"this is a Standard Extended SOP Class"),
    # What the images themselves lack.
    re.compile(r"Missing attribute or value that would be needed to build DICOMDIR"),
)
IOD = {
    "sr": "ComprehensiveSR",
    "cam": "MultiframeTrueColorSCImage",
    "pdf": "EncapsulatedPDF",
    "kos": "KeyObjectSelectionDocument",
}


def said(*command: str | Path) -> list[str]:
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False
    )
    return done.stdout.decode("utf-8", errors="replace").splitlines()


def unexplained(lines: list[str]) -> list[str]:
    return [line for line in lines if not any(known.search(line) for known in EXPLAINED_WARNINGS)]


@pytest.fixture(scope="module")
def refusal(written: Written, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the same study without its SEG."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "study").mkdir()
    for path in written.ct:
        (folder / "study" / path.name).write_bytes(path.read_bytes())
    settings = load_settings(DEFAULT_FILE).model_copy(update={"report_refusals": True})
    outcome = run_study(
        folder / "study", folder / "out", settings=settings, model_folder=repository / "models", when=WHEN
    )
    assert outcome.refusal is not None
    assert outcome.result is not None
    (report,) = outcome.result.reports
    return folder / "out" / report.file


@pytest.mark.parametrize("kind", ["sr", "cam", "pdf", "kos"])
def test_dciodvfy_finds_no_error_and_no_warning_that_is_not_explained(
    kind: str, written: Written, require_tool: RequireTool
) -> None:
    assert unexplained(said(require_tool("dciodvfy"), written.reports[kind])) == [IOD[kind]]


def test_dciodvfy_finds_no_error_in_the_report_of_a_refusal(refusal: Path, require_tool: RequireTool) -> None:
    assert unexplained(said(require_tool("dciodvfy"), refusal)) == ["ComprehensiveSR"]


def test_dcentvfy_finds_all_objects_consistent_with_ct_and_seg(
    written: Written, refusal: Path, require_tool: RequireTool
) -> None:
    lines = said(require_tool("dcentvfy"), *written.reports.values(), refusal, written.segmentation, *written.ct)
    assert [line for line in lines if line.startswith("Error")] == []


def test_dsr2html_shows_why_a_study_was_not_analysed(refusal: Path, require_tool: RequireTool) -> None:
    page = " ".join(re.sub(r"<[^>]+>", " ", " ".join(said(require_tool("dsr2html"), refusal))).split())
    assert "PD-L1ES did not analyse this study: there is no score." in page
    assert "Reason: NO_SEG" in page
    assert "Summary of Analyses: Not Attempted" in page


def test_the_selection_names_the_roi_image_first_and_every_report(written: Written) -> None:
    selection = pydicom.dcmread(written.reports["kos"])
    reports = {kind: pydicom.dcmread(path, stop_before_pixels=True) for kind, path in written.reports.items()}
    named = [
        (item.ValueType, item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in selection.ContentSequence
        if "ReferencedSOPSequence" in item
    ]
    # The page refers to the image of the ROI slice first.
    roi = reports["pdf"].SourceInstanceSequence[0].ReferencedSOPInstanceUID
    assert named == [
        ("IMAGE", roi),
        ("COMPOSITE", reports["sr"].SOPInstanceUID),
        ("IMAGE", reports["cam"].SOPInstanceUID),
        ("COMPOSITE", reports["pdf"].SOPInstanceUID),
    ]
    texts = {
        kind: {
            item.ConceptNameCodeSequence[0].CodeMeaning: item.TextValue
            for item in document.ContentSequence
            if item.ValueType == "TEXT"
        }
        for kind, document in (("sr", reports["sr"]), ("kos", selection))
    }
    described = texts["kos"]["Key Object Description"]
    assert texts["sr"]["Summary"] in described
    assert described.startswith("DEMONSTRATION MODEL")
    evidence = {
        item.ReferencedSOPInstanceUID
        for study in selection.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert {uid for _, uid in named} <= evidence


def test_the_page_has_its_fonts_within(written: Written, require_tool: RequireTool, tmp_path: Path) -> None:
    document = pydicom.dcmread(written.reports["pdf"])
    (tmp_path / "page.pdf").write_bytes(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength])
    fonts = said(require_tool("pdffonts"), tmp_path / "page.pdf")[2:]
    assert len(fonts) >= 2
    for font in fonts:
        name, embedded = font.split()[0], re.search(r"\b(yes|no)\b", font)
        assert "NotoSans" in name
        assert embedded is not None
        assert embedded[0] == "yes"
