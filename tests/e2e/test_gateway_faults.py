"""Faults at moments that a seed chose, with everything real: nothing is lost, half, twice or stuck. `benchmarks.gateway_faults` and `gateway_outages` run more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.gateway_outages import OutageRun
from tests.e2e.gateway_site import running_site

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

pytestmark = [
    pytest.mark.xdist_group("gateway_faults"),
    # pynetdicom leaves a socket to the garbage collector where nobody listens
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture(scope="module")
def faults(
    require_tool: Callable[[str], str],
    repository: Path,
    phantom_study: PhantomStudy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OutageRun]:
    """A site on which faults can be made to happen."""
    require_tool("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    folder = tmp_path_factory.mktemp("faults")
    (folder / "copies").mkdir()
    (folder / "site").mkdir()
    with running_site(folder / "site", repository, require_tool("Orthanc")) as site:
        yield OutageRun(site, phantom_study.folder, folder / "copies", seed=20261127)


def test_a_pacs_that_is_down_gets_its_reports_when_it_is_up(faults: OutageRun) -> None:
    faults.pacs_down()
    assert (faults.rows[-1].ends, faults.rows[-1].wrong) == (Counter({"report": 1}), [])


def test_a_corrupt_image_ends_its_study_in_one_coded_reason(faults: OutageRun) -> None:
    faults.corrupt_object()
    (reason,) = faults.rows[-1].ends
    assert reason.isupper()
    assert faults.rows[-1].wrong == []


def test_a_database_that_is_gone_for_a_while_loses_nothing(faults: OutageRun) -> None:
    faults.database_gone()
    assert (faults.rows[-1].ends, faults.rows[-1].wrong) == (Counter({"report": 1}), [])


def test_whatever_is_killed_every_study_has_one_whole_set_of_reports_at_the_pacs(faults: OutageRun) -> None:
    faults.kills(studies=2, kills=5)
    assert (faults.rows[-1].ends, faults.rows[-1].wrong) == (Counter({"report": 2}), [])
