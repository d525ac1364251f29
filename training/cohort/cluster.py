"""Work on many patients by Dask distributed: on this machine, or on any cluster that a scheduler's address names."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, TypeVar
from uuid import uuid4

from training.errors import FailedError

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
POLL_SECONDS: Final = 0.05
LOST_SECONDS: Final = 120.0
"""How long a cluster of this machine may be without any worker: its nannies start a new one within seconds."""
LOST: Final = "the workers of this machine were lost, as where it is far too busy: run it again, what is done is kept"
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

    Raises
    ------
    FailedError
        The cluster of this machine has no worker any more.

    Notes
    -----
    An error of one item never ends the run: the item's result is then its exception, or the death of its worker. Dask blames a
    worker's death on every item that the worker held, also on one that only waited there. Such items are computed again,
    each alone.
    """
    if not items:
        return
    from distributed import KilledWorker, as_completed
    from distributed.client import FutureCancelledError

    alone: dict[str, Item] = {}
    with _client(scheduler, min(workers or os.cpu_count() or 1, len(items)), threads) as client:
        names: dict[Any, str] = {}
        further = iter(enumerate(items.items()))
        group = f"items-{uuid4().hex}"

        def submitted(count: int) -> list[Any]:
            """Submit the next items, as many as that at most."""
            futures = []
            for number, (name, item) in islice(further, count):
                # The scheduler keeps something of every first part of a key for ever: all items share one.
                future = client.submit(function, item, key=(group, number), pure=False)
                names[future] = name
                futures.append(future)
            return futures

        waiting = as_completed(submitted(at_once or IN_FLIGHT))
        for future in _as_they_end(waiting, client.cluster):
            name = names.pop(future)
            try:
                error = future.exception()
            except FutureCancelledError as lost:  # nobody here cancels anything: the scheduler is gone
                raise FailedError(LOST) from lost
            result = future.result() if error is None else error
            future.release()
            waiting.update(submitted(1))
            if at_once != 1 and isinstance(result, KilledWorker):
                alone[name] = items[name]
            else:
                yield name, result
    yield from run_on_cluster(function, alone, scheduler=scheduler, workers=workers, at_once=1)


def _as_they_end(waiting: Any, cluster: Any | None) -> Iterator[Any]:
    """Give futures as they end; where a cluster of this machine lost its workers, no other comes, and nothing would end."""
    heard = time.monotonic()
    while not waiting.is_empty():
        ended = waiting.next_batch(block=False)
        yield from ended
        if ended or cluster is None or cluster.scheduler.workers:
            heard = time.monotonic()
        elif time.monotonic() - heard > LOST_SECONDS:
            raise FailedError(LOST)
        if not ended:
            time.sleep(POLL_SECONDS)


def _say_no_more() -> None:
    """Let a worker say nothing of a scheduler that is gone (on the worker): the cluster is closed while it sends a heartbeat."""
    for name in (
        "distributed",
        *(found for found in logging.root.manager.loggerDict if found.startswith("distributed.")),
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)


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
        # On a machine that is far too busy a process gets no time for half a minute: no reason to give its connection up.
        "distributed.comm.timeouts.connect": "5 minutes",
        "distributed.comm.timeouts.tcp": "30 minutes",
        # Each worker keeps the stacks of its last 1,000 seconds, 0.1 MB for each: nobody looks at them.
        "distributed.worker.profile.enabled": False,
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
            client.run(_say_no_more, on_error="ignore")
