"""Sends everything that is due until all is confirmed: ``python -m tests.gateway.send.endless_sender URL PORT FOLDER COUNT``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from gateway.clock import utc_now
from gateway.database import create_tables, open_database
from gateway.send.rules import SendPlan, Shipment
from gateway.send.sender import Sender
from gateway.send.settings import SendSettings
from tests.gateway.peers.stand_in import AE_TITLE
from tests.gateway.send.dicom_results import stored_result
from tests.ports import LOOPBACK


def main() -> None:
    """Do it."""
    url, port, folder, count = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    engine = open_database(url)
    create_tables(engine)
    node = {"ae_title": AE_TITLE, "host": LOOPBACK, "port": port, "response_seconds": 10}
    retry = {"first_seconds": 0.05, "longest_seconds": 0.2, "attempts": 10_000}
    destination: dict[str, Any] = {
        "name": "pacs",
        "kind": "dicom",
        "node": node,
        "retry": retry,
        "breaker": {"pause_seconds": 0.1},
    }
    destination |= {"query": True, "commitment": {"answer_seconds": 5}}
    sender = Sender(SendSettings.model_validate({"destinations": [destination]}), engine)
    results = {
        one.digest: one for one in (stored_result(folder / str(n), "cam", "sr", seed=str(n)) for n in range(count))
    }
    for one in results.values():
        sender.begin(one, SendPlan((Shipment("pacs", ("cam", "sr")),), ()))
    while sender.book.in_state("waiting", "sent"):
        for detail in sender.book.due(utc_now()):
            sender.advance(results[detail.delivery.digest], "pacs")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
