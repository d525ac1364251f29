"""One patient's trouble never ends the run, on this machine's cluster or on another one."""

from __future__ import annotations

from distributed.scheduler import KilledWorker

from training.cohort.cluster import run_on_cluster


def test_an_item_that_kills_its_workers_is_an_error_and_the_others_have_results() -> None:
    """``eval`` stands for any function: one item ends the process, as running out of memory does."""
    items = {"fails": "1 / 0", "dies": "__import__('os')._exit(1)", "lives": "6 * 7"}
    outcomes = dict(run_on_cluster(eval, items, workers=2))
    assert outcomes["lives"] == 42
    assert isinstance(outcomes["fails"], ZeroDivisionError)
    assert isinstance(outcomes["dies"], KilledWorker)


def test_libraries_on_a_worker_have_one_thread() -> None:
    (outcome,) = run_on_cluster(eval, {"asked": "__import__('os').environ['OPENBLAS_NUM_THREADS']"}, workers=1)
    assert outcome == ("asked", "1")
