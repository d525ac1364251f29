"""Where the contour and the scan begin and end: gaps between slices, several bodies, the scan's ends."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.passes import overlapping_passes
from pdl1es.dicom.series import median_slice_spacing, series_axes
from pdl1es.grid.bounding_box import bounding_box
from pdl1es.grid.placement import PlacedFrame, PlacedMask
from pdl1es.grid.resample import TumourVolume
from pdl1es.method import PATCH_MARGIN_MM, RADIOMICS_MARGIN_MM
from pdl1es.plausibility.filling import filled
from pdl1es.plausibility.specks import are_specks, label_parts


@dataclass(frozen=True, slots=True)
class ContourGap:
    """Planes without contour between two with one that lie over each other.

    Attributes
    ----------
    low, high
        Coordinates of the two planes with contour, mm along the normal.
    planes
        Planes without contour between them.
    """

    low: float
    high: float
    planes: int


@dataclass(frozen=True, slots=True)
class Body:
    """One separate part of the tumour on the 1 mm grid.

    Attributes
    ----------
    volume_ml
        Its volume.
    centre_mm
        Its centre in LPS, mm.
    """

    volume_ml: float
    centre_mm: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ScanMargin:
    """How much of the scan lies around the tumour.

    Attributes
    ----------
    least_mm
        Between the tumour and the nearest end of the scan or of its field, mm.
    patch_cut
        Whether the scan ends within what the network looks at.
    padding_in_patch
        Whether padding lies there, or in the tumour.
    """

    least_mm: int
    patch_cut: bool
    padding_in_patch: bool


def contour_gaps(placed: PlacedMask) -> tuple[ContourGap, ...]:
    """Return where slices between slices with contour have none.

    Contours that do not lie over each other belong to several bodies instead.
    """
    occupied = [(place, frame) for place, frame in enumerate(placed.frames) if frame is not None]
    return tuple(
        ContourGap(below.z, above.z, high - low - 1)
        for (low, below), (high, above) in pairwise(occupied)
        if high - low > 1 and _over_each_other(below, above)
    )


def _over_each_other(below: PlacedFrame, above: PlacedFrame) -> bool:
    x_low, x_high = max(below.x[1], above.x[1]), min(below.x[-2], above.x[-2])
    y_low, y_high = max(below.y[1], above.y[1]), min(below.y[-2], above.y[-2])
    return bool(x_low <= x_high and y_low <= y_high)


def crumbs(mask: NDArray[np.bool_], *, largest_body: bool = False) -> tuple[NDArray[np.bool_], int]:
    """Find the parts of a mask on the 1 mm grid that are removed.

    Parameters
    ----------
    mask
        bool, shape (z, y, x), not empty.
    largest_body
        Remove every part but the largest, not only specks. An outline is one part.

    Returns
    -------
    removed
        Same shape.
    parts
        How many parts are left; of an outline perhaps more than there are bodies.
    """
    box = bounding_box(mask)
    inside = mask[box]
    result = np.zeros_like(mask)
    labels, sizes = label_parts(inside)
    unwanted = are_specks(sizes.astype(np.float64))
    if largest_body and sizes.size > 1:
        labels, sizes = label_parts(filled(inside))
        unwanted = np.arange(sizes.size) != sizes.argmax()
    if unwanted.any():
        result[box] = inside & np.isin(labels, np.flatnonzero(unwanted) + 1)
    return result, int(np.count_nonzero(~unwanted))


def bodies(volume: TumourVolume, whole: NDArray[np.bool_], parts: int) -> tuple[Body, ...]:
    """Return the tumour's separate parts, the largest first.

    Parameters
    ----------
    volume
        The tumour, without specks.
    whole
        Its mask, filled: an outline is one body.
    parts
        How many parts the mask has that is not filled: one part is one body.

    Returns
    -------
    tuple of Body
        Parts touch by face, edge or corner of a 1 mm voxel (26 neighbours).
    """
    box = bounding_box(whole)
    if parts == 1:
        return (_body(volume, whole[box], box),)
    labels, sizes = label_parts(whole[box])
    return tuple(_body(volume, labels == label, box) for label in np.argsort(-sizes, kind="stable") + 1)


def _body(volume: TumourVolume, mask: NDArray[np.bool_], box: tuple[slice, ...]) -> Body:
    voxels = int(np.count_nonzero(mask))
    along = (np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis)) for axis in range(3))
    z, y, x = (float(np.dot(counts, np.arange(counts.size)) / voxels) for counts in along)
    starts = (box[2].start + x, box[1].start + y, box[0].start + z)
    on_grid = np.array([first + start for first, start in zip(volume.origin, starts, strict=True)])
    left, back, head = (volume.axes.T @ on_grid).tolist()
    return Body(voxels / 1000.0, (round(left, 1), round(back, 1), round(head, 1)))


def interleaved_passes(placed: PlacedMask) -> int:
    """Return how many passes lie between each other's slices where the tumour is; 1 where none do.

    Acquisitions that follow each other along the table are one scan (`dicom.passes.overlapping_passes`).
    """
    stack, frames = placed.stack, placed.occupied()
    reach = RADIOMICS_MARGIN_MM + 1
    near = (float(frames[0].z - reach), float(frames[-1].z + reach))
    found = overlapping_passes(stack.ct.slices, series_axes(stack.ct)[2], near)
    return len(found.passes) if found is not None else 1


def scan_margin(volume: TumourVolume) -> ScanMargin:
    """Return how much of the scan lies around the tumour."""
    z, y, x = bounding_box(volume.mask)
    least = RADIOMICS_MARGIN_MM
    for axis, part in enumerate((x, y, z)):
        start = volume.origin[axis]
        least = min(least, start + part.start - volume.scan_low[axis], volume.scan_high[axis] - (start + part.stop - 1))
    areas = np.count_nonzero(volume.mask, axis=(1, 2))
    roi = int(np.argmax(areas))
    roi_y, roi_x = bounding_box(volume.mask[roi])
    reach = ((roi_x, PATCH_MARGIN_MM), (roi_y, PATCH_MARGIN_MM), (slice(roi, roi + 1), 1))
    cut = any(
        volume.origin[axis] + part.start - margin < volume.scan_low[axis]
        or volume.origin[axis] + part.stop - 1 + margin > volume.scan_high[axis]
        for axis, (part, margin) in enumerate(reach)
    )
    return ScanMargin(least, cut, _padding_in(volume, roi, roi_y, roi_x))


def _padding_in(volume: TumourVolume, roi: int, roi_y: slice, roi_x: slice) -> bool:
    if volume.padding is None:
        return False
    seen = tuple(
        slice(max(0, part.start - margin), part.stop + margin)
        for part, margin in ((slice(roi, roi + 1), 1), (roi_y, PATCH_MARGIN_MM), (roi_x, PATCH_MARGIN_MM))
    )
    return bool(volume.padding[seen].any() or volume.padding[volume.mask].any())


def touches_scan_end(placed: PlacedMask) -> bool:
    """Tell whether the contour reaches the first or the last slice of the CT, or a border of its slices."""
    stack, frames = placed.stack, placed.occupied()
    if stack.nearest(frames[0].z) == 0 or stack.nearest(frames[-1].z) == stack.z.size - 1:
        return True
    for frame in frames:
        x, y = stack.coordinates(stack.nearest(frame.z))
        for own, scan in ((frame.x, x), (frame.y, y)):
            half = (scan[1] - scan[0]) / 2
            if own[1] < scan[0] + half or own[-2] > scan[-1] - half:
                return True
    return False


def sparseness(placed: PlacedMask) -> float | None:
    """Return the distance between slices as a multiple of their thickness; None where no slice states its thickness."""
    thicknesses = [s.slice_thickness for s in placed.stack.ct.slices if s.slice_thickness]
    return median_slice_spacing(placed.stack.ct) / float(np.median(thicknesses)) if thicknesses else None


def contour_sparseness(placed: PlacedMask) -> float | None:
    """Return how many slices of the CT come to one plane of the contour, within its extent; None where it has one plane."""
    frames, stack = placed.occupied(), placed.stack
    if len(frames) < 2:
        return None
    return float(stack.nearest(frames[-1].z) - stack.nearest(frames[0].z)) / (len(frames) - 1)


def lies_on_too_few_planes(placed: PlacedMask, longest_diameter_mm: float) -> bool:
    """Return whether most of the tumour lies between the contour's planes, or beyond the only one.

    Parameters
    ----------
    placed
        The segment on its own lattice.
    longest_diameter_mm
        The tumour's, mm.

    Returns
    -------
    bool
        True where planes are more than 2.5 slices apart, or where the only plane shows a tumour wider than four slices.
    """
    sparseness_of_planes = contour_sparseness(placed)
    if sparseness_of_planes is None:
        return longest_diameter_mm > _WIDEST_ON_ONE_PLANE * median_slice_spacing(placed.stack.ct)
    return sparseness_of_planes > _MOST_SLICES_PER_PLANE


_MOST_SLICES_PER_PLANE: Final = 2.5
_WIDEST_ON_ONE_PLANE: Final = 4
"""A tumour is about as deep as it is wide; one that is wider than so many slices shows on more than one of them."""
