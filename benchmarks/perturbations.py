"""Perturbations of image and contour beside MIRP's, by the authors of the method, and what each costs.

Run from the repository, with the training's requirements; mirp is optional (``pip install -r benchmarks/requirements.txt``)::

    python -m benchmarks.perturbations --data FOLDER [--output benchmarks/results/perturbations.md]

``FOLDER`` (or the environment variable PDL1ES_SHARED_DATA) holds ``tumour_crops`` and ``ct_4dlung113``. MIRP is set to 1 mm,
linear interpolation of image and mask, and a threshold of one half. Its grid is centred on the image, ours lies at whole millimetres,
so that values differ a little before anything is perturbed: what has to agree is the change.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from pdl1es import chain, read_source_tumour
from pdl1es.grid.source import TumourSource, read_source
from pdl1es.perturbation.noise import noise_level
from pdl1es.perturbation.perturbation import Perturbation
from pdl1es.perturbation.volume import perturbed_volume
from pdl1es.plausibility.specks import placed_clean
from training.cohort.volumes import read_ct_volume, read_mask_volume

CASE = "LUNG1-003_GTV-1"
CASES: dict[str, tuple[Perturbation, dict[str, Any]]] = {
    "none": (Perturbation(), {}),
    "R: 4 degrees": (Perturbation(rotation_degrees=4.0), {"perturbation_rotation_angles": [4.0]}),
    "R: -4 degrees": (Perturbation(rotation_degrees=-4.0), {"perturbation_rotation_angles": [-4.0]}),
    "T: 0.5 mm along x, y and z": (
        Perturbation(translation_mm=(0.5, 0.5, 0.5)),
        {"perturbation_translation_fraction": [0.5]},
    ),
    "N: the image's own level": (Perturbation(noise=True), {"perturbation_noise_repetitions": 1}),
    "V: 15 % more": (
        Perturbation(volume_share=0.15),
        {"perturbation_roi_adapt_type": "fraction", "perturbation_roi_adapt_size": [0.15]},
    ),
    "V: 15 % less": (
        Perturbation(volume_share=-0.15),
        {"perturbation_roi_adapt_type": "fraction", "perturbation_roi_adapt_size": [-0.15]},
    ),
    "C: along supervoxels": (Perturbation(redraw_contour=True), {"perturbation_randomise_roi_repetitions": 1}),
}


@dataclass(frozen=True, slots=True)
class Described:
    """What is compared: HU within the contour, and its voxels of 1 mm3."""

    mean: float
    deviation: float
    p10: float
    p90: float
    voxels: float


def _ours(source: TumourSource, perturbation: Perturbation) -> Described:
    volume = perturbed_volume(source, perturbation).volume
    inside = volume.hu[volume.mask].astype(np.float64)
    p10, p90 = np.percentile(inside, [10, 90])
    return Described(float(inside.mean()), float(inside.std()), float(p10), float(p90), inside.size)


def _mirp(prefix: Path, settings: dict[str, Any]) -> tuple[Described, float | None]:
    extract: Callable[..., Any] = importlib.import_module("mirp").extract_features
    (table,) = extract(
        image=f"{prefix}_ct.nrrd",
        mask=f"{prefix}_mask.nrrd",
        image_modality="ct",
        write_features=False,
        export_features=True,
        base_feature_families=["statistics", "morphology"],
        new_spacing=1.0,
        spline_order=1,
        anti_aliasing=False,
        roi_spline_order=1,
        roi_interpolation_mask_inclusion_threshold=0.5,
        **settings,
    )
    row = table.iloc[0]
    names = ("stat_mean", "stat_var", "stat_p10", "stat_p90", "morph_vol_approx")
    mean, variance, p10, p90, voxels = (float(row[name]) for name in names)
    level = row.get("image_noise_level")
    return Described(mean, variance**0.5, p10, p90, voxels), None if level is None else float(level)


def _line(name: str, who: str, found: Described) -> str:
    return f"| {name} | {who} | {found.mean:.1f} | {found.deviation:.1f} | {found.p10:.0f} | {found.p90:.0f} | {found.voxels:.0f} |"


def _costs(study: Path, repeats: int) -> list[str]:
    """Return the wall and the processor time of each perturbation of the real case, without the features, and of these."""
    source = read_source_tumour(study).tumour
    plain = perturbed_volume(source, Perturbation()).volume
    tasks: dict[str, Callable[[], Any]] = {
        name: partial(perturbed_volume, source, one) for name, (one, _) in CASES.items()
    }
    tasks["the 1316 features"] = lambda: chain.compute_features(plain, threads=1)
    lines = ["| what | wall, ms | processor, ms | load of the machine |", "|---|---:|---:|---:|"]
    for name, task in tasks.items():
        task()  # what is imported or made once
        wall, processor = [], []
        for _ in range(repeats):
            started, spent = time.perf_counter(), time.process_time()
            task()
            wall.append(time.perf_counter() - started)
            processor.append(time.process_time() - spent)
        median = [1000 * statistics.median(times) for times in (wall, processor)]
        lines.append(f"| {name} | {median[0]:.0f} | {median[1]:.0f} | {os.getloadavg()[0]:.1f} |")
    return lines


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PDL1ES_SHARED_DATA"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data or PDL1ES_SHARED_DATA is needed")
    data = Path(arguments.data)
    prefix = data / "tumour_crops" / CASE
    volume = read_ct_volume(prefix.with_name(f"{CASE}_ct.nrrd"), {})
    placed, _ = placed_clean(read_mask_volume(prefix.with_name(f"{CASE}_mask.nrrd")), volume.ct)
    source = read_source(placed, volume.read_slice)
    lines = [
        "# Perturbations beside MIRP's, and what they cost",
        "",
        f"{CASE} of the tumour crops. Written by `python -m benchmarks.perturbations`; MIRP 2.7.0, by the method's authors "
        "(Zwanenburg et al., Sci Rep 2019; 9: 614). HU within the contour; the random choices of V and C are each one's own.",
        "",
        "| perturbation | by | mean, HU | deviation, HU | 10 % | 90 % | mm3 |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    level = None
    for name, (perturbation, settings) in CASES.items():
        lines.append(_line(name, "ours", _ours(source, perturbation)))
        if find_spec("mirp") is not None:
            theirs, found = _mirp(prefix, settings)
            level = found if found else level
            lines.append(_line(name, "MIRP", theirs))
    lines += [
        "",
        "MIRP's translation meets nodes half-way between the slices of 3 mm, which count as tumour: hence the larger volume.",
        "",
        f"Level of noise: ours {noise_level(source):.2f} HU" + (f", MIRP's {level:.2f} HU." if level else "."),
    ]
    lines += [
        "",
        "## Cost: 4D-Lung 113, 67 mL, one thread",
        "",
        "From the slices that were read once to image and contour on the 1 mm grid; the features come on top of each.",
        "",
        *_costs(data / "ct_4dlung113", arguments.repeats),
    ]
    text = "\n".join(lines) + "\n"
    if arguments.output is not None:
        arguments.output.write_text(text, encoding="utf-8")
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
