"""One training step of the whole network (DenseNet121, 32 patches): what number format, memory layout and compiler give.

Run from the repository, with the training's requirements::

    python -m benchmarks.training_step [--rounds 6] [--threads 1 2] [--compile] [--output benchmarks/results/training-cpu.md]

All variants take turns in one process, so that whatever else the machine does meets all alike. Beside the wall clock
stands the processor time, which other processes disturb less; where the load was high, trust the ratios.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Threads that wait for another must not burn the processor: that time would be counted, and others need it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

from pdl1es.model.imputation import ReferenceProfiles  # noqa: E402
from training.network import FusionNetwork  # noqa: E402
from training.preprocessing import FittedPreprocessing  # noqa: E402
from training.train.augmentation import Augmentation  # noqa: E402
from training.train.data import NetworkInputs, TrainingSamples  # noqa: E402

BATCH = 32
SELECTED = 200
EPOCH_PATCHES = 2250
"""750 patients of three slices: the paper's training cohort."""


@dataclass
class Variant:
    """One way to compute the same step.

    Attributes
    ----------
    precision
        ``fp32`` or ``bf16``.
    channels_last, compiled
        Layout of the weights, torch.compile.
    threads
        Of torch.
    step
        Runs one step; made on first use.
    wall, processor
        Seconds of the steps so far.
    first
        Seconds of the first step, the compilation within.
    """

    precision: str
    channels_last: bool
    compiled: bool
    threads: int
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    first: float = 0.0
    step: Callable[[], None] | None = None

    @property
    def name(self) -> str:
        """For the table."""
        layout = "channels last" if self.channels_last else "contiguous"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.precision}, {layout}{', compiled' if self.compiled else ''}, {threads}"


def fitted() -> FittedPreprocessing:
    """Return preprocessing of the size that a cohort gives."""
    profiles = ReferenceProfiles(np.array([[62.0, 1, 0, 0]]), np.array([9.0]), np.array([60.0, 0.6, 0.6, 0.15]))
    return FittedPreprocessing(
        profiles, np.zeros(4), np.ones(4), tuple(range(SELECTED)), np.zeros(SELECTED), np.ones(SELECTED), 1.2
    )


def step_of(variant: Variant) -> Callable[[], None]:
    """Return a function that does one whole step: forward, backward, Adam."""
    torch.manual_seed(0)
    network = FusionNetwork(fitted()).train()
    if variant.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    forward = torch.compile(network.forward) if variant.compiled else network
    optimiser = torch.optim.Adam(network.parameters(), 1e-4, fused=True)
    patches = torch.randint(-1000, 400, (BATCH, 1, 112, 112)).float()
    radiomic, clinical, labels = torch.randn(BATCH, SELECTED), torch.randn(BATCH, 4), torch.arange(BATCH) % 2

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.precision == "bf16"):
            loss = nn.functional.cross_entropy(forward(patches, radiomic, clinical), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def loading_seconds() -> tuple[float, float]:
    """Return the seconds of processor time that preparing a batch takes, without and with augmentation."""
    rng = np.random.default_rng(0)
    patches = rng.integers(-1000, 400, (100, 3, 112, 112)).astype(np.int16)
    inputs = NetworkInputs(patches, torch.zeros(100, SELECTED), torch.zeros(100, 4), torch.arange(100) % 2)
    taken = []
    for augmentation in (None, Augmentation(0)):
        samples = TrainingSamples(inputs, augmentation)
        keys = rng.integers(0, len(samples), BATCH).tolist()
        samples.__getitems__(keys)
        started = time.process_time()
        for _ in range(20):
            samples.__getitems__(keys)
        taken.append((time.process_time() - started) / 20)
    return taken[0], taken[1]


def measure(variants: Sequence[Variant], rounds: int) -> None:
    """Let the variants take turns; the first step of each, and its second, are not counted.

    Parameters
    ----------
    variants
        Get the times.
    rounds
        Steps of each that are counted.
    """
    for turn in range(rounds + 2):
        for variant in variants:
            torch.set_num_threads(variant.threads)
            if variant.step is None:
                variant.step = step_of(variant)
            wall, processor = time.perf_counter(), time.process_time()
            variant.step()
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            if turn == 0:
                variant.first = wall
            elif turn > 1:
                variant.wall.append(wall)
                variant.processor.append(processor)
            print(
                f"turn {turn}: {variant.name}: {wall:.2f} s, {processor:.2f} s of processor",
                file=sys.stderr,
                flush=True,
            )


def training_step_report(
    variants: Sequence[Variant], loading: tuple[float, float], loads: tuple[float, float], rounds: int
) -> str:
    """Return the results as Markdown.

    Parameters
    ----------
    variants
        With their times.
    loading
        Seconds that a batch takes to load, without augmentation and with the modest one.
    loads
        The machine's load before and after.
    rounds
        Steps of each that were counted.

    Returns
    -------
    str
        Markdown.
    """
    base = statistics.median(variants[0].processor)
    rows = []
    for variant in variants:
        wall, processor = statistics.median(variant.wall), statistics.median(variant.processor)
        rows.append(
            f"| {variant.name} | {wall:.2f} | {min(variant.wall):.2f} | {processor:.2f} | {base / processor:.2f} x | "
            f"{min(variant.wall) * EPOCH_PATCHES / BATCH:.0f} | {variant.first:.0f} |"
        )
    amx = "with" if torch.cpu._is_amx_tile_supported() else "without"
    return f"""# A training step on the processor

`python -m benchmarks.training_step`: DenseNet121 and {SELECTED} radiomic features, {BATCH} patches of 112 x 112, forward,
backward and Adam. {rounds} steps each in turn, torch {torch.__version__.partition("+")[0]},
{_processor()} ({os.cpu_count()} cores, {amx} AMX). Load average {loads[0]:.1f} at the start and {loads[1]:.1f} at the end:
{"others used the same cores, so wall-clock times are too long by about their share, and the processor time is the better guide" if max(loads) > 3 else "the machine was quiet"}.

| variant | wall, median (s) | wall, fastest (s) | processor, median (s) | less processor time | epoch of {EPOCH_PATCHES} patches at the fastest (s) | first step (s) |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

Preparing a batch costs {1000 * loading[0]:.1f} ms of one core without augmentation and {1000 * loading[1]:.1f} ms with the
modest one: {100 * loading[1] / min(statistics.median(v.processor) for v in variants):.1f} % of the quickest step.
"""


def _processor() -> str:
    """Return the processor's name, as far as the system tells."""
    try:
        lines = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("Model name")), platform.machine())


def main() -> int:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, len(os.sched_getaffinity(0))}))
    parser.add_argument("--compile", action="store_true", help="with torch.compile too, which takes minutes")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    variants = [
        Variant(precision, channels_last, compiled, threads)
        for threads in arguments.threads
        for compiled in ((False, True) if arguments.compile else (False,))
        for precision in ("fp32", "bf16")
        for channels_last in (False, True)
        if channels_last or not compiled
    ]
    before = os.getloadavg()[0]
    measure(variants, arguments.rounds)
    text = training_step_report(variants, loading_seconds(), (before, os.getloadavg()[0]), arguments.rounds)
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
