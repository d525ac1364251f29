"""Where a segment's frames and a CT's slices lie along the axes of the 1 mm grid.

The grid's axes are the CT's own, so planes stay planes: a frame or slice has one coordinate along z and, for its pixel
centres, coordinates along x and y. Slices may be unevenly spaced, and a tilted gantry's shift from slice to slice shows
in their x and y.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

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
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.series import CTSeries, series_axes, slice_positions
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.grid.bounding_box import bounding_box
from pdl1es.grid.lattice import COINCIDENCE_MM, extended, lattice_of

LARGEST_SPAN_MM: Final = 400.0
"""No lung tumour is this long; a segment that spans more is no tumour, or its geometry is wrong."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Stack:
    """A CT series along the grid's axes.

    Attributes
    ----------
    ct
        The series.
    axes
        Direction cosines of the grid's x, y and z axis in LPS, shape (3, 3), one axis a row.
    z
        The slices' coordinates along the z axis, mm, ascending, shape (slices,).
    """

    ct: CTSeries
    axes: NDArray[np.float64]
    z: NDArray[np.float64]
    # What `coordinates` has found: placing and resampling ask for the same slices.
    _coordinates: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict, init=False)

    def coordinates(self, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where the pixel centres of a slice lie along x and y, mm, ascending, shapes (columns,) and (rows,).

        Raises
        ------
        Refusal
            GEOMETRY_INCONSISTENT: each slice is parallel to the series' first within a tolerance, but this one is not
            parallel to the slice that gives the axes.
        """
        if index in self._coordinates:
            return self._coordinates[index]
        plane = self.ct.slices[index].plane
        if not lies_across(plane, self.axes):
            raise Refusal(
                RefusalCode.GEOMETRY_INCONSISTENT,
                "the image is not parallel to the image where the tumour begins",
                tag=ORIENTATION_TAG,
                value=_orientation(plane),
                uid=self.ct.slices[index].instance.sop_instance_uid,
            )
        x, y, _ = canonical_plane_coordinates(plane, self.axes)
        self._coordinates[index] = x, y
        return x, y

    def nearest(self, z: float) -> int:
        """Return the index of the slice nearest to a coordinate along z, the lower of two."""
        return int(np.argmin(np.abs(self.z - z)))

    def __repr__(self) -> str:
        return f"Stack({self.z.size} slices, z {self.z[0]:.1f} to {self.z[-1]:.1f} mm)"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        return f"PlacedFrame({np.count_nonzero(self.mask)} voxels at z {self.z:.2f} mm)"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PlacedMask:
    """A segment on its own lattice, along the grid's axes.

    Attributes
    ----------
    stack
        The CT series on which the segment is scored.
    z
        Planes of the segment's lattice from one below the tumour to one above it, mm, ascending, shape (planes,).
    frames
        One per plane; None where the segment is empty.
    sop_instance_uid
        The segmentation's, for a refusal; None where the mask comes from elsewhere.
    """

    stack: Stack
    z: NDArray[np.float64]
    frames: tuple[PlacedFrame | None, ...]
    sop_instance_uid: str | None

    def occupied(self) -> tuple[PlacedFrame, ...]:
        """Return the frames that hold tumour, ascending along z."""
        return tuple(frame for frame in self.frames if frame is not None)

    def in_plane(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the x and the y of all frames, each shape (n,), in no order."""
        frames = self.occupied()
        return np.concatenate([frame.x for frame in frames]), np.concatenate([frame.y for frame in frames])

    def __repr__(self) -> str:
        return f"PlacedMask({len(self.occupied())} frames with tumour on {self.z.size} planes)"


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
        Planes and pixel centres that coincide with the CT's within `COINCIDENCE_MM` have the CT's coordinates. The
        planes are those of `lattice.lattice_of`.

    Raises
    ------
    Refusal
        In this order: SEGMENT_EMPTY where no voxel is set; SEG_GEOMETRY where frames are not parallel to the CT,
        coincide, lie on no regular lattice, or span more than a tumour does; SEGMENT_OUTSIDE_VOLUME where a voxel's
        centre lies outside the CT's voxels.
    """
    uid = mask.sop_instance_uid
    occupied = [index for index in range(len(mask.planes)) if mask.masks[index].any()]
    if not occupied:
        raise Refusal(RefusalCode.SEGMENT_EMPTY, "the segment has no voxel", uid=uid)
    axes = _axes_at_lower_end([mask.planes[index] for index in occupied], ct)
    for index in occupied:
        _require_placeable(mask.planes[index], axes, uid)
    stack = Stack(ct, axes, np.array([position_along(ct_slice.plane, axes[2]) for ct_slice in ct.slices]))

    z = np.array([position_along(mask.planes[index], axes[2]) for index in occupied])
    order = np.argsort(z)
    _require_span(z, "across the slices", uid)
    lattice = lattice_of(z[order], stack.z, uid, drawn_on_ct=mask.drawn_on_ct)
    frames: list[PlacedFrame | None] = [None] * lattice.planes.size
    for place, index in zip(lattice.places, order.tolist(), strict=True):
        frames[place] = _place_frame(
            mask.planes[occupied[index]],
            mask.masks[occupied[index]],
            float(lattice.planes[place]),
            lattice.thickness(place),
            stack,
        )
    placed = PlacedMask(stack, lattice.planes, tuple(frames), uid)
    for name, coordinates in zip("xy", placed.in_plane(), strict=True):
        _require_span(coordinates, f"along {name}", uid)
    _require_inside(placed)
    return placed


def _axes_at_lower_end(planes: list[SlicePlane], ct: CTSeries) -> NDArray[np.float64]:
    """Return the axes of the CT slice at the tumour's lower end.

    Directions are rounded in each file. The slice nearest to the tumour is used, so that slices elsewhere cannot turn
    the grid.
    """
    normal = series_axes(ct)[2]
    lower_end = min(position_along(plane, normal) for plane in planes)
    return canonical_axes(ct.slices[int(np.argmin(np.abs(slice_positions(ct) - lower_end)))].plane)


def _require_placeable(plane: SlicePlane, axes: NDArray[np.float64], uid: str | None) -> None:
    """Refuse a frame that is not parallel to the CT or has no area."""
    if not lies_across(plane, axes):
        raise Refusal(
            RefusalCode.SEG_GEOMETRY,
            "a frame of the segment is not parallel to the CT",
            tag=ORIENTATION_TAG,
            value=_orientation(plane),
            uid=uid,
        )
    if min(plane.rows, plane.columns) < 2:
        raise Refusal(
            RefusalCode.SEG_GEOMETRY,
            "a frame of the segment has a single row or column",
            tag=PIXEL_MATRIX_TAGS,
            value=f"{plane.rows} x {plane.columns}",
            uid=uid,
        )


def _orientation(plane: SlicePlane) -> str:
    return "\\".join(f"{cosine:.6g}" for cosine in (*plane.row_direction, *plane.column_direction))


def _require_span(coordinates: NDArray[np.float64], where: str, uid: str | None) -> None:
    """Refuse a box that is too large for a tumour, before memory is allocated for it."""
    span = float(coordinates.max() - coordinates.min())
    if span > LARGEST_SPAN_MM:
        raise Refusal(
            RefusalCode.SEG_GEOMETRY,
            f"the segment spans {span:.0f} mm {where}, and no tumour's box of more than {LARGEST_SPAN_MM:.0f} mm is read",
            uid=uid,
        )


def _place_frame(plane: SlicePlane, mask: NDArray[np.bool_], z: float, thickness: float, stack: Stack) -> PlacedFrame:
    oriented = to_canonical(mask, plane, stack.axes)
    x, y, _ = canonical_plane_coordinates(plane, stack.axes)
    ct_x, ct_y = stack.coordinates(stack.nearest(z))
    rows, columns = bounding_box(oriented)
    return PlacedFrame(
        # One coordinate more at each end, for the empty pixel around the mask.
        x=extended(_snapped(x, ct_x))[columns.start : columns.stop + 2],
        y=extended(_snapped(y, ct_y))[rows.start : rows.stop + 2],
        z=z,
        thickness=thickness,
        pixel_area=plane.row_spacing * plane.column_spacing,
        mask=np.pad(oriented[rows, columns], 1),
    )


def _snapped(coordinates: NDArray[np.float64], ct: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the CT's coordinates where all of a frame's coincide with some of them."""
    above = np.clip(np.searchsorted(ct, coordinates), 1, ct.size - 1)
    nearest = np.where(coordinates - ct[above - 1] < ct[above] - coordinates, ct[above - 1], ct[above])
    return nearest if float(np.abs(nearest - coordinates).max()) <= COINCIDENCE_MM else coordinates


def _require_inside(placed: PlacedMask) -> None:
    """Refuse a tumour voxel whose centre lies outside the CT's voxels."""
    stack = placed.stack
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
