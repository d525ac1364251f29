"""The whole route with everything real: an Orthanc routes to `pdl1es serve`, and the reports come back to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from gateway.clock import utc_now
from gateway.objects.index import ObjectIndex
from gateway.records import StudyKey
from tests.e2e.gateway_site import GatewaySite, predecessors, running_site, study_uid
from tests.e2e.viewer import BROWSER_FLAGS, WAIT, served_viewer, viewer_files
from tests.e2e.written_reports import lines, one_line, shown_value
from tests.gateway.processes.served import copy_with_other_uids, parts_of
from tests.waiting import until

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

RequireTool = Callable[[str], str]

pytestmark = pytest.mark.xdist_group("gateway_route")

ROUTE_EVERYTHING = """
function OnStableStudy(studyId, tags, metadata, origin)
  RestApiPost('/modalities/pdl1es/store', DumpJson({ Resources = { studyId }, Synchronous = false }, true), true)
end
"""


@pytest.fixture(scope="module")
def site(
    require_tool: RequireTool, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewaySite]:
    """An Orthanc that routes every study as often as it changes, with what the gateway sent to it, and the gateway."""
    require_tool("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    folder = tmp_path_factory.mktemp("route")
    script = folder / "everything.lua"
    script.write_text(ROUTE_EVERYTHING, encoding="utf-8")
    with running_site(folder, repository, require_tool("Orthanc"), script) as made:
        yield made


def wait_for_reports(site: GatewaySite, study: str, count: int) -> None:
    """Wait until the PACS has so many reports of a study, and every delivery is confirmed."""
    until(lambda: len(site.reports(study)) >= count, 400)
    site.settle([study])


def test_ct_and_later_its_contour_come_back_as_one_set_of_reports_and_a_correction_as_the_next(
    site: GatewaySite, phantom_study: PhantomStudy, require_tool: RequireTool, tmp_path: Path
) -> None:
    """The Orthanc routes the reports to the gateway too: they are kept, and nothing comes of them."""
    storescu = require_tool("storescu")
    ct, contour = parts_of(phantom_study.folder)
    study = study_uid(ct)
    index = ObjectIndex(site.gateway.engine)
    site.pacs.store(storescu, ct)
    until(lambda: len(index.objects_of(StudyKey(study))) == len(ct), 400)
    assert site.gateway.ledger.of_study(StudyKey(study)) == ()
    site.pacs.store(storescu, contour)
    wait_for_reports(site, study, 1)
    assert site.audit([study]) == ({study: "report"}, [])
    (first,) = site.reports(study)
    assert {detail.confirmed_by for detail in site.book.of_study(study)} == {"commitment"}
    # the reports come back, and are no input
    until(lambda: first in {stored.sop_instance_uid for stored in index.objects_of(StudyKey(study))}, 400)
    until(lambda: not index.due(utc_now()), 400)
    assert len(site.gateway.ledger.of_study(StudyKey(study))) == 1
    corrected = dcmread(contour[0])
    corrected.SOPInstanceUID = corrected.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    corrected.save_as(tmp_path / "corrected.dcm")
    site.pacs.store(storescu, [tmp_path / "corrected.dcm"])
    wait_for_reports(site, study, 2)
    assert site.audit([study]) == ({study: "2 reports, the last one current"}, [])
    (second,) = site.current_reports(study)
    assert second != first
    assert predecessors(site.dataset(second)) == [first]


@pytest.mark.parametrize("number", [1, 2], ids=["storescu", "pynetdicom"])
def test_other_senders_reach_the_gateway_too(
    number: int, site: GatewaySite, phantom_study: PhantomStudy, require_tool: RequireTool, tmp_path: Path
) -> None:
    ct, contour = parts_of(copy_with_other_uids(phantom_study.folder, tmp_path / "study", number))
    for files in (ct, contour):
        if number == 1:
            site.storescu(require_tool("storescu"), files)
        else:
            site.send(files)
    study = study_uid(ct)
    wait_for_reports(site, study, 1)
    assert site.audit([study]) == ({study: "report"}, [])


def test_a_patients_study_comes_back_with_its_report(
    site: GatewaySite, shared_data: Path, require_tool: RequireTool, tmp_path: Path
) -> None:
    """4D-Lung 113, CT first, a segmentation that dcmqi wrote after it: 28 of its 99 images are referenced."""
    study_folder = shared_data / "ct_4dlung113"
    ct = sorted((study_folder / "CT").iterdir())
    contour = shutil.copyfile(study_folder / "seg_dcmqi.dcm", tmp_path / "contour.dcm")
    study = study_uid(ct)
    site.pacs.store(require_tool("storescu"), ct)
    site.pacs.store(require_tool("storescu"), [contour])
    wait_for_reports(site, study, 1)
    assert site.audit([study]) == ({study: "report"}, [])


def test_the_viewer_shows_the_report_that_came_from_the_gateway(
    site: GatewaySite,
    phantom_study: PhantomStudy,
    require_tool: RequireTool,
    repository: Path,
    artefacts: Path,
    tmp_path: Path,
) -> None:
    """OHIF, beside the Orthanc that routed the study: every number, code and text of the report is on the screen."""
    from playwright.sync_api import sync_playwright

    chromium, files = require_tool("chromium"), viewer_files(require_tool("npm"), repository)
    ct, contour = parts_of(copy_with_other_uids(phantom_study.folder, tmp_path / "study", 3))
    study = study_uid(ct)
    site.pacs.store(require_tool("storescu"), [*ct, *contour])
    wait_for_reports(site, study, 1)
    report = site.dataset(site.current_reports(study)[0])
    with served_viewer(files, site.pacs) as address, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=list(BROWSER_FLAGS))
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(f"{address}/viewer?StudyInstanceUIDs={study}", timeout=WAIT)
        page.get_by_text("Skip all").click(timeout=WAIT)
        page.get_by_text("W:", exact=True).first.wait_for(timeout=WAIT)
        page.get_by_text(report.SeriesDescription, exact=True).first.dblclick(timeout=WAIT)
        page.get_by_text("Oncology Measurement Report").first.wait_for(timeout=WAIT)
        page.wait_for_timeout(500)
        page.screenshot(path=artefacts / "report_of_gateway_in_viewer.png")
        seen = one_line(page.inner_text("body"))
        browser.close()
    assert "went wrong" not in seen
    assert [line for line in lines(report) if f"{line.label}: {one_line(shown_value(line))}" not in seen] == []
