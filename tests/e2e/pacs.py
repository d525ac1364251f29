"""A real PACS for tests: Orthanc on free ports of the loopback interface, with a folder of its own, ended after use."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import LOOPBACK, free_port

AE_TITLE = "TESTPACS"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def is_listening(port: int) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


@dataclass(frozen=True)
class Pacs:
    """A running Orthanc."""

    http_port: int
    dicom_port: int

    @property
    def web(self) -> str:
        """Root of its DICOMweb services."""
        return f"http://{LOOPBACK}:{self.http_port}/dicom-web"

    def get(self, address: str) -> Any:
        """What a DICOMweb query answers (DICOM JSON)."""
        request = urllib.request.Request(self.web + address, headers={"Accept": "application/dicom+json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def rest(self, address: str) -> bytes:
        """What Orthanc's own interface answers."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.http_port}{address}", timeout=30) as answer:
            return answer.read()

    def file(self, sop_instance_uid: str) -> bytes:
        """The one stored object of that UID, as a file."""
        request = urllib.request.Request(
            f"http://{LOOPBACK}:{self.http_port}/tools/lookup", data=sop_instance_uid.encode("ascii")
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            (found,) = json.load(answer)
        return self.rest(f"/instances/{found['ID']}/file")

    def store(self, storescu: str, paths: list[Path]) -> str:
        """Send files by C-STORE; returns what storescu said. ``-R`` proposes what the files need, SEG among it."""
        done = subprocess.run(
            [storescu, "-v", "-R", "-aec", AE_TITLE, LOOPBACK, str(self.dicom_port), *map(str, paths)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:]
        return done.stdout

    def stow(self, paths: list[Path]) -> Any:
        """Send files by STOW-RS (PS3.18 10.5); returns the answer."""
        boundary = "boundary-of-parts"
        body = b"".join(
            b"--" + boundary.encode() + b"\r\nContent-Type: application/dicom\r\n\r\n" + path.read_bytes() + b"\r\n"
            for path in paths
        )
        request = urllib.request.Request(
            f"{self.web}/studies",
            data=body + b"--" + boundary.encode() + b"--\r\n",
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Accept": "application/dicom+json",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def running_pacs(
    orthanc: str,
    folder: Path,
    modalities: dict[str, dict[str, Any]] | None = None,
    script: Path | None = None,
    at: Pacs | None = None,
) -> Iterator[Pacs]:
    """Start Orthanc, wait until it answers, and end it.

    It knows the modalities that are given beside that of the tests, and runs the script in Lua. Started again ``at`` the ports of
    one that was ended, with its folder, it is the same PACS.

    Orthanc 1.10.1 has no setting for the address it listens on and takes all of the machine's; so remote HTTP requests
    are refused by its own setting, and DICOM ones by the check of the calling host.
    """
    pacs = at or Pacs(free_port(), free_port())
    settings = {
        "Name": "Test PACS",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": pacs.http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": AE_TITLE,
        "DicomPort": pacs.dicom_port,
        "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": True,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomModalities": {"tests": {"AET": "STORESCU", "Host": LOOPBACK, "Port": free_port()}} | (modalities or {}),
        "StorageCompression": False,
        "StableAge": 1,
        "LuaScripts": [] if script is None else [str(script)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado", "Ssl": False},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([orthanc, str(folder / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(pacs, process, folder / "orthanc.log")
            yield pacs
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)


def _wait_for(pacs: Pacs, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            pacs.rest("/system")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            if is_listening(pacs.dicom_port):
                return
    raise RuntimeError(f"Orthanc did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
