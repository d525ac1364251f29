"""Real tools, written by others: what they say of our objects."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.e2e.containers import (
    CPU_TAG,
    GATEWAY_TAG,
    Container,
    Docker,
    Figures,
    build_options,
    docker_daemon,
    readable,
)
from tests.e2e.pacs import PLUGIN, Pacs, running_pacs
from tests.e2e.postgres import PostgresServer, running_postgres
from tests.e2e.viewer import served_viewer, viewer_files
from tests.e2e.written_reports import WHEN, Written

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

PACKAGE_OF = {
    "dciodvfy": "Debian package dicom3tools",
    "dcentvfy": "Debian package dicom3tools",
    "dcmdump": "Debian package dcmtk",
    "dsrdump": "Debian package dcmtk",
    "dsr2html": "Debian package dcmtk",
    "storescp": "Debian package dcmtk",
    "storescu": "Debian package dcmtk",
    "tid1500reader": "Python package dcmqi",
    "segimage2itkimage": "Python package dcmqi",
    "Orthanc": "Debian package orthanc",
    str(PLUGIN): "Debian package orthanc-dicomweb",
    "chromium": "Debian package chromium",
    "npm": "Debian package npm",
    "java": "Debian package default-jre-headless",
    "/usr/share/java/pixelmed.jar": "Debian package libpixelmed-java",
    "pdftotext": "Debian package poppler-utils",
    "pdftoppm": "Debian package poppler-utils",
    "pdffonts": "Debian package poppler-utils",
    "initdb": "Debian package postgresql",
}


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """Return a function that gives a tool's path, or skips the test saying what to install.

    With ``PDL1ES_REQUIRE_TOOLS=1`` (continuous integration) a missing tool fails the test instead.
    """

    def find(name: str) -> str:
        # what pip installed lies beside the interpreter, which may run without its environment being activated; Debian keeps
        # the programs of PostgreSQL's servers apart
        servers = sorted((str(path) for path in Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
        places = (None, str(Path(sys.executable).parent), "/usr/sbin", *servers)
        path = next((found for place in places if (found := shutil.which(name, path=place))), None)
        if name.startswith("/") and Path(name).is_file():
            path = name
        if path is not None:
            return path
        reason = f"{name} is not installed: {PACKAGE_OF.get(name, 'see the documentation of the tests')}"
        if os.environ.get("PDL1ES_REQUIRE_TOOLS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)

    return find


@pytest.fixture(scope="session")
def written(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A phantom study of thick slices, without clinical data, and all that the application writes of it."""
    from pdl1es.phantom.dicom import make_phantom_study
    from pdl1es.run import run_study
    from pdl1es.settings import DEFAULT_FILE, load_settings

    folder = tmp_path_factory.mktemp("written")
    study = make_phantom_study(folder / "study", seed=3, matrix=256, slice_thickness=6.0, slices=(6, 40))
    (study.folder / "clinical.json").unlink()
    settings = load_settings(DEFAULT_FILE).model_copy(update={"outputs": ("sr", "cam", "pdf", "kos", "json")})
    outcome = run_study(
        study.folder, folder / "report", settings=settings, model_folder=repository / "models", when=WHEN
    )
    assert outcome.exit_code == 0
    assert outcome.result is not None
    return Written(
        ct=tuple(study.ct.paths),
        segmentation=study.seg_path,
        reports={report.kind: folder / "report" / report.file for report in outcome.result.reports},
        result=outcome.result,
    )


@pytest.fixture(scope="session")
def report(written: Written) -> Dataset:
    """The structured report, as pydicom reads it."""
    return pydicom.dcmread(written.reports["sr"])


@pytest.fixture(scope="session")
def pacs(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    """A running, empty PACS."""
    require_tool(str(PLUGIN))
    with running_pacs(require_tool("Orthanc"), tmp_path_factory.mktemp("pacs")) as running:
        yield running


@pytest.fixture(scope="session")
def postgres(require_tool: Callable[[str], str]) -> Iterator[PostgresServer]:
    """A running PostgreSQL with the gateway's role and no database yet."""
    with running_postgres(Path(require_tool("initdb")).parent) as running:
        yield running


@pytest.fixture(scope="session")
def viewer(pacs: Pacs, require_tool: Callable[[str], str], repository: Path) -> Iterator[str]:
    """The address of a running viewer of that PACS."""
    with served_viewer(viewer_files(require_tool("npm"), repository), pacs) as address:
        yield address


@pytest.fixture(scope="session")
def artefacts(repository: Path) -> Path:
    """Folder for screenshots, which git ignores."""
    folder = Path(os.environ.get("PDL1ES_ARTEFACTS", repository / "out" / "artefacts"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """A Docker daemon that answers; where none can be started the tests are skipped, saying why."""
    with docker_daemon() as answering:
        yield answering


@pytest.fixture(scope="session")
def figures(repository: Path) -> Iterator[Figures]:
    """Figures of this run; with ``PDL1ES_KEEP_FIGURES=1`` they become benchmarks/results/container.md."""
    made = Figures([])
    yield made
    if os.environ.get("PDL1ES_KEEP_FIGURES") == "1":
        head = [
            "# The image for CPUs: what it weighs, and how long a study takes",
            "",
            "Written by `PDL1ES_KEEP_FIGURES=1 make test-container`. Peak memory is the resident set of the container's",
            "process; time is that of `docker run`, from the command to its end.",
            "",
        ]
        (repository / "benchmarks" / "results" / "container.md").write_text("\n".join([*head, *made.lines]) + "\n")


@pytest.fixture(scope="session")
def container(docker: Docker, repository: Path, figures: Figures) -> Container:
    """The image for CPUs, built from the repository as it is."""
    seconds = docker.build(repository, CPU_TAG, *build_options(docker))
    figures.add(f"- built in {seconds:.0f} s on a base of {docker.images.python}")
    return Container(docker, CPU_TAG)


@pytest.fixture(scope="session")
def gateway_image(docker: Docker, container: Container, repository: Path, figures: Figures) -> Container:
    """The image with the gateway in it, built on what the one without it has."""
    seconds = docker.build(repository, GATEWAY_TAG, "--target", "gateway", *build_options(docker))
    figures.add(f"- with the gateway (`--target gateway`): {seconds:.0f} s more")
    return Container(docker, GATEWAY_TAG)


@pytest.fixture(scope="session")
def readable_phantom(phantom_study: PhantomStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom study, readable for every user."""
    folder = tmp_path_factory.mktemp("container") / "phantom"
    shutil.copytree(phantom_study.folder, folder)
    return readable(folder)
