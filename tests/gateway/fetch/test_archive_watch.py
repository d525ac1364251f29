"""An archive that is down is asked each minute by one query, and when it answers all that waits for it goes on."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.fetch.archive_watch import NO_STUDY, ArchiveWatch
from gateway.health.metrics import metrics_text
from gateway.health.readiness import Expected, Readiness
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.faults import PeerFaults
from gateway.workflow.runs import RunLedger
from tests.gateway.fetch.test_fetcher import Shelf
from tests.gateway.workflow.stand_ins import some_run


class Bench:
    """An archive that is looked at by a clock that the test moves."""

    def __init__(self, database: Engine) -> None:
        self.now = datetime(2026, 3, 4, tzinfo=UTC)
        self.shelf, self.woken = Shelf({}), 0
        self.faults = PeerFaults(database, lambda: self.now)
        self.watch = ArchiveWatch({"shelf": self.shelf}, self.faults, self.wake, lambda: self.now)

    def wake(self) -> None:
        self.woken += 1

    def look_after(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.watch.look()


@pytest.fixture
def bench(database: Engine) -> Bench:
    made = Bench(database)
    made.watch.look()
    made.woken = 0
    return made


def test_what_waited_at_the_start_goes_on_where_no_archive_is_known_to_be_down(database: Engine) -> None:
    made = Bench(database)
    made.watch.look()
    made.watch.look()
    assert (made.woken, made.shelf.asked) == (1, 0)


def test_an_archive_that_is_down_is_asked_each_minute_until_it_answers(bench: Bench) -> None:
    bench.shelf.failure = PeerFailure.UNREACHABLE
    bench.faults.note("archive shelf", PeerError(PeerFailure.UNREACHABLE, "10.0.0.1"))
    for _ in range(30):
        bench.look_after(10)
    assert (bench.shelf.asked, bench.woken) == (5, 0)
    bench.shelf.failure = None
    bench.look_after(60)
    bench.look_after(60)
    assert (bench.shelf.asked, bench.woken) == (6, 1)
    assert bench.faults.every() == ()


def test_what_waits_goes_on_also_where_another_request_found_the_archive_at_work(bench: Bench) -> None:
    bench.faults.note("archive shelf", PeerError(PeerFailure.TIMEOUT, "10.0.0.1"))
    bench.look_after(1)
    bench.faults.clear("archive shelf")
    bench.look_after(1)
    assert (bench.shelf.asked, bench.woken) == (0, 1)


def test_an_archive_that_does_not_know_the_study_of_the_question_works(bench: Bench) -> None:
    bench.shelf.failure = PeerFailure.REFUSED  # HTTP 404
    bench.faults.note("archive shelf", PeerError(PeerFailure.UNREACHABLE, "10.0.0.1"))
    bench.look_after(60)
    assert bench.woken == 1
    assert NO_STUDY.startswith("2.25.")


def test_the_runs_that_wait_for_an_archive_go_on_at_once_and_no_others(database: Engine) -> None:
    ledger = RunLedger(database)
    reasons = {
        "d1": "ARCHIVE: UNREACHABLE: no connection could be opened: 10.0.0.1",
        "d2": "ARCHIVE: LIMIT_EXCEEDED: the study has more reports",  # that it answers changes nothing
        "d3": "WORKER_CRASH: x",
    }
    for digest, reason in reasons.items():
        ledger.enter(some_run(digest))
        ledger.began(digest, 1)
        ledger.ended(digest, 1, "again", reason=reason)
    assert ledger.archive_answers() == 1
    (woken,) = ledger.in_states("queued")
    assert (woken.input.digest, woken.round, woken.attempts) == ("d1", 3, 1)
    assert not ledger.began("d1", 2), "the round that waited is overtaken"
    assert ledger.archive_answers() == 0


def test_an_archive_that_fails_is_in_the_log_once_in_readiness_and_in_the_metrics(
    bench: Bench, database: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        with pytest.raises(PeerError), bench.faults.noted("archive shelf"):
            raise PeerError(PeerFailure.UNREACHABLE, "10.0.0.1 port 104")
    readiness = Readiness(database, Expected((), tmp_path, 0, (), ("shelf",)), lambda: bench.now)
    (found,) = readiness.look()
    assert (found.code, found.of, found.since) == ("UNREACHABLE", "archive shelf", bench.now)
    sample = b'pdl1es_gateway_obstacle_since_timestamp_seconds{code="UNREACHABLE",of="archive shelf"}'
    assert sample in metrics_text(readiness)
    bench.look_after(60)
    assert readiness.look() == ()
    told = [one.getMessage() for one in caplog.records]
    assert [one[:27] for one in told] == ["archive shelf fails: UNREAC", "archive shelf works again"]
