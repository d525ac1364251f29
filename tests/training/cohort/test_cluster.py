"""One patient's trouble never ends the run, on this machine's cluster or on another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from distributed import LocalCluster
from distributed.scheduler import KilledWorker

from training.cohort.case import PreparationSettings
from training.cohort.cluster import run_on_cluster
from training.cohort.prepare import prepare_cohort
from training.cohort.prepared import PreparedCohort
from training.cohort.table import CheckedTable, read_cohort


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


def test_the_workers_of_another_scheduler_give_the_same_bits(
    synthetic: Path, prepared: PreparedCohort, tmp_path: Path
) -> None:
    table = read_cohort(synthetic / "cohort.csv")
    one = CheckedTable(table.rows[1:2], (), (), 1, ())
    here = prepared.subset(np.array([prepared.case_ids.index(table.rows[1].id)]))
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        there = prepare_cohort(
            one, tmp_path / "there", PreparationSettings(), scheduler=cluster.scheduler_address, workers=None
        )
    np.testing.assert_array_equal(there.radiomics, here.radiomics)
    np.testing.assert_array_equal(there.patches, here.patches)
