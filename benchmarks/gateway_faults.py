"""What becomes of studies while the gateway's processes are killed, the PACS is down, the disk is full, an object is corrupt, a worker hangs.

Run from the repository, in the run time's environment with the extra ``gateway``; needs Debian's orthanc and orthanc-dicomweb::

    python -m benchmarks.gateway_faults [--studies 5] [--kills 20] [--seed 1] [--only NAME ...] [--output benchmarks/results/gateway-faults.md]

Everything is real: an Orthanc takes the reports and commits to them, a sender sends again what was not acknowledged, ``pdl1es serve`` runs
in processes of its own, and SIGKILL ends them. After each fault the gateway is left alone until nothing is being run or sent; then
`tests.e2e.gateway_site.GatewaySite.audit` holds every object and every study against what was acknowledged.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydicom import dcmread

from pdl1es.phantom.dicom import make_phantom_study
from tests.e2e.gateway_site import PATIENCE_S, GatewaySite, running_site, study_uid
from tests.gateway.processes.served import copy_with_other_uids, parts_of
from tests.waiting import until

REPOSITORY = Path(__file__).resolve().parent.parent
VICTIMS = ("receiver", "executor", "worker", "sender", "gateway")
"""What is killed: a process of that name; the executor while it sends; everything at once."""
LONGEST_LIFE_S = 6.0
DEADLINE_S = 40.0
OUT_OF_RESOURCES = 0xA700


@dataclass(frozen=True, slots=True)
class FaultRow:
    """What one fault came to: its name, what was done, how the studies ended, and what is wrong."""

    fault: str
    done: str
    ends: Counter[str]
    wrong: list[str]
    seconds: float


class FaultRun:
    """Faults on one site, one after the other.

    Parameters
    ----------
    site
        It runs.
    study
        A study, of which copies are sent.
    folder
        An empty one, for the copies.
    seed
        Of the moments and victims.
    """

    def __init__(self, site: GatewaySite, study: Path, folder: Path, seed: int) -> None:
        self.site = site
        self._study, self._folder = study, folder
        self._random = random.Random(seed)
        self._copies = 0
        self.rows: list[FaultRow] = []

    def copies(self, number: int) -> list[tuple[list[Path], list[Path]]]:
        """Return so many further studies: CT images, and contour.

        Parameters
        ----------
        number
            How many.

        Returns
        -------
        list of tuple
            Paths of the CT images, and of the contour, for each.
        """
        made = []
        for _ in range(number):
            self._copies += 1
            made.append(parts_of(copy_with_other_uids(self._study, self._folder / str(self._copies), self._copies)))
        return made

    def kills(self, studies: int, kills: int) -> None:
        """Kill processes at random moments while studies come, are run and are sent.

        Parameters
        ----------
        studies
            That are sent, one after the other.
        kills
            How many; the victims take turns.
        """
        copies = self.copies(studies)
        done = 0

        def send() -> None:
            for number, (ct, contour) in enumerate(copies):
                # The studies are spread over the kills, so that each process is killed while it has something to do.
                until(lambda number=number: done * studies >= number * kills, 4 * PATIENCE_S)  # type: ignore[misc]
                self.site.send(ct, 3 * PATIENCE_S)
                self.site.send(contour, 3 * PATIENCE_S)

        def kill() -> str:
            nonlocal done
            killed: Counter[str] = Counter()
            with ThreadPoolExecutor(1) as thread:
                sending = thread.submit(send)
                for number in range(kills):
                    killed[self._kill(VICTIMS[number % len(VICTIMS)])] += 1
                    done += 1
                    if done % 10 == 0:
                        print(f"{done} of {kills} kills", flush=True)
                sending.result()
            return ", ".join(f"{count} {name}" for name, count in sorted(killed.items()))

        self._row(f"SIGKILL at {kills} random moments", kill, [ct for ct, _ in copies])

    def _kill(self, victim: str) -> str:
        """Kill a process at a random moment of its life."""
        site = self.site
        if victim == "gateway":
            time.sleep(self._random.uniform(0.0, LONGEST_LIFE_S))
            site.restart()
        elif victim == "sender":
            deadline = time.monotonic() + 4 * LONGEST_LIFE_S
            while not site.book.in_state("waiting", "sent") and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(self._random.uniform(0.0, 0.5))
            sends = bool(site.book.in_state("waiting", "sent"))
            site.signal("executor", signal.SIGKILL)
            return "sender (executor while it sends)" if sends else "executor"
        else:
            until(lambda: bool(site.processes(victim)), PATIENCE_S)
            time.sleep(self._random.uniform(0.0, LONGEST_LIFE_S))
            site.signal(victim, signal.SIGKILL)
        return victim

    def pacs_down(self) -> None:
        """The PACS is down when the report is there, and comes up later."""
        ((ct, contour),) = self.copies(1)

        def happen() -> str:
            self.site.stop_pacs()
            self.site.send([*ct, *contour])
            until(lambda: any(one.delivery.attempts > 1 for one in self.site.book.in_state("waiting")), PATIENCE_S)
            until(lambda: self.site.gateway.health("ready")[0] == 503, PATIENCE_S)
            self.site.start_pacs()
            until(lambda: self.site.gateway.health("ready")[0] == 200, PATIENCE_S)
            return "2 attempts or more while it was down; not ready, then ready by itself"

        self._row("PACS down, then up", happen, [ct])

    def corrupt_object(self) -> None:
        """A CT image that the contour references ends within its pixels."""
        ((ct, contour),) = self.copies(1)
        (series,) = dcmread(contour[0]).ReferencedSeriesSequence
        drawn_on = {str(image.ReferencedSOPInstanceUID) for image in series.ReferencedInstanceSequence}
        damaged = next(file for file in ct if str(dcmread(file, stop_before_pixels=True).SOPInstanceUID) in drawn_on)
        damaged.write_bytes(damaged.read_bytes()[:-5000])

        def happen() -> str:
            self.site.send([*ct, *contour])
            return "an image that the contour references ends 5,000 bytes early"

        self._row("corrupt object", happen, [ct])

    def hanging_worker(self) -> None:
        """The worker that gets the study does not go on (SIGSTOP)."""
        ((ct, contour),) = self.copies(1)

        def happen() -> str:
            self.site.signal("worker", signal.SIGSTOP)
            self.site.send([*ct, *contour])
            until(lambda: "did not answer in time and was killed" in self.site.gateway.logged(), PATIENCE_S)
            return f"killed after `deadline_seconds: {DEADLINE_S:g}`, tried again"

        self._row("hanging worker", happen, [ct])

    def disk_full(self) -> None:
        """The file system's free space falls below the reserve, by a real file, and rises again."""
        ((ct, contour),) = self.copies(1)
        gateway = self.site.gateway
        before = gateway.config.read_text(encoding="utf-8")
        settings = yaml.safe_load(before)
        settings["storage"] = {"reserve_bytes": shutil.disk_usage(gateway.folder).free - 2 * 2**30}
        ballast = gateway.folder / "ballast"

        def happen() -> str:
            gateway.end()
            gateway.config.write_text(yaml.safe_dump(settings), encoding="utf-8")
            gateway.start()
            self.site.send(ct[:3])
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, 4 * 2**30)
            said = []
            until(lambda: said.append(self.site.offer(ct[3])) or said[-1] == OUT_OF_RESOURCES, PATIENCE_S)  # type: ignore[func-returns-value]
            until(lambda: gateway.health("ready")[0] == 503, PATIENCE_S)
            ballast.unlink()
            self.site.send([*ct[3:], *contour])
            until(lambda: gateway.health("ready")[0] == 200, PATIENCE_S)
            return "0xA700 and not ready while it was full; then taken and ready by itself"

        try:
            self._row("disk full", happen, [ct])
        finally:
            ballast.unlink(missing_ok=True)
            gateway.end()
            gateway.config.write_text(before, encoding="utf-8")
            gateway.start()

    def _row(self, fault: str, happen: Callable[[], str], studies: list[list[Path]]) -> None:
        """Let something happen, leave the gateway alone, and look."""
        started = time.monotonic()
        done = happen()
        names = [study_uid(ct) for ct in studies]
        self.site.settle(names, 2 * PATIENCE_S)
        ends, wrong = self.site.audit(names)
        self.rows.append(FaultRow(fault, done, Counter(ends.values()), wrong, time.monotonic() - started))
        print(self.rows[-1], flush=True)


def faults_table(rows: list[FaultRow], objects: int) -> str:
    """Return what was run and found as Markdown.

    Parameters
    ----------
    rows
        Of the faults, in their order.
    objects
        Number of those that were acknowledged.

    Returns
    -------
    str
    """
    lines = [
        "| fault | what was done | how the studies ended | lost, twice, half, stuck or changed |",
        "|---|---|---|---|",
    ]
    for row in rows:
        ends = ", ".join(f"{count} {name}" for name, count in sorted(row.ends.items()))
        lines.append(f"| {row.fault} | {row.done} | {ends} | {'; '.join(row.wrong) or 'none'} |")
    return (
        "\n".join(
            [
                *lines,
                "",
                f"{objects} objects were acknowledged; after each fault all of them so far were looked up on disk.",
            ]
        )
        + "\n"
    )


def main() -> int:
    """Run, print and write.

    Returns
    -------
    int
        Exit code: 1 where something is wrong.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=["pacs", "corrupt", "hanging", "disk", "kills"])
    parser.add_argument("--orthanc", default="/usr/sbin/Orthanc")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "gateway-faults.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part in ("copies", "site"):
            (folder / part).mkdir()
        phantom = make_phantom_study(folder / "phantom", seed=0, matrix=256, slices=(16, 66)).folder
        workers = {"workers": {"deadline_seconds": DEADLINE_S}}
        with running_site(folder / "site", REPOSITORY, arguments.orthanc, None, **workers) as site:
            run = FaultRun(site, phantom, folder / "copies", arguments.seed)
            faults = {
                "pacs": run.pacs_down,
                "corrupt": run.corrupt_object,
                "hanging": run.hanging_worker,
                "disk": run.disk_full,
                "kills": lambda: run.kills(arguments.studies, arguments.kills),
            }
            for name, fault in faults.items():
                if not arguments.only or name in arguments.only:
                    fault()
            table = faults_table(run.rows, len(site.acknowledged))
            log = site.gateway.logged()
    print(table)
    defects = re.findall(r'"error": "[^\n]*', log)
    print(f"{len(defects)} exceptions in the log, those of killed connections among them", *defects[:5], sep="\n")
    head = f"# Faults\n\n`python -m benchmarks.gateway_faults --studies {arguments.studies} --kills {arguments.kills} --seed "
    head += f"{arguments.seed}`; Orthanc as PACS, SQLite, load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores.\n\n"
    arguments.output.write_text(head + table, encoding="utf-8")
    return int(any(row.wrong for row in run.rows))


if __name__ == "__main__":
    raise SystemExit(main())
