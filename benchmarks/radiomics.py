"""Feature extraction side by side: ours, pyradiomics with and without preCrop, mirp and nyxus.

Run from the repository::

    python -m benchmarks.radiomics [--data FOLDER] [--repeats 5] [--output benchmarks/results/radiomics.md]

One process runs all of them in turn, so that whatever else the machine does meets all alike; the table gives medians.
``--data`` (or the environment variable PDL1ES_SHARED_DATA) adds two real tumours. mirp and nyxus are optional:
``pip install -r benchmarks/requirements.txt``.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

from pdl1es.features import default_path, extraction_path  # noqa: E402
from pdl1es.features.extraction import extract_radiomics  # noqa: E402
from pdl1es.features.names import FEATURE_NAMES, IMAGE_TYPES  # noqa: E402
from pdl1es.features.settings_file import radiomics_settings_text  # noqa: E402

SIZES_ML = (3, 30, 300)
SCALING_ML = (1, 2, 5, 10, 20, 50, 100, 200, 500)
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


def ours(case: Case) -> Callable[[], int]:
    """This project's extraction, by the compiled kernels where they were built."""
    return lambda: len(extract_radiomics(case.hu, case.mask))


def ours_by_numpy(case: Case) -> Callable[[], int]:
    """This project's extraction without the kernels."""
    return lambda: len(extract_radiomics(case.hu, case.mask, path=extraction_path.NUMPY))


def stock(case: Case, *, crop: bool = True) -> Callable[[], int]:
    """Time pyradiomics' own ``execute`` at the method's settings, on images in memory.

    Parameters
    ----------
    case
        Image and mask.
    crop
        Whether filters see the crop alone.

    Returns
    -------
    Callable[[], int]
        Runs an extraction; returns the number of features.
    """
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    settings = yaml.safe_load(radiomics_settings_text())
    settings["setting"]["preCrop"] = crop
    extractor = RadiomicsFeatureExtractor(settings, additionalInfo=False)
    image, mask = SimpleITK.GetImageFromArray(case.hu), SimpleITK.GetImageFromArray(case.mask.astype(np.uint8))
    return lambda: len(extractor.execute(image, mask))


def stock_without_crop(case: Case) -> Callable[[], int]:
    """Time the same on the whole array."""
    return stock(case, crop=False)


def mirp(case: Case) -> Callable[[], int]:
    """Set mirp to 13 of the 14 images (it has no gradient magnitude), 2.5-D textures, pyradiomics' bins of 25."""
    extract = importlib.import_module("mirp").extract_features
    families = ["statistics", "intensity_histogram", "glcm", "ngldm", "glrlm", "glszm", "ngtdm"]
    settings: dict[str, Any] = {
        "image_modality": "ct",
        "by_slice": True,
        "ibsi_compliant": False,
        "base_feature_families": ["morphology", *families],
        "base_discretisation_method": "fixed_bin_size_pyradiomics",
        "base_discretisation_bin_width": 25.0,
        "response_map_feature_families": families,
        "response_map_discretisation_method": "fixed_bin_size_pyradiomics",
        "response_map_discretisation_bin_width": 25.0,
        "glcm_spatial_method": "2.5d_direction_merge",
        "glrlm_spatial_method": "2.5d_direction_merge",
        "glszm_spatial_method": "2.5d",
        "ngtdm_spatial_method": "2.5d",
        "ngldm_spatial_method": "2.5d",
        "filter_kernels": [
            "separable_wavelet",
            "laplacian_of_gaussian",
            "pyradiomics_square",
            "pyradiomics_square_root",
            "pyradiomics_logarithm",
            "pyradiomics_exponential",
            "lbp_2d",
        ],
        "separable_wavelet_families": "coif1",
        "separable_wavelet_set": ["hh", "hl", "lh", "ll"],
        "separable_wavelet_rotation_invariance": False,
        "laplacian_of_gaussian_sigma": [1.0, 2.0, 3.0],
        "write_features": False,
        "export_features": True,
    }
    return lambda: extract(image=case.hu.astype(np.float64), mask=case.mask.astype(int), **settings)[0].shape[1]


def nyxus(case: Case) -> Callable[[], int]:
    """Set nyxus to its 3-D features of the one unfiltered image: it has no filters of 3-D images; two threads, NIfTI."""
    folder = tempfile.TemporaryDirectory()
    for name, array in (("intensities", (case.hu.astype(np.int32) + 1024).clip(0)), ("labels", case.mask)):
        (Path(folder.name) / name).mkdir()
        dtype = np.uint8 if name == "labels" else np.uint16
        path = Path(folder.name) / name / "tumour.nii.gz"
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array.astype(dtype)), str(path))
    tool = importlib.import_module("nyxus").Nyxus3D(["*3D_ALL*"], n_feature_calc_threads=2, coarse_gray_depth=64)

    def run() -> int:
        table = tool.featurize_directory(f"{folder.name}/intensities/", f"{folder.name}/labels/", r".*\.nii\.gz")
        return sum(column.startswith("3") for column in table.columns)

    return run


TOOLS: dict[str, Callable[[Case], Callable[[], int]]] = {
    "ours": ours,
    "ours, by numpy": ours_by_numpy,
    "pyradiomics, preCrop": stock,
    "pyradiomics, no crop": stock_without_crop,
    "mirp": mirp,
    "nyxus": nyxus,
}
OPTIONAL = ("mirp", "nyxus")
LONG_S = 20.0
"""A tool that takes longer runs once per tumour."""


@dataclass
class Timing:
    """One tool on one tumour: seconds of each run, by the wall and by the processor, and how many features."""

    wall: list[float]
    cpu: list[float]
    features: int


def compare_times(case: Case, tools: list[str], repeats: int) -> dict[str, Timing]:
    """Run the tools in turn, several times round, after one run of each that fills caches.

    Parameters
    ----------
    case
        Image and mask.
    tools
        Names of `TOOLS`.
    repeats
        Timed runs of each.

    Returns
    -------
    dict[str, Timing]
        By tool.
    """
    runs = {name: TOOLS[name](case) for name in tools}
    timings = {name: Timing([], [], 0) for name in tools}
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


def difference_from_pyradiomics(case: Case) -> float:
    """Return the largest relative difference of a feature between ours and pyradiomics' (0 within 1e-12 absolute)."""
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    extractor = RadiomicsFeatureExtractor(yaml.safe_load(radiomics_settings_text()), additionalInfo=False)
    image, mask = SimpleITK.GetImageFromArray(case.hu), SimpleITK.GetImageFromArray(case.mask.astype(np.uint8))
    found = extractor.execute(image, mask)
    theirs = np.array([float(found.get(name, np.nan)) for name in FEATURE_NAMES])
    mine = extract_radiomics(case.hu, case.mask).values
    if not np.array_equal(np.isnan(mine), np.isnan(theirs)):
        return float("inf")
    apart = np.abs(mine - theirs)
    return float(np.nanmax(np.where(apart <= 1e-12, 0.0, apart / np.maximum(np.abs(theirs), 1e-300))))


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
        for name, timing in compare_times(case, tools, repeats).items():
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


def machine() -> str:
    """Describe the machine: processor, cores, memory, versions; no name of it."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGESIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ("pyradiomics", "numpy", "scipy", "SimpleITK", "PyWavelets", "scikit-image", "mirp", "nyxus")
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} absent")
    return (
        f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}; {', '.join(versions)}"
    )


def radiomics_report(arguments: argparse.Namespace) -> str:
    """Run everything and return the tables as Markdown."""
    tools = [name for name in TOOLS if name not in OPTIONAL]
    absent = []
    for name in OPTIONAL:
        try:
            importlib.import_module(name)
            tools.append(name)
        except ImportError as error:
            absent.append(f"{name}: {error}")
    load = os.getloadavg()[0]
    cases = [synthetic_case(volume) for volume in SIZES_ML]
    if arguments.data:
        cases += real_cases(arguments.data)

    lines = [
        "# Feature extraction: how fast, how much memory, how equal",
        "",
        f"Machine: {machine()}. *ours* is the {default_path.DEFAULT.name} path.",
        "",
        f"`python -m benchmarks.radiomics`: the tools take turns in one process, {arguments.repeats} rounds after one "
        f"that is not counted; a tool that takes over {LONG_S:.0f} s runs once. Medians. *Processor* is the time of "
        "all threads: it tells the work apart from what else ran on the machine meanwhile "
        f"(load {load:.1f} at the start); where others keep both cores busy, a second thread gains nothing and the "
        "ratio of wall times falls to that of the work. BLAS runs on one thread for all. The synthetic tumours are "
        "textured ellipsoids; every array holds "
        f"{SURROUNDINGS_MM} mm of scan around the tumour's box, where there is so much.",
        "",
        "| tumour | tool | features | runs | wall, s | processor, s | wall / ours | processor / ours |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    differences = []
    for case in cases:
        # On the real tumours ours and pyradiomics only: mirp takes minutes for each.
        own = tools if case.name.startswith("synthetic") else [name for name in tools if name not in OPTIONAL]
        timings = compare_times(case, own, arguments.repeats)
        # The ratio of each round, so that a slow minute of the machine meets both of its sides.
        for name, timing in timings.items():
            base = timings["ours"]
            wall = statistics.median(a / b for a, b in zip(timing.wall, base.wall, strict=False))
            cpu = statistics.median(a / b for a, b in zip(timing.cpu, base.cpu, strict=False))
            lines.append(
                f"| {case.name} | {name} | {timing.features} | {len(timing.wall)} | {statistics.median(timing.wall):.3f} "
                f"| {statistics.median(timing.cpu):.3f} | {wall:.1f} | {cpu:.1f} |"
            )
        differences.append(f"{case.name}: {difference_from_pyradiomics(case):.1e}")
    lines += [
        "",
        "What differs between them: *pyradiomics, no crop* filters the whole array, and Square, SquareRoot, Logarithm "
        "and Exponential then normalise by another maximum: other values. *mirp* has 13 of the 14 images (no gradient "
        "magnitude), its own LoG, LBP and feature set. *nyxus* has no filters of 3-D images and reads NIfTI: its time "
        f"is that of **one** image of {len(IMAGE_TYPES)}, in 3-D, with 64 grey levels.",
        *(f"\nNot measured: {reason}." for reason in absent),
        "",
        "## Equality",
        "",
        "Largest relative difference of any of the 1316 features from pyradiomics' (an absolute difference up to 1e-12 "
        f"counts as none; NaN in the same places): {'; '.join(differences)}.",
        "",
        "## Memory",
        "",
        "One extraction in a process of its own; MB of resident memory.",
        "",
        "| tumour | tool | before | peak | peak / stock's peak | growth / stock's growth |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for volume in (30, 300, 500):
        case = synthetic_case(volume)
        base_before, base_peak = peak_memory("pyradiomics, preCrop", case)
        for name, (before, peak) in (
            ("ours", peak_memory("ours", case)),
            ("ours, by numpy", peak_memory("ours, by numpy", case)),
            ("pyradiomics, preCrop", (base_before, base_peak)),
        ):
            growth = (peak - before) / (base_peak - base_before)
            lines.append(
                f"| {volume} mL | {name} | {before:.0f} | {peak:.0f} | {peak / base_peak:.2f} | {growth:.2f} |"
            )

    lines += voxel_maps(cases[-1])

    pair = ["ours", "ours, by numpy", "pyradiomics, preCrop"]
    seconds = scaling(pair, 2)
    lines += [
        "",
        "## Time against volume",
        "",
        "Least processor seconds of three runs.",
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
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count")
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
