"""A gateway's folder with its database, and the commands that steer it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner, Result

import gateway.processes.executor
import gateway.receive.orthanc  # noqa: F401 - all tables of a gateway are made
from gateway.database import create_tables, open_database
from gateway.logs import StudyHash, read_log_key
from gateway.send.delivery import DeliveryBook
from gateway.steer.cli import app
from gateway.workflow.results import ResultStore
from gateway.workflow.runs import RunLedger
from tests.gateway.workflow.stand_ins import STUDY
from tests.ports import free_port


class Steered:
    """A gateway's folder, and its commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "gateway"
        self.folder.mkdir()
        self.config = folder / "gateway.yaml"
        self.document: dict[str, Any] = {
            "folder": str(self.folder),
            "sources": [
                {"kind": "dimse", "name": "ct", "port": free_port(), "senders": [{"ae_title": "CT1"}]},
                {"kind": "dimse", "name": "drop", "port": free_port()},
            ],
            "web": {"port": free_port()},
            "send": {
                "destinations": [
                    {"kind": "folder", "name": "disk", "path": str(folder / "out")},
                    {"kind": "dicom", "name": "pacs", "node": {"ae_title": "P", "host": "127.0.0.1", "port": 1}},
                ],
                "rules": [
                    {"to": ["disk"], "outputs": ["sr", "json"]},
                    {"to": ["pacs"], "results": ["scored"], "senders": ["CT1"]},
                ],
            },
        }
        self.write()
        self.engine = open_database(f"sqlite:///{self.folder / 'gateway.sqlite'}")
        create_tables(self.engine)
        self.ledger, self.book = RunLedger(self.engine), DeliveryBook(self.engine)
        self.results = ResultStore(self.engine, self.folder / "results")

    def write(self) -> None:
        self.config.write_text(yaml.safe_dump(self.document))

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["gateway", *arguments, "--config", str(self.config)])

    def hash(self) -> str:
        return StudyHash(read_log_key(self.folder)).of(STUDY)
