"""The tumour and its surroundings on the 1 mm grid.

Nodes lie at whole millimetres from the frame of reference's origin, along the CT's own axes. Along these axes trilinear
interpolation is separable: each slice is interpolated linearly in its own plane, where its own Image Position (Patient)
puts it, then linearly between the positions of the two neighbouring slices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.gaps import refuse_gaps
from pdl1es.dicom.geometry import to_canonical
from pdl1es.dicom.padding import padding_range_hu
from pdl1es.dicom.series import CTSlice
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.grid.bounding_box import bounding_box
from pdl1es.grid.interpolation import between, interpolate_plane, linear_weights
from pdl1es.grid.minimum_size import shortfall
from pdl1es.grid.placement import PlacedMask, Stack
from pdl1es.grid.plain_mask import plain_mask
from pdl1es.grid.whole_slice import WholeSlice
from pdl1es.method import FLOOR_HU, MASK_THRESHOLD, NOISE_FLOOR_HU, RADIOMICS_MARGIN_MM

CROP_MARGIN_MM: Final = RADIOMICS_MARGIN_MM + 1
"""Margin that radiomics needs around the tumour, plus 1 mm for contours that are dilated or shifted by 1 mm."""
EXTENT_TOLERANCE_MM: Final = 1e-3
"""A node this far beyond the last pixel centre counts as covered: positions are decimals, directions are rounded."""
_AXES_DECIMALS: Final = 9
"""A decimal string has one digit less behind a minus sign: mirrored images' directions differ beyond this."""
TUMOUR_FROM: Final = MASK_THRESHOLD - 2.0**-16
"""Half-way nodes are tumour, although coordinates are rounded to about 1e-6 mm."""

SliceReader = Callable[[CTSlice], NDArray[Any]]
Extent = tuple[int, int]
"""First and last node of a range along one axis, mm."""
Node = tuple[int, int, int]
"""A node's coordinates (x, y, z), mm."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
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
    padding
        bool, shape of ``hu``: nodes whose value comes from padding, in part or wholly. None where there is none.
    whole_slice
        The scan's whole slice where the mask's area is largest, for drawings; None where nobody made it.
    """

    hu: NDArray[np.int16]
    mask: NDArray[np.bool_]
    origin: Node
    axes: NDArray[np.float64]
    scan_low: Node
    scan_high: Node
    padding: NDArray[np.bool_] | None = None
    whole_slice: WholeSlice | None = None

    def __post_init__(self) -> None:
        """Keep masks whose bytes are 0 and 1, as every count of voxels needs."""
        object.__setattr__(self, "mask", plain_mask(self.mask))
        if self.padding is not None:
            object.__setattr__(self, "padding", plain_mask(self.padding))

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.hu.shape))
        return f"TumourVolume({shape} voxels from {self.origin} mm, {np.count_nonzero(self.mask)} of them tumour)"


def tumour_volume(placed: PlacedMask, read_slice: SliceReader, *, margin_mm: int = CROP_MARGIN_MM) -> TumourVolume:
    """Resample the tumour and its surroundings to the 1 mm grid.

    The CT is interpolated trilinearly and rounded to whole HU, halves to the even number; the mask is interpolated
    trilinearly from its own lattice and is tumour from 0.5 on. Nothing depends on how slices are ordered, mirrored or
    transposed in their files, nor on slices elsewhere in the series. Padding and everything below -1024 HU counts as
    -1024 HU before it is interpolated: nothing is less dense than air.

    Parameters
    ----------
    placed
        The segment on its CT series.
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
        In this order: TUMOUR_TOO_SMALL, GEOMETRY_INCONSISTENT, MISSING_SLICES, and what ``read_slice`` raises.
    ValueError
        The margin is smaller than `CROP_MARGIN_MM`.

    Notes
    -----
    Grid and interpolation: the paper resamples to 1 x 1 x 1 mm and leaves both open. Values beyond int16 are clipped.
    """
    if margin_mm < CROP_MARGIN_MM:
        raise ValueError(f"a margin of at least {CROP_MARGIN_MM} mm is needed, got {margin_mm}")
    stack, uid = placed.stack, placed.sop_instance_uid
    mask, low = _mask_on_grid(placed)
    scan_z = covered_nodes(stack.z)
    mask, low = _clipped(mask, low, (None, None, scan_z))
    mask, low = _shrunk(mask, low, uid)
    # The extent in the plane and missing slices are looked at within this margin, whatever ``margin_mm`` is: a larger box
    # must not refuse what a smaller one accepts.
    around = _widened(low[2], mask.shape[0], CROP_MARGIN_MM, scan_z)
    scan_x, scan_y = _covered_in_plane(stack, _needed_slices(stack, around))
    mask, low = _clipped(mask, low, (scan_x, scan_y, None))
    mask, low = _shrunk(mask, low, uid)
    if (found := shortfall(mask)) is not None:
        raise Refusal(RefusalCode.TUMOUR_TOO_SMALL, found, uid=uid)
    refuse_gaps(stack.ct, *_widened(low[2], mask.shape[0], CROP_MARGIN_MM, scan_z))

    extents = (scan_x, scan_y, scan_z)
    sizes = mask.shape[::-1]
    box = [_widened(start, size, margin_mm, extent) for start, size, extent in zip(low, sizes, extents, strict=True)]
    padding = [
        (start - first, last - (start + size - 1)) for start, size, (first, last) in zip(low, sizes, box, strict=True)
    ]
    largest_area = low[2] + int(np.argmax(np.count_nonzero(mask, axis=(1, 2))))
    hu, padded, whole = _hu_on_grid(stack, box, read_slice, whole_plane=(scan_x, scan_y, largest_area))
    return TumourVolume(
        hu=hu,
        mask=np.pad(mask, padding[::-1]),
        origin=(box[0][0], box[1][0], box[2][0]),
        axes=grid_axes(stack),
        scan_low=(scan_x[0], scan_y[0], scan_z[0]),
        scan_high=(scan_x[1], scan_y[1], scan_z[1]),
        padding=padded,
        whole_slice=whole,
    )


def grid_axes(stack: Stack) -> NDArray[np.float64]:
    """Return a stack's axes as a volume on the grid states them, shape (3, 3), one axis a row."""
    return np.round(stack.axes, _AXES_DECIMALS) + 0.0


def _mask_on_grid(placed: PlacedMask) -> tuple[NDArray[np.bool_], Node]:
    """Interpolate the segment at every node within its lattice; return bool (z, y, x) and the first node."""
    x, y = placed.in_plane()
    extents = [covered_nodes(coordinates) for coordinates in (x, y, placed.z)]
    low = (extents[0][0], extents[1][0], extents[2][0])
    if any(first > last for first, last in extents):
        return np.zeros((0, 0, 0), dtype=np.bool_), low
    x_nodes, y_nodes, z_nodes = (_nodes(extent) for extent in extents)
    empty = np.zeros((y_nodes.size, x_nodes.size))
    in_plane = [
        empty
        if frame is None
        else interpolate_plane(frame.mask, linear_weights(frame.x, x_nodes), linear_weights(frame.y, y_nodes))
        for frame in placed.frames
    ]
    weights = linear_weights(placed.z, z_nodes)
    result = np.zeros((z_nodes.size, *empty.shape), dtype=np.bool_)
    for node, (lower, upper, fraction) in enumerate(zip(weights.lower, weights.upper, weights.fraction, strict=True)):
        result[node] = between(in_plane[lower], in_plane[upper], float(fraction)) >= TUMOUR_FROM
    return result, low


def _hu_on_grid(
    stack: Stack, box: list[Extent], read_slice: SliceReader, *, whole_plane: tuple[Extent, Extent, int]
) -> tuple[NDArray[np.int16], NDArray[np.bool_] | None, WholeSlice]:
    """Interpolate the CT at every node of a box, from the slices that have a weight there; tell where padding has one.

    ``whole_plane`` is the extent along x and y, and the node z in the box, of the slice that is returned whole.
    """
    x_nodes, y_nodes, z_nodes = (_nodes(extent) for extent in box)
    needed = _needed_slices(stack, box[2])
    scan_x, scan_y, whole_z = whole_plane
    weights = linear_weights(stack.z, z_nodes)
    of_whole = [int(index[whole_z - box[2][0]]) for index in (weights.lower, weights.upper)]
    planes: dict[int, NDArray[np.float64]] = {}
    whole_planes: dict[int, NDArray[np.float64]] = {}
    padded: dict[int, NDArray[np.bool_]] = {}
    for index in needed:
        ct_slice = stack.ct.slices[index]
        image, padding = without_padding(read_slice(ct_slice), ct_slice)
        x, y = stack.coordinates(index)
        x_weights, y_weights = linear_weights(x, x_nodes), linear_weights(y, y_nodes)
        canonical_image = to_canonical(image, ct_slice.plane, stack.axes)
        planes[index] = interpolate_plane(canonical_image, x_weights, y_weights)
        if index in of_whole:
            across, down = linear_weights(x, _nodes(scan_x)), linear_weights(y, _nodes(scan_y))
            whole_planes[index] = interpolate_plane(canonical_image, across, down)
        if padding is not None:
            canonical = to_canonical(padding, ct_slice.plane, stack.axes)
            padded[index] = interpolate_plane(canonical, x_weights, y_weights) > 0
    hu = np.empty((z_nodes.size, y_nodes.size, x_nodes.size), dtype=np.int16)
    result = np.zeros(hu.shape, dtype=np.bool_) if padded else None
    for node, (lower, upper, fraction) in enumerate(zip(weights.lower, weights.upper, weights.fraction, strict=True)):
        hu[node] = whole_hu(between(planes[int(lower)], planes[int(upper)], float(fraction)))
        if result is not None:
            for index, weight in ((int(lower), 1 - fraction), (int(upper), fraction)):
                if weight > 0 and index in padded:
                    result[node] |= padded[index]
    fraction = float(weights.fraction[whole_z - box[2][0]])
    whole = WholeSlice(
        whole_hu(between(whole_planes[of_whole[0]], whole_planes[of_whole[1]], fraction)),
        (scan_x[0], scan_y[0]),
        whole_z,
    )
    return hu, result if result is not None and result.any() else None, whole


def whole_hu(plane: NDArray[np.float64]) -> NDArray[np.int16]:
    """Round to whole HU, halves to the even number; what int16 cannot hold is clipped."""
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(plane), limits.min, limits.max).astype(np.int16)


def without_padding(hu: NDArray[Any], ct_slice: CTSlice) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return a slice with padding and what is below air at -1024 HU, and where there is padding, if anywhere.

    Noise of air reaches to a little below -1024 HU, which is no padding.

    Parameters
    ----------
    hu
        Hounsfield units as they were read, shape (rows, columns).
    ct_slice
        The slice, whose header may state a padding value.

    Returns
    -------
    hu
        Same shape and type.
    padding
        bool, same shape; None where there is none.
    """
    if np.issubdtype(hu.dtype, np.unsignedinteger):
        return hu, None
    floor = hu.dtype.type(FLOOR_HU)
    padding = hu < NOISE_FLOOR_HU
    stated = padding_range_hu(ct_slice)
    if stated is not None and stated[1] > FLOOR_HU:
        padding |= (hu >= stated[0]) & (hu <= stated[1])
    floored = np.maximum(hu, floor)
    return (np.where(padding, floor, floored), padding) if padding.any() else (floored, None)


def _nodes(extent: Extent) -> NDArray[np.float64]:
    return np.arange(extent[0], extent[1] + 1, dtype=np.float64)


def covered_nodes(coordinates: NDArray[np.float64]) -> Extent:
    """Return the first and the last whole millimetre between the smallest and the largest coordinate."""
    return (
        math.ceil(float(coordinates.min()) - EXTENT_TOLERANCE_MM),
        math.floor(float(coordinates.max()) + EXTENT_TOLERANCE_MM),
    )


def _covered_in_plane(stack: Stack, slices: list[int]) -> tuple[Extent, Extent]:
    """Return the nodes along x and along y that at least one of the slices covers."""
    x, y = zip(*(stack.coordinates(index) for index in slices), strict=True)
    return covered_nodes(np.concatenate(x)), covered_nodes(np.concatenate(y))


def _needed_slices(stack: Stack, extent: Extent) -> list[int]:
    """Return the indices of the slices that have a weight on the nodes of a range along z."""
    weights = linear_weights(stack.z, _nodes(extent))
    return sorted({*weights.lower.tolist(), *weights.upper.tolist()})


def _widened(start: int, size: int, margin: int, extent: Extent) -> Extent:
    """Return a range of ``size`` nodes widened by a margin and clipped by an extent."""
    return max(start - margin, extent[0]), min(start + size - 1 + margin, extent[1])


def _clipped(
    mask: NDArray[np.bool_], low: Node, extents: tuple[Extent | None, Extent | None, Extent | None]
) -> tuple[NDArray[np.bool_], Node]:
    """Cut what lies beyond the extents along x, y and z; None is no limit."""
    start, cut = list(low), [slice(None)] * 3
    for axis, extent in enumerate(extents):
        if extent is not None:
            cut[2 - axis] = slice(max(extent[0] - low[axis], 0), max(extent[1] - low[axis] + 1, 0))
            start[axis] = max(low[axis], extent[0])
    return mask[tuple(cut)], (start[0], start[1], start[2])


def _shrunk(mask: NDArray[np.bool_], low: Node, uid: str | None) -> tuple[NDArray[np.bool_], Node]:
    """Cut a mask to its bounding box, or refuse an empty one."""
    if not mask.any():
        raise Refusal(RefusalCode.TUMOUR_TOO_SMALL, "no node of the 1 mm grid lies in the tumour", uid=uid)
    z, y, x = box = bounding_box(mask)
    return mask[box], (low[0] + x.start, low[1] + y.start, low[2] + z.start)
