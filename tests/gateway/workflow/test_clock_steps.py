"""What is current does not hang on the clock: it may step back between two results or runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.records import StoredResult
from gateway.workflow import results, runs
from gateway.workflow.results import ResultStore
from gateway.workflow.runs import RunLedger
from tests.gateway.workflow.stand_ins import NOW, STUDY, new_database, some_run
from tests.gateway.workflow.watching import Watching

HALF_AN_HOUR = timedelta(minutes=30)


class SteppingClock:
    """A clock that goes back by half an hour at each look."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        self.now -= HALF_AN_HOUR
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    stepping = SteppingClock()
    monkeypatch.setattr(results, "utc_now", stepping)
    monkeypatch.setattr(runs, "utc_now", stepping)


def test_the_last_result_is_the_one_that_nothing_superseded(tmp_path: Path) -> None:
    engine = new_database(tmp_path)
    store = ResultStore(engine, tmp_path / "results")
    for digest in ("c", "a", "b"):
        with engine.begin() as connection:
            results._enter(connection, StoredResult(STUDY, digest, tmp_path, (), "low", 0.5, ""), "patients")
    found = [(note.result.digest, note.superseded_by) for note in store.of_study(STUDY)]
    assert found == [("c", "a"), ("a", "b"), ("b", "")]


def test_runs_stand_in_the_order_in_which_they_were_asked_for(tmp_path: Path) -> None:
    ledger = RunLedger(new_database(tmp_path))
    for digest in ("c", "a", "b"):
        ledger.enter(some_run(digest))
    assert [note.input.digest for note in ledger.of_study(STUDY)] == ["c", "a", "b"]
    assert [note.input.digest for note in ledger.in_states("queued")] == ["c", "a", "b"]
    ledger.ended("c", 1, "stale")
    assert ledger.stale_studies() == (), "later ones took its place"
    assert ledger.wanted_again("c")
    assert [note.input.digest for note in ledger.of_study(STUDY)] == ["a", "b", "c"]
    ledger.ended("c", 2, "stale")
    assert ledger.stale_studies() == (STUDY,)


def test_a_row_that_comes_back_while_the_clock_steps_back_has_its_run(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    table = tmp_path / "clinical.csv"
    digests = []
    for number, age in enumerate((50, 51, 50)):
        table.write_text(f"patient_id,age\nP1,{age}\n")
        if not number:
            watching.arrives()
        watching.watch = watching.restarted()
        assert watching.watch.look() == 1, age
        digests.append(watching.ends(number))
        if number:
            watching.supersedes(digests[number - 1], digests[number])
        assert watching.watch.look() == 0
    assert len(set(digests)) == 3
    assert [note.input.digest for note in watching.ledger.of_study(STUDY)] == digests
