"""What each compiled kernel costs on one tumour, and how near it is to what the memory gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdl1es.features import compiled, compiled_filters, compiled_shape, compiled_texture
from pdl1es.features.extraction import FILTERS
from pdl1es.features.region import Crop
from pdl1es.features.settings import SETTINGS
from pdl1es.features.texture import batches, texture_features


class Cost(NamedTuple):
    """A kernel's work on all images of a tumour that it serves: the least it must move, and operations."""

    name: str
    run: Callable[[], Any]
    bytes: float
    operations: float


def bandwidth(repeats: int = 5) -> float:
    """Return how many bytes a second one core copies, read and written, from arrays of 128 MiB."""
    source = np.ones(2**24)
    target = np.empty_like(source)
    return 2 * source.nbytes / min(_seconds(lambda: np.copyto(target, source)) for _ in range(repeats))


def _seconds(run: Callable[[], Any]) -> float:
    begin = time.thread_time()
    run()
    return time.thread_time() - begin


def _laplacian_elements(crop: Crop) -> int:
    """Return how many elements the nine passes of one Laplacian of Gaussian read and write."""
    shape, kept = crop.hu.shape, crop.mask.shape
    elements = 0
    for order in ((2, 1, 0), (1, 2, 0), (0, 2, 1)):
        now = list(shape)
        for axis in order:
            elements += int(np.prod(now))
            now[axis] = kept[axis]
            elements += int(np.prod(now))
    return elements


def _costs(crop: Crop) -> list[Cost]:
    filters = compiled_filters.FILTERS
    images: dict[str, NDArray[Any]] = {}
    for function in FILTERS.values():
        images |= {name: values for name, values in function(crop).items() if values is not None}
    width = SETTINGS.setting.bin_width
    line = compiled_texture.TextureLine.of(crop.mask)
    ordered = {name: np.sort(values) for name, values in images.items()}
    grey = {
        name: compiled_texture.discretise_by_kernel(values, ordered[name], bin_width=width)
        for name, values in images.items()
    }
    matrices = [compiled_texture.texture_matrices_by_kernel(one, line) for one in grey.values()]
    groups = [[matrices[index] for index in group] for group in batches(matrices)]
    voxels, box = len(line.places), crop.mask.size
    values_bytes = sum(values.nbytes for values in images.values())
    sigmas, elements = SETTINGS.image_types.log.sigma, _laplacian_elements(crop)
    taps, samples, directions = 6, SETTINGS.setting.lbp_samples, len(line.steps)

    def each(function: Callable[[str], Any]) -> Callable[[], list[Any]]:
        return lambda: [function(name) for name in images]

    def formulas() -> None:
        for feature_class in ("glcm", "gldm", "glrlm", "glszm", "ngtdm"):
            for group in groups:
                texture_features(feature_class, group)

    return [
        Cost(
            "Laplacian of Gaussian, 3 images",
            lambda: [filters.laplacian_of_gaussian(crop, sigma) for sigma in sigmas],
            # Reads and writes of float between the passes; 16 products and 15 sums for each element that is read.
            len(sigmas) * 4 * elements,
            len(sigmas) * 31 * elements / 2,
        ),
        Cost(
            "wavelet, 4 images",
            lambda: filters.wavelet(crop, SETTINGS.image_types.wavelet.wavelet),
            2 * box + 4 * 8 * voxels,
            # Along x two filters, along y four.
            6 * taps * 2 * box,
        ),
        Cost("gradient", lambda: filters.gradient(crop), 2 * box + 4 * voxels, 10 * box),
        Cost(
            "local binary pattern",
            lambda: filters.local_binary_pattern_2d(crop, SETTINGS.setting.lbp_radius, samples),
            2 * box + 2 * voxels,
            # Half of the samples are interpolated.
            samples * 7 * box,
        ),
        Cost("sort, 14 images", each(lambda name: np.sort(images[name])), 2 * values_bytes, float("nan")),
        Cost(
            "grey levels, 14 images",
            each(
                lambda name: compiled_texture.discretise_by_kernel(images[name], ordered[name], bin_width=width),
            ),
            values_bytes + 14 * 12 * voxels,
            14 * 8 * voxels,
        ),
        Cost(
            "moments, 14 images",
            each(lambda name: compiled.moments(images[name], -100.0, 100.0)),
            2 * values_bytes,
            14 * 24 * voxels,
        ),
        Cost(
            "five matrices, 14 images",
            each(lambda name: compiled_texture.texture_matrices_by_kernel(grey[name], line)),
            14 * 8 * voxels,
            # For each direction 13 by registers and 2 counts; for each voxel 4 more counts and the zone.
            14 * (15 * directions + 10) * voxels,
        ),
        Cost("shape", lambda: compiled_shape.shape_features_by_kernel(crop.mask), 4 * box, 12 * box),
        Cost("formulas of texture (numpy)", formulas, float("nan"), float("nan")),
    ]


def kernel_lines(cases: Sequence[tuple[str, NDArray[np.int16], NDArray[np.bool_]]], repeats: int = 5) -> list[str]:
    """Time each kernel on tumours; return the section's lines.

    Parameters
    ----------
    cases
        Name, HU and mask of each.
    repeats
        Runs, of which the shortest counts.

    Returns
    -------
    list[str]
    """
    copied = bandwidth()
    lines = [
        "",
        "## Kernels",
        "",
        "Least processor time of one thread. *Bytes* and *operations* are for each voxel of the tumour, over all images of "
        "the row: bytes that must come and go where nothing is kept (of LoG, between its nine passes too), operations as "
        f"the formula has them. One core copies {copied / 1e9:.1f} GB/s here, read and written; *share* is what the kernel "
        "moves of that. A kernel of a small share waits for its arithmetic or its counts, not for memory.",
        "",
        "| tumour | kernel | ms | ns a voxel | bytes a voxel | operations a voxel | 10^9 operations/s | share |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]

    def number(value: float, form: str) -> str:
        return "-" if np.isnan(value) else format(value, form)

    for name, hu, mask in cases:
        crop = Crop.around(hu, mask, SETTINGS.setting.pad_distance)
        voxels = np.count_nonzero(mask)
        with np.errstate(all="ignore"):
            for cost in _costs(crop):
                seconds = min(_seconds(cost.run) for _ in range(repeats))
                lines.append(
                    f"| {name} | {cost.name} | {1e3 * seconds:.2f} | {1e9 * seconds / voxels:.1f} "
                    f"| {number(cost.bytes / voxels, '.0f')} | {number(cost.operations / voxels, '.0f')} "
                    f"| {number(cost.operations / seconds / 1e9, '.1f')} "
                    f"| {number(cost.bytes / seconds / copied, '.0%')} |"
                )
    return lines
