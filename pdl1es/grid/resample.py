"""The 1 mm grid: nodes at whole millimetres from the frame of reference's origin, along the CT's own axes.

The grid's axes are the CT's, so that trilinear interpolation is separable: every slice is interpolated linearly in its
own plane, where its own Image Position (Patient) puts it, then linearly between the positions of the two neighbouring
slices. Slices may be unevenly spaced, and a tilted gantry's shift from slice to slice needs no shear.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.geometry import (
    ORIENTATION_TAG,
    PIXEL_MATRIX_TAGS,
    POSITION_TAG,
    SlicePlane,
    canonical_axes,
    canonical_plane_coordinates,
    lies_across,
    position_along,
    to_canonical,
)
from pdl1es.dicom.segmentation import SegmentMask
from pdl1es.dicom.series import CTSeries, CTSlice, refuse_gaps, series_axes, slice_positions
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.grid.diameter import longest_diameter
from pdl1es.grid.interpolation import between, interpolate_plane, linear_weights
from pdl1es.method import MASK_THRESHOLD, MIN_TUMOUR_DIAMETER_MM, MIN_TUMOUR_VOLUME_MM3, RADIOMICS_MARGIN_MM

CROP_MARGIN_MM: Final = RADIOMICS_MARGIN_MM + 1
"""What radiomics needs around the tumour, and 1 mm more for contours that are dilated or shifted by 1 mm."""
COINCIDENCE_MM: Final = 0.01
"""Planes and pixel centres of SEG and CT this near are the same: dcmqi writes positions and spacings truncated."""
EXTENT_TOLERANCE_MM: Final = 1e-3
"""A node this far beyond the last pixel centre counts as covered: positions are decimals, directions are rounded."""
LARGEST_SPAN_MM: Final = 400.0
"""No lung tumour is this long; a segment that spans more is no tumour, or its geometry is garbage."""
_AXES_DECIMALS: Final = 9
"""A decimal string has one digit less behind a minus sign: mirrored images' directions differ beyond this."""
_THRESHOLD: Final = MASK_THRESHOLD - 2.0**-16
"""Half-way nodes are tumour, although coordinates are rounded to about 1e-6 mm."""

SliceReader = Callable[[CTSlice], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TumourVolume:
    """The tumour and its surroundings on the 1 mm grid.

    Attributes
    ----------
    hu
        int16 Hounsfield units rounded to whole numbers, shape (z, y, x), axes ascending towards head, back and the
        patient's left (canonical LPS).
    mask
        bool, same shape.
    origin
        Grid coordinates (x, y, z) of ``hu[0, 0, 0]``: whole mm along ``axes`` from the frame of reference's origin.
    axes
        Direction cosines of the x, y and z axis in LPS, shape (3, 3), one axis a row.
    scan_low, scan_high
        First and last grid node (x, y, z) that the scan covers on each axis. ``hu`` may be a crop of that range.
    """

    hu: NDArray[np.int16]
    mask: NDArray[np.bool_]
    origin: tuple[int, int, int]
    axes: NDArray[np.float64]
    scan_low: tuple[int, int, int]
    scan_high: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class PlacedFrame:
    """One frame of a segment along the grid's axes, cut to its tumour voxels and one empty pixel around them.

    Attributes
    ----------
    x, y
        Coordinates of its columns and rows, mm, ascending.
    z
        Its coordinate along the normal, mm.
    thickness
        Half the distance between the neighbouring planes of its lattice, mm.
    pixel_area
        Of its own pixels, mm2.
    mask
        bool, shape (y, x).
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: float
    thickness: float
    pixel_area: float
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PlacedMask:
    """A segment on its own lattice, along the grid's axes.

    Attributes
    ----------
    axes
        The grid's axes, shape (3, 3).
    z
        Planes of its lattice from one below the tumour to one above it, mm, ascending, shape (planes,).
    frames
        One per plane; None where the segment is empty.
    """

    axes: NDArray[np.float64]
    z: NDArray[np.float64]
    frames: tuple[PlacedFrame | None, ...]

    def occupied(self) -> tuple[PlacedFrame, ...]:
        """Return the frames that hold tumour."""
        return tuple(frame for frame in self.frames if frame is not None)

    def in_plane(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the x and the y of all frames, each shape (n,), in no order."""
        frames = self.occupied()
        return np.concatenate([frame.x for frame in frames]), np.concatenate([frame.y for frame in frames])


@dataclass(frozen=True, slots=True)
class _Stack:
    """A CT series along the grid's axes: the slices' z (mm, ascending)."""

    ct: CTSeries
    axes: NDArray[np.float64]
    z: NDArray[np.float64]

    def coordinates(self, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        plane = self.ct.slices[index].plane
        if not lies_across(plane, self.axes):  # each is parallel to the series' first within a tolerance
            raise Refusal(
                RefusalCode.GEOMETRY_INCONSISTENT,
                "the image is not parallel to the image where the tumour begins",
                tag=ORIENTATION_TAG,
                value=_orientation(plane),
                uid=self.ct.slices[index].instance.sop_instance_uid,
            )
        x, y, _ = canonical_plane_coordinates(plane, self.axes)
        return x, y

    def nearest(self, z: float) -> int:
        return int(np.argmin(np.abs(self.z - z)))


def tumour_volume(
    ct: CTSeries,
    mask: SegmentMask,
    read_slice: SliceReader,
    *,
    margin_mm: int = CROP_MARGIN_MM,
) -> TumourVolume:
    """Resample the tumour and its surroundings to the 1 mm grid.

    The CT is interpolated trilinearly and rounded to whole HU, halves to the even number; the mask is interpolated
    trilinearly from its own lattice and is tumour from 0.5 on. Nothing depends on how slices are ordered, mirrored or
    transposed in their files, nor on slices elsewhere in the series.

    Parameters
    ----------
    ct
        The series; its slices ascend and lie parallel.
    mask
        The segment's frames, at their own places.
    read_slice
        Returns a slice's HU, shape (rows, columns) as stored. It is called once for every slice that the tumour's box
        needs, and for no other, from below upwards.
    margin_mm
        Margin around the mask's box, mm; clipped by the scan. A larger one changes no patch and no feature.

    Returns
    -------
    TumourVolume
        ``scan_low`` and ``scan_high`` are the whole-millimetre nodes between the first and the last pixel centre. In a
        tilted stack every slice has an extent of its own: x and y then range over the union of the slices that the
        tumour's box needs, and a node outside a slice's own extent takes that slice's nearest pixel.

    Raises
    ------
    Refusal
        In this order: SEGMENT_EMPTY, SEG_GEOMETRY, SEGMENT_OUTSIDE_VOLUME, TUMOUR_TOO_SMALL, MISSING_SLICES, and what
        ``read_slice`` raises.

    Notes
    -----
    Grid and interpolation: the paper resamples to 1 x 1 x 1 mm and leaves both open. Values beyond int16 are clipped.
    """
    if margin_mm < CROP_MARGIN_MM:
        raise ValueError(f"a margin of at least {CROP_MARGIN_MM} mm is needed, got {margin_mm}")
    placed = place_mask(mask, ct)
    stack = _stack(ct, placed.axes)
    _require_inside(placed, stack)

    on_grid, low = _mask_on_grid(placed)
    scan_z = _covered(stack.z)
    on_grid, low = _clip(on_grid, low, (None, None, scan_z))
    on_grid, low = _shrink(on_grid, low, mask.sop_instance_uid)
    near = _needed_slices(stack, *_widened(low[2], on_grid.shape[0], CROP_MARGIN_MM, scan_z))
    scan_x, scan_y = _covered_in_plane(stack, near)
    on_grid, low = _clip(on_grid, low, (scan_x, scan_y, None))
    on_grid, low = _shrink(on_grid, low, mask.sop_instance_uid)
    _require_size(on_grid, mask.sop_instance_uid)

    scan = (scan_x, scan_y, scan_z)
    box = [
        _widened(start, size, margin_mm, extent)
        for start, size, extent in zip(low, on_grid.shape[::-1], scan, strict=True)
    ]
    # not the box's own margin: a larger box must not refuse what a smaller one accepts
    refuse_gaps(ct, *_widened(low[2], on_grid.shape[0], CROP_MARGIN_MM, scan_z))
    before = [start - first for start, (first, _) in zip(low, box, strict=True)]
    after = [last - (start + size - 1) for start, size, (_, last) in zip(low, on_grid.shape[::-1], box, strict=True)]
    return TumourVolume(
        hu=_hu_on_grid(stack, box, read_slice),
        mask=np.pad(on_grid, list(zip(before, after, strict=True))[::-1]),
        origin=(box[0][0], box[1][0], box[2][0]),
        axes=np.round(placed.axes, _AXES_DECIMALS) + 0.0,
        scan_low=(scan_x[0], scan_y[0], scan_z[0]),
        scan_high=(scan_x[1], scan_y[1], scan_z[1]),
    )


def place_mask(mask: SegmentMask, ct: CTSeries) -> PlacedMask:
    """Place a segment's frames along the axes of the grid.

    Parameters
    ----------
    mask
        The segment.
    ct
        The series on which it is scored.

    Returns
    -------
    PlacedMask
        Planes and pixel centres that coincide with the CT's within `COINCIDENCE_MM` have the CT's coordinates. Frames
        that lie on the CT's planes have the CT's as their lattice, so that a CT plane without frame is empty; where
        none of them are neighbours, and where they lie on other planes, the lattice is their own: as dense as their
        smallest distance, planes without a frame empty.

    Raises
    ------
    Refusal
        SEG_GEOMETRY where frames are not parallel to the CT, coincide, or lie on no regular lattice; SEGMENT_EMPTY
        where no voxel is set.
    """
    occupied = [index for index in range(len(mask.planes)) if mask.masks[index].any()]
    if not occupied:
        raise Refusal(RefusalCode.SEGMENT_EMPTY, "the segment has no voxel", uid=mask.sop_instance_uid)
    planes = [mask.planes[index] for index in occupied]
    # The axes of the slice at the tumour's lower end: how directions are rounded elsewhere must not turn the grid.
    normal = series_axes(ct)[2]
    lower_end = min(position_along(plane, normal) for plane in planes)
    axes = canonical_axes(ct.slices[int(np.argmin(np.abs(slice_positions(ct) - lower_end)))].plane)
    for plane in planes:
        if not lies_across(plane, axes):
            raise Refusal(
                RefusalCode.SEG_GEOMETRY,
                "a frame of the segment is not parallel to the CT",
                tag=ORIENTATION_TAG,
                value=_orientation(plane),
                uid=mask.sop_instance_uid,
            )
        if min(plane.rows, plane.columns) < 2:
            raise Refusal(
                RefusalCode.SEG_GEOMETRY,
                "a frame of the segment has a single row or column",
                tag=PIXEL_MATRIX_TAGS,
                value=f"{plane.rows} x {plane.columns}",
                uid=mask.sop_instance_uid,
            )
    stack = _stack(ct, axes)
    z = np.array([position_along(plane, axes[2]) for plane in planes])
    order = np.argsort(z)
    lattice, places = _lattice(z[order], stack.z, mask.sop_instance_uid)
    frames: list[PlacedFrame | None] = [None] * lattice.size
    for place, index in zip(places, order.tolist(), strict=True):
        thickness = float(lattice[place + 1] - lattice[place - 1]) / 2.0
        frames[place] = _place_frame(
            planes[index], mask.masks[occupied[index]], float(lattice[place]), thickness, stack
        )
    placed = PlacedMask(axes, lattice, tuple(frames))
    for name, coordinates in zip("xy", placed.in_plane(), strict=True):
        _require_span(coordinates, f"along {name}", mask.sop_instance_uid)
    return placed


def _stack(ct: CTSeries, axes: NDArray[np.float64]) -> _Stack:
    return _Stack(ct, axes, np.array([position_along(ct_slice.plane, axes[2]) for ct_slice in ct.slices]))


def _orientation(plane: SlicePlane) -> str:
    return "\\".join(f"{cosine:.6g}" for cosine in (*plane.row_direction, *plane.column_direction))


def _lattice(
    z: NDArray[np.float64], ct_z: NDArray[np.float64], uid: str | None
) -> tuple[NDArray[np.float64], list[int]]:
    """Return the lattice's planes, an empty one at each end, and each frame's place among them.

    ``z`` are the frames' coordinates, ``ct_z`` the CT's, both ascending.
    """
    _require_span(z, "across the slices", uid)
    gaps = np.diff(z)
    if gaps.size and float(gaps.min()) <= COINCIDENCE_MM:
        raise Refusal(
            RefusalCode.SEG_GEOMETRY,
            "two frames of the segment lie at one position",
            tag=POSITION_TAG,
            value=f"{z[int(gaps.argmin())]:.2f} mm along the normal",
            uid=uid,
        )
    nearest = np.argmin(np.abs(ct_z[np.newaxis, :] - z[:, np.newaxis]), axis=1)
    on_ct = float(np.abs(ct_z[nearest] - z).max()) <= COINCIDENCE_MM
    if on_ct:
        z = ct_z[nearest]
    regular = _regular_lattice(z)
    if on_ct and (z.size == 1 or int(np.diff(nearest).min()) == 1 or regular is None):
        first, last = int(nearest[0]), int(nearest[-1])
        return _extended(ct_z)[first : last + 3], [int(index) - first + 1 for index in nearest]
    if z.size == 1:
        spacing = float(np.diff(ct_z)[min(int(nearest[0]), ct_z.size - 2)])
        return np.array([z[0] - spacing, z[0], z[0] + spacing]), [1]
    if regular is None:
        raise Refusal(
            RefusalCode.SEG_GEOMETRY,
            "the segment's frames lie neither on the CT's planes nor at regular distances",
            tag=POSITION_TAG,
            value=f"distances of {gaps.min():.3f} to {gaps.max():.3f} mm",
            uid=uid,
        )
    planes, places = regular
    return _extended(planes), [place + 1 for place in places]


def _regular_lattice(z: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[int]] | None:
    """Fill multiples of the smallest distance with planes; None where the distances are no such multiples."""
    if z.size == 1:
        return None
    gaps = np.diff(z)
    spacing = float(gaps.min())
    steps = np.rint(gaps / spacing).astype(int)
    # both frames' rounding, and the smallest distance's own in each step
    if bool(np.any(np.abs(gaps - steps * spacing) > COINCIDENCE_MM * (1 + steps))):
        return None
    filled = [
        np.linspace(low, high, step, endpoint=False) for (low, high), step in zip(pairwise(z), steps, strict=True)
    ]
    return np.concatenate([*filled, z[-1:]]), [0, *np.cumsum(steps).tolist()]


def _extended(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coordinates with one more at each end, at the distance of the last two."""
    first, last = 2 * coordinates[0] - coordinates[1], 2 * coordinates[-1] - coordinates[-2]
    return np.concatenate([[first], coordinates, [last]])


def _place_frame(plane: SlicePlane, mask: NDArray[np.bool_], z: float, thickness: float, stack: _Stack) -> PlacedFrame:
    oriented = to_canonical(mask, plane, stack.axes)
    x, y, _ = canonical_plane_coordinates(plane, stack.axes)
    ct_x, ct_y = stack.coordinates(stack.nearest(z))
    (left, right), (top, bottom) = _range(oriented.any(axis=0)), _range(oriented.any(axis=1))
    return PlacedFrame(
        x=_extended(_snapped(x, ct_x))[left : right + 3],
        y=_extended(_snapped(y, ct_y))[top : bottom + 3],
        z=z,
        thickness=thickness,
        pixel_area=plane.row_spacing * plane.column_spacing,
        mask=np.pad(oriented[top : bottom + 1, left : right + 1], 1),
    )


def _snapped(coordinates: NDArray[np.float64], ct: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the CT's coordinates where all of a frame's coincide with some of them."""
    above = np.clip(np.searchsorted(ct, coordinates), 1, ct.size - 1)
    nearest = np.where(coordinates - ct[above - 1] < ct[above] - coordinates, ct[above - 1], ct[above])
    return nearest if float(np.abs(nearest - coordinates).max()) <= COINCIDENCE_MM else coordinates


def _range(occupied: NDArray[np.bool_] | np.bool_) -> tuple[int, int]:
    """Return the first and the last true index."""
    indices = np.flatnonzero(occupied)
    return int(indices[0]), int(indices[-1])


def _require_inside(placed: PlacedMask, stack: _Stack) -> None:
    """Refuse a tumour voxel whose centre lies outside the CT's voxels."""
    for frame in placed.occupied():
        x, y = stack.coordinates(stack.nearest(frame.z))
        for name, axis, first, last in (
            ("x", x, float(frame.x[1]), float(frame.x[-2])),
            ("y", y, float(frame.y[1]), float(frame.y[-2])),
            ("z", stack.z, frame.z, frame.z),
        ):
            below = float(axis[0] - (axis[1] - axis[0]) / 2) - COINCIDENCE_MM
            above = float(axis[-1] + (axis[-1] - axis[-2]) / 2) + COINCIDENCE_MM
            if first < below or last > above:
                beyond = max(below - first, last - above)
                raise Refusal(
                    RefusalCode.SEGMENT_OUTSIDE_VOLUME,
                    f"the segment reaches {beyond:.1f} mm beyond the CT's voxels along {name}",
                    tag=POSITION_TAG,
                    value=f"{first:.1f} to {last:.1f} mm against {below:.1f} to {above:.1f} mm",
                    uid=stack.ct.series_instance_uid,
                )


def _mask_on_grid(placed: PlacedMask) -> tuple[NDArray[np.bool_], tuple[int, int, int]]:
    """Interpolate the segment at every node within its lattice; return bool (z, y, x) and the first node (x, y, z)."""
    x, y = placed.in_plane()
    (x_low, x_high), (y_low, y_high) = _covered(x), _covered(y)
    z_low, z_high = _covered(placed.z)
    if x_low > x_high or y_low > y_high or z_low > z_high:
        return np.zeros((0, 0, 0), dtype=np.bool_), (x_low, y_low, z_low)
    shape = (y_high - y_low + 1, x_high - x_low + 1)
    x_nodes, y_nodes = _nodes(x_low, x_high), _nodes(y_low, y_high)
    empty = np.zeros(shape)
    in_plane = [
        empty
        if frame is None
        else interpolate_plane(frame.mask, linear_weights(frame.x, x_nodes), linear_weights(frame.y, y_nodes))
        for frame in placed.frames
    ]
    weights = linear_weights(placed.z, _nodes(z_low, z_high))
    result = np.zeros((weights.fraction.size, *shape), dtype=np.bool_)
    for node, (lower, upper, fraction) in enumerate(zip(weights.lower, weights.upper, weights.fraction, strict=True)):
        result[node] = between(in_plane[lower], in_plane[upper], float(fraction)) >= _THRESHOLD
    return result, (x_low, y_low, z_low)


def _require_span(coordinates: NDArray[np.float64], where: str, uid: str | None) -> None:
    """Refuse a box that no tumour has, before memory is taken for it."""
    span = float(coordinates.max() - coordinates.min())
    if span > LARGEST_SPAN_MM:
        raise Refusal(
            RefusalCode.SEG_GEOMETRY,
            f"the segment spans {span:.0f} mm {where}, and no tumour's box of more than {LARGEST_SPAN_MM:.0f} mm is read",
            uid=uid,
        )


def _nodes(low: int, high: int) -> NDArray[np.float64]:
    return np.arange(low, high + 1, dtype=np.float64)


def _covered(coordinates: NDArray[np.float64]) -> tuple[int, int]:
    """Return the first and the last whole millimetre between the smallest and the largest coordinate."""
    return (
        math.ceil(float(coordinates.min()) - EXTENT_TOLERANCE_MM),
        math.floor(float(coordinates.max()) + EXTENT_TOLERANCE_MM),
    )


def _covered_in_plane(stack: _Stack, slices: list[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    x, y = zip(*(stack.coordinates(index) for index in slices), strict=True)
    return _covered(np.concatenate(x)), _covered(np.concatenate(y))


def _clip(
    mask: NDArray[np.bool_],
    low: tuple[int, int, int],
    extents: tuple[tuple[int, int] | None, tuple[int, int] | None, tuple[int, int] | None],
) -> tuple[NDArray[np.bool_], tuple[int, int, int]]:
    """Cut what lies beyond the extents (first and last node along x, y, z; None for no limit)."""
    start, cut = list(low), [slice(None)] * 3
    for axis, extent in enumerate(extents):
        if extent is not None:
            cut[2 - axis] = slice(max(extent[0] - low[axis], 0), max(extent[1] - low[axis] + 1, 0))
            start[axis] = max(low[axis], extent[0])
    return mask[tuple(cut)], (start[0], start[1], start[2])


def _shrink(
    mask: NDArray[np.bool_], low: tuple[int, int, int], uid: str | None
) -> tuple[NDArray[np.bool_], tuple[int, int, int]]:
    """Cut a mask to its bounding box, or refuse an empty one."""
    if not mask.any():
        raise _too_small(uid, "no node of the 1 mm grid lies in the tumour")
    ranges = [_range(mask.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    cut = mask[tuple(slice(first, last + 1) for first, last in ranges)]
    return cut, (low[0] + ranges[2][0], low[1] + ranges[1][0], low[2] + ranges[0][0])


def _require_size(mask: NDArray[np.bool_], uid: str | None) -> None:
    volume = float(np.count_nonzero(mask))
    if volume < MIN_TUMOUR_VOLUME_MM3:
        raise _too_small(uid, f"the tumour has {volume:.0f} mm3 on the 1 mm grid")
    diameter = longest_diameter(mask)
    if diameter < MIN_TUMOUR_DIAMETER_MM:
        raise _too_small(uid, f"the tumour's longest diameter is {diameter:.1f} mm")


def _too_small(uid: str | None, found: str) -> Refusal:
    return Refusal(RefusalCode.TUMOUR_TOO_SMALL, found, uid=uid)


def _widened(start: int, size: int, margin: int, extent: tuple[int, int]) -> tuple[int, int]:
    """Return the first and last node of a range that is widened by a margin and clipped by an extent."""
    return max(start - margin, extent[0]), min(start + size - 1 + margin, extent[1])


def _needed_slices(stack: _Stack, low: int, high: int) -> list[int]:
    """Return the indices of the slices that nodes ``low`` to ``high`` have a weight on."""
    weights = linear_weights(stack.z, _nodes(low, high))
    return sorted({*weights.lower.tolist(), *weights.upper.tolist()})


def _hu_on_grid(stack: _Stack, box: list[tuple[int, int]], read_slice: SliceReader) -> NDArray[np.int16]:
    (x_low, x_high), (y_low, y_high), (z_low, z_high) = box
    x_nodes, y_nodes = _nodes(x_low, x_high), _nodes(y_low, y_high)

    def interpolated(index: int) -> NDArray[np.float64]:
        ct_slice = stack.ct.slices[index]
        image = to_canonical(read_slice(ct_slice), ct_slice.plane, stack.axes)
        x, y = stack.coordinates(index)
        return interpolate_plane(image, linear_weights(x, x_nodes), linear_weights(y, y_nodes))

    planes = {index: interpolated(index) for index in _needed_slices(stack, z_low, z_high)}
    weights = linear_weights(stack.z, _nodes(z_low, z_high))
    hu = np.empty((weights.fraction.size, y_nodes.size, x_nodes.size), dtype=np.int16)
    limits = np.iinfo(np.int16)
    for node, (lower, upper, fraction) in enumerate(zip(weights.lower, weights.upper, weights.fraction, strict=True)):
        plane = between(planes[int(lower)], planes[int(upper)], float(fraction))
        hu[node] = np.clip(np.rint(plane), limits.min, limits.max)
    return hu
