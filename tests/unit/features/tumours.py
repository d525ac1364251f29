"""Tumours to compare on, and the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter

from pdl1es.dicom.header import read_instance
from pdl1es.dicom.pixels.hounsfield import read_ct_slice
from pdl1es.dicom.pixels.segment_reader import read_segment_mask
from pdl1es.dicom.segmentation import parse_segmentation
from pdl1es.dicom.stack import ct_series
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.grid.placement import place_mask
from pdl1es.grid.resample import tumour_volume

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tumour:
    """A case to compare on: its kind, int16 HU and bool mask of one shape (z, y, x)."""

    kind: str
    hu: NDArray[np.int16]
    mask: NDArray[np.bool_]


def assert_same_features(ours: Array, reference: Array, names: tuple[str, ...] = FEATURE_NAMES) -> None:
    """Assert equality to 1e-9 relative or 1e-12 absolute, and NaN in the same places."""
    assert len(ours) == len(reference) == len(names)
    different = np.isnan(ours) != np.isnan(reference)
    different |= (np.abs(ours - reference) > 1e-12) & (np.abs(ours - reference) > 1e-9 * np.abs(reference))
    listed = [f"{names[i]}: {ours[i]!r} is not {reference[i]!r}" for i in np.flatnonzero(different)]
    assert not listed, "\n".join(listed[:20])


KINDS = (
    "blob",
    "tiny",
    "one slice",
    "hollow",
    "at the scan's edge",
    "constant",
    "negative HU",
    "speckled",
    "no two neighbours",
    "one row thick",
    "with metal",
    "in one bin",
    "near the scan's end",
    "two voxels",
    "thin scan",
)


def synthetic_tumour(number: int) -> Tumour:
    """Make the random tumour of that number; kinds take turns."""
    random = np.random.default_rng(1000 + number)
    kind = KINDS[number % len(KINDS)]
    shape = tuple(int(length) for length in random.integers(14, 40, 3))
    noise = gaussian_filter(random.normal(0, 1, shape), random.uniform(0.3, 2.5))
    field = noise / noise.std() * random.uniform(5, 150) + random.uniform(-900, 200)
    hu = np.clip(field, -1000, 3071).astype(np.int16)
    grid = np.indices(shape)
    centre = [length / 2 + random.uniform(-2, 2) for length in shape]
    radius = [random.uniform(2, length / 2.2) for length in shape]
    mask = sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radius, strict=True)) < 1
    z, y, x = grid
    if kind in ("tiny", "two voxels"):
        low = random.integers(3, 9, 3)
        size = random.integers(1, 5, 3) if kind == "tiny" else np.array([1, 2, 2])
        mask[:] = False
        mask[
            tuple(slice(a, a + max(2, n) if axis else a + n) for axis, (a, n) in enumerate(zip(low, size, strict=True)))
        ] = True
        if kind == "two voxels":
            mask[low[0], low[1], low[2]] = mask[low[0], low[1] + 1, low[2] + 1] = False
    elif kind == "one slice":
        mask &= z == int(centre[0])
    elif kind == "hollow":
        mask &= ~binary_erosion(mask, iterations=2)
    elif kind == "at the scan's edge":
        mask = np.roll(mask, -int(centre[0] - radius[0]) - 2, 0)
        mask[:3, :6, :6] = True
    elif kind == "constant":
        hu[mask] = 40
    elif kind == "negative HU":
        hu = (-np.abs(hu) - 1).astype(np.int16)
    elif kind == "speckled":
        mask &= random.random(shape) < 0.35
    elif kind == "no two neighbours":
        mask &= (y % 2 == 0) & (x % 2 == 0)
    elif kind == "one row thick":
        mask &= y == int(centre[1])
    elif kind == "with metal":
        hu[random.random(shape) < 0.01] = 3071
    elif kind == "in one bin":
        hu = (50 + (random.random(shape) < 0.5)).astype(np.int16)
    elif kind == "near the scan's end":
        hu, mask = hu[int(centre[0]) :], mask[int(centre[0]) :]
    elif kind == "thin scan":
        middle = int(centre[0])
        hu, mask = hu[middle : middle + 3], mask[middle : middle + 3]
    return Tumour(kind, np.ascontiguousarray(hu), np.ascontiguousarray(mask))


def real_tumour(ct: Path, seg: Path) -> Tumour:
    """Read a study's CT series and SEG and resample the tumour as the chain does."""
    series = ct_series([read_instance(path) for path in sorted(ct.iterdir())])
    segmentation = parse_segmentation(read_instance(seg))
    mask = read_segment_mask(segmentation, segmentation.segments[0].number)
    volume = tumour_volume(place_mask(mask, series), read_ct_slice)
    return Tumour(ct.parent.name, volume.hu, volume.mask)
