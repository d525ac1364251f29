"""Work on many patients by Dask distributed: on this machine, or on any cluster that a scheduler's address names."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

ENVIRONMENT: Final = {
    **dict.fromkeys(
        ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1"
    ),
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}
"""Environment of every worker: one process per core, one thread per library. Libraries read it at their first import.

glibc's heaps, else one for each thread, would grow over the patients: it keeps few, and gives back what is free."""
IN_FLIGHT: Final = 1000
"""Items that the scheduler knows at a time: so many keep any cluster busy, and 100,000 would fill its memory."""
DEATHS: Final = 2
"""Workers that may die over one patient beyond the first; after that the patient counts as failed."""


def run_on_cluster(
    function: Callable[[Item], Result],
    items: Mapping[str, Item],
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    threads: int = 1,
    at_once: int | None = None,
) -> Iterator[tuple[str, Result | BaseException]]:
    """Yield every item's result, or the error that it ended with, as they come.

    Parameters
    ----------
    function
        Importable by name on the workers; it takes one item.
    items
        By name; items and results are pickled.
    scheduler
        Address of a scheduler, as ``tcp://host:8786``; its workers need this package and the same paths. A cluster of
        this machine where None.
    workers
        Processes of this machine; one for each core where None.
    threads
        Of each process of this machine: items that it works on at a time.
    at_once
        Items that the scheduler knows at a time; `IN_FLIGHT` where None.

    Yields
    ------
    tuple[str, Result or BaseException]
        The name of an item, with its result or error.

    Notes
    -----
    An error of one item never ends the run: the item's result is then its exception, or the death of its worker. Dask blames a
    worker's death on every item that the worker held, also on one that only waited there. Such items are computed again,
    each alone.
    """
    if not items:
        return
    from distributed import KilledWorker, as_completed

    alone: dict[str, Item] = {}
    with _client(scheduler, min(workers or os.cpu_count() or 1, len(items)), threads) as client:
        names: dict[Any, str] = {}
        further = iter(items.items())

        def submitted(count: int) -> list[Any]:
            """Submit the next items, as many as that at most."""
            futures = []
            for name, item in islice(further, count):
                future = client.submit(function, item, key=f"{name}-{id(items)}", pure=False)
                names[future] = name
                futures.append(future)
            return futures

        waiting = as_completed(submitted(at_once or IN_FLIGHT))
        for future in waiting:
            name = names.pop(future)
            error = future.exception()
            result = future.result() if error is None else error
            future.release()
            waiting.update(submitted(1))
            if at_once != 1 and isinstance(result, KilledWorker):
                alone[name] = items[name]
            else:
                yield name, result
    yield from run_on_cluster(function, alone, scheduler=scheduler, workers=workers, at_once=1)


@contextmanager
def _client(scheduler: str | None, workers: int, threads: int) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    settings = {
        "distributed.nanny.pre-spawn-environ": ENVIRONMENT,
        "distributed.scheduler.allowed-failures": DEATHS,
        # A long computation in C holds the interpreter, so a worker that is silent for minutes may still be working.
        "distributed.scheduler.worker-ttl": "30 minutes",
        "distributed.admin.tick.limit": "10 minutes",
    }
    with dask.config.set(settings):
        if scheduler is not None:
            with Client(scheduler) as client:
                yield client
            return
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=threads,
                processes=True,
                dashboard_address="127.0.0.1:0",  # any free port: two runs may share a machine
                silence_logs=logging.ERROR,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
