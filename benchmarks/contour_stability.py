"""How far the score moves under contours that are 1 mm off: over phantoms that no training saw, and over real contours.

Run from the repository, with the training's requirements::

    python -m benchmarks.contour_stability --data FOLDER [--phantoms 100] [--output benchmarks/results/contour-stability.md]

``FOLDER`` (or the environment variable PDL1ES_SHARED_DATA) holds the public CT and contours that the tests use:
``ct_4dlung113``, ``ibsi1``, ``tumour_crops`` and ``pyradiomics``. The phantoms are the first of the further test cases of
the cohort on whose training part the shipped model was fitted. `pdl1es.stability.BORDERLINE_LOG_ODDS` rests on this table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.wrong_contours import real_contours
from pdl1es import chain
from pdl1es.clinical import MISSING, ClinicalData
from pdl1es.dicom.silence import silenced_pydicom
from pdl1es.errors import Refusal
from pdl1es.features.extraction import FILTERS
from pdl1es.features.region import Crop
from pdl1es.features.settings import SETTINGS
from pdl1es.grid.bounding_box import bounding_box
from pdl1es.grid.contours import contour_variants
from pdl1es.grid.resample import TumourVolume
from pdl1es.library import load_model
from pdl1es.model.fusion import FusionModel
from pdl1es.phantom.dicom import make_phantom_study
from pdl1es.settings import StabilityMode
from pdl1es.stability import BORDERLINE_LOG_ODDS, ContourStability, log_odds, stability_wanted
from training.cohort.case import read_case
from training.cohort.sources import case_sources, preparation_settings
from training.cohort.synthesise import SynthesisSettings, synthesise_cohort

UNKNOWN = ClinicalData(MISSING, MISSING, MISSING, MISSING)
"""The clinical variables add the same to the log-odds of every contour of a tumour."""
MODES: tuple[StabilityMode, ...] = ("off", "borderline", "on")
TIMED = "4D-Lung 113"


@dataclass(frozen=True, slots=True)
class NamedTumour:
    """A tumour on the 1 mm grid, and what it is called."""

    name: str
    phantom: bool
    volume: TumourVolume


@dataclass(frozen=True, slots=True)
class Spread:
    """How far a tumour's score moved.

    Attributes
    ----------
    score
        Of the drawn contour.
    stability
        Of the other contours.
    crosses
        Of each cut-off, whether the contours lie on both sides of it.
    """

    tumour: NamedTumour
    score: float
    stability: ContourStability
    crosses: bool

    @property
    def in_score(self) -> float:
        """Largest distance from the drawn contour's score."""
        return max(self.stability.highest - self.score, self.score - self.stability.lowest)

    @property
    def in_log_odds(self) -> float:
        """The same in log-odds."""
        own = log_odds(self.score)
        return max(log_odds(self.stability.highest) - own, own - log_odds(self.stability.lowest))


def _phantoms(folder: Path, number: int) -> Iterator[NamedTumour]:
    """Make phantoms that no training saw, and yield their tumours."""
    table = synthesise_cohort(folder, SynthesisSettings(expression=0, prognosis=0, gate=number), workers=1)
    settings = preparation_settings()
    for name, source in case_sources(table).items():
        yield NamedTumour(name, True, read_case(source, settings).resampled().volume)


def _spread_of(model: FusionModel, tumour: NamedTumour) -> Spread:
    """Score a tumour with all contours."""
    metadata = model.metadata
    prediction = chain.predict_volume(model, tumour.volume, UNKNOWN)
    stability = chain.vary_contour(model, tumour.volume, UNKNOWN, prediction)
    if stability is None:
        raise RuntimeError("the contours were not varied")
    crosses = any(
        stability.lowest <= cut_off.value < stability.highest
        for cut_off in (metadata.expression_cut_off, metadata.progression_cut_off)
    )
    return Spread(tumour, prediction.score, stability, crosses)


def _seconds_of(model: FusionModel, volume: TumourVolume, mode: StabilityMode, repeats: int) -> tuple[float, float]:
    """Return the median wall and processor time of the step `contour_stability`, s."""
    prediction = chain.predict_volume(model, volume, UNKNOWN)
    wall, processor = [], []
    for _ in range(repeats):
        started, spent = time.perf_counter(), time.process_time()
        chain.vary_contour(model, volume, UNKNOWN, prediction, mode=mode)
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - spent)
    return statistics.median(wall), statistics.median(processor)


def _spread_table(spreads: list[Spread]) -> list[str]:
    """Return the spreads of phantoms together, and of each real contour."""
    lines = [
        "| tumour | voxels | score | lowest | highest | farthest, score | farthest, log-odds | crosses a cut-off |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    made = [spread for spread in spreads if spread.tumour.phantom]
    for name, share in (("median", 50), ("95 %", 95), ("largest", 100)):
        if made:
            score, odds = (
                np.percentile([getattr(one, key) for one in made], share) for key in ("in_score", "in_log_odds")
            )
            crossing = f"{sum(one.crosses for one in made)} of {len(made)}"
            lines.append(f"| {len(made)} phantoms, {name} | | | | | {score:.2f} | {odds:.2f} | {crossing} |")
    for one in spreads:
        if not one.tumour.phantom:
            voxels = np.count_nonzero(one.tumour.volume.mask)
            found = one.stability
            lines.append(
                f"| {one.tumour.name} | {voxels} | {one.score:.2f} | {found.lowest:.2f} | {found.highest:.2f} | "
                f"{one.in_score:.2f} | {one.in_log_odds:.2f} | {'yes' if one.crosses else 'no'} |"
            )
    return lines


def _borderline_table(spreads: list[Spread], model: FusionModel) -> list[str]:
    """Return how many tumours are borderline, and how many crossings that misses."""
    cut_offs = (model.metadata.expression_cut_off, model.metadata.progression_cut_off)
    lines = [
        "| tumours | all | borderline | cross a cut-off | ... and are not borderline |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, phantom in (("phantoms", True), ("real contours", False)):
        group = [one for one in spreads if one.tumour.phantom == phantom]
        asked = [stability_wanted("borderline", one.score, cut_offs) for one in group]
        crossing = [one.crosses for one in group]
        missed = sum(crosses and not wanted for crosses, wanted in zip(crossing, asked, strict=True))
        lines.append(f"| {name} | {len(group)} | {sum(asked)} | {sum(crossing)} | {missed} |")
    return lines


def _sharing_table(volume: TumourVolume) -> list[str]:
    """Return which filtered images the contours could share: those with the same bits on a common crop as on each one's own."""
    variants = [variant.volume for variant in contour_variants(volume) if variant.volume is not None]
    differing: dict[str, list[float]] = {}
    seconds: dict[tuple[str, ...], float] = {}
    for variant in variants:
        own = Crop.around(variant.hu, variant.mask, SETTINGS.setting.pad_distance)
        box = bounding_box(variant.mask)
        common = Crop(hu=variant.hu, box=box, mask=np.ascontiguousarray(variant.mask[box]))
        for names, function in FILTERS.items():
            started = time.process_time()
            separate = function(own)
            seconds[names] = seconds.get(names, 0.0) + time.process_time() - started
            shared = function(common)
            for name, values in separate.items():
                differing.setdefault(name, []).append(float(np.mean(values != shared[name])))
    lines = ["| images | voxels that differ on a common crop | processor time a contour, ms |", "|---|---:|---:|"]
    for names in FILTERS:
        most = max(max(differing[name]) for name in names)
        lines.append(f"| {', '.join(names)} | {100 * most:.0f} % | {1000 * seconds[names] / len(variants):.1f} |")
    return lines


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PDL1ES_SHARED_DATA"))
    parser.add_argument("--phantoms", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data or PDL1ES_SHARED_DATA is needed")
    model = load_model()
    spreads: list[Spread] = []
    with silenced_pydicom(), tempfile.TemporaryDirectory() as temporary:
        phantom = make_phantom_study(Path(temporary) / "phantom", seed=0).folder
        real = [NamedTumour(one.name, False, one.volume) for one in real_contours(arguments.data, phantom)]
        for tumour in [*real, *_phantoms(Path(temporary) / "cohort", arguments.phantoms)]:
            try:
                spreads.append(_spread_of(model, tumour))
            except Refusal as refusal:
                Console(stderr=True).print(f"{tumour.name}: {refusal.code.name}")
    (timed,) = [tumour.volume for tumour in real if tumour.name == TIMED]
    times = []
    for mode in MODES:
        wall, processor = _seconds_of(model, timed, mode, arguments.repeats)
        times.append(f"| {mode} | {wall:.3f} | {processor:.3f} | {os.getloadavg()[0]:.1f} |")
    metadata = model.metadata
    cut_offs = f"{metadata.expression_cut_off.value:.3f} (expression), {metadata.progression_cut_off.value:.3f} (risk)"
    lines = [
        "# How far the score moves under contours that are 1 mm off",
        "",
        f"The model that ships, whose cut-offs are {cut_offs}. Clinical variables unknown. Eight other contours: eroded, "
        "dilated, shifted along each axis. Written by `python -m benchmarks.contour_stability`.",
        "",
        *_spread_table(spreads),
        "",
        f"## Which scores are borderline: within {BORDERLINE_LOG_ODDS:g} of a cut-off, in log-odds",
        "",
        *_borderline_table(spreads, model),
        "",
        f"## Time of the step, {TIMED} ({np.count_nonzero(timed.mask)} voxels), {len(os.sched_getaffinity(0))} cores",
        "",
        "| contour_stability | wall, s | processor, s | load of the machine |",
        "|---|---:|---:|---:|",
        *times,
        "",
        "## What the contours share, and what they do not",
        "",
        "They share the grid: slices are read, resampled and placed once. Each has filtered images of its own, because the crop around "
        "the contour belongs to the definition: the Laplacian of Gaussian is recursive over it. The others would have the same "
        "bits on a common crop, but take too little time to be worth it. Each contour goes through the network by itself: the model's "
        "file takes one tumour. Two contours are scored side by side, with one thread each.",
        "",
        *_sharing_table(timed),
    ]
    text = "\n".join(lines) + "\n"
    if arguments.output is not None:
        arguments.output.write_text(text, encoding="utf-8")
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
