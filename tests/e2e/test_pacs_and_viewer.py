"""The reports in a real PACS and a real viewer: what goes in comes back, and a reader sees what must be seen."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from pdl1es.report import wording
from tests.e2e.pacs import Pacs, is_listening, running_pacs
from tests.e2e.viewer import BROWSER_FLAGS, WAIT
from tests.e2e.written_reports import Written, lines, one_line, shown_value

RequireTool = Callable[[str], str]
README_PICTURE = {"x": 286, "y": 50, "width": 1276, "height": 945}
"""The viewport without the viewer's own bars: ``docs/images/report.png`` is this artefact; ``picture.png`` and ``page.png``
beside it are further ones."""


@pytest.fixture(scope="module")
def stored(pacs: Pacs, written: Written, require_tool: RequireTool) -> str:
    """Study and reports, stored: CT and SEG by C-STORE, the SR too, picture and page by STOW-RS. Gives the study's UID."""
    said = pacs.store(require_tool("storescu"), [*written.ct, written.segmentation, written.reports["sr"]])
    assert said.count("Received Store Response (Success)") == len(written.ct) + 2
    answer = pacs.stow([written.reports["cam"], written.reports["pdf"]])
    assert len(answer["00081199"]["Value"]) == 2
    assert not answer.get("00081198", {}).get("Value"), "STOW-RS refused an object"
    return str(pydicom.dcmread(written.ct[0], stop_before_pixels=True).StudyInstanceUID)


@pytest.fixture(scope="module")
def browser(require_tool: RequireTool) -> Iterator[Any]:
    """Headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=require_tool("chromium"), args=list(BROWSER_FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page(browser: Any, viewer: str, stored: str) -> Any:
    """The study, opened in the viewer."""
    opened = browser.new_page(viewport={"width": 1600, "height": 1000})
    opened.goto(f"{viewer}/viewer?StudyInstanceUIDs={stored}", timeout=WAIT)
    opened.get_by_text("Skip all").click(timeout=WAIT)
    # The CT is on the screen when its window is: another view opened earlier makes the viewer stumble.
    opened.get_by_text("W:", exact=True).first.wait_for(timeout=WAIT)
    return opened


@pytest.fixture(scope="module")
def seen(page: Any, report: Dataset, artefacts: Path) -> str:
    """What a reader sees of the structured report, as text."""
    page.get_by_text(report.SeriesDescription, exact=True).first.dblclick(timeout=WAIT)
    page.get_by_text("Oncology Measurement Report").first.wait_for(timeout=WAIT)
    page.wait_for_timeout(500)
    page.screenshot(path=artefacts / "report_in_viewer.png")
    page.screenshot(path=artefacts / "report.png", clip=README_PICTURE)
    return one_line(page.inner_text("body"))


def test_the_study_comes_back_whole_from_both_services(stored: str, pacs: Pacs, written: Written) -> None:
    series = pacs.get(f"/studies/{stored}/series?includefield=0008103E")
    found = {
        (item["00080060"]["Value"][0], item["00200011"]["Value"][0]): item["0008103E"]["Value"][0] for item in series
    }
    assert found[("SR", 9601)] == "DEMO PD-L1ES report, not clinical"
    assert found[("OT", 9602)] == "DEMO PD-L1ES map, not clinical"
    assert found[("DOC", 9603)] == "DEMO PD-L1ES page, not clinical"
    assert {modality for modality, _ in found} == {"CT", "SEG", "SR", "OT", "DOC"}


@pytest.mark.parametrize("kind", ["sr", "cam", "pdf"])
def test_an_object_comes_back_as_it_was_sent(kind: str, stored: str, pacs: Pacs, written: Written) -> None:
    sent = pydicom.dcmread(written.reports[kind])
    (instance,) = pacs.get(f"/studies/{stored}/series/{sent.SeriesInstanceUID}/instances")
    assert instance["00080018"]["Value"] == [sent.SOPInstanceUID]
    assert pydicom.dcmread(io.BytesIO(pacs.file(sent.SOPInstanceUID))) == sent


def test_storing_a_report_twice_changes_nothing(
    stored: str, pacs: Pacs, written: Written, require_tool: RequireTool
) -> None:
    before = len(pacs.get(f"/studies/{stored}/instances"))
    pacs.store(require_tool("storescu"), [written.reports["sr"]])
    assert len(pacs.get(f"/studies/{stored}/instances")) == before


def test_the_viewer_meets_no_error(seen: str) -> None:
    assert "went wrong" not in seen


def test_the_viewer_shows_what_the_model_is_not_for_before_anything_else(seen: str) -> None:
    text = seen[seen.index("Oncology Measurement Report") :]
    assert text.startswith(
        "Oncology Measurement Report Notice: DEMONSTRATION MODEL - NOT FOR CLINICAL USE (research use"
    )


def test_the_viewer_shows_score_groups_and_model(seen: str, written: Written) -> None:
    assessment = written.result.assessment
    assert assessment is not None
    assert f"PD-L1ES score (0 to 1; not a probability): {assessment.score:.3f}" in seen
    assert f"PD-L1ES score (0 to 1; not a probability): {float(f'{assessment.score:.3f}'):g} {{score}}" in seen
    group = "High risk" if assessment.groups.risk.group == "high risk" else "Low risk"
    assert f"Estimated risk of progression under first-line pembrolizumab: {group}" in seen
    assert f"Model: {assessment.model.name}, version {assessment.model.version}" in seen
    assert f"Trained on: {one_line(assessment.model.trained_on)}" in seen


def test_the_viewer_shows_every_warning_and_limit(seen: str, written: Written) -> None:
    assert {"THICK_SLICES"} <= {warning.code for warning in written.result.warnings}
    for warning in written.result.warnings:
        assert f"Warning: {one_line(warning.message)}" in seen
    assert f"Not a substitute: {wording.NO_SUBSTITUTE}" in seen
    assert f"Applies to: {wording.APPLIES_TO}" in seen
    assert written.result.assessment is not None
    for limitation in written.result.assessment.model.limitations:
        assert f"Limitation: {one_line(limitation)}" in seen


def test_the_viewer_shows_every_number_code_and_text_with_its_label(seen: str, report: Dataset) -> None:
    missing = [line for line in lines(report) if f"{line.label}: {one_line(shown_value(line))}" not in seen]
    assert missing == []


def test_the_viewer_shows_references_last(seen: str) -> None:
    assert seen.index("Referenced Segment:") > seen.index("Algorithm Name:") > seen.index("Sum of the contributions:")


def test_the_viewer_draws_the_class_activation_map(page: Any, seen: str, written: Written, artefacts: Path) -> None:
    """Its red band and its tints are on the screen, in the picture's own colours."""
    cam = pydicom.dcmread(written.reports["cam"])
    page.get_by_text(cam.SeriesDescription, exact=True).first.dblclick(timeout=WAIT)
    page.get_by_text("(1/3)").first.wait_for(timeout=WAIT)
    band = np.array([176, 20, 32])
    for _ in range(40):
        page.wait_for_timeout(250)
        screen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
        red = np.abs(screen - band).max(axis=2) < 12
        if red.sum() > 20_000:
            break
    page.screenshot(path=artefacts / "cam_in_viewer.png")
    Image.fromarray(cam.pixel_array[0]).save(artefacts / "picture.png")
    assert red.sum() > 20_000, "the notice's band is not on the screen"


def test_the_page_is_served_and_reads_as_text(
    stored: str, pacs: Pacs, written: Written, require_tool: RequireTool, artefacts: Path
) -> None:
    """The headless browser has no PDF viewer of its own, so that the page is rendered by poppler, from the PACS's copy."""
    from tests.e2e.poppler import page_text, rendered_page

    sent = pydicom.dcmread(written.reports["pdf"])
    (instance,) = pacs.get(f"/studies/{stored}/series/{sent.SeriesInstanceUID}/metadata")
    assert instance["00420012"]["Value"] == ["application/pdf"]
    sent = pydicom.dcmread(io.BytesIO(pacs.file(sent.SOPInstanceUID)))
    pdf = sent.EncapsulatedDocument[: sent.EncapsulatedDocumentLength]
    text = page_text(require_tool("pdftotext"), pdf)
    assert written.result.assessment is not None
    assert "NOT FOR CLINICAL USE" in text
    assert f"{written.result.assessment.score:.3f}" in text
    for warning in written.result.warnings:
        assert one_line(warning.message) in text
    picture = rendered_page(require_tool("pdftoppm"), pdf, artefacts / "page")
    assert np.asarray(picture).std() > 20


def test_the_pacs_leaves_no_port_open(require_tool: RequireTool, tmp_path: Path) -> None:
    with running_pacs(require_tool("Orthanc"), tmp_path) as short:
        assert is_listening(short.http_port)
        assert is_listening(short.dicom_port)
    assert not is_listening(short.http_port)
    assert not is_listening(short.dicom_port)
