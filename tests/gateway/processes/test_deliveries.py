"""What holds when a delivery is due, whatever the settings were when it was planned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import utc_now
from gateway.logs import JsonLines, StudyHash
from gateway.peers.failures import PeerError, PeerFailure
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
NO_MORE = OSError("no more is asked of it")
KEY = b"k" * 32


class Results:
    """Stands in for the result store."""

    def __init__(self, training_data: str, *, purged: bool = False) -> None:
        self.training_data, self.purged = training_data, purged

    def note(self, digest: str) -> ResultNote:
        return ResultNote(RESULT, self.training_data, utc_now(), "", purged=self.purged, removed_by="", withheld=())


class Noting:
    """A destination that notes what it was given."""

    name = "pacs"

    def __init__(self, fails: Exception) -> None:
        self.given: list[StoredResult] = []
        self.fails = fails

    def deliver(self, result: StoredResult, attempt: int) -> Any:
        self.given.append(result)
        raise self.fails


@contextmanager
def sending(
    folder: Path,
    host: str,
    training_data: str,
    *,
    allowed: bool,
    purged: bool = False,
    fails: Exception = NO_MORE,
) -> Iterator[tuple[Sender, Noting]]:
    """Plan a delivery to ``pacs``, and begin to send by settings that name a host for it."""
    node = {"ae_title": "PACS", "host": host, "port": 104}
    settings = SendSettings.model_validate({"destinations": [{"kind": "dicom", "name": "pacs", "node": node}]})
    noting = Noting(fails)
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


def test_the_line_of_a_failed_delivery_has_its_code_and_attempt_and_nothing_of_the_patient(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a peer says may quote a patient; the reason in full stands with the delivery, which `show` tells."""
    fails = PeerError(PeerFailure.REFUSED, "C-STORE of 1.2.3.4.5: status 0xC000, Testname^Hidden 19470203")
    with sending(tmp_path, "127.0.0.1", "patients", allowed=False, fails=fails) as (sender, _):
        until(lambda: "delivery to pacs" in caplog.text)
    lines = JsonLines("executor", StudyHash(KEY))
    (line,) = [
        json.loads(lines.format(record)) for record in caplog.records if "delivery to pacs" in record.getMessage()
    ]
    assert line["message"] == "delivery to pacs: waiting, attempt 1, REFUSED"
    assert line["level"] == "WARNING"
    assert line["study"] == StudyHash(KEY).of(RESULT.study)
    values = ("Testname", "19470203", "1.2.3.4.5", RESULT.study.study_instance_uid)
    assert not [value for value in values if value in json.dumps(line)]
    assert delivery(sender, "pacs").delivery.last_error.startswith("REFUSED: ")
