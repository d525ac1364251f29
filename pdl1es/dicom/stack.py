"""CT objects of one series to one stack of slices, or the reason why they are none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.geometry import (
    ORIENTATION_TAG,
    PIXEL_MATRIX_TAGS,
    POSITION_TAG,
    SPACING_TAG,
    SlicePlane,
    lies_across,
    position_along,
    stack_axes,
)
from pdl1es.dicom.header_elements import attribute_value
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.passes import SAME_POSITION_MM, dips
from pdl1es.dicom.series import CT_SOP_CLASSES, CTSeries, CTSlice, SetAside
from pdl1es.dicom.slices import slices_of
from pdl1es.errors import Refusal, RefusalCode

SMALLEST_STACK: Final = 3
"""Fewest slices that still give a volume between slices and neighbours to compare their distances with."""
SPACING_TOLERANCE_MM: Final = 1e-4
"""Largest difference between pixel spacings that count as one: 0.05 mm over 512 pixels."""
LINE_TOLERANCE_MM: Final = 1.0
"""How far a slice's centre may lie from the straight line through the centres of all slices."""
MOST_LAYOUTS: Final = 32
"""Most ways in which the images of one series may lie: a reformat that rotates has about as many."""

_IDENTITY: Final = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")


def ct_series(instances: Iterable[Instance], *, minimum_slices: int = SMALLEST_STACK) -> CTSeries:
    """Form a stack of slices from the CT objects of one series.

    Parameters
    ----------
    instances
        Objects of one series, in any order. A copy of an object (the same SOP Instance UID) counts once.
    minimum_slices
        Fewest slices that are accepted.

    Returns
    -------
    CTSeries
        Independent of the order of ``instances``.

    Raises
    ------
    Refusal
        NO_ELIGIBLE_CT: no image is a CT slice (all are localizers, say). GEOMETRY_MISSING, GEOMETRY_INCONSISTENT: an
        image cannot be placed, or does not fit the others. TOO_FEW_SLICES. DUPLICATE_SLICES: two images at one
        position, or two stacks that interleave.

    Notes
    -----
    Geometry comes from Image Position and Orientation (Patient) of every slice. Unequal distances between slices are
    no fault in themselves, because the resampling interpolates between true positions; see `slice_gaps`.
    """
    return stack_of(*placed_slices(instances), minimum_slices=minimum_slices)


def placed_slices(instances: Iterable[Instance]) -> tuple[list[CTSlice], list[SetAside]]:
    """Return the slices of one series that lie in one way, whether or not they form a stack, and the other images.

    Raises
    ------
    Refusal
        NO_ELIGIBLE_CT, GEOMETRY_MISSING, GEOMETRY_INCONSISTENT, as `ct_series`.
    """
    objects = _without_copies(i for i in instances if i.sop_class_uid in CT_SOP_CLASSES)
    if not objects:
        raise Refusal(RefusalCode.NO_ELIGIBLE_CT, "the series has no CT image")
    series_uid = objects[0].series_instance_uid
    slices, aside = slices_of(objects)
    if not slices:
        reasons = ", ".join(sorted({entry.reason for entry in aside}))
        found = f"none of the series' {len(aside)} images is a CT slice: {reasons}"
        raise Refusal(RefusalCode.NO_ELIGIBLE_CT, found, uid=series_uid)

    slices, misfits = _one_geometry(slices)
    return slices, aside + misfits


def stack_of(
    slices: Sequence[CTSlice], set_aside: Sequence[SetAside], *, minimum_slices: int = SMALLEST_STACK
) -> CTSeries:
    """Form a stack of slices that lie in one way.

    Parameters
    ----------
    slices, set_aside
        From `placed_slices`.
    minimum_slices
        Fewest slices that are accepted.

    Returns
    -------
    CTSeries

    Raises
    ------
    Refusal
        GEOMETRY_INCONSISTENT, TOO_FEW_SLICES, DUPLICATE_SLICES, as `ct_series`.
    """
    slices = list(slices)
    series_uid = slices[0].instance.series_instance_uid
    frame_of_reference = _frame_of_reference(slices, series_uid)
    if len(slices) < minimum_slices:
        raise Refusal(
            RefusalCode.TOO_FEW_SLICES,
            f"the series has {len(slices)} slices and {minimum_slices} are needed{_told(set_aside)}",
            uid=series_uid,
        )
    normal = stack_axes(slices[0].plane)[2]
    slices.sort(key=lambda s: (position_along(s.plane, normal), s.instance.sop_instance_uid, s.frame))
    axes = stack_axes(slices[0].plane)
    _refuse_duplicates(slices, axes[2], series_uid)
    slope, beside = _drift(slices, axes)
    _refuse_stray(slices, beside)
    return CTSeries(
        series_instance_uid=series_uid,
        frame_of_reference_uid=frame_of_reference,
        study_instance_uid=slices[0].instance.study_instance_uid,
        slices=tuple(slices),
        tilt_degrees=round(math.degrees(math.atan(float(np.linalg.norm(slope)))), 3),
        set_aside=tuple(set_aside),
    )


def _told(set_aside: Sequence[SetAside]) -> str:
    """Return how many images were set aside and why, as a clause; nothing where none was."""
    reasons = sorted({entry.reason for entry in set_aside})
    return f"; {len(set_aside)} images were set aside: {', '.join(reasons[:4])}" if set_aside else ""


def _without_copies(instances: Iterable[Instance]) -> list[Instance]:
    """Return the objects in the order of their UIDs, each once; refuse one UID that names different images."""
    known: dict[str, Instance] = {}
    for instance in instances:
        first = known.setdefault(instance.sop_instance_uid, instance)
        if any(
            attribute_value(first.header, keyword) != attribute_value(instance.header, keyword) for keyword in _IDENTITY
        ):
            raise Refusal(
                RefusalCode.DUPLICATE_SLICES,
                "two different images have one SOP Instance UID",
                tag="SOPInstanceUID (0008,0018)",
                value=instance.sop_instance_uid,
                uid=instance.sop_instance_uid,
            )
    return [known[uid] for uid in sorted(known)]


def _frame_of_reference(slices: Sequence[CTSlice], series_uid: str) -> str:
    """Return the one frame of reference of the slices, empty where they name none; refuse several."""
    found = sorted({s.instance.frame_of_reference_uid for s in slices})
    if len(found) > 1:
        raise Refusal(
            RefusalCode.GEOMETRY_INCONSISTENT,
            f"the images of one series have {len(found)} frames of reference",
            tag="FrameOfReferenceUID (0020,0052)",
            value=found[-1] or "absent",
            uid=series_uid,
        )
    return found[0]


def _one_geometry(slices: Sequence[CTSlice]) -> tuple[list[CTSlice], list[SetAside]]:
    """Return the slices of the commonest orientation, size and spacing, and the images that lie differently.

    An image that lies differently is set aside where its Image Type differs too, as that of a reformat does. Where its
    Image Type is one of the stack's, the series is refused.
    """
    groups: list[list[CTSlice]] = []
    layouts: list[_Layout] = []
    places: dict[tuple[object, ...], int] = {}
    for candidate in slices:
        lie = _all_but_position(candidate.plane)
        if lie not in places:
            place = next((n for n, layout in enumerate(layouts) if layout.fits(candidate.plane)), len(layouts))
            if place == MOST_LAYOUTS:
                raise _misfit(groups[0][0], candidate)
            if place == len(layouts):
                groups.append([])
                layouts.append(_Layout.of(candidate.plane))
            places[lie] = place
        groups[places[lie]].append(candidate)
    groups.sort(key=lambda g: (-len(g), g[0].instance.sop_instance_uid, g[0].frame))
    stack, *others = groups
    stack = _of_one_spacing(stack)
    types = {s.image_type[:3] for s in stack}
    aside = []
    for stray in (s for group in others for s in group):
        if stray.image_type[:3] in types or not stray.image_type:
            raise _misfit(stack[0], stray)
        aside.append(
            SetAside(
                stray.instance.sop_instance_uid,
                stray.frame,
                "Image Type " + "\\".join(stray.image_type[:3]) + ", and it lies differently",
            )
        )
    return stack, aside


def _all_but_position(plane: SlicePlane) -> tuple[object, ...]:
    """Return what decides which layout a plane fits."""
    return (
        plane.row_direction,
        plane.column_direction,
        plane.row_spacing,
        plane.column_spacing,
        plane.rows,
        plane.columns,
    )


def _of_one_spacing(slices: list[CTSlice]) -> list[CTSlice]:
    """Return slices whose spacings count as one with the one that most of them have.

    Writers round it differently within one series. Where two are equally frequent, the one with fewer digits is taken
    as unrounded.
    """
    axes = stack_axes(slices[0].plane)
    counts = Counter(_spacing_along(s.plane, axes) for s in slices)
    if len(counts) == 1:
        return slices
    across, down = min(counts, key=lambda pair: (-counts[pair], len(f"{pair[0]!r}{pair[1]!r}"), pair))
    return [
        replace(
            s,
            plane=replace(
                s.plane,
                column_spacing=across if _row_is_first(s.plane, axes) else down,
                row_spacing=down if _row_is_first(s.plane, axes) else across,
            ),
        )
        for s in slices
    ]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the images of one stack lie.

    Attributes
    ----------
    axes
        Of the stack (`stack_axes`), shape (3, 3).
    matrix
        Pixels along the first and the second axis.
    spacing
        Their distances, mm.
    """

    axes: NDArray[np.float64]
    matrix: tuple[int, int]
    spacing: tuple[float, float]

    @classmethod
    def of(cls, plane: SlicePlane) -> _Layout:
        """Return the layout of a plane."""
        axes = stack_axes(plane)
        return cls(axes, _matrix_along(plane, axes), _spacing_along(plane, axes))

    def fits(self, plane: SlicePlane) -> bool:
        """Tell whether a plane is parallel and has pixels of the same size in the same matrix, stored either way."""
        return (
            lies_across(plane, self.axes)
            and self.matrix == _matrix_along(plane, self.axes)
            and all(
                abs(own - other) <= SPACING_TOLERANCE_MM
                for own, other in zip(self.spacing, _spacing_along(plane, self.axes), strict=True)
            )
        )


def _row_is_first(plane: SlicePlane, axes: NDArray[np.float64]) -> bool:
    """Tell whether an image's rows run along the first axis."""
    return abs(float(np.dot(plane.row_direction, axes[0]))) > abs(float(np.dot(plane.row_direction, axes[1])))


def _matrix_along(plane: SlicePlane, axes: NDArray[np.float64]) -> tuple[int, int]:
    return (plane.columns, plane.rows) if _row_is_first(plane, axes) else (plane.rows, plane.columns)


def _spacing_along(plane: SlicePlane, axes: NDArray[np.float64]) -> tuple[float, float]:
    spacing = (plane.column_spacing, plane.row_spacing)
    return spacing if _row_is_first(plane, axes) else spacing[::-1]


def _misfit(first: CTSlice, stray: CTSlice) -> Refusal:
    """Return the refusal that says in what an image differs from the rest of its series."""
    a, b = first.plane, stray.plane
    if not lies_across(b, stack_axes(a)):
        found, tag = "the image is oriented otherwise than the rest of its series", ORIENTATION_TAG
        value = "\\".join(f"{cosine:g}" for cosine in (*b.row_direction, *b.column_direction))
    elif sorted((a.rows, a.columns)) != sorted((b.rows, b.columns)):
        found, tag = "the image is of another size than the rest of its series", PIXEL_MATRIX_TAGS
        value = f"{b.rows} x {b.columns}"
    else:
        found, tag = "the image has another pixel spacing than the rest of its series", SPACING_TAG
        value = f"{b.row_spacing:g}\\{b.column_spacing:g}"
    return Refusal(RefusalCode.GEOMETRY_INCONSISTENT, found, tag=tag, value=value, uid=stray.instance.sop_instance_uid)


def _refuse_duplicates(slices: Sequence[CTSlice], normal: NDArray[np.float64], series_uid: str) -> None:
    """Refuse two slices at one position, and two stacks that interleave."""
    positions = [position_along(s.plane, normal) for s in slices]
    same = [i for i in range(len(slices) - 1) if positions[i + 1] - positions[i] < SAME_POSITION_MM]
    if same:
        i = same[0]
        places = len({round(positions[i], 2) for i in same})
        raise Refusal(
            RefusalCode.DUPLICATE_SLICES,
            f"several images at {places} of {len(slices) - len(same)} positions",
            tag=POSITION_TAG,
            value=f"{positions[i]:.2f} mm along the stack",
            uid=slices[i + 1].instance.sop_instance_uid,
        )
    distances = np.diff(positions)
    close = dips(distances)
    # A distance of less than half its neighbours is a dip. One dip is accepted, because two blocks of one scan can
    # overlap by a slice. Dips in more than a quarter of the distances mean two stacks that interleave.
    if np.count_nonzero(close) > max(1.0, len(distances) / 4):
        usual = float(np.median(distances[~close]))
        raise Refusal(
            RefusalCode.DUPLICATE_SLICES,
            f"{np.count_nonzero(close)} of {len(distances)} distances between slices are dips: two stacks are interleaved",
            tag=POSITION_TAG,
            value=f"{distances.min():.2f} mm apart, then {usual:.2f} mm",
            uid=series_uid,
        )


def _refuse_stray(slices: Sequence[CTSlice], beside: NDArray[np.float64]) -> None:
    """Refuse a slice that lies beside the line through the others (`_drift`)."""
    worst = int(np.argmax(beside))
    if beside[worst] > LINE_TOLERANCE_MM:
        raise Refusal(
            RefusalCode.GEOMETRY_INCONSISTENT,
            f"the image lies {beside[worst]:.1f} mm beside the line through the series' other images",
            tag=POSITION_TAG,
            value="\\".join(f"{coordinate:g}" for coordinate in slices[worst].plane.position),
            uid=slices[worst].instance.sop_instance_uid,
        )


def _drift(slices: Sequence[CTSlice], axes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how the slices shift within their own plane.

    Returns
    -------
    slope
        Shift along x and y for each mm along the normal, shape (2,): the median over neighbours, so that one stray
        slice does not bend it.
    beside
        Distance of each slice's centre from the straight line of that slope, mm, shape (slices,).
    """
    along = np.array([_centre(s.plane) for s in slices]) @ axes.T
    steps = np.diff(along, axis=0)
    slope = np.median(steps[:, :2] / steps[:, 2:], axis=0)
    offsets = along[:, :2] - along[:, 2:] * slope
    return slope, np.linalg.norm(offsets - np.median(offsets, axis=0), axis=1)


def _centre(plane: SlicePlane) -> NDArray[np.float64]:
    """Return the centre of the image, mm, shape (3,). Unlike the first pixel, it does not depend on how the image is stored."""
    across = np.array(plane.row_direction) * (plane.column_spacing * (plane.columns - 1) / 2)
    down = np.array(plane.column_direction) * (plane.row_spacing * (plane.rows - 1) / 2)
    return np.array(plane.position) + across + down
