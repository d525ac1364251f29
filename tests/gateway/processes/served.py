"""A gateway that runs as a hospital's does: `pdl1es serve` in processes of its own, with a sender."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import yaml
from pydicom import DataElement, Dataset, dcmread
from pydicom.uid import UID, generate_uid
from pynetdicom import AE
from pynetdicom.presentation import build_context

from gateway.database import open_database
from gateway.health.heartbeat import read_processes
from gateway.settings.file import load_gateway_settings
from gateway.workflow.runs import RunLedger
from tests.ports import free_port
from tests.waiting import until


class ServedGateway:
    """A gateway in a folder, which is started and ended."""

    def __init__(self, folder: Path, repository: Path, **sections: Any) -> None:
        self.folder, self.repository = folder, repository
        self.port, self.web = free_port(), free_port()
        self.out = folder / "out"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        document = {
            "folder": str(folder / "gateway"),
            "allow_demonstration": True,
            "sources": [{"kind": "dimse", "name": "pacs", "port": self.port}],
            "storage": {"reserve_bytes": 0},
            "retention": {"free_bytes": 0},
            "runs": {"first_wait_seconds": 0.5},
            "send": {
                "destinations": [{"kind": "folder", "name": "disk", "path": str(self.out)}],
                "rules": [{"to": ["disk"], "outputs": ["sr", "json"]}],
            },
            "web": {"port": self.web},
            "stop_seconds": 60,
        }
        self.config = folder / "gateway.yaml"
        self.config.write_text(yaml.safe_dump(document | sections), encoding="utf-8")
        self.log = (folder / "log").open("ab")

    def start(self, seconds: float = 420.0) -> None:
        """Start it, and wait until it is ready."""
        command = [sys.executable, "-m", "pdl1es.command_line.cli", "serve", "--config", str(self.config)]
        self.process = subprocess.Popen(
            command, cwd=self.repository, stderr=self.log, env={**os.environ, **self.environment}
        )
        until(lambda: self.health("ready")[0] == 200 or not self.runs(), seconds)
        assert self.runs(), self.logged()

    def runs(self) -> bool:
        """Tell whether the supervisor lives."""
        return self.process is not None and self.process.poll() is None

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal to the supervisor and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait()
        self.process = None
        return code

    def close(self) -> None:
        """End it if it runs."""
        if self.process is not None:
            self.end(signal.SIGKILL)
        self.log.close()

    def health(self, name: str) -> tuple[int, dict[str, Any]]:
        """Ask how it is; status 0 where nobody answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.web}/health/{name}", timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except HTTPError as error:
            with error:
                return error.code, json.loads(error.read())
        except (URLError, ConnectionError):
            return 0, {}

    def kill(self, name: str) -> None:
        """Kill one of its processes, and wait until another of its name lives."""
        killed = self.process_of(name)
        assert killed, f"{name} does not run"
        os.kill(killed, signal.SIGKILL)
        until(lambda: self.process_of(name) not in (0, killed))

    def process_of(self, name: str) -> int:
        """Return a process's id by its last heartbeat; 0 where there is none."""
        return next((note.pid for note in read_processes(self.engine) if note.name == name), 0)

    @cached_property
    def engine(self) -> Any:
        """Its database."""
        return open_database(load_gateway_settings(self.config).database_url)

    @property
    def ledger(self) -> RunLedger:
        """Of its runs."""
        return RunLedger(self.engine)

    def delivered(self) -> list[Path]:
        """Return the folders of delivered results; one that is being delivered has a hidden name."""
        return sorted(path.parent for path in self.out.glob("[!.]*/result.json"))

    def logged(self) -> str:
        """Return what it logged."""
        return (self.folder / "log").read_text(encoding="utf-8")

    def send(self, files: Iterable[Path]) -> list[int]:
        """Send files on one association, and return the statuses."""
        datasets = [dcmread(file) for file in files]
        classes = {UID(str(dataset.SOPClassUID)): dataset.file_meta.TransferSyntaxUID for dataset in datasets}
        entity = AE("SENDER")
        entity.requested_contexts = [build_context(name, syntax) for name, syntax in classes.items()]
        association = entity.associate("127.0.0.1", self.port, ae_title="PDL1ES")
        assert association.is_established
        try:
            return [int(association.send_c_store(dataset).Status) for dataset in datasets]
        finally:
            association.release()


def parts_of(study: Path) -> tuple[list[Path], list[Path]]:
    """Return a study's CT images, and its contour."""
    files = sorted(study.rglob("*.dcm"))
    modalities = {file: dcmread(file, specific_tags=["Modality"]).Modality for file in files}
    return [file for file in files if modalities[file] == "CT"], [file for file in files if modalities[file] == "SEG"]


def copy_with_other_uids(study: Path, folder: Path, number: int) -> Path:
    """Write a study again as another one: every UID that is no constant of DICOM gets a further part."""

    def other(dataset: Dataset, element: DataElement) -> None:
        if element.VR == "UI" and element.value and not str(element.value).startswith("1.2.840.10008"):
            element.value = generate_uid(entropy_srcs=[str(element.value), str(number)])

    folder.mkdir()
    for file in sorted(study.rglob("*.dcm")):
        dataset = dcmread(file)
        dataset.walk(other)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{dataset.SOPInstanceUID}.dcm")
    return folder
