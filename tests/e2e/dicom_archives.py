"""dcmtk's dcmqrscp as an archive for tests, on a free port of the loopback interface."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.pacs import is_listening
from tests.ports import LOOPBACK, free_port

QR_TITLE = "DCMQR"


@dataclass(frozen=True)
class QueryArchive:
    """A running dcmqrscp."""

    port: int


@contextmanager
def running_archive(dcmqrscp: str, folder: Path, receiver_title: str, receiver_port: int) -> Iterator[QueryArchive]:
    """Start it, wait until it listens, and end it. It can send to the receiver by C-MOVE."""
    port = free_port()
    (folder / "db").mkdir(parents=True)
    (folder / "dcmqrscp.cfg").write_text(
        f"""NetworkTCPPort  = {port}
MaxPDUSize      = 65536
MaxAssociations = 16
HostTable BEGIN
receiver = ({receiver_title}, {LOOPBACK}, {receiver_port})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
{QR_TITLE} {folder / "db"} RW (200, 1024mb) ANY
AETable END
""",
        encoding="ascii",
    )
    with (folder / "dcmqrscp.log").open("wb") as log:
        process = subprocess.Popen(
            [dcmqrscp, "-c", str(folder / "dcmqrscp.cfg"), "--disable-host-lookup"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"TCP_NODELAY": "1", "PATH": "/usr/bin:/bin"},
        )
        try:
            end = time.monotonic() + 120
            while not is_listening(port):
                if process.poll() is not None or time.monotonic() > end:
                    said = (folder / "dcmqrscp.log").read_text(encoding="utf-8", errors="replace")
                    raise RuntimeError(f"dcmqrscp did not start:\n{said[-2000:]}")
                time.sleep(0.05)
            yield QueryArchive(port)
        finally:
            process.terminate()
            process.wait(timeout=20)
