"""What the plausibility rules say of contours that lie wrong: the edge rule's sensitivity, and each kind of wrong mask.

Run from the repository, with the training's requirements::

    python -m benchmarks.wrong_contours --data FOLDER [--output benchmarks/results/wrong-contours.md]

``FOLDER`` (or the environment variable PDL1ES_SHARED_DATA) holds the public CT and contours that the tests use:
``ct_4dlung113``, ``ibsi1``, ``tumour_crops`` and ``pyradiomics``. Masks are displaced at random on the 1 mm grid (seeded);
wrong masks of each kind are made on the CT's own slices, for a phantom and for the real case, and go through the chain.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pdl1es import chain
from pdl1es.clinical import ClinicalInput
from pdl1es.dicom.pixels.hounsfield import read_ct_slice
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.selection.survey import Selection
from pdl1es.dicom.series import CTSlice
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal
from pdl1es.grid.bounding_box import bounding_box
from pdl1es.grid.placement import place_mask
from pdl1es.grid.resample import SliceReader, TumourVolume, tumour_volume
from pdl1es.model.folder import DEFAULT_MODELS, model_folder_of
from pdl1es.model.fusion import FusionModel
from pdl1es.phantom.dicom import make_phantom_study
from pdl1es.plausibility.rules import PlausibilityRules
from pdl1es.plausibility.tumour import attenuation, edge_contrast
from pdl1es.settings import Settings
from training.cohort.volumes import read_ct_volume, read_mask_volume

Mask = NDArray[np.bool_]
SURROUNDINGS_MM = 80
DISPLACED = 60
"""At most so many of each contour and place."""
OVERLAP = 0.2
"""A displaced mask shares at most this of its voxels with the tumour."""
SHIFTS_MM = (5, 10, 20, 40)
RULES = PlausibilityRules()


@dataclass(frozen=True, slots=True)
class DrawnContour:
    """A contour on its CT: on the 1 mm grid, with what of the scan lies around it."""

    name: str
    volume: TumourVolume


@dataclass(frozen=True, slots=True)
class Whole:
    """A study with its whole CT, so that a mask can lie anywhere in it.

    Attributes
    ----------
    hu
        Shape (slices, rows, columns), from feet to head.
    mask
        The tumour, same shape.
    spacing
        Of slices, rows and columns, mm.
    """

    name: str
    folder: Path
    study: Study
    selection: Selection
    hu: NDArray[np.int16]
    mask: Mask
    spacing: tuple[float, float, float]


def real_contours(data: Path, phantom: Path) -> Iterator[DrawnContour]:
    """Yield every contour at hand.

    Parameters
    ----------
    data
        Folder of the public data.
    phantom
        Folder of a phantom study.

    Yields
    ------
    DrawnContour
    """
    for name, folder in (
        ("phantom", phantom),
        ("4D-Lung 113", data / "ct_4dlung113"),
        ("IBSI CT phantom", data / "ibsi1/ct_phantom"),
    ):
        settings = Settings()
        selection = chain.select_tumour(
            chain.load_study(folder, settings.limits), settings.selection, settings.protocol
        )
        yield _contour(name, chain.read_mask(selection), selection.ct, read_ct_slice)
    volumes = [*sorted((data / "tumour_crops").glob("*_ct.nrrd")), data / "pyradiomics/lung1_image.nrrd"]
    for path in volumes:
        volume = read_ct_volume(path, {})
        mask = path.with_name(path.name.replace("_ct.", "_mask.").replace("_image.", "_label."))
        name = path.stem.replace("_ct", "").replace("_image", "").replace("_", " ")
        yield _contour(name, read_mask_volume(mask), volume.ct, volume.read_slice)


def _contour(name: str, mask: SegmentMask, ct: chain.CTSeries, read_slice: SliceReader) -> DrawnContour:
    return DrawnContour(name, tumour_volume(place_mask(mask, ct), read_slice, margin_mm=SURROUNDINGS_MM))


def _displaced(contour: DrawnContour, rng: np.random.Generator, *, tissue: bool) -> list[TumourVolume]:
    """Return the contour at random other places of its scan: within soft tissue, or anywhere."""
    volume = contour.volume
    box = bounding_box(volume.mask)
    shape = volume.mask[box]
    sizes = [part.stop - part.start for part in box]
    highest = [whole - size - 3 for whole, size in zip(volume.mask.shape, sizes, strict=True)]
    found: list[TumourVolume] = []
    if min(highest) < 3:
        return found
    for _ in range(4000):
        start = [int(rng.integers(3, high + 1)) for high in highest]
        there = tuple(slice(low, low + size) for low, size in zip(start, sizes, strict=True))
        inside = volume.hu[there][shape]
        if tissue and not -200 <= float(np.median(inside)) <= 200:
            continue
        if np.count_nonzero(volume.mask[there] & shape) > OVERLAP * inside.size:
            continue
        moved = np.zeros_like(volume.mask)
        moved[there] = shape
        found.append(replace(volume, mask=moved))
        if len(found) == DISPLACED:
            break
    return found


def _shifted(contour: DrawnContour, rng: np.random.Generator, distance: int, count: int = 20) -> list[TumourVolume]:
    """Return the contour moved by a distance, mm, in random directions, where the scan goes so far."""
    volume, found = contour.volume, []
    box = bounding_box(volume.mask)
    shape = volume.mask[box]
    for _ in range(200):
        direction = rng.normal(size=3)
        move = np.rint(direction / np.linalg.norm(direction) * distance).astype(int)
        there = tuple(
            slice(part.start + int(step), part.stop + int(step)) for part, step in zip(box, move, strict=True)
        )
        if any(part.start < 3 or part.stop > size - 3 for part, size in zip(there, volume.mask.shape, strict=True)):
            continue
        moved = np.zeros_like(volume.mask)
        moved[there] = shape
        found.append(replace(volume, mask=moved))
        if len(found) == count:
            break
    return found


def off_edge(volume: TumourVolume) -> bool:
    """Tell whether the edge rule finds a contour."""
    return edge_contrast(volume) < RULES.least_edge_hu


def out_of_range(volume: TumourVolume) -> bool:
    """Tell whether the attenuation rule finds a contour."""
    held = attenuation(volume)
    return not RULES.lowest_median_hu <= held.median_hu <= RULES.highest_median_hu or held.below_900 > RULES.most_air


def edge_tables(contours: list[DrawnContour]) -> Iterator[str]:
    """Yield the sensitivity of the edge rule, and its false alarms."""
    yield "| contour | edge, HU | off edge | in soft tissue: found by the edge | anywhere: found by edge or attenuation |"
    yield "|---|--:|---|--:|--:|"
    tissue_hits, tissue_all, any_hits, any_all, alarms = 0, 0, 0, 0, []
    edges: list[float] = []
    for number, contour in enumerate(contours):
        rng = np.random.default_rng([number, 0])
        within = [edge_contrast(volume) for volume in _displaced(contour, rng, tissue=True)]
        edges += within
        hits = sum(value < RULES.least_edge_hu for value in within)
        anywhere = _displaced(contour, rng, tissue=False)
        either = sum(off_edge(volume) or out_of_range(volume) for volume in anywhere)
        own = edge_contrast(contour.volume)
        if own < RULES.least_edge_hu:
            alarms.append(contour.name)
        tissue_hits, tissue_all = tissue_hits + hits, tissue_all + len(within)
        any_hits, any_all = any_hits + either, any_all + len(anywhere)
        yield (
            f"| {contour.name} | {own:.0f} | {'yes' if own < RULES.least_edge_hu else 'no'} | {hits} of {len(within)} | "
            f"{either} of {len(anywhere)} |"
        )
    yield (
        f"| **all** | | {len(alarms)} of {len(contours)} | **{tissue_hits} of {tissue_all} ({tissue_hits / tissue_all:.0%})** | "
        f"**{any_hits} of {any_all} ({any_hits / any_all:.0%})** |"
    )
    yield ""
    yield f"False alarms over the real contours: {', '.join(alarms) or 'none'}."
    yield ""
    yield "| bound, HU | displaced within soft tissue and found | real contours below it |"
    yield "|--:|--:|--:|"
    real = [edge_contrast(contour.volume) for contour in contours]
    for bound in (20, 40, 60, 70, 80, 100):
        found = sum(value < bound for value in edges)
        yield f"| {bound} | {found} of {len(edges)} ({found / len(edges):.0%}) | {sum(v < bound for v in real)} of {len(real)} |"
    yield ""
    yield "| moved by | contours | found by edge or attenuation |"
    yield "|--:|--:|--:|"
    for distance in SHIFTS_MM:
        moved = [
            volume
            for number, contour in enumerate(contours)
            for volume in _shifted(contour, np.random.default_rng([number, distance]), distance)
        ]
        found = sum(off_edge(volume) or out_of_range(volume) for volume in moved)
        yield f"| {distance} mm | {len(moved)} | {found} ({found / len(moved):.0%}) |"


# --- wrong masks through the chain -----------------------------------------------------------------------------------


def _whole_study(name: str, folder: Path) -> Whole:
    """Read a study with all its slices."""
    settings = Settings()
    study = chain.load_study(folder, settings.limits)
    selection = chain.select_tumour(study, settings.selection, settings.protocol)
    slices = sorted(selection.ct.slices, key=lambda one: one.plane.position[2])
    hu = np.stack([read_ct_slice(one) for one in slices]).astype(np.int16)
    segment = chain.read_mask(selection)
    mask = np.zeros(hu.shape, dtype=np.bool_)
    heights = np.array([one.plane.position[2] for one in slices])
    for plane, frame in zip(segment.planes, segment.masks, strict=True):
        mask[int(np.abs(heights - plane.position[2]).argmin())] |= frame
    plane = slices[0].plane
    spacing = (float(np.median(np.diff(heights))), plane.row_spacing, plane.column_spacing)
    return Whole(name, folder, study, selection, hu, mask, spacing)


def _wrong_masks(whole: Whole, other: Whole) -> Iterator[tuple[str, Mask]]:
    """Yield each kind of wrong mask by its name, the right one first."""
    mask, hu = whole.mask, whole.hu
    yield "as drawn", mask
    yield "rows flipped", mask[:, ::-1]
    yield "columns flipped", mask[:, :, ::-1]
    yield "rows and columns flipped", mask[:, ::-1, ::-1]
    yield "rotated by 90 degrees", np.rot90(mask, axes=(1, 2))
    yield "slices in reverse order", mask[_reversed_slices(mask)]
    for distance in (10, 20, 40):
        for label, axis in (("down the table", 1), ("to the left", 2), ("towards the head", 0)):
            steps = round(distance / whole.spacing[axis])
            yield f"moved by {distance} mm {label}", np.roll(mask, steps, axis)
    inside = ndimage.distance_transform_edt(mask, whole.spacing)
    outside = ndimage.distance_transform_edt(~mask, whole.spacing)
    yield "dilated by 5 mm", outside <= 5
    yield "eroded by 5 mm", inside > 5
    yield "of another patient", _centred(other.mask, mask.shape)
    lungs, body = _lungs(hu)
    yield "in lung air", _moved_to(mask, lungs & ~ndimage.binary_dilation(mask, iterations=3), hu, lowest=True)
    yield "outside the body", _moved_to(mask, ~body, hu, lowest=True)
    yield "half outside the body", _half_outside(mask, body)
    yield "inverted on its slices", ~mask & np.any(mask, axis=(1, 2), keepdims=True)
    yield "both lungs", lungs
    yield "a vessel tree of the lung", _vessels(hu, lungs, mask)
    yield "in the mediastinum", _mediastinum(mask, body)
    yield "in the chest wall", _chest_wall(mask, body, lungs, whole.spacing)
    yield "in homogeneous soft tissue (liver, muscle)", _homogeneous(mask, hu)


def _reversed_slices(mask: Mask) -> NDArray[np.intp]:
    order = np.arange(len(mask))
    drawn = np.flatnonzero(mask.any(axis=(1, 2)))
    order[drawn] = drawn[::-1]
    return order


def _centred(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """Put a mask into the slices of another scan: the same pixels, the middle slice of either."""
    result = np.zeros(shape, dtype=np.bool_)
    shift = len(result) // 2 - len(mask) // 2
    for index in np.flatnonzero(mask.any(axis=(1, 2))):
        if 0 <= index + shift < len(result):
            rows, columns = min(shape[1], mask.shape[1]), min(shape[2], mask.shape[2])
            result[index + shift, :rows, :columns] = mask[index, :rows, :columns]
    return result


def _lungs(hu: NDArray[np.int16]) -> tuple[Mask, Mask]:
    """Return air within the body, and the body."""
    tissue = ndimage.binary_opening(hu > -300, iterations=2)
    labels, _ = ndimage.label(tissue)
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    body = np.stack([ndimage.binary_fill_holes(one) for one in largest])
    labels, _ = ndimage.label(ndimage.binary_opening(body & (hu < -500), iterations=2))
    sizes = np.bincount(labels.ravel())[1:]
    return np.isin(labels, 1 + np.flatnonzero(sizes > 0.05 * sizes.max())), body


def _places(mask: Mask, step: int = 6) -> Iterator[tuple[tuple[slice, ...], Mask]]:
    """Yield the places to which a mask can be moved, three slices and pixels from the scan's borders."""
    box = bounding_box(mask)
    sizes = [part.stop - part.start for part in box]
    ranges = [range(4, whole - size - 4, step) for whole, size in zip(mask.shape, sizes, strict=True)]
    for z in ranges[0]:
        for y in ranges[1]:
            for x in ranges[2]:
                yield tuple(slice(s, s + n) for s, n in zip((z, y, x), sizes, strict=True)), mask[box]


def _moved(mask: Mask, place: tuple[slice, ...]) -> Mask:
    result = np.zeros_like(mask)
    result[place] = mask[bounding_box(mask)]
    return result


def _moved_to(mask: Mask, where: Mask, hu: NDArray[np.int16], *, lowest: bool) -> Mask:
    """Move a mask to where most of it lies in a region; of equals, where it is least or most dense."""
    sign = 1 if lowest else -1

    def cost(place: tuple[slice, ...], shape: Mask) -> tuple[float, float]:
        return -round(float(where[place][shape].mean()), 2), sign * float(hu[place][shape].mean())

    best = min(_places(mask, 12), key=lambda found: cost(*found))
    return _moved(mask, best[0])


def _half_outside(mask: Mask, body: Mask) -> Mask:
    def cost(place: tuple[slice, ...], shape: Mask) -> float:
        return abs(float(body[place][shape].mean()) - 0.75)

    return _moved(mask, min(_places(mask, 8), key=lambda found: cost(*found))[0])


def _vessels(hu: NDArray[np.int16], lungs: Mask, mask: Mask) -> Mask:
    hull = ndimage.binary_erosion(ndimage.binary_closing(lungs, iterations=6), iterations=4)
    labels, _ = ndimage.label(hull & (hu > -300) & ~ndimage.binary_dilation(mask, iterations=4))
    return np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])))


def _mediastinum(mask: Mask, body: Mask) -> Mask:
    box = bounding_box(mask)
    _, y, x = bounding_box(body[box[0].start : box[0].stop])
    middle = (box[0].start, (y.start + y.stop) // 2, (x.start + x.stop) // 2)
    sizes = [part.stop - part.start for part in box]
    start = (middle[0], middle[1] - sizes[1] // 2, middle[2] - sizes[2] // 2)
    return _moved(mask, tuple(slice(s, s + n) for s, n in zip(start, sizes, strict=True)))


def _chest_wall(mask: Mask, body: Mask, lungs: Mask, spacing: tuple[float, float, float]) -> Mask:
    wall = body & ~ndimage.binary_dilation(lungs, iterations=2)
    box = bounding_box(mask)
    level = slice(box[0].start, box[0].stop)
    depth = np.stack([ndimage.distance_transform_edt(one, spacing[1:]) for one in body[level]])
    wall[level] &= depth < 60

    def cost(place: tuple[slice, ...], shape: Mask) -> float:
        return -float(wall[place][shape].mean())

    places = (found for found in _places(mask, 6) if found[0][0].start in (level.start - level.start % 6 + 4,))
    return _moved(mask, min(places, key=lambda found: cost(*found))[0])


def _homogeneous(mask: Mask, hu: NDArray[np.int16]) -> Mask:
    def cost(place: tuple[slice, ...], shape: Mask) -> float:
        values = hu[place][shape]
        return float(values.std()) + (0.0 if 0 < values.mean() < 150 else 1e4)

    return _moved(mask, min(_places(mask, 12), key=lambda found: cost(*found))[0])


def _outcome(whole: Whole, mask: Mask, model: FusionModel) -> tuple[str, str]:
    """Score a study with another mask; return what became of it, and the warnings or the refusal's words."""
    slices: list[CTSlice] = sorted(whole.selection.ct.slices, key=lambda one: one.plane.position[2])
    drawn = np.flatnonzero(mask.any(axis=(1, 2)))
    if not drawn.size:
        return "no mask", ""
    segment = SegmentMask(tuple(slices[index].plane for index in drawn), mask[drawn])
    try:
        resampled = chain.resample_tumour(whole.selection.ct, segment, read_ct_slice)
        tumour = chain.check_tumour(resampled, RULES)
        described = chain.describe(tumour.volume)
        clinical: ClinicalInput = chain.read_clinical(whole.selection, whole.folder, None)
        prediction = chain.predict(model, described.patches, described.features, clinical.data)
        found = chain.assess_tumour(
            study=whole.study,
            selection=whole.selection,
            tumour=tumour,
            patches=described.patches,
            clinical=clinical,
            prediction=prediction,
            stability=None,
            model=model,
            rules=RULES,
        )
    except Refusal as refusal:
        return f"`{refusal.code.name}`", refusal.found
    group = "no group" if found.withheld else f"{found.expression_group}, {found.risk_group}"
    withholding = [f"`{warning.code}`" for warning in found.warnings if warning.effect == "withhold_group"]
    return f"{prediction.score:.3f}, {group}", ", ".join(withholding)


def _mask_table(studies: list[Whole], model: FusionModel) -> Iterator[str]:
    """Yield a row for each kind of wrong mask."""
    yield "| mask | " + " | ".join(whole.name for whole in studies) + " |"
    yield "|---|" + "---|" * len(studies)
    kinds = [dict(_wrong_masks(whole, studies[1 - number])) for number, whole in enumerate(studies)]
    for name in kinds[0]:
        cells = []
        for whole, masks in zip(studies, kinds, strict=True):
            what, why = _outcome(whole, masks[name], model)
            cells.append(what if not why or what.startswith("`") else f"{what}; {why}")
        row = f"| {name} | " + " | ".join(cells) + " |"
        print(row, flush=True)
        yield row


def main() -> int:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=os.environ.get("PDL1ES_SHARED_DATA"), required=False)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--part", choices=("edge", "masks"), action="append")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data, or PDL1ES_SHARED_DATA, names the folder of public data")
    parts = arguments.part or ["edge", "masks"]
    lines: list[str] = ["# Contours that lie wrong, and what the rules say of them", ""]
    with tempfile.TemporaryDirectory() as folder:
        phantom = make_phantom_study(Path(folder) / "phantom").folder
        lines += [
            "Made by `python -m benchmarks.wrong_contours` on the public CT and contours that the tests use, and a phantom.",
            "",
        ]
        if "edge" in parts:
            lines += ["## The edge rule", "", *edge_tables(list(real_contours(arguments.data, phantom))), ""]
        if "masks" in parts:
            model = FusionModel.load(model_folder_of(DEFAULT_MODELS), threads=1)
            studies = [_whole_study("phantom", phantom), _whole_study("4D-Lung 113", arguments.data / "ct_4dlung113")]
            lines += ["## Wrong masks through the chain", "", *_mask_table(studies, model), ""]
    text = "\n".join(lines)
    if arguments.output is not None:
        arguments.output.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
