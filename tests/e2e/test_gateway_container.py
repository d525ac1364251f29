"""The image with the gateway in it: small, read-only, as any user; a PACS outside it routes a study and has the report back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest

from tests.e2e.containers import (
    CPU_TAG,
    GATEWAY_TAG,
    HARDENED,
    Container,
    Docker,
    Figures,
    assert_bill_is_whole,
    open_folder,
    tail,
)
from tests.e2e.gateway_site import study_uid
from tests.e2e.pacs import AE_TITLE, PLUGIN, Pacs, running_pacs
from tests.gateway.processes.served import parts_of
from tests.ports import LOOPBACK, free_port
from tests.waiting import until

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

RequireTool = Callable[[str], str]

pytestmark = pytest.mark.timeout(1800)

MOST_MORE = 60e6
"""Bytes by which the gateway may make the image larger."""
USER = "4242:4243"


def size(docker: Docker, tag: str) -> int:
    """Unpacked, in bytes."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", tag).out)


def test_the_gateway_makes_the_image_at_most_60_mb_larger(gateway_image: Container, figures: Figures) -> None:
    more = size(gateway_image.docker, GATEWAY_TAG) - size(gateway_image.docker, CPU_TAG)
    figures.add(f"  - {more / 1e6:.0f} MB larger")
    assert 0 < more <= MOST_MORE


def test_its_bill_of_materials_is_whole_too(gateway_image: Container) -> None:
    assert_bill_is_whole(gateway_image)


@contextmanager
def running_gateway(image: Container, folder: Path, pacs: Pacs, port: int, web: int) -> Iterator[str]:
    """The container of a gateway, run as the documentation says, on the machine's own network; gives its id."""
    node = {"ae_title": AE_TITLE, "host": LOOPBACK, "port": pacs.dicom_port}
    settings = {
        "folder": "/var/lib/pdl1es",
        "sources": [{"kind": "dimse", "name": "pacs", "port": port}],
        "storage": {"reserve_bytes": 0},
        "fetch": {
            "archives": [{"kind": "dicom", "name": "pacs", "node": node, "move_to": "PDL1ES"}],
            "after_seconds": 0.5,
        },
        "send": {
            "destinations": [{"kind": "dicom", "name": "pacs", "node": node, "query": True}],
            "rules": [{"to": ["pacs"], "outputs": ["sr"]}],
        },
        "web": {"port": web},
    }
    config = folder / "gateway.yaml"
    config.write_text(json.dumps(settings), encoding="utf-8")  # which is YAML, without the aliases of safe_dump
    config.chmod(0o644)
    hardened = [*HARDENED]
    hardened[hardened.index("none")] = "host"
    volumes = (f"{open_folder(folder / 'state')}:/var/lib/pdl1es", f"{config}:/etc/pdl1es/gateway.yaml:ro")
    mounts = [text for volume in volumes for text in ("--volume", volume)]
    options = [*hardened, "--init", "--user", USER, *mounts]
    checked = image.docker("run", "--rm", *options, image.image, "gateway", "check-config", check=False)
    assert checked.code == 0, tail(checked)
    identity = image.docker("run", "--detach", *options, image.image).out.strip()
    try:
        yield identity
    finally:
        image.docker("rm", "--force", identity)


def test_a_contour_that_a_pacs_routes_comes_back_as_a_report(
    gateway_image: Container,
    phantom_study: PhantomStudy,
    repository: Path,
    require_tool: RequireTool,
    tmp_path: Path,
) -> None:
    """Orthanc, with the script of the documentation, routes the contour; the gateway fetches the CT by C-MOVE."""
    require_tool(str(PLUGIN))
    docker, port, web = gateway_image.docker, free_port(), free_port()
    known = {"pdl1es": {"AET": "PDL1ES", "Host": LOOPBACK, "Port": port, "AllowStorageCommitment": True}}
    script = repository / "docs" / "examples" / "orthanc-contours.lua"
    (tmp_path / "pacs").mkdir()
    with (
        running_pacs(require_tool("Orthanc"), tmp_path / "pacs", known, script) as pacs,
        running_gateway(gateway_image, tmp_path, pacs, port, web) as identity,
    ):
        (health,) = json.loads(
            docker("image", "inspect", "--format", "[{{json .Config.Healthcheck}}]", GATEWAY_TAG).out
        )
        assert health["Test"][0] == "CMD"
        until(lambda: docker("exec", identity, *health["Test"][1:], check=False).code == 0, 300)
        until(lambda: docker("exec", identity, "pdl1es", "gateway", "status", check=False).code == 0, 300)
        ct, contour = parts_of(phantom_study.folder)
        study = study_uid(ct)
        pacs.store(require_tool("storescu"), ct)
        pacs.store(require_tool("storescu"), contour)

        def reports() -> list[str]:
            found = pacs.get(f"/studies/{study}/instances?includefield=00080060")
            return [one["00080018"]["Value"][0] for one in found if one["00080060"]["Value"] == ["SR"]]

        until(lambda: bool(reports()), 300)
        confirmed = r"delivery \w+ to pacs: committed( \(\w+\))?, 1 attempt in all"
        until(lambda: bool(re.search(confirmed, docker("exec", identity, "pdl1es", "gateway", "show", study).out)), 300)
        (report,) = reports()
        kept = next((tmp_path / "state" / "results").rglob(f"{report}.dcm"))
        assert pydicom.dcmread(kept).StudyInstanceUID == study
        assert {f"{path.stat().st_uid}:{path.stat().st_gid}" for path in (tmp_path / "state").rglob("*")} == {USER}
        docker("stop", "--time", "120", identity)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", identity).out.strip() == "0"
        logged = docker("logs", identity).err
        assert '"message": "the gateway stops' in logged
        assert not [line for line in logged.splitlines() if not line.startswith("{")]
        patient = pydicom.dcmread(ct[0], stop_before_pixels=True)
        for value in (str(patient.PatientName), str(patient.PatientID), study):
            assert value not in logged
