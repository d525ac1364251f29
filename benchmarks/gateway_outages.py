"""What becomes of studies while the PACS misbehaves, the database is gone, the clock steps back, and the disk is really full.

Run from the repository, in the run time's environment with the extra ``gateway``; needs Debian's orthanc, orthanc-dicomweb and
postgresql, a C compiler, and for the full disk the right to mount a tmpfs::

    python -m benchmarks.gateway_outages [--seed 1] [--only NAME ...] [--output benchmarks/results/gateway-outages.md]

Everything is real but the wire between gateway and PACS (`tests.e2e.faulty_pacs`) and the clock: the calendar time
of all the gateway's processes is shifted at one moment (``stepped_clock.c``) and the monotonic clock is left, as a step of NTP does. Times
of files stay the kernel's.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.gateway_faults import OUT_OF_RESOURCES, FaultRun, faults_table
from gateway.records import StudyKey
from pdl1es.phantom.dicom import make_phantom_study
from tests.e2e.faulty_pacs import Behaviour, FaultyWire
from tests.e2e.gateway_site import PATIENCE_S, GatewaySite, running_site, study_uid
from tests.e2e.postgres import PostgresServer, running_postgres
from tests.ports import free_port
from tests.waiting import until

REPOSITORY = Path(__file__).resolve().parent.parent
KINDS = ("pacs", "database", "postgresql", "clock", "disk")
STEP_HOURS = 1
SMALL_DISK_MIB = 192


class OutageRun(FaultRun):
    """Outages on one site, one after the other; parameters are `FaultRun`'s."""

    def pacs_behaves(self, wire: FaultyWire, behaviour: Behaviour) -> None:
        """The wire to the PACS does something bad for as long as a delivery is tried twice, or once where that suffices.

        Parameters
        ----------
        wire
            Through which the gateway sends.
        behaviour
            What it does.
        """
        ((ct, contour),) = self.copies(1)
        tries = 1 if behaviour in ("slow", "loses the answer to N-ACTION") else 2

        def happen() -> str:
            wire.behaviour, before = behaviour, wire.happened[behaviour]
            self.site.send([*ct, *contour])
            # Each attempt is one association for the set, and one for each question about it.
            enough = 2 if behaviour == "loses the answer to N-ACTION" else tries
            until(lambda: wire.happened[behaviour] - before >= enough, PATIENCE_S)
            if behaviour == "slow":
                until(lambda: bool(self.site.book.in_state("committed")), PATIENCE_S)
            wire.behaviour = "well"
            return f"{wire.happened[behaviour] - before} connections behaved so"

        self._row(f"PACS: {behaviour}", happen, [ct])

    def pacs_never_commits(self) -> None:
        """The PACS takes the request for storage commitment, and its answer goes where nobody listens."""
        ((ct, contour),) = self.copies(1)

        def happen() -> str:
            self.site.let_pacs_answer_to(free_port())
            self.site.send([*ct, *contour])
            until(lambda: bool(self.site.book.in_state("sent")), PATIENCE_S)
            return "confirmed by C-FIND after `commitment.answer_seconds: 20`"

        try:
            self._row("PACS: never commits", happen, [ct])
        finally:
            self.site.let_pacs_answer_to(self.site.gateway.port)

    def database_locked(self) -> None:
        """Another program holds the database's lock for longer than a transaction waits."""
        ((ct, contour),) = self.copies(1)

        def happen() -> str:
            self.site.send(ct[:3])
            with _held(self.site.gateway.folder / "gateway" / "gateway.sqlite"):
                until(lambda: self.site.gateway.health("ready")[0] == 503, PATIENCE_S)
                self.site.offer(ct[3])
            self.site.send([*ct[3:], *contour])
            until(lambda: self.site.gateway.health("ready")[0] == 200, PATIENCE_S)
            return "not ready while it was locked; then by itself"

        self._row("database locked (SQLite)", happen, [ct])

    def database_gone(self) -> None:
        """The files of both databases are not where they were, and come back."""
        ((ct, contour),) = self.copies(1)
        folder = self.site.gateway.folder / "gateway"

        def happen() -> str:
            self.site.send(ct[:3])
            for name in ("gateway.sqlite", "workflow.sqlite"):
                (folder / name).rename(folder / f"{name}.away")
            until(lambda: self.site.gateway.health("ready")[0] == 503, PATIENCE_S)
            until(lambda: self.site.offer(ct[3]) == OUT_OF_RESOURCES, PATIENCE_S)
            for name in ("gateway.sqlite", "workflow.sqlite"):
                assert not (folder / name).exists(), "no empty one takes its place"
                (folder / f"{name}.away").rename(folder / name)
            self.site.send([*ct[3:], *contour])
            until(lambda: self.site.gateway.health("ready")[0] == 200, PATIENCE_S)
            return "0xA700 and not ready while they were gone; then by itself"

        self._row("database gone (SQLite)", happen, [ct])

    def postgresql_stopped(self, server: PostgresServer) -> None:
        """PostgreSQL is stopped while objects come and while a study is run, and started again.

        Parameters
        ----------
        server
            Of both databases.
        """
        ((ct, contour),) = self.copies(1)

        def happen() -> str:
            self.site.send(ct[:3])
            server.stop()
            until(lambda: self.site.gateway.health("ready")[0] == 503, PATIENCE_S)
            until(lambda: self.site.offer(ct[3]) == OUT_OF_RESOURCES, PATIENCE_S)
            server.start()
            self.site.send([*ct[3:], *contour])
            until(lambda: self.site.gateway.health("ready")[0] == 200, PATIENCE_S)
            until(lambda: bool(self.site.gateway.ledger.of_study(StudyKey(study_uid(ct)))), PATIENCE_S)
            server.stop()
            time.sleep(10)
            server.start()
            return "0xA700 and not ready while it was stopped, then by itself; stopped for 10 s once more after the run was entered"

        self._row("PostgreSQL stopped and started", happen, [ct])

    def clock_steps_back(self, offset: Path) -> None:
        """The clock steps back while one study waits for its contour and another one's delivery waits for the PACS.

        Parameters
        ----------
        offset
            The file that says by how many seconds the clock is shifted.
        """
        (first, first_contour), (second, second_contour) = self.copies(2)

        def happen() -> str:
            self.site.send(second)
            self.site.stop_pacs()
            self.site.send([*first, *first_contour])
            until(lambda: any(one.delivery.attempts > 1 for one in self.site.book.in_state("waiting")), PATIENCE_S)
            offset.write_text(f"{-3600 * STEP_HOURS}\n", encoding="ascii")
            self.site.start_pacs()
            self.site.send(second_contour)
            return f"by {STEP_HOURS} h, between CT and contour of one study and two attempts to send another"

        self._row("clock steps back", happen, [first, second])

    def disk_really_full(self) -> None:
        """The gateway's file system has no byte left while objects come, and while a study is run."""
        ((ct, contour),) = self.copies(1)
        ballast = self.site.gateway.folder / "gateway" / "ballast"

        def happen() -> str:
            self.site.send(ct[:3])
            _fill(ballast)
            until(lambda: self.site.offer(ct[3]) == OUT_OF_RESOURCES, PATIENCE_S)
            ballast.unlink()
            self.site.send([*ct[3:], *contour])
            until(lambda: bool(self.site.gateway.ledger.in_states("queued", "running")), PATIENCE_S)
            _fill(ballast)
            time.sleep(20)
            ballast.unlink()
            return "0xA700 while objects came; 20 s without a byte while it was run"

        self._row("disk really full", happen, [ct])


def _fill(ballast: Path) -> None:
    """Write a file until nothing more fits."""
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while True:
                    file.write(b"\1" * size)
            except OSError:
                continue


@contextmanager
def _held(database: Path) -> Iterator[None]:
    """Hold a SQLite database's lock for writing."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=60)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """Mount a small file system."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MIB}m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _stepped_clock(folder: Path) -> dict[str, str]:
    """Compile what shifts the clock, and return the variables that make a process load it; it stands at 0."""
    library, offset = folder / "stepped_clock.so", folder / "offset"
    source = Path(__file__).with_name("stepped_clock.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    offset.write_text("0\n", encoding="ascii")
    return {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(offset)}


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def main() -> int:
    """Run, print and write.

    Returns
    -------
    int
        Exit code: 1 where something is wrong.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--orthanc", default="/usr/sbin/Orthanc")
    parser.add_argument("--postgresql", type=Path, default=Path("/usr/lib/postgresql/15/bin"))
    parser.add_argument("--only", nargs="+", choices=KINDS)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "gateway-outages.md")
    given = parser.parse_args()
    chosen = given.only or KINDS
    rows, objects = [], 0
    with tempfile.TemporaryDirectory() as name:
        phantom = make_phantom_study(Path(name) / "phantom", seed=0, matrix=128, slices=(16, 66)).folder
        for number, kind in enumerate(chosen):
            folder = Path(name) / kind
            (folder / "site").mkdir(parents=True)
            (folder / "copies").mkdir()
            with ExitStack() as stack:
                if kind == "disk":
                    stack.enter_context(_small_disk(folder / "site" / "gateway"))
                sections: dict[str, Any] = {}
                server = None
                if kind == "clock":
                    sections = {"environment": _stepped_clock(folder)}
                if kind == "postgresql":
                    server = stack.enter_context(running_postgres(given.postgresql))
                    stack.enter_context(_environment(**server.environment))
                    one = server.make_database("gateway")
                    sections = {"database": one, "workflow_database": one}
                site = stack.enter_context(
                    running_site(folder / "site", REPOSITORY, given.orthanc, None, wire=kind == "pacs", **sections)
                )
                run = OutageRun(site, phantom, folder / "copies", given.seed + number)
                _run(run, site, kind, folder, server)
                rows += run.rows
                objects += len(site.acknowledged)
                print(faults_table(rows, objects), flush=True)
    head = f"# Outages\n\n`python -m benchmarks.gateway_outages --seed {given.seed}`; Orthanc as PACS, "
    head += f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores.\n\n"
    given.output.write_text(head + faults_table(rows, objects), encoding="utf-8")
    return int(any(row.wrong for row in rows))


def _run(run: OutageRun, site: GatewaySite, kind: str, folder: Path, server: PostgresServer | None) -> None:
    if kind == "pacs":
        assert site.wire is not None
        for behaviour in ("slow", "resets", "rejects", "loses the answer to N-ACTION"):
            run.pacs_behaves(site.wire, behaviour)
        run.pacs_never_commits()
    elif kind == "database":
        run.database_locked()
        run.database_gone()
    elif server is not None:
        run.postgresql_stopped(server)
    elif kind == "clock":
        run.clock_steps_back(folder / "offset")
    else:
        run.disk_really_full()


if __name__ == "__main__":
    raise SystemExit(main())
