"""How fast a cohort is prepared: patients a core and a second, the share of waiting for files, memory, and what 100,000 need.

Run from the repository, in the training's environment::

    python -m benchmarks.cohort FOLDER [--bases 4] [--patients 24] [--delays 0 5 20] [--long 1000] [--output FILE.md]

``FOLDER`` is a working folder on a disk with about 150 MB for each base: phantom studies of real size (512 x 512, about 250
slices). The patients of a cohort are links to them, each under its own path, so that each is read and computed. Files that
were read before lie in the file cache: that is *local* storage. *Delayed* storage is the same, with a wait at each opening of
a study's file, as a file server has; the wait takes no processor time. It is set in the workers by a ``sitecustomize.py`` in a
folder of this script's own, and nothing of the project knows of it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
SIZES_MM: Final = (18.0, 30.0, 45.0, 60.0)
"""Longest axes of the bases' tumours."""
SLICE_MM: Final = 1.2
DELAYED_OPEN: Final = """
import io, os, time
_folder, _wait = os.environ["BENCHMARK_FOLDER"], float(os.environ["BENCHMARK_WAIT"])
_open = io.open
def _slow_open(file, *arguments, **options):
    if _wait and isinstance(file, (str, os.PathLike)) and os.fspath(file).startswith(_folder):
        time.sleep(_wait)
    return _open(file, *arguments, **options)
io.open = _slow_open
"""


@dataclass
class Ran:
    """One preparation of a cohort.

    Attributes
    ----------
    seconds
        Wall time of the preparation itself, from the first patient's submission to the written cohort.
    processor
        Processor time of all its processes, s.
    patients
        That were prepared.
    memory
        Resident memory of all its processes over time: (s, MiB).
    """

    seconds: float
    processor: float
    patients: int
    memory: list[tuple[float, float]] = field(default_factory=list)


def make_bases(folder: Path, count: int) -> list[Path]:
    """Return phantom studies of real size; those that are there already are taken.

    Parameters
    ----------
    folder
        Where they lie.
    count
        How many.

    Returns
    -------
    list of Path
    """
    from pdl1es.phantom.dicom import make_phantom_study

    bases = []
    for seed in range(count):
        base = folder / f"base{seed}"
        if not (base / "clinical.json").is_file():
            shutil.rmtree(base, ignore_errors=True)
            make_phantom_study(
                base, seed=seed, slice_thickness=SLICE_MM, tumour_diameter=SIZES_MM[seed % len(SIZES_MM)]
            )
        bases.append(base)
    return bases


def linked_cohort(folder: Path, bases: list[Path], patients: int) -> Path:
    """Make a cohort of links.

    Parameters
    ----------
    folder
        For the links and the table.
    bases
        Studies.
    patients
        How many.

    Returns
    -------
    Path
        The table.
    """
    folder.mkdir(parents=True)
    table = folder / "cohort.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "ct", "pdl1_tps"])
        for number in range(patients):
            study = folder / f"p{number:06d}"
            shutil.copytree(bases[number % len(bases)], study, copy_function=os.link)
            writer.writerow([f"p{number:06d}", study.name, 80 if number % 2 else 5])
    return table


def prepared(table: Path, wait_ms: float, workers: int, output: Path) -> Ran:
    """Prepare a cohort in a process of its own, and watch it.

    Parameters
    ----------
    table
        Of the cohort.
    wait_ms
        Wait at each opening of a study's file, ms.
    workers
        Processes.
    output
        For the prepared cohort.

    Returns
    -------
    Ran

    Raises
    ------
    SystemExit
        The preparation failed.
    """
    with tempfile.TemporaryDirectory() as shim:
        (Path(shim) / "sitecustomize.py").write_text(DELAYED_OPEN, encoding="utf-8")
        environment = {
            **os.environ,
            "PYTHONPATH": f"{shim}:{REPOSITORY}",
            "BENCHMARK_FOLDER": str(table.parent.resolve()),
            "BENCHMARK_WAIT": str(wait_ms / 1000),
        }
        command = [sys.executable, "-m", "benchmarks.cohort", "--worker", str(table), str(workers), str(output)]
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
        memory: list[tuple[float, float]] = []

        def watch() -> None:
            while process.poll() is None:
                memory.append((time.monotonic() - started, resident_mib(process.pid)))
                time.sleep(2)

        watcher = threading.Thread(target=watch)
        watcher.start()
        printed, _ = process.communicate()
        watcher.join()
        if process.returncode != 0:
            raise SystemExit(f"the preparation ended with {process.returncode}")
    told = json.loads(printed.strip().splitlines()[-1])
    return Ran(told["seconds"], told["processor"], told["patients"], memory)


def resident_mib(process: int) -> float:
    """Return the resident memory of a process and all below it, pages that they share counted once each, MiB."""
    total, waiting = 0.0, [process]
    while waiting:
        number = waiting.pop()
        try:
            for line in Path(f"/proc/{number}/smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
            for task in Path(f"/proc/{number}/task").iterdir():
                waiting += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:  # it has ended
            continue
    return total


def prepare_here(table: Path, workers: int, output: Path) -> None:
    """Prepare a cohort, and print what it took as JSON.

    Parameters
    ----------
    table
        Of the cohort.
    workers
        Processes.
    output
        For the prepared cohort.
    """
    from training.cohort.prepare import prepare_cohort
    from training.cohort.sources import preparation_settings
    from training.cohort.table import read_cohort

    started = time.perf_counter()
    cohort = prepare_cohort(read_cohort(table), output, preparation_settings(None), workers=workers)
    seconds = time.perf_counter() - started
    times = os.times()
    processor = times.user + times.system + times.children_user + times.children_system
    print(json.dumps({"seconds": seconds, "processor": processor, "patients": len(cohort.cases)}))


def one_patient(base: Path) -> dict[str, float]:
    """Measure the parts of one patient's preparation, in this process and without waiting.

    Parameters
    ----------
    base
        A study.

    Returns
    -------
    dict of str to float
        Processor seconds by part, bytes read, files opened and bytes kept.
    """
    from pdl1es import chain
    from training.cohort.case import CaseSource, content_digest, prepare_case
    from training.cohort.sources import preparation_settings

    settings = preparation_settings(None)
    source = CaseSource("p", base, None, {})
    prepare_case(source, settings)  # imports
    found: dict[str, float] = {}
    before = read_so_far()
    clock = time.process_time()
    content_digest(source)
    found["digest of all bytes, s"] = time.process_time() - clock
    clock = time.process_time()
    study = chain.load_study(base, settings.limits)
    found["headers, s"] = time.process_time() - clock
    clock = time.process_time()
    selection = chain.select_tumour(study, settings.selection, settings.protocol)
    resampled = chain.resample(selection, settings.plausibility)
    found["selection and resampling, s"] = time.process_time() - clock
    clock = time.process_time()
    chain.describe(chain.check_tumour(resampled, settings.plausibility).volume)
    found["plausibility, patches and features, s"] = time.process_time() - clock
    found["bytes read"] = read_so_far() - before
    found["bytes of the study"] = sum(path.stat().st_size for path in base.rglob("*") if path.is_file())
    found["bytes kept in the cache"] = len(prepare_case(source, settings).to_bytes(settings.digest()))
    return found


def read_so_far() -> int:
    """Return how many bytes this process has read, cached or not."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        if line.startswith("rchar:"):
            return int(line.split()[1])
    return 0


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--bases", type=int, default=4)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--delays", type=float, nargs="+", default=[0.0, 5.0, 20.0], metavar="MS")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--long", type=int, default=0, metavar="PATIENTS", help="a long run, for the memory over time")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        table, workers, output = asked.worker
        prepare_here(Path(table), int(workers), Path(output))
        return
    if asked.folder is None:
        parser.error("a working folder is needed")
    asked.folder.mkdir(parents=True, exist_ok=True)
    bases = make_bases(asked.folder / "bases", asked.bases)
    lines = report(asked, bases)
    print("\n".join(lines))
    if asked.output:
        asked.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def report(asked: Any, bases: list[Path]) -> list[str]:
    """Run everything.

    Parameters
    ----------
    asked
        The command's arguments.
    bases
        Studies to which the patients' files are links.

    Returns
    -------
    list of str
        The tables as lines of Markdown.
    """
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
         if line.startswith("model name")), platform.processor(),
    )  # fmt: skip
    slices = len(list((bases[0] / "CT").iterdir()))
    lines = [
        f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}; {len(bases)} phantoms of 512 x 512 x {slices}, linked. "
        f"Load at the start {os.getloadavg()[0]:.1f}.",
        "",
        "| wait at each opening, ms | patients | workers | wall, s | patients/s a worker | processor s a patient | share of waiting | memory at most, MiB |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for wait in asked.delays:
        lines.append(_row(asked, bases, wait, asked.patients)[0])
        print(lines[-1], file=sys.stderr, flush=True)
    parts = [one_patient(base) for base in bases]
    mean = {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
    lines += ["", "| one patient, without waiting | mean |", "|---|---:|"]
    lines += [
        f"| {name} | {value:.3f} |" if name.endswith(", s") else f"| {name} | {value / 2**20:.2f} MiB |"
        for name, value in mean.items()
    ]
    if asked.long:
        row, ran = _row(asked, bases, 0.0, asked.long)
        lines += ["", f"A long run of {ran.patients} patients, load at its end {os.getloadavg()[0]:.1f}:", ""]
        lines += [row, "", "| share of the run | memory of all processes, MiB |", "|---:|---:|"]
        for tenth in range(1, 11):
            part = [m for t, m in ran.memory if (tenth - 1) / 10 <= t / ran.memory[-1][0] <= tenth / 10]
            lines.append(f"| {tenth * 10} % | {max(part, default=float('nan')):.0f} |")
    return lines


def _row(asked: Any, bases: list[Path], wait: float, patients: int) -> tuple[str, Ran]:
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        table = linked_cohort(Path(scratch) / "cohort", bases, patients)
        ran = prepared(table, wait, asked.workers, Path(scratch) / "prepared")
    waiting = max(0.0, 1 - ran.processor / (ran.seconds * asked.workers))
    highest = max((value for _, value in ran.memory), default=float("nan"))
    row = (
        f"| {wait:g} | {ran.patients} | {asked.workers} | {ran.seconds:.1f} | {ran.patients / ran.seconds / asked.workers:.2f} "
        f"| {ran.processor / ran.patients:.2f} | {waiting:.0%} | {highest:.0f} |"
    )
    return row, ran


if __name__ == "__main__":
    main()
