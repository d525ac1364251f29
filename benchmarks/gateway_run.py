"""How long a study takes through the gateway, beside the chain's own warm run of it.

Run from the repository, in the run time's environment with the extra ``gateway``::

    python -m benchmarks.gateway_run STUDY [--repeats 15] [--output benchmarks/results/gateway-run.md]

*Chain* is ``pdl1es.run.run_study`` in one process that has run the study before. *Gateway* is the time from a complete study's entry
into the ledger to its stored result: queue, durable steps with their commits, a warm worker, fsync. Both alternate, so that whatever
else the machine does meets both alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from gateway.database import create_tables, open_database
from gateway.objects.reception import ObjectOrigin
from gateway.objects.store import ObjectStore, StoreLimits
from gateway.records import StoredObject
from gateway.worker.pool import WorkerPool
from gateway.worker.settings import WorkerSettings
from gateway.workflow.durable import RunContext, RunExecutor, RunQueue
from gateway.workflow.results import ResultStore
from gateway.workflow.runner import RunServices
from gateway.workflow.runs import RunInput, RunLedger
from gateway.workflow.settings import RunRules
from pdl1es.command_line.process import limit_blas_threads, prepare_process
from pdl1es.run import run_study
from pdl1es.settings import DEFAULT_FILE, load_settings
from pdl1es.shipped import shipped_path

REPOSITORY = Path(__file__).resolve().parent.parent
UNCOUNTED = 3


def object_digests(objects: tuple[StoredObject, ...]) -> str:
    """Return a digest of objects."""
    return sha256("".join(sorted(stored.sha256 for stored in objects)).encode()).hexdigest()


def measured_ways(study: Path, folder: Path, repeats: int) -> tuple[list[float], list[float]]:
    """Measure both ways in turn.

    Parameters
    ----------
    study
        Folder of the study.
    folder
        An empty one.
    repeats
        How often.

    Returns
    -------
    list of float, list of float
        Seconds of the chain, and of the gateway; the first of each are left out.
    """
    engine = open_database(f"sqlite:///{folder / 'gateway.sqlite'}")
    create_tables(engine)
    objects = ObjectStore(folder / "objects", engine, StoreLimits(reserve_bytes=0))
    for file in sorted(study.rglob("*.dcm")):
        objects.put(BytesIO(file.read_bytes()), ObjectOrigin("pacs", "dimse", "CT1"))
    (key,) = objects.index.studies()
    settings, models = load_settings(DEFAULT_FILE), shipped_path("models")
    pool = WorkerPool(WorkerSettings(), DEFAULT_FILE, models)
    training_data = pool.start().training_data
    (folder / "work").mkdir()
    results, ledger = ResultStore(engine, folder / "results"), RunLedger(engine)
    services = RunServices(objects, results, pool, folder / "work", lambda some: object_digests(tuple(some)))
    url = f"sqlite:///{folder / 'workflow.sqlite'}"
    executor = RunExecutor(url)
    executor.launch(RunContext(services, ledger, RunRules(), training_data, lambda _: None, lambda _: None), at_once=1)
    queue = RunQueue(url)
    time.sleep(2)  # until DBOS looks at its queue
    chain, gateway = [], []
    for number in range(repeats + UNCOUNTED):
        started = time.perf_counter()
        run_study(study, folder / f"chain-{number}", settings=settings, model_folder=models)
        chain.append(time.perf_counter() - started)
        run = RunInput(key, f"{number:064d}", object_digests(objects.objects_of(key)), "", (), "", urgent=False)
        started = time.perf_counter()
        ledger.enter(run)
        note = ledger.find(run.digest)
        assert note is not None
        queue.put(note)
        while results.find(run.digest) is None:
            time.sleep(0.002)
        gateway.append(time.perf_counter() - started)
        while (note := ledger.find(run.digest)) is not None and note.state != "done":
            time.sleep(0.002)
    executor.stop(1)
    pool.stop()
    return chain[UNCOUNTED:], gateway[UNCOUNTED:]


def chain_and_gateway_table(chain: list[float], gateway: list[float], load: float) -> str:
    """Return the result as Markdown.

    Parameters
    ----------
    chain, gateway
        Seconds.
    load
        Of the machine, at the end.

    Returns
    -------
    str
    """
    ratio = statistics.median(gateway) / statistics.median(chain)
    lines = ["| a warm study, s | median | fastest | slowest |", "|---|---:|---:|---:|"]
    for name, seconds in (("the chain alone", chain), ("through the gateway", gateway)):
        lines.append(f"| {name} | {statistics.median(seconds):.3f} | {min(seconds):.3f} | {max(seconds):.3f} |")
    lines += [
        "",
        f"Ratio of the medians: {ratio:.2f} (asked for: at most 1.3). {len(chain)} runs of each in turn; load {load:.1f}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "gateway-run.md")
    arguments = parser.parse_args()
    limit_blas_threads()
    prepare_process("ERROR")
    with tempfile.TemporaryDirectory() as folder:
        chain, gateway = measured_ways(arguments.study, Path(folder), arguments.repeats)
    table = chain_and_gateway_table(chain, gateway, os.getloadavg()[0])
    print(table)
    text = "# A study through the gateway\n\n"
    text += (
        "What the gateway's queue, durable steps and stores add to a study: `python -m benchmarks.gateway_run STUDY` "
    )
    text += "with `pdl1es phantom` as the study, two cores, SQLite on the same disk.\n\n"
    arguments.output.write_text(text + table, encoding="utf-8")


if __name__ == "__main__":
    main()
