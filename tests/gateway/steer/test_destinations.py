"""The status of each destination, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.send.breaker import Breaker
from gateway.send.delivery import DeliveryBook
from gateway.send.rules import Shipment
from gateway.steer.destinations import destinations_in_words
from tests.gateway.workflow.stand_ins import new_database


def test_the_status_names_the_destinations_with_what_waits_why_and_until_when(tmp_path: Path) -> None:
    engine = new_database(tmp_path)
    book = DeliveryBook(engine)
    now = datetime(2026, 11, 27, 7, 43, tzinfo=UTC)
    book.begin("d1", "1.2", [Shipment("pacs", ("sr",))], now)
    book.record_failure("d1", "pacs", error="UNREACHABLE: gone", next_at=now + timedelta(seconds=14), now=now)
    assert list(destinations_in_words(["pacs", "disk"], book)) == [
        "destination pacs: 1 waiting, UNREACHABLE, next try 2026-11-27T07:43:14+00:00",
        "destination disk: 0 waiting",
    ]
    book.set_breaker("pacs", Breaker(5, now + timedelta(seconds=60)))
    assert list(destinations_in_words(["pacs"], book)) == [
        "destination pacs: 1 waiting, UNREACHABLE, failures in a row: 5, down; next try 2026-11-27T07:44:00+00:00",
    ]
    book.record_failure("d1", "pacs", error="ASSOCIATION_REJECTED: title", next_at=now, now=now)
    (line,) = destinations_in_words(["pacs"], book)
    assert "rejects the gateway; next try" in line
    assert "down" not in line
