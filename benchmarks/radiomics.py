"""Feature extraction side by side: ours on one and on two threads, by numpy, and pyradiomics.

Run from the repository::

    python -m benchmarks.radiomics [--data FOLDER] [--repeats 3] [--output benchmarks/results/radiomics.md]

One process runs all of them in turn, so that whatever else the machine does meets all alike; the table gives medians.
``--data`` (or the environment variable PDL1ES_SHARED_DATA) adds two real tumours. Other packages: `benchmarks.peers`;
equality: `benchmarks.equality`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# This file bears the name of a package that it compares with: as a script, its folder would come first on the path.
sys.path[:] = [str(REPOSITORY), *(entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent)]

# BLAS on one thread, for all: on a busy machine its threads wait for one another, and the matrices are small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import SimpleITK  # noqa: E402
import yaml  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from scipy.ndimage import gaussian_filter  # noqa: E402

from benchmarks.kernel_times import kernel_lines  # noqa: E402
from pdl1es.features import default_path, extraction_path  # noqa: E402
from pdl1es.features.extraction import extract_radiomics  # noqa: E402
from pdl1es.features.settings_file import radiomics_settings_text  # noqa: E402

SIZES_ML = (3, 30)
SCALING_ML = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_LEFT_OUT = ("synthetic, 30 mL",)
"""Of the table of kernels."""
SURROUNDINGS_MM = 50
"""Scan around the tumour's box in the arrays: what an extraction without a crop filters in vain."""


@dataclass(frozen=True)
class Case:
    """A tumour on the 1 mm grid."""

    name: str
    hu: NDArray[np.int16]
    mask: NDArray[np.bool_]


def synthetic_case(volume_ml: float) -> Case:
    """Make an ellipsoid of textured tissue (35 HU, standard deviation 45 HU) in lung, with metal and bone nowhere."""
    radius = (volume_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
    half = int(np.ceil(radius * 1.1)) + SURROUNDINGS_MM
    z, y, x = np.ogrid[-half : half + 1, -half : half + 1, -half : half + 1]
    mask = (z / (radius / 1.1)) ** 2 + (y / (radius * 1.1)) ** 2 + (x / radius) ** 2 < 1
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(mask.shape, dtype=np.float32), 1.5)
    hu = np.rint(noise / noise.std() * 45 + np.where(mask, 35, -815)).astype(np.int16)
    return Case(f"synthetic, {volume_ml:g} mL", hu, mask)


def real_cases(data: Path) -> Iterator[Case]:
    """Read the two real tumours and resample them as the chain does."""
    from pdl1es.dicom.header import read_instance
    from pdl1es.dicom.pixels.hounsfield import read_ct_slice
    from pdl1es.dicom.pixels.segment_reader import read_segment_mask
    from pdl1es.dicom.segmentation import parse_segmentation
    from pdl1es.dicom.stack import ct_series
    from pdl1es.grid.placement import place_mask
    from pdl1es.grid.resample import tumour_volume

    for name, ct, seg in (
        ("4D-Lung patient 113", "ct_4dlung113/CT", "ct_4dlung113/seg_dcmqi.dcm"),
        ("IBSI CT phantom", "ibsi1/ct_phantom/dicom/image", "ibsi1/ct_phantom/seg_dcmqi_derived.dcm"),
    ):
        series = ct_series([read_instance(path) for path in sorted((data / ct).iterdir())])
        segmentation = parse_segmentation(read_instance(data / seg))
        mask = read_segment_mask(segmentation, segmentation.segments[0].number)
        volume = tumour_volume(place_mask(mask, series), read_ct_slice, margin_mm=SURROUNDINGS_MM)
        yield Case(f"{name}, {np.count_nonzero(volume.mask) / 1000:.0f} mL", volume.hu, volume.mask)


# Each tool is prepared outside the clock and returns a function of no argument that returns its features' number.


def ours_on_one_thread(case: Case) -> Callable[[], int]:
    """This project's extraction, by the compiled kernels where they were built."""
    return lambda: len(extract_radiomics(case.hu, case.mask, threads=1))


def ours_on_two_threads(case: Case) -> Callable[[], int]:
    """The same on two threads."""
    return lambda: len(extract_radiomics(case.hu, case.mask, threads=2))


def ours_by_numpy(case: Case) -> Callable[[], int]:
    """This project's extraction without the kernels."""
    return lambda: len(extract_radiomics(case.hu, case.mask, threads=1, path=extraction_path.NUMPY))


def stock(case: Case) -> Callable[[], int]:
    """pyradiomics' own ``execute`` at the method's settings, on images in memory; filters see the crop alone (preCrop)."""
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    settings = yaml.safe_load(radiomics_settings_text())
    extractor = RadiomicsFeatureExtractor(settings, additionalInfo=False)
    image, mask = SimpleITK.GetImageFromArray(case.hu), SimpleITK.GetImageFromArray(case.mask.astype(np.uint8))
    return lambda: len(extractor.execute(image, mask))


TOOLS: dict[str, Callable[[Case], Callable[[], int]]] = {
    "ours": ours_on_one_thread,
    "ours, two threads": ours_on_two_threads,
    "ours, by numpy": ours_by_numpy,
    "pyradiomics, preCrop": stock,
}
LONG_S = 20.0
"""A tool that takes longer runs once per tumour."""


@dataclass
class Timing:
    """One tool on one tumour: seconds of each run, by the wall and by the processor, and how many features."""

    wall: list[float]
    cpu: list[float]
    features: int


def compare_times(runs: dict[str, Callable[[], int]], repeats: int) -> dict[str, Timing]:
    """Run the tools in turn, several times round, after one run of each that fills caches.

    Parameters
    ----------
    runs
        By tool: what runs once and returns the number of features.
    repeats
        Timed runs of each.

    Returns
    -------
    dict[str, Timing]
        By tool.
    """
    timings = {name: Timing([], [], 0) for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            done = timings[name]
            if done.wall and done.wall[0] > LONG_S:
                continue
            wall, cpu = time.perf_counter(), time.process_time()
            features = run()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if turn or wall > LONG_S:
                done.wall.append(wall)
                done.cpu.append(cpu)
                done.features = features
    return timings


def peak_memory(tool: str, case: Case) -> tuple[float, float]:
    """Run one extraction in a process of its own.

    Parameters
    ----------
    tool
        Name of one of `TOOLS`.
    case
        Image and mask.

    Returns
    -------
    tuple[float, float]
        Resident memory before and its peak, MB.
    """
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/hu.npy", case.hu)
        np.save(f"{folder}/mask.npy", case.mask)
        command = [sys.executable, "-m", "benchmarks.radiomics", "--peak", tool, "--case", folder]
        result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=600)
    before, after = json.loads(result.stdout.splitlines()[-1])
    return before, after


def measure_peak(tool: str, folder: Path) -> None:
    """Print the memory of this process before an extraction and its peak after it.

    Parameters
    ----------
    tool
        Name of one of `TOOLS`.
    folder
        Holds ``hu.npy`` and ``mask.npy``.
    """
    run = TOOLS[tool](Case("", np.load(folder / "hu.npy"), np.load(folder / "mask.npy")))
    before = _memory("VmRSS")
    run()
    print(json.dumps([before, _memory("VmHWM")]))


def _memory(entry: str) -> float:
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith(entry + ":"))


def scaling(tools: list[str], repeats: int) -> dict[str, dict[float, float]]:
    """Return each tool's least processor time per volume: what it costs, whatever else the machine does.

    Parameters
    ----------
    tools
        Names of `TOOLS`.
    repeats
        Timed runs of each.

    Returns
    -------
    dict[str, dict[float, float]]
        By tool, then by volume (mL), seconds.
    """
    seconds: dict[str, dict[float, float]] = {name: {} for name in tools}
    for volume in SCALING_ML:
        case = synthetic_case(volume)
        for name, timing in compare_times({name: TOOLS[name](case) for name in tools}, repeats).items():
            seconds[name][volume] = min(timing.cpu)
    return seconds


def exponent(seconds: dict[float, float], least: float = 0) -> float:
    """Fit how time grows with volume.

    Parameters
    ----------
    seconds
        By volume, mL.
    least
        Smallest volume that counts, mL.

    Returns
    -------
    float
        b of time = a volume^b.
    """
    volumes = [volume for volume in seconds if volume >= least]
    return float(np.polyfit(np.log(volumes), np.log([seconds[volume] for volume in volumes]), 1)[0])


def voxel_maps(case: Case) -> list[str]:
    """Time the paper's two maps on the tumour's largest slice; return the section's lines."""
    from pdl1es.features.maps import feature_map

    z = int(case.mask.sum(axis=(1, 2)).argmax())
    lines = [
        "",
        "## Voxel maps",
        "",
        f"The paper's two features around each of the {np.count_nonzero(case.mask[z])} voxels of the largest slice of: "
        f"{case.name}.",
        "",
        "| feature | wall, s | processor, s |",
        "|---|--:|--:|",
    ]
    for name in ("wavelet-HL_glcm_SumEntropy", "wavelet-LL_glrlm_GrayLevelNonUniformityNormalized"):
        wall, cpu = time.perf_counter(), time.process_time()
        feature_map(case.hu, case.mask, name, z)
        lines.append(f"| {name} | {time.perf_counter() - wall:.1f} | {time.process_time() - cpu:.1f} |")
    return lines


def machine(packages: Sequence[str] = ()) -> str:
    """Describe the machine: processor, cores, memory, versions of what counts and of more packages; no name of it."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGESIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = []
    for package in ("pyradiomics", "pyradiomics-bhklab", "numpy", "SimpleITK", "PyWavelets", "scikit-image", *packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return (
        f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}; {', '.join(versions)}"
    )


def radiomics_report(arguments: argparse.Namespace) -> str:
    """Run everything and return the tables as Markdown."""
    load = os.getloadavg()[0]
    cases = [synthetic_case(volume) for volume in SIZES_ML]
    if arguments.data:
        cases += real_cases(arguments.data)

    lines = [
        "# Feature extraction: how fast, how much memory",
        "",
        f"Machine: {machine()}. *ours* is the {default_path.DEFAULT.name} path on one thread.",
        "",
        f"`python -m benchmarks.radiomics`: the tools take turns in one process, {arguments.repeats} rounds after one "
        "that is not counted. Medians. *Processor* is the time of all threads: it tells the work apart from what else ran "
        f"on the machine meanwhile (load {load:.1f} at the start); where others keep both cores busy, a second thread gains "
        "nothing. The ratios are medians over the rounds. BLAS runs on one thread for all. The synthetic tumours are "
        f"textured ellipsoids; every array holds {SURROUNDINGS_MM} mm of scan around the tumour's box, where there is so "
        "much. pyradiomics has its `preCrop` on, as the method's settings have it; without, it takes two to four times as "
        "long and gives other values. [How equal](equality.md); [other packages](peers.md).",
        "",
        "| tumour | tool | wall, ms | processor, ms | processor / ours | pyradiomics / tool, processor |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for case in cases:
        timings = compare_times({name: prepare(case) for name, prepare in TOOLS.items()}, arguments.repeats)
        for name, timing in timings.items():
            # The ratio of each round, so that a slow minute of the machine meets both of its sides.
            slower = statistics.median(a / b for a, b in zip(timing.cpu, timings["ours"].cpu, strict=False))
            faster = statistics.median(
                a / b for a, b in zip(timings["pyradiomics, preCrop"].cpu, timing.cpu, strict=False)
            )
            lines.append(
                f"| {case.name} | {name} | {1e3 * statistics.median(timing.wall):.1f} "
                f"| {1e3 * statistics.median(timing.cpu):.1f} | {slower:.2f} | {faster:.1f} |"
            )
        gain = statistics.median(timings["ours"].wall) / statistics.median(timings["ours, two threads"].wall)
        lines.append(f"| {case.name} | *two threads are {gain:.2f} times as fast by the wall* | | | | |")
    lines += [
        "",
        "## Memory",
        "",
        "One extraction in a process of its own; MB of resident memory.",
        "",
        "| tumour | tool | before | peak | peak / stock's peak | growth / stock's growth |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for volume in (30, 300):
        case = synthetic_case(volume)
        base_before, base_peak = peak_memory("pyradiomics, preCrop", case)
        for name, (before, peak) in (
            ("ours", peak_memory("ours", case)),
            ("ours, two threads", peak_memory("ours, two threads", case)),
            ("pyradiomics, preCrop", (base_before, base_peak)),
        ):
            growth = (peak - before) / (base_peak - base_before)
            lines.append(
                f"| {volume} mL | {name} | {before:.0f} | {peak:.0f} | {peak / base_peak:.2f} | {growth:.2f} |"
            )

    lines += kernel_lines([(case.name, case.hu, case.mask) for case in cases if case.name not in _LEFT_OUT])
    lines += voxel_maps(cases[-1])

    pair = ["ours", "pyradiomics, preCrop"]
    seconds = scaling(pair, 1)
    lines += [
        "",
        "## Time against volume",
        "",
        "Processor seconds.",
        "",
        "| tool | "
        + " | ".join(f"{volume:g} mL" for volume in SCALING_ML)
        + " | exponent, all | exponent, from 50 mL |",
        "|---|" + "--:|" * (len(SCALING_ML) + 2),
    ]
    for name in pair:
        values = " | ".join(f"{seconds[name][volume]:.3f}" for volume in SCALING_ML)
        lines.append(f"| {name} | {values} | {exponent(seconds[name]):.2f} | {exponent(seconds[name], 50):.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the command line; write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("PDL1ES_SHARED_DATA")
    parser.add_argument("--data", type=Path, default=Path(data) if data else None, help="folder of the real tumours")
    parser.add_argument("--repeats", type=int, default=3, help="rounds that count")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "radiomics.md")
    parser.add_argument("--peak", choices=list(TOOLS), help=argparse.SUPPRESS)
    parser.add_argument("--case", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    if arguments.peak:
        measure_peak(arguments.peak, arguments.case)
        return
    text = radiomics_report(arguments)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
