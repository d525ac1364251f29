"""A perturbed tumour on the 1 mm grid: noise in the source, one interpolation, then the contour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.gaps import refuse_gaps
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.grid.bounding_box import bounding_box
from pdl1es.grid.minimum_size import shortfall
from pdl1es.grid.pose import GridPose, non_empty_part, posed_hu, posed_mask, scan_across, scan_along
from pdl1es.grid.resample import CROP_MARGIN_MM, Extent, Node, TumourVolume
from pdl1es.grid.source import LARGEST_GROWTH, SURROUNDINGS_MM, TumourSource
from pdl1es.perturbation.contour import changed_volume, randomised_contour
from pdl1es.perturbation.noise import noise_level, noisy
from pdl1es.perturbation.perturbation import Perturbation
from pdl1es.plausibility.extent import crumbs

Mask = NDArray[np.bool_]
_ANY: Final = (-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class PerturbedVolume:
    """A perturbed tumour on the grid.

    Attributes
    ----------
    volume
        HU and mask. ``origin`` and the scan's ends are counted on the grid as it was placed.
    noise_hu
        Standard deviation of the noise that was added, HU; 0 where none was.
    """

    volume: TumourVolume
    noise_hu: float


def perturbed_volume(source: TumourSource, perturbation: Perturbation) -> PerturbedVolume:
    """Perturb a tumour's image and contour, and bring it to the 1 mm grid.

    Noise is added to the source slices. Then the grid is turned and shifted, and image and contour are interpolated on it, once
    and as `grid.resample.tumour_volume` does. Then the contour's volume is changed, and the contour drawn anew.

    Parameters
    ----------
    source
        The tumour and the slices around it.
    perturbation
        What is done. Nothing gives the very volume that is scored, without its whole slice.

    Returns
    -------
    PerturbedVolume

    Raises
    ------
    Refusal
        TUMOUR_TOO_SMALL: too little is left of the tumour. MISSING_SLICES: a slice is missing where the image is needed.
    """
    level = 0.0
    if perturbation.noise:
        level = noise_level(source) if perturbation.noise_hu is None else perturbation.noise_hu
        source = noisy(source, level, perturbation.seed)
    pose = GridPose(perturbation.rotation_degrees, perturbation.translation_mm, source.centre)
    uid = source.placed.sop_instance_uid
    along = scan_along(source, pose)
    mask, low = _within(*posed_mask(source, pose), (_ANY, _ANY, along))
    _require_size(mask, uid)
    mask, low = non_empty_part(mask, low)
    around_tumour = (
        max(low[2] - CROP_MARGIN_MM, along[0]),
        min(low[2] + mask.shape[0] - 1 + CROP_MARGIN_MM, along[1]),
    )
    extents = (*scan_across(source, pose, around_tumour), along)
    mask, low = _within(mask, low, extents)
    _require_size(mask, uid)
    left_out, _ = crumbs(mask, largest_body=source.largest_body)
    mask, low = non_empty_part(mask & ~left_out, low)
    if perturbation.volume_share:
        room = math.ceil(LARGEST_GROWTH * max(mask.shape) / 2) + 1
        rng = np.random.default_rng([perturbation.seed, 2])
        mask = changed_volume(np.pad(mask, room), perturbation.volume_share, rng)
        mask, low = _within(mask, (low[0] - room, low[1] - room, low[2] - room), extents)
        _require_size(mask, uid)
        mask, low = non_empty_part(mask, low)

    margin = CROP_MARGIN_MM + (SURROUNDINGS_MM if perturbation.redraw_contour else 0)
    box = [
        (max(start - margin, first), min(start + size - 1 + margin, last))
        for start, size, (first, last) in zip(low, mask.shape[::-1], extents, strict=True)
    ]
    shift = perturbation.translation_mm[2]
    refuse_gaps(source.placed.stack.ct, box[2][0] + shift, box[2][1] + shift)
    hu, padding = posed_hu(source, pose, box)
    around = [
        (start - first, last - (start + size - 1))
        for start, size, (first, last) in zip(low, mask.shape[::-1], box, strict=True)
    ]
    mask = np.pad(mask, around[::-1])
    if perturbation.redraw_contour:
        near = _grown(bounding_box(mask), SURROUNDINGS_MM, mask.shape)
        drawn = np.zeros_like(mask)
        drawn[near] = randomised_contour(hu[near], mask[near], np.random.default_rng([perturbation.seed, 3]))
        mask = drawn
    _require_size(mask, uid)
    kept = _grown(bounding_box(mask), CROP_MARGIN_MM, mask.shape)
    z, y, x = kept
    volume = TumourVolume(
        hu=np.ascontiguousarray(hu[kept]),
        mask=np.ascontiguousarray(mask[kept]),
        origin=(box[0][0] + x.start, box[1][0] + y.start, box[2][0] + z.start),
        axes=pose.turned(source.axes),
        scan_low=(extents[0][0], extents[1][0], extents[2][0]),
        scan_high=(extents[0][1], extents[1][1], extents[2][1]),
        padding=None if padding is None or not padding[kept].any() else padding[kept].copy(),
    )
    return PerturbedVolume(volume, level)


def _require_size(mask: Mask, uid: str | None) -> None:
    """Refuse a mask of which too little is left."""
    found = shortfall(mask) if mask.any() else "no node of the grid lies in the tumour"
    if found is not None:
        raise Refusal(RefusalCode.TUMOUR_TOO_SMALL, found, uid=uid)


def _within(mask: Mask, low: Node, extents: tuple[Extent, Extent, Extent]) -> tuple[Mask, Node]:
    """Cut what lies beyond the scan."""
    starts = [max(first - start, 0) for start, (first, _) in zip(low, extents, strict=True)]
    stops = [max(last - start + 1, 0) for start, (_, last) in zip(low, extents, strict=True)]
    x, y, z = (slice(start, stop) for start, stop in zip(starts, stops, strict=True))
    return mask[z, y, x], (low[0] + starts[0], low[1] + starts[1], low[2] + starts[2])


def _grown(box: tuple[slice, ...], margin: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return a box grown by a margin and clipped by an array's shape."""
    return tuple(
        slice(max(side.start - margin, 0), min(side.stop + margin, length))
        for side, length in zip(box, shape, strict=True)
    )
