"""The ledger: one run for each digest, and one workflow at a time that may write of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.workflow.runs import RunLedger
from gateway.workflow.settings import RunRules, wait_before
from tests.gateway.workflow.stand_ins import STUDY, new_database, some_run


@pytest.fixture
def ledger(tmp_path: Path) -> RunLedger:
    return RunLedger(new_database(tmp_path))


def test_a_digest_is_entered_once_and_comes_back_as_it_was(ledger: RunLedger) -> None:
    assert ledger.enter(some_run(urgent=True))
    assert not ledger.enter(some_run())
    note = ledger.find("d1")
    assert note is not None
    assert note.input == some_run(urgent=True)
    assert (note.state, note.round, note.attempts, note.reason) == ("queued", 1, 0, "")
    assert note.created_at.tzinfo is not None


def test_a_workflow_whose_round_was_taken_over_changes_nothing(ledger: RunLedger) -> None:
    ledger.enter(some_run())
    assert ledger.began("d1", 1)
    assert ledger.ended("d1", 1, "again", reason="WORKER_CRASH: x")
    note = ledger.find("d1")
    assert note is not None
    assert (note.state, note.round, note.attempts, note.reason) == ("again", 2, 1, "WORKER_CRASH: x")
    assert not ledger.began("d1", 1)
    assert not ledger.ended("d1", 1, "done")
    assert ledger.began("d1", 2)
    assert ledger.ended("d1", 2, "done", seconds=0.5)
    assert not ledger.ended("d1", 2, "parked")
    assert [(note.state, note.seconds, note.reason) for note in ledger.of_study(STUDY)] == [("done", 0.5, "")]


def test_a_parked_run_comes_back_with_its_tries_counted_anew(ledger: RunLedger) -> None:
    ledger.enter(some_run())
    assert ledger.asked_again("d1") is None
    assert ledger.park("d1", "a person asked for it")
    note = ledger.asked_again("d1", urgent=True)
    assert note is not None
    assert (note.state, note.round, note.attempts, note.input.urgent) == ("queued", 2, 0, True)


def test_a_run_that_is_in_a_worker_is_not_parked(ledger: RunLedger) -> None:
    ledger.enter(some_run())
    ledger.began("d1", 1)
    assert not ledger.park("d1", "a person asked for it")


def test_runs_are_counted_by_state(ledger: RunLedger) -> None:
    for digest in ("d1", "d2", "d3"):
        ledger.enter(some_run(digest))
    ledger.began("d2", 1)
    assert ledger.counts() == {"queued": 2, "running": 1, "again": 0, "parked": 0, "done": 0, "stale": 0}
    assert [note.input.digest for note in ledger.in_states("queued", limit=1)] == ["d1"]


def test_waits_grow_up_to_the_longest() -> None:
    rules = RunRules(first_wait_seconds=5, wait_factor=4, longest_wait_seconds=100)
    assert [wait_before(attempt, rules) for attempt in (2, 3, 4, 5)] == [5, 20, 80, 100]
    assert wait_before(10**6, rules) == 100, "also after weeks of an archive's outage"
