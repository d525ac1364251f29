"""Hundreds of studies end to end: received, run, sent to an Orthanc; and the memory of every process of the gateway meanwhile.

Run from the repository, in the run time's environment with the extra ``gateway``; needs Debian's orthanc and orthanc-dicomweb::

    python -m benchmarks.gateway_load [--studies 200] [--output benchmarks/results/gateway-load.md]

Small phantoms are sent one after the other, CT and contour on associations of their own, a few ahead of what has been reported. Every ten
studies, when nothing is being run or sent, the anonymous memory of each process is read (what it has allocated itself; the share in common
libraries depends on what else runs on the machine), with its threads and open files. The
growth is the slope of a straight line through what was read after the first quarter. At the end every object and every study is held
against what was acknowledged (`tests.e2e.gateway_site.GatewaySite.audit`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pdl1es.phantom.dicom import make_phantom_study
from tests.e2e.gateway_site import PATIENCE_S, GatewaySite, running_site, study_uid
from tests.gateway.processes.served import copy_with_other_uids, parts_of

REPOSITORY = Path(__file__).resolve().parent.parent
ROLES = ("receiver", "executor", "web", "worker")
EVERY = 10


@dataclass(frozen=True, slots=True)
class ProcessSize:
    """A process at one moment: anonymous memory, MiB; threads; open files."""

    role: str
    pid: int
    mib: float
    threads: int
    files: int


@dataclass(frozen=True, slots=True)
class LoadSample:
    """Everything after so many studies: the processes, and bytes of the databases with their write-ahead logs."""

    studies: int
    processes: tuple[ProcessSize, ...]
    database_bytes: int


def process_sizes(site: GatewaySite) -> tuple[ProcessSize, ...]:
    """Read every process of the gateway.

    Parameters
    ----------
    site
        It runs.

    Returns
    -------
    tuple of ProcessSize
        ``serve`` first.
    """
    assert site.gateway.process is not None
    found = [("serve", site.gateway.process.pid)]
    found += [(role, pid) for role in ROLES for pid in site.processes(role)]
    return tuple(_process_size(role, pid) for role, pid in found)


def _process_size(role: str, pid: int) -> ProcessSize:
    folder = Path("/proc") / str(pid)
    sizes = dict(line.split()[:2] for line in (folder / "smaps_rollup").read_text().splitlines()[1:])
    return ProcessSize(
        role,
        pid,
        int(sizes["Anonymous:"]) / 1024,
        len(list((folder / "task").iterdir())),
        len(list((folder / "fd").iterdir())),
    )


def send_studies(
    site: GatewaySite, study: Path, folder: Path, count: int, ahead: int
) -> tuple[list[str], list[LoadSample]]:
    """Send copies of a study, and look at the processes now and then.

    Parameters
    ----------
    site
        It runs.
    study
        Of which copies are sent.
    folder
        For the copies, which are removed when they have been sent.
    count
        How many.
    ahead
        How many may be unfinished.

    Returns
    -------
    list of str
        Their Study Instance UIDs.
    list of LoadSample
        One every ten studies.
    """
    names: list[str] = []
    samples: list[LoadSample] = []
    for number in range(1, count + 1):
        copy = copy_with_other_uids(study, folder / str(number), number)
        ct, contour = parts_of(copy)
        names.append(study_uid(ct))
        site.send(ct)
        site.send(contour)
        shutil.rmtree(copy)
        deadline = time.monotonic() + PATIENCE_S
        while number - site.gateway.ledger.counts().get("done", 0) > ahead:
            assert time.monotonic() < deadline, f"stuck: {site.gateway.ledger.counts()}"
            time.sleep(0.1)
        if number % EVERY == 0:
            site.settle(names)
            databases = sum(file.stat().st_size for file in (site.gateway.folder / "gateway").glob("*.sqlite*"))
            samples.append(LoadSample(number, process_sizes(site), databases))
            said = ", ".join(f"{one.role} {one.mib:.1f}" for one in samples[-1].processes)
            print(f"{number} studies: {said} MiB; databases {databases / 2**20:.1f} MiB", file=sys.stderr, flush=True)
    return names, samples


def growth_table(samples: list[LoadSample]) -> str:
    """Return as Markdown how each kind of process grew.

    Parameters
    ----------
    samples
        From `send_studies`.

    Returns
    -------
    str
    """
    later = [sample for sample in samples if sample.studies > samples[-1].studies // 4]
    chosen = [samples[round(part * (len(samples) - 1))] for part in (0, 0.25, 0.5, 0.75, 1)]
    lines = [
        "| process | "
        + " | ".join(f"{one.studies} studies" for one in chosen)
        + " | growth a study | threads, open files at both ends |",
        "|---|" + "---:|" * (len(chosen) + 2),
    ]
    for role in ("serve", *ROLES):
        sizes = [sum(one.mib for one in sample.processes if one.role == role) for sample in later]
        slope = np.polynomial.Polynomial.fit([one.studies for one in later], sizes, 1).convert().coef[1]
        cells = [f"{sum(one.mib for one in sample.processes if one.role == role):.1f} MiB" for sample in chosen]
        ends = [
            ", ".join(
                str(sum(getattr(one, field) for one in sample.processes if one.role == role))
                for field in ("threads", "files")
            )
            for sample in (samples[0], samples[-1])
        ]
        lines.append(f"| {role} | " + " | ".join(cells) + f" | {slope * 1024:+.0f} KiB | {ends[0]}; {ends[1]} |")
    sizes = [one.database_bytes for one in later]
    slope = np.polynomial.Polynomial.fit([one.studies for one in later], sizes, 1).convert().coef[1]
    cells = [f"{one.database_bytes / 2**20:.1f} MiB" for one in chosen]
    lines.append("| databases on disk | " + " | ".join(cells) + f" | {slope / 1024:+.0f} KiB | |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run, print and write.

    Returns
    -------
    int
        Exit code: 1 where something was lost, twice, half, stuck or changed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--ahead", type=int, default=4)
    parser.add_argument("--orthanc", default="/usr/sbin/Orthanc")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "gateway-load.md")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("copies", "site"):
            (folder / part).mkdir()
        phantom = make_phantom_study(folder / "phantom", seed=0, matrix=128, slices=(24, 56)).folder
        with running_site(folder / "site", REPOSITORY, arguments.orthanc) as site:
            names, samples = send_studies(site, phantom, folder / "copies", arguments.studies, arguments.ahead)
            seconds = time.monotonic() - started
            ends, wrong = site.audit(names)
            objects = len(site.acknowledged)
            restarts = len({one.pid for sample in samples for one in sample.processes if one.role == "worker"}) - 1
    table = growth_table(samples)
    print(table)
    text = f"# Load\n\n`python -m benchmarks.gateway_load --studies {arguments.studies}`: small phantoms through `pdl1es serve` to an Orthanc "
    text += "that commits to the reports, SQLite, default settings of workers; anonymous memory of each process when nothing is being run "
    text += "or sent. The growth is that of a straight line through what was read after the first quarter.\n\n"
    text += table
    said = ", ".join(f"{count} {end}" for end, count in sorted(Counter(ends.values()).items()))
    text += f"\n{objects} objects were acknowledged, and {len(names)} studies ended so: {said}. "
    text += f"Lost, twice, half, stuck or changed: {'; '.join(wrong) or 'none'}. Workers replaced: {restarts}. "
    text += f"{seconds / len(names):.1f} s a study at load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores.\n"
    arguments.output.write_text(text, encoding="utf-8")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
