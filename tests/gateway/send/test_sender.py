"""Deliveries from the first attempt to their end, with a clock that the test moves and destinations that fail as told."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.faults import PeerFaults
from gateway.records import ResultDelivery, StoredResult
from gateway.send.destination import Confirmation, Receipt, checked_objects, receipt_of
from gateway.send.rules import SendPlan, Shipment
from gateway.send.sender import Sender
from gateway.send.settings import SendSettings
from tests.gateway.send.dicom_results import stored_result

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAN = SendPlan((Shipment("pacs", ("sr",)),), ())


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        """Start."""
        self.now = START

    def __call__(self) -> datetime:
        """Give the time."""
        return self.now


class Told:
    """A destination that does what it is told, and keeps what it was sent."""

    def __init__(self, clock: Clock) -> None:
        """Take everything and confirm it."""
        self.clock = clock
        self.fails: Callable[[], PeerFailure | None] = lambda: None
        self.says: Callable[[], Confirmation | PeerFailure] = lambda: Confirmation(True, "commitment")
        self.sets: list[tuple[str, ...]] = []
        self.attempts: list[int] = []
        self.tries = 0

    @property
    def name(self) -> str:
        """Its name."""
        return "pacs"

    def test(self) -> None:
        """Be there."""

    def deliver(self, result: StoredResult, attempt: int) -> Receipt:
        """Take a set or fail."""
        self.tries += 1
        self.attempts.append(attempt)
        if (failure := self.fails()) is not None:
            raise PeerError(failure, "as told")
        self.sets.append(tuple(file.kind for file in result.files))
        return receipt_of(result, "pacs", attempt=attempt, sent_at=self.clock(), objects=checked_objects(result))

    def confirm(self, receipt: Receipt) -> Confirmation:
        """Say what it is told to."""
        said = self.says()
        if isinstance(said, PeerFailure):
            raise PeerError(said, "as told")
        return said


class Bench:
    """A sender with one destination."""

    def __init__(self, engine: Engine, clock: Clock, **destination: Any) -> None:
        """Make it."""
        settings = {"name": "pacs", "kind": "dicom", "node": {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}}
        self.clock = clock
        self.peer = Told(clock)
        self.sender = Sender(
            SendSettings.model_validate({"destinations": [settings | destination]}),
            engine,
            destinations={"pacs": self.peer},
            clock=clock,
        )

    def step(self, result: StoredResult) -> ResultDelivery:
        """Move the clock to when the delivery is due, and take it one step further."""
        delivery = self.sender.advance(result, "pacs")
        if delivery.next_at is not None and delivery.next_at > self.clock.now:
            self.clock.now = delivery.next_at
        return delivery

    def run(self, result: StoredResult, steps: int = 1000) -> ResultDelivery:
        """Take it further until nothing more is to be expected."""
        for _ in range(steps):
            delivery = self.step(result)
            if delivery.next_at is None:
                return delivery
        raise AssertionError("it does not end")


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


@pytest.fixture
def result(tmp_path: Path) -> StoredResult:
    """A report and its picture."""
    return stored_result(tmp_path / "result", "cam", "sr")


def test_a_delivery_is_sent_once_and_confirmed(engine: Engine, clock: Clock, result: StoredResult) -> None:
    bench = Bench(engine, clock)
    (begun,) = bench.sender.begin(result, PLAN)
    assert begun == ResultDelivery(result.digest, "pacs", "waiting", 0, "", START)
    assert bench.sender.advance(result, "pacs").state == "sent"
    assert bench.sender.advance(result, "pacs") == ResultDelivery(result.digest, "pacs", "committed", 1, "", None)
    assert bench.sender.advance(result, "pacs").state == "committed"
    assert bench.peer.sets == [("sr",)], "only what the rules send there, and once"
    assert bench.sender.book.detail(result.digest, "pacs").confirmed_by == "commitment"


def test_beginning_again_changes_nothing(engine: Engine, clock: Clock, result: StoredResult) -> None:
    bench = Bench(engine, clock)
    bench.sender.begin(result, PLAN)
    bench.run(result)
    (again,) = bench.sender.begin(result, PLAN)
    assert again.state == "committed"
    assert bench.peer.tries == 1


def test_nothing_is_tried_before_its_time(engine: Engine, clock: Clock, result: StoredResult) -> None:
    bench = Bench(engine, clock)
    bench.sender.begin(result, PLAN)
    bench.peer.fails = lambda: PeerFailure.REFUSED
    failed = bench.sender.advance(result, "pacs")
    assert failed.next_at is not None
    assert timedelta(seconds=5) <= failed.next_at - clock.now <= timedelta(seconds=10)
    bench.sender.advance(result, "pacs")
    assert bench.peer.tries == 1
    clock.now = failed.next_at
    bench.sender.advance(result, "pacs")
    assert bench.peer.attempts == [1, 2]


def test_a_peer_that_comes_back_gets_it(engine: Engine, clock: Clock, result: StoredResult) -> None:
    bench = Bench(engine, clock)
    bench.sender.begin(result, PLAN)
    bench.peer.fails = lambda: PeerFailure.UNREACHABLE if clock.now < START + timedelta(days=2) else None
    delivery = bench.run(result)
    assert delivery.state == "committed"
    assert delivery.last_error == ""
    assert clock.now - START < timedelta(days=2, hours=1)
    assert bench.peer.tries < 200


def test_a_peer_that_refuses_for_good_ends_as_dead_letter_with_its_reason(
    engine: Engine, clock: Clock, result: StoredResult
) -> None:
    bench = Bench(engine, clock, retry={"attempts": 4})
    bench.sender.begin(result, PLAN)
    bench.peer.fails = lambda: PeerFailure.NOT_ACCEPTED
    delivery = bench.run(result)
    assert delivery.state == "dead"
    assert bench.peer.tries == delivery.attempts == 4
    assert delivery.last_error.startswith("NOT_ACCEPTED: ")
    assert [one.delivery.digest for one in bench.sender.book.in_state("dead")] == [result.digest]


def test_a_peer_that_stays_down_ends_as_dead_letter_by_its_age(
    engine: Engine, clock: Clock, result: StoredResult
) -> None:
    bench = Bench(engine, clock, retry={"give_up_hours": 24})
    bench.sender.begin(result, PLAN)
    bench.peer.fails = lambda: PeerFailure.TIMEOUT
    assert bench.run(result).state == "dead"
    assert timedelta(hours=23) < clock.now - START <= timedelta(hours=24)


def test_a_dead_letter_that_is_resent_has_all_its_attempts_again(
    engine: Engine, clock: Clock, result: StoredResult
) -> None:
    bench = Bench(engine, clock, retry={"attempts": 2})
    bench.sender.begin(result, PLAN)
    bench.peer.fails = lambda: PeerFailure.REFUSED
    assert bench.run(result).state == "dead"
    bench.sender.book.send_again(result.digest, result.study.study_instance_uid, PLAN.shipments, clock())
    assert bench.sender.book.detail(result.digest, "pacs").delivery.state == "waiting"
    assert bench.run(result).state == "dead"
    bench.sender.book.send_again(result.digest, result.study.study_instance_uid, PLAN.shipments, clock())
    bench.peer.fails = lambda: None
    assert bench.run(result).state == "committed"
    assert bench.peer.attempts == [1, 2, 3, 4, 5], "no two attempts have one number"


def test_what_was_confirmed_can_be_sent_again(engine: Engine, clock: Clock, result: StoredResult) -> None:
    bench = Bench(engine, clock)
    bench.sender.begin(result, PLAN)
    bench.run(result)
    bench.sender.book.send_again(result.digest, result.study.study_instance_uid, PLAN.shipments, clock())
    assert bench.run(result).state == "committed"
    assert len(bench.peer.sets) == 2


def test_what_was_never_to_be_sent_there_is_sent_when_it_is_asked_for(
    engine: Engine, clock: Clock, result: StoredResult
) -> None:
    bench = Bench(engine, clock)
    bench.sender.book.send_again(result.digest, result.study.study_instance_uid, PLAN.shipments, clock())
    assert bench.run(result).state == "committed"
    assert bench.peer.attempts == [1]


def test_a_delivery_that_a_person_ended_stays_so_whatever_an_attempt_on_its_way_comes_to(
    engine: Engine, clock: Clock, result: StoredResult
) -> None:
    bench = Bench(engine, clock)
    bench.sender.begin(result, PLAN)

    def fails() -> PeerFailure:
        bench.sender.book.purge(result.digest, clock())
        return PeerFailure.REFUSED

    bench.peer.fails = fails
    assert bench.sender.advance(result, "pacs").state == "purged"
    bench.sender.book.send_again(result.digest, result.study.study_instance_uid, PLAN.shipments, clock())
    assert bench.sender.advance(result, "pacs").state == "purged"
    assert bench.sender.book.due(clock()) == ()
    assert bench.peer.attempts == [1]


def many(tmp_path: Path, bench: Bench, count: int) -> list[StoredResult]:
    """So many results that are to be sent."""
    results = [stored_result(tmp_path / f"many{number}", "sr", seed=f"many{number}") for number in range(count)]
    for one in results:
        bench.sender.begin(one, PLAN)
    return results


def test_one_delivery_tries_a_peer_that_is_down_and_the_others_wait(
    tmp_path: Path, engine: Engine, clock: Clock
) -> None:
    bench = Bench(engine, clock, breaker={"failures": 3})
    results = many(tmp_path, bench, 20)
    bench.peer.fails = lambda: PeerFailure.UNREACHABLE
    waiting = [bench.sender.advance(one, "pacs") for one in results]
    assert bench.peer.tries == 3
    assert [delivery.attempts for delivery in waiting] == [1] * 3 + [0] * 17
    clock.now += timedelta(seconds=90)
    for one in results:
        bench.sender.advance(one, "pacs")
    assert bench.peer.tries == 4
    bench.peer.fails = lambda: None
    for _ in range(20):
        clock.now += timedelta(minutes=15)
        for one in results:
            bench.sender.advance(one, "pacs")
    assert {bench.sender.book.detail(one.digest, "pacs").delivery.state for one in results} == {"committed"}
    assert len(bench.peer.sets) == 20


def test_a_peer_that_is_down_is_tried_each_minute_and_gets_all_when_it_is_back(
    tmp_path: Path, engine: Engine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each delivery's own wait has grown to half an hour by then; and the outage takes longer than its tries would last."""
    bench = Bench(engine, clock, retry={"attempts": 8})
    results = many(tmp_path, bench, 3)
    back = START + timedelta(hours=3)
    bench.peer.fails = lambda: PeerFailure.UNREACHABLE if clock.now < back else None
    tried_at: list[datetime] = []
    while clock.now < back + timedelta(seconds=65):
        before = bench.peer.tries
        bench.sender.hasten("pacs")
        for one in results:
            bench.sender.advance(one, "pacs")
        tried_at += [clock.now] * (bench.peer.tries - before)
        clock.now += timedelta(seconds=5)
    assert PeerFaults(engine).every() == ()
    down = [at for at in tried_at if START + timedelta(minutes=10) < at < back]
    assert {later - at for at, later in itertools.pairwise(down)} == {timedelta(minutes=1)}
    assert {bench.sender.book.detail(one.digest, "pacs").delivery.state for one in results} <= {"sent", "committed"}
    assert len(bench.peer.sets) == 3
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == [
        "destination pacs is down: UNREACHABLE, failures in a row: 5; tried again each 60 s",
        "destination pacs answers again: what waits for it is sent now",
    ]


def test_waiting_for_a_peer_that_is_down_costs_no_attempt(tmp_path: Path, engine: Engine, clock: Clock) -> None:
    bench = Bench(engine, clock, breaker={"failures": 1}, retry={"attempts": 3})
    first, second = many(tmp_path, bench, 2)
    bench.peer.fails = lambda: PeerFailure.UNREACHABLE
    bench.sender.advance(first, "pacs")
    (fault,) = PeerFaults(engine).every()
    assert (fault.peer, fault.failure, fault.since) == ("destination pacs", PeerFailure.UNREACHABLE, START)
    for _ in range(10):
        assert bench.sender.advance(second, "pacs").attempts == 0


def test_a_refusal_of_one_object_leaves_the_circuit_closed(tmp_path: Path, engine: Engine, clock: Clock) -> None:
    bench = Bench(engine, clock, breaker={"failures": 2})
    bench.peer.fails = lambda: PeerFailure.REFUSED
    for one in many(tmp_path, bench, 10):
        bench.sender.advance(one, "pacs")
    assert bench.peer.tries == 10


def test_what_a_peer_does_not_keep_is_sent_again(engine: Engine, clock: Clock, result: StoredResult) -> None:
    bench = Bench(engine, clock)
    bench.sender.begin(result, PLAN)
    answers = iter([Confirmation(False, "commitment", PeerFailure.NOT_COMMITTED), Confirmation(True, "commitment")])
    bench.peer.says = lambda: next(answers)
    assert bench.run(result).state == "committed"
    assert bench.peer.tries == 2


def test_an_archive_has_time_before_what_its_query_does_not_find_is_sent_again(
    engine: Engine, clock: Clock, result: StoredResult
) -> None:
    bench = Bench(engine, clock)
    bench.sender.begin(result, PLAN)
    bench.peer.says = lambda: (
        Confirmation(True, "query")
        if clock.now > START + timedelta(seconds=40)
        else Confirmation(False, "query", PeerFailure.NOT_FOUND)
    )
    assert bench.run(result).state == "committed"
    assert bench.peer.tries == 1


def test_what_a_query_never_finds_ends_as_dead_letter(engine: Engine, clock: Clock, result: StoredResult) -> None:
    bench = Bench(engine, clock, retry={"attempts": 3})
    bench.sender.begin(result, PLAN)
    bench.peer.says = lambda: Confirmation(False, "query", PeerFailure.NOT_FOUND)
    delivery = bench.run(result)
    assert delivery.state == "dead"
    assert delivery.last_error.startswith("NOT_FOUND: ")
    assert bench.peer.tries == 3


def test_a_peer_that_cannot_be_asked_is_asked_later_and_sent_nothing_more(
    engine: Engine, clock: Clock, result: StoredResult
) -> None:
    bench = Bench(engine, clock)
    bench.sender.begin(result, PLAN)
    bench.peer.says = lambda: (
        PeerFailure.UNREACHABLE if clock.now < START + timedelta(hours=5) else Confirmation(True, "query")
    )
    assert bench.run(result).state == "committed"
    assert bench.peer.tries == 1


def test_what_nothing_proves_is_parked_with_its_reason_and_not_sent_again(
    engine: Engine, clock: Clock, result: StoredResult
) -> None:
    bench = Bench(engine, clock)
    bench.sender.begin(result, PLAN)
    bench.peer.says = lambda: Confirmation(False, "commitment", PeerFailure.NOT_CONFIRMED)
    bench.sender.advance(result, "pacs")
    delivery = bench.sender.advance(result, "pacs")
    assert (delivery.state, delivery.last_error.partition(":")[0]) == ("dead", "NOT_CONFIRMED")
    assert bench.run(result).next_at is None  # it ends
    assert bench.peer.tries == 1


def test_an_answer_that_comes_late_confirms_what_was_parked(engine: Engine, clock: Clock, result: StoredResult) -> None:
    bench = Bench(engine, clock)
    bench.sender.begin(result, PLAN)
    bench.peer.says = lambda: (
        Confirmation(False, "commitment", PeerFailure.NOT_CONFIRMED)
        if clock.now < START + timedelta(hours=5)
        else Confirmation(True, "commitment")
    )
    delivery = bench.run(result)
    assert (delivery.state, delivery.last_error) == ("committed", "")
    assert bench.peer.tries == 1


def test_a_peer_that_can_never_be_asked_ends_as_dead_letter(engine: Engine, clock: Clock, result: StoredResult) -> None:
    bench = Bench(engine, clock, retry={"give_up_hours": 2})
    bench.sender.begin(result, PLAN)
    bench.peer.says = lambda: PeerFailure.TIMEOUT
    delivery = bench.run(result)
    assert (delivery.state, delivery.last_error.partition(":")[0]) == ("dead", "TIMEOUT")
    assert bench.peer.tries == 1


def test_a_clock_that_steps_back_delays_nothing_by_more_than_a_day(
    engine: Engine, clock: Clock, result: StoredResult
) -> None:
    bench = Bench(engine, clock)
    bench.sender.begin(result, PLAN)
    bench.peer.fails = lambda: PeerFailure.REFUSED
    bench.sender.advance(result, "pacs")
    clock.now -= timedelta(days=3)
    assert [one.delivery.digest for one in bench.sender.book.due(clock())] == [result.digest]
    bench.peer.fails = lambda: None
    assert bench.sender.advance(result, "pacs").state == "sent"


def test_a_sender_that_starts_again_goes_on_where_the_last_one_was(
    engine: Engine, clock: Clock, result: StoredResult
) -> None:
    first = Bench(engine, clock)
    first.sender.begin(result, PLAN)
    first.sender.advance(result, "pacs")
    second = Bench(engine, clock)
    assert second.sender.advance(result, "pacs").state == "committed"
    assert second.peer.tries == 0
    assert [one.study_instance_uid for one in second.sender.book.of_study(result.study.study_instance_uid)]


def test_a_sender_killed_while_it_sends_sends_again(engine: Engine, clock: Clock, result: StoredResult) -> None:
    class Killed(BaseException):
        """As a SIGKILL would: nothing catches it."""

    def killed() -> PeerFailure | None:
        raise Killed

    first = Bench(engine, clock)
    first.sender.begin(result, PLAN)
    first.peer.fails = killed
    with pytest.raises(Killed):
        first.sender.advance(result, "pacs")
    second = Bench(engine, clock)
    assert second.run(result).state == "committed"
    assert second.peer.attempts == [2]
