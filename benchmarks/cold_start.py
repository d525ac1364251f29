"""How long a command takes from nothing: processor time, wall time, and which imports take it.

Every command is run in a process of its own, as a user runs it, after one run that is not counted (it fills the file
cache). On a machine with other work the wall time says little; the processor time says more.

    python benchmarks/cold_start.py --study STUDY [--runs 7]
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

IMPORT_TIME: Final = re.compile(r"import time:\s+(?P<own>\d+) \|\s+\d+ \| \s*(?P<module>\S+)")
COMMAND_LINE: Final = ("-m", "pdl1es.command_line.cli")


@dataclass(frozen=True, slots=True)
class Times:
    """Of several runs of one command, seconds.

    Attributes
    ----------
    wall, processor
        Medians; the processor time is user and system, of all threads and child processes.
    least_wall
        The shortest.
    """

    wall: float
    processor: float
    least_wall: float


def run(arguments: list[str], **options: object) -> None:
    """Run Python with arguments and fail where it fails."""
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]  # passed on


def times_of(arguments: list[str], runs: int) -> Times:
    """Run a command again and again.

    Parameters
    ----------
    arguments
        Of Python.
    runs
        How often, beside a first one that is not counted.

    Returns
    -------
    Times
    """
    run(arguments)
    walls, processors = [], []
    for _ in range(runs):
        before, started = os.times(), time.perf_counter()
        run(arguments)
        walls.append(time.perf_counter() - started)
        after = os.times()
        processors.append(after.children_user - before.children_user + after.children_system - before.children_system)
    return Times(statistics.median(walls), statistics.median(processors), min(walls))


def import_times(arguments: list[str]) -> Counter[str]:
    """Return the milliseconds that a command spends in importing, by top-level package (``-X importtime``)."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    found: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        match = IMPORT_TIME.match(line)
        if match:
            found[match["module"].partition(".")[0]] += int(match["own"])
    return Counter({package: round(microseconds / 1000) for package, microseconds in found.items()})


def main() -> None:
    """Print tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="a study that can be scored")
    parser.add_argument("--runs", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "python -c pass": ["-c", "pass"],
            "import pdl1es": ["-c", "import pdl1es"],
            "from pdl1es import score_study": ["-c", "from pdl1es import score_study"],
            "pdl1es --help": [*COMMAND_LINE, "--help"],
            "pdl1es inspect STUDY": [*COMMAND_LINE, "inspect", str(asked.study)],
            "pdl1es run STUDY OUT": [*COMMAND_LINE, "run", str(asked.study), folder],
        }
        print("| command | processor time, s | wall time, s | shortest, s |\n|---|---|---|---|")
        for name, arguments in commands.items():
            found = times_of(arguments, asked.runs)
            print(f"| `{name}` | {found.processor:.2f} | {found.wall:.2f} | {found.least_wall:.2f} |", flush=True)
        packages = import_times(commands["pdl1es run STUDY OUT"])
    print(f"\nImports of `pdl1es run`: {packages.total()} ms, of which\n\n| package | ms |\n|---|---|")
    for package, milliseconds in packages.most_common(14):
        print(f"| {package} | {milliseconds} |")


if __name__ == "__main__":
    main()
