"""Orthanc routes by the script of the documentation; what came while the gateway was stopped comes by the documentation's lines."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.database import create_tables, open_database
from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.receive.listener import DimseListener
from gateway.receive.settings import DimseSource
from tests.e2e.pacs import AE_TITLE, Pacs, running_pacs
from tests.e2e.written_reports import Written
from tests.ports import LOOPBACK, free_port
from tests.waiting import until

RequireTool = Callable[[str], str]

pytestmark = pytest.mark.xdist_group("gateway_peers")


@pytest.fixture(scope="module")
def missed(
    require_tool: RequireTool, repository: Path, written: Written, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pacs]:
    """An Orthanc that stored a contour, and could not send it: nothing listened where its script sends to."""
    require_tool("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    gateway = {"AET": "PDL1ES", "Host": LOOPBACK, "Port": free_port()}
    script = repository / "docs" / "examples" / "orthanc-contours.lua"
    folder = tmp_path_factory.mktemp("orthanc")
    with running_pacs(require_tool("Orthanc"), folder, {"pdl1es": gateway}, script) as pacs:
        pacs.store(require_tool("storescu"), [written.segmentation])
        yield pacs


def lines_of_docs(repository: Path, program: str) -> str:
    """Return the block of lines under `After a stop` that calls a program."""
    text = (repository / "docs" / "gateway-pacs.md").read_text(encoding="utf-8")
    part = text.partition("## After a stop")[2].partition("\n## ")[0]
    (block,) = [block for block in part.split("```")[1::2] if program in block]
    return block


def test_a_contour_that_orthanc_could_not_send_is_a_failed_job(missed: Pacs) -> None:
    """So that whoever looks sees it: sent by the script itself, it would read as a success."""

    def states() -> list[str]:
        return [job["State"] for job in json.loads(missed.rest("/jobs?expand"))]

    until(lambda: "Failure" in states(), 60)
    assert states() == ["Failure"]


@pytest.mark.parametrize("program", ["curl", "movescu"])
def test_what_came_while_the_gateway_was_stopped_comes_by_the_lines_of_the_documentation(
    program: str, missed: Pacs, written: Written, repository: Path, tmp_path: Path, require_tool: RequireTool
) -> None:
    tool = Path(require_tool(program))
    lines = lines_of_docs(repository, program).replace(
        "30 days ago", "90 years ago"
    )  # the study's date is no matter here
    for shown, here in (
        ("127.0.0.1:8042", f"{LOOPBACK}:{missed.http_port}"),
        ("pacs.example 104", f"{LOOPBACK} {missed.dicom_port}"),
        ("-aec PACS", f"-aec {AE_TITLE}"),
    ):
        lines = lines.replace(shown, here)
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(engine)
    source = DimseSource.model_validate({"name": "pacs", "port": 0, "senders": [{"ae_title": AE_TITLE}]})
    with ObjectStore(tmp_path / "objects", engine) as objects, DimseListener(source, objects, InFlight(engine)) as port:
        address = f"http://{LOOPBACK}:{missed.http_port}/modalities/pdl1es"
        known = json.dumps({"AET": "PDL1ES", "Host": LOOPBACK, "Port": port.port}).encode()
        with urllib.request.urlopen(urllib.request.Request(address, data=known, method="PUT"), timeout=30):
            pass
        for _ in range(2):  # again, as by cron
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", lines.replace("mkdir found", "mkdir -p found")],
                cwd=tmp_path,
                env={**os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        assert objects.index.count() == 1
    engine.dispose()
