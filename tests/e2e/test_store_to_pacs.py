"""The line of the README that sends a run's output to a PACS, against dcmtk's own receiver."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest

from tests.e2e.pacs import is_listening
from tests.e2e.written_reports import Written
from tests.ports import LOOPBACK, free_port

LINE = re.compile(r"^storescu .*$", re.MULTILINE)
DOCUMENTS = ("README.md", "docs/deploy.md")


@contextmanager
def receiver(storescp: str, folder: Path) -> Iterator[int]:
    """Receive objects into a folder, on a free port of the loopback interface, and end after use."""
    port = free_port()
    with subprocess.Popen(
        [storescp, "--output-directory", str(folder), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            for _ in range(200):
                if is_listening(port):
                    break
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def documented(repository: Path, document: str) -> list[str]:
    """The command as the document has it, in words."""
    (line,) = LINE.findall((repository / document).read_text(encoding="utf-8"))
    return shlex.split(line)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_documented_line_sends_every_report_and_nothing_else(
    document: str, repository: Path, written: Written, require_tool: Callable[[str], str], tmp_path: Path
) -> None:
    output = written.reports["sr"].parent
    assert (output / "result.json").is_file()
    places = {"report": str(output), "/data/report": str(output), "pacs.example": LOOPBACK}
    with receiver(require_tool("storescp"), tmp_path) as port:
        words = [places.get(word, word) for word in documented(repository, document)]
        command = [require_tool("storescu"), *(str(port) if word == "104" else word for word in words[1:])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    received = {pydicom.dcmread(path, force=True).SOPInstanceUID for path in tmp_path.iterdir()}
    assert received == {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in output.glob("*.dcm")}
    assert len(received) == len(written.reports)
