"""What holds when a delivery is due, whatever the settings were when it was planned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import utc_now
from gateway.processes.deliveries import DeliveryThreads
from gateway.records import StoredResult
from gateway.send.delivery_tables import DeliveryDetail
from gateway.send.rules import SendPlan, Shipment
from gateway.send.sender import Sender
from gateway.send.settings import SendSettings
from gateway.workflow.results import ResultNote
from tests.gateway.send.results import made_up_result
from tests.gateway.workflow.stand_ins import new_database
from tests.waiting import PATIENCE_S, until

RESULT = made_up_result("sr")


class Results:
    """Stands in for the result store."""

    def __init__(self, training_data: str, *, purged: bool = False) -> None:
        self.training_data, self.purged = training_data, purged

    def note(self, digest: str) -> ResultNote:
        return ResultNote(RESULT, self.training_data, utc_now(), "", purged=self.purged, withheld=())


class Noting:
    """A destination that notes what it was given."""

    name = "pacs"

    def __init__(self) -> None:
        self.given: list[StoredResult] = []

    def deliver(self, result: StoredResult, attempt: int) -> Any:
        self.given.append(result)
        raise OSError("no more is asked of it")


@contextmanager
def sending(
    folder: Path, host: str, training_data: str, *, allowed: bool, purged: bool = False
) -> Iterator[tuple[Sender, Noting]]:
    """Plan a delivery to ``pacs``, and begin to send by settings that name a host for it."""
    node = {"ae_title": "PACS", "host": host, "port": 104}
    settings = SendSettings.model_validate({"destinations": [{"kind": "dicom", "name": "pacs", "node": node}]})
    noting = Noting()
    sender = Sender(settings, new_database(folder), destinations={"pacs": noting})  # type: ignore[dict-item]
    sender.begin(RESULT, SendPlan((Shipment("pacs", ("sr",)), Shipment("removed", ("sr",))), ()))
    results = Results(training_data, purged=purged)
    threads = DeliveryThreads(sender, results, settings, allow_demonstration=allowed)  # type: ignore[arg-type]
    threads.start()
    try:
        yield sender, noting
    finally:
        threads.stop(PATIENCE_S)


def delivery(sender: Sender, destination: str) -> DeliveryDetail:
    return sender.book.detail(RESULT.digest, destination)


def test_a_demonstration_does_not_leave_by_a_delivery_that_was_planned_under_other_settings(tmp_path: Path) -> None:
    with sending(tmp_path, "192.0.2.1", "synthetic", allowed=False) as (sender, noting):
        until(lambda: delivery(sender, "pacs").delivery.state == "dead")
    assert delivery(sender, "pacs").delivery.last_error.startswith("WITHHELD")
    assert noting.given == []


@pytest.mark.parametrize(
    ("host", "training_data", "allowed"),
    [("192.0.2.1", "patients", False), ("192.0.2.1", "synthetic", True), ("127.0.0.1", "synthetic", False)],
)
def test_what_may_go_goes(tmp_path: Path, host: str, training_data: str, allowed: bool) -> None:
    with sending(tmp_path, host, training_data, allowed=allowed) as (sender, noting):
        until(lambda: bool(noting.given))
        assert delivery(sender, "pacs").delivery.state != "dead"


def test_a_delivery_to_a_destination_that_was_removed_from_the_settings_is_given_up_and_told(tmp_path: Path) -> None:
    with sending(tmp_path, "127.0.0.1", "patients", allowed=False) as (sender, _):
        assert delivery(sender, "removed").delivery.state == "dead"
    assert delivery(sender, "removed").delivery.last_error.startswith("NO_DESTINATION")


def test_a_result_whose_files_were_removed_is_not_tried_and_its_delivery_ends(tmp_path: Path) -> None:
    with sending(tmp_path, "127.0.0.1", "patients", allowed=False, purged=True) as (sender, noting):
        until(lambda: delivery(sender, "pacs").delivery.state == "purged")
    assert delivery(sender, "pacs").delivery.last_error.startswith("PURGED")
    assert noting.given == []
