"""One patient's trouble never ends the run, on this machine's cluster or on another one."""

from __future__ import annotations

import pytest
from distributed import LocalCluster
from distributed.scheduler import KilledWorker

from training.cohort import cluster
from training.cohort.cluster import run_on_cluster
from training.errors import FailedError


def test_an_item_that_kills_its_workers_is_an_error_and_the_others_have_results() -> None:
    """``eval`` stands for any function: one item ends the process, as running out of memory does."""
    items = {"fails": "1 / 0", "dies": "__import__('os')._exit(1)", "lives": "6 * 7"}
    outcomes = dict(run_on_cluster(eval, items, workers=2))
    assert outcomes["lives"] == 42
    assert isinstance(outcomes["fails"], ZeroDivisionError)
    assert isinstance(outcomes["dies"], KilledWorker)


def test_an_item_beside_one_that_kills_their_worker_has_its_result_all_the_same() -> None:
    """One process with two threads: both items die with it, as often as an item may."""
    beside = "__import__('time').sleep(0.5) or 42"
    items = {"dies": "__import__('time').sleep(0.2) or __import__('os')._exit(1)", "lives": beside}
    outcomes = dict(run_on_cluster(eval, items, workers=1, threads=2))
    assert outcomes["lives"] == 42
    assert isinstance(outcomes["dies"], KilledWorker)


def test_more_items_than_the_scheduler_is_told_of_at_a_time_all_have_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "IN_FLIGHT", 3)
    items = {str(number): str(number) for number in range(10)}
    assert dict(run_on_cluster(eval, items, workers=1)) == {str(number): number for number in range(10)}


def test_libraries_on_a_worker_have_one_thread() -> None:
    (outcome,) = run_on_cluster(eval, {"asked": "__import__('os').environ['OPENBLAS_NUM_THREADS']"}, workers=1)
    assert outcome == ("asked", "1")


def test_a_run_whose_workers_are_gone_for_good_ends_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that is far too busy: the connection broke, and the worker closed with the nanny that would restart it."""
    monkeypatch.setattr(cluster, "LOST_SECONDS", 1.0)
    closes = "(w := __import__('distributed').get_worker()).loop.add_callback(w.close) or __import__('time').sleep(60)"
    with pytest.raises(FailedError, match="run it again"):
        list(run_on_cluster(eval, {"closes": closes}, workers=1))


def test_a_worker_keeps_no_history_of_its_stacks() -> None:
    asked = "__import__('time').sleep(2.5) or len(__import__('distributed').get_worker().profile_history)"
    assert dict(run_on_cluster(eval, {"asked": asked}, workers=1)) == {"asked": 0}


def test_the_scheduler_keeps_nothing_of_each_item() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as local:
        items = {f"patient{number}": str(number) for number in range(30)}
        assert len(dict(run_on_cluster(eval, items, scheduler=local.scheduler_address))) == 30
        assert len(local.scheduler.task_prefixes) == 1
