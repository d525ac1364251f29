"""An executor with a worker that a test steers by files: ``python -m tests.gateway.workflow.executor_process FOLDER``.

In FOLDER: ``scored`` is what the worker gives; while ``hold`` is there it works on, and while ``crash`` is there it crashes; while ``harm`` is there the
study ends worker and executor; while
``archive-down`` is there earlier reports cannot be fetched, and while ``disk-full`` is there no output can be written. ``tried`` and
``handed`` get a line for each study that comes so far.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from gateway.peers.failures import PeerError, PeerFailure
from gateway.processes.signals import ended_by_signal
from gateway.records import StoredResult, StudyKey
from gateway.worker.in_hand import StudyInHand
from gateway.worker.messages import WorkerReply, WorkerTask
from gateway.worker.pool import WorkerError
from gateway.workflow.durable import RUN_QUEUE, RunContext, RunExecutor
from gateway.workflow.results import ResultStore
from gateway.workflow.runner import RunServices
from gateway.workflow.runs import RunLedger
from gateway.workflow.settings import RunRules
from tests.gateway.workflow.stand_ins import ObjectsInFolder, digest_of, new_database, stored_object


class SteeredWorker:
    """Stands in for the pool of workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, task: WorkerTask) -> WorkerReply:
        note(self.folder / "tried", task.study_folder.parent.parent.name)
        if (self.folder / "harm").exists():
            with StudyInHand().holding(task.output_folder):
                os.kill(os.getpid(), signal.SIGKILL)
        while (self.folder / "hold").exists():
            time.sleep(0.01)
        if (self.folder / "crash").exists():
            raise WorkerError("crash", "the worker's process ended: signal SIGSEGV")
        if (self.folder / "disk-full").exists():
            return WorkerReply(exit_code=3, refusal="OUTPUT_NOT_WRITABLE", written=False, resident_mib=1.0, seconds=0.1)
        shutil.copytree(self.folder / "scored", task.output_folder, dirs_exist_ok=True)
        return WorkerReply(exit_code=0, written=True, resident_mib=1.0, seconds=0.1)


def note(file: Path, line: str) -> None:
    """Add a line."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")


def tell_when_nothing_more_is_taken() -> None:
    """Print a line when the thread has ended that takes runs from the queue."""
    for thread in threading.enumerate():
        if thread.name == f"queue-worker-{RUN_QUEUE}":
            thread.join()
    print("takes nothing more", flush=True)


def main() -> None:
    """Execute until SIGTERM; then stop in order."""
    folder = Path(sys.argv[1])
    engine = new_database(folder)
    (folder / "one.dcm").write_bytes(b"one")

    def hand_over(stored: StoredResult) -> None:
        note(folder / "handed", stored.digest)

    def earlier_reports(study: StudyKey, into: Path) -> None:
        if (folder / "archive-down").exists():
            raise PeerError(PeerFailure.TIMEOUT, "the archive says nothing")

    services = RunServices(
        objects=ObjectsInFolder([stored_object("1.2.3.5", folder / "one.dcm")]),
        results=ResultStore(engine, folder / "results"),
        scorer=SteeredWorker(folder),
        work_folder=folder / "work",
        objects_digest=digest_of,
        earlier_reports=earlier_reports,
    )
    rules = RunRules(attempts=2, first_wait_seconds=0.2)
    context = RunContext(services, RunLedger(engine), rules, "synthetic", lambda study: None, hand_over)
    executor = RunExecutor(f"sqlite:///{folder / 'workflow.sqlite'}")
    ended = ended_by_signal()
    executor.launch(context, at_once=1)
    print("ready", flush=True)
    ended.wait()
    threading.Thread(target=tell_when_nothing_more_is_taken).start()
    executor.stop(300)


if __name__ == "__main__":
    main()
