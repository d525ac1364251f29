"""Closed planar contours to pixels: a pixel belongs to the region where its centre lies within."""

from __future__ import annotations

import hashlib
import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.gaps import refuse_gaps
from pdl1es.dicom.geometry import canonical_axes, canonical_plane_coordinates, to_canonical
from pdl1es.dicom.header_elements import tag_text
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.series import CTSeries, series_axes, slice_positions
from pdl1es.dicom.structure_set import CLOSED_TYPES, MAX_POINTS, Contour, RegionOfInterest, contour_points
from pdl1es.errors import Refusal, RefusalCode

PLANE_TOLERANCE_MM: Final = 0.1
"""Farthest that a point may lie from its CT slice: planning systems round coordinates to tenths of a millimetre."""
PIXEL_STEP: Final = 2.0**-17
"""Step to which coordinates are rounded, pixels: a hundredth of a micrometre, ten times the rounding of the geometry."""
NESTED_SHARE: Final = 0.9
"""Least share of a contour's pixels that must lie all inside, or all outside, the others of its slice."""
MAX_MASK_BYTES: Final = 2**32
"""Largest mask, as `pixels.frames.MAX_DECODED_BYTES` has it for a SEG."""
MAX_CROSSINGS: Final = 20_000_000
"""Most crossings of one region's contours with rows of pixels; 1000 slices of 1024 rows, all crossed twice, have 2 million."""


@dataclass(frozen=True, slots=True)
class _Outline:
    """One contour on its slice."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    exclusive: bool


def enclosed_pixels(
    points_x: NDArray[np.float64], points_y: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return the pixels whose centres a polygon encloses, by the even-odd rule.

    Each row of pixels is a line; the polygon's edges cross it, and a pixel is inside where the number of crossings
    before it is odd. A centre on an edge counts on one side only, so that polygons that share an edge share no pixel and a
    square of 3 pixels has 9. (scikit-image's `draw.polygon2mask` counts it on both sides: 16. On contours that meet no
    centre both agree, and this takes half the time.) A keyhole's bridge is crossed twice, which changes nothing.

    Parameters
    ----------
    points_x, points_y
        The polygon's vertices, mm; the last is joined to the first.
    x, y
        Coordinates of the pixels' centres, mm, ascending, evenly spaced, two or more.

    Returns
    -------
    NDArray[np.bool_]
        Shape (y, x).
    """
    column, row = _in_pixels(points_x, x), _in_pixels(points_y, y)
    next_column, next_row = np.roll(column, -1), np.roll(row, -1)
    first = np.clip(np.ceil(np.minimum(row, next_row)), 0, y.size).astype(np.int64)
    end = np.clip(np.ceil(np.maximum(row, next_row)), 0, y.size).astype(np.int64)
    crossed = end - first
    edge = np.repeat(np.arange(row.size), crossed)
    line = np.arange(edge.size) - np.repeat(np.cumsum(crossed) - crossed, crossed) + first[edge]
    share = (line - row[edge]) / (next_row[edge] - row[edge])
    at = column[edge] + share * (next_column[edge] - column[edge])
    toggles = np.zeros((y.size, x.size + 1), dtype=np.uint8)
    np.bitwise_xor.at(toggles, (line, np.clip(np.ceil(at), 0, x.size).astype(np.int64)), 1)
    return np.bitwise_xor.accumulate(toggles, axis=1)[:, :-1].astype(np.bool_)


def _in_pixels(values: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coordinates counted in pixels, rounded to `PIXEL_STEP`: a vertex that is meant to lie on a centre does."""
    pixels = (values - centres[0]) * ((centres.size - 1) / (centres[-1] - centres[0]))
    return np.rint(pixels / PIXEL_STEP) * PIXEL_STEP


def read_region_mask(region: RegionOfInterest, ct: CTSeries) -> SegmentMask:
    """Return a region's pixels on the slices of the CT that it was drawn on.

    A contour within another of its slice is a hole, and one within a hole is tumour again (XOR). A contour that is there
    twice counts once. A contour that encloses no pixel's centre is left out.

    Parameters
    ----------
    region
        The region.
    ct
        The series on which it was drawn.

    Returns
    -------
    SegmentMask
        On the CT's own pixels; without planes where the region encloses no pixel.

    Raises
    ------
    Refusal
        SEGMENT_EMPTY: the region has no contour. SEG_UNREADABLE: coordinates are malformed. SEG_GEOMETRY: a contour is not
        closed, has fewer than three points, is not planar, does not lie on a slice of the CT or says that it was drawn
        on another, or overlaps another in part. MISSING_SLICES, SEGMENT_OUTSIDE_VOLUME: its slice is not there.
        LIMIT_EXCEEDED: more points or pixels than are read.
    """
    uid = region.instance.sop_instance_uid
    if not region.contours:
        raise Refusal(RefusalCode.SEGMENT_EMPTY, "the region has no contour", tag=tag_text("ContourSequence"), uid=uid)
    outlines: dict[int, list[_Outline]] = {}
    points = 0
    for contour in region.contours:
        vertices = _closed(contour, region)
        points += len(vertices)
        if points > MAX_POINTS:
            raise _limit(region, f"the region has more than {MAX_POINTS} points")
        index = _slice_of(vertices, contour, region, ct)
        axes = canonical_axes(ct.slices[index].plane)
        outlines.setdefault(index, []).append(
            _Outline(vertices @ axes[0], vertices @ axes[1], contour.geometric_type == "CLOSEDPLANAR_XOR")
        )
    planes, masks, size, crossings = [], [], 0, 0
    for index in sorted(outlines):
        plane = ct.slices[index].plane
        axes = canonical_axes(plane)
        x, y, _ = canonical_plane_coordinates(plane, axes)
        for outline in outlines[index]:
            _require_within(outline, x, y, region, ct)
        size += plane.rows * plane.columns
        crossings += sum(_crossings(outline, y) for outline in outlines[index])
        if size > MAX_MASK_BYTES or crossings > MAX_CROSSINGS:
            raise _limit(region, "the region's contours take more pixels than are read")
        mask = np.zeros((plane.rows, plane.columns), dtype=np.bool_)
        to_canonical(mask, plane, axes)[...] = _combined(outlines[index], x, y, uid)
        if mask.any():
            planes.append(plane)
            masks.append(mask)
    first = ct.slices[0].plane
    empty = np.zeros((0, first.rows, first.columns), dtype=np.bool_)
    return SegmentMask(tuple(planes), np.stack(masks) if masks else empty, uid, drawn_on_ct=True)


def region_volume_mm3(region: RegionOfInterest) -> float:
    """Return about how large a region is, mm3, without its CT: it is used only to rank regions.

    Areas are counted on 1 mm pixels across the patient's axis; a slice is as thick as the contours usually lie apart.
    """
    slices: dict[float, list[_Outline]] = {}
    for contour in region.contours:
        vertices = _closed(contour, region)
        slices.setdefault(round(float(vertices[:, 2].mean()), 1), []).append(
            _Outline(vertices[:, 0], vertices[:, 1], contour.geometric_type == "CLOSEDPLANAR_XOR")
        )
    distances = [high - low for low, high in pairwise(sorted(slices))]
    pixels = 0
    for outlines in slices.values():
        x, y = (_millimetres([getattr(o, axis) for o in outlines], region) for axis in "xy")
        pixels += int(np.count_nonzero(_combined(outlines, x, y, region.instance.sop_instance_uid)))
    return pixels * (statistics.median_low(distances) if distances else 1.0)


def _millimetres(coordinates: list[NDArray[np.float64]], region: RegionOfInterest) -> NDArray[np.float64]:
    low = np.floor(min(float(values.min()) for values in coordinates)) - 1.0
    high = np.ceil(max(float(values.max()) for values in coordinates)) + 1.0
    if high - low > 2000:
        raise _geometry(region, "the region spans more than a patient does", "ContourData", f"{high - low:.0f} mm")
    return np.arange(low, high + 1.0)


def _closed(contour: Contour, region: RegionOfInterest) -> NDArray[np.float64]:
    """Return the points of a contour that encloses an area, or refuse it."""
    kind = contour.geometric_type
    if kind not in CLOSED_TYPES:
        known = kind if kind in ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR") else "unknown" if kind else None
        raise _geometry(region, "a contour of the region encloses no area", "ContourGeometricType", known)
    if contour.data.count(b"\\") > 3 * MAX_POINTS:
        raise _limit(region, f"the region has more than {MAX_POINTS} points")
    points = contour_points(contour, region.instance)
    if len(points) < 3:
        raise _geometry(region, "a contour of the region has fewer than 3 points", "NumberOfContourPoints", len(points))
    return points


def _slice_of(points: NDArray[np.float64], contour: Contour, region: RegionOfInterest, ct: CTSeries) -> int:
    """Return the index of the slice on which a contour lies, or refuse it."""
    along = points @ series_axes(ct)[2]
    spread, place = float(np.ptp(along)), float(along.mean())
    if spread > 2 * PLANE_TOLERANCE_MM:
        raise _geometry(
            region,
            "a contour of the region does not lie in the plane of the CT's slices",
            "ContourData",
            f"{spread:.2f} mm from end to end along their normal",
        )
    z = slice_positions(ct)
    index = int(np.argmin(np.abs(z - place)))
    distance = abs(float(z[index]) - place)
    if distance > PLANE_TOLERANCE_MM:
        if not z[0] < place < z[-1]:
            raise Refusal(
                RefusalCode.SEGMENT_OUTSIDE_VOLUME,
                f"a contour of the region lies {distance:.1f} mm beyond the CT's slices",
                tag=tag_text("ContourData"),
                value=f"{place:.2f} mm along the normal",
                uid=region.instance.sop_instance_uid,
            )
        refuse_gaps(ct, place - PLANE_TOLERANCE_MM, place + PLANE_TOLERANCE_MM)
        raise _geometry(
            region,
            f"a contour of the region lies between the CT's slices, {distance:.2f} mm from the nearest",
            "ContourData",
            f"{place:.2f} mm along the normal",
        )
    named = {image.uid for image in contour.images}
    if named and ct.slices[index].instance.sop_instance_uid not in named:
        raise _geometry(
            region,
            "a contour of the region lies on another slice than the image that it references",
            "ReferencedSOPInstanceUID",
            min(named),
        )
    return index


def _require_within(
    outline: _Outline, x: NDArray[np.float64], y: NDArray[np.float64], region: RegionOfInterest, ct: CTSeries
) -> None:
    """Refuse a contour that leaves its slice's pixels."""
    for name, values, centres in (("x", outline.x, x), ("y", outline.y, y)):
        half = (centres[1] - centres[0]) / 2 + PLANE_TOLERANCE_MM
        beyond = max(float(centres[0] - half - values.min()), float(values.max() - centres[-1] - half))
        if beyond > 0:
            raise Refusal(
                RefusalCode.SEGMENT_OUTSIDE_VOLUME,
                f"a contour of the region reaches {beyond:.1f} mm beyond the CT's pixels along {name}",
                tag=tag_text("ContourData"),
                value=f"{values.min():.1f} to {values.max():.1f} mm",
                uid=ct.series_instance_uid,
            )


def _crossings(outline: _Outline, y: NDArray[np.float64]) -> int:
    """Return about how many rows of pixels a contour's edges cross."""
    path = np.abs(np.diff(outline.y, append=outline.y[:1])).sum()
    return int(path / abs(float(y[1] - y[0]))) + outline.y.size


def _combined(outlines: list[_Outline], x: NDArray[np.float64], y: NDArray[np.float64], uid: str) -> NDArray[np.bool_]:
    """Return the pixels of one slice's contours: each turns what it lies in, the largest first."""
    inside = np.zeros((y.size, x.size), dtype=np.bool_)
    seen: set[bytes] = set()
    for outline in sorted(outlines, key=_area, reverse=True):
        box = np.s_[_around(outline.y, y), _around(outline.x, x)]
        mask = enclosed_pixels(outline.x, outline.y, x[box[1]], y[box[0]])
        pixels = int(np.count_nonzero(mask))
        if pixels == 0:
            continue
        if outline.exclusive:
            inside[box] ^= mask
            continue
        key = hashlib.sha256(f"{box}".encode() + np.packbits(mask).tobytes()).digest()
        if key in seen:
            continue
        seen.add(key)
        share = int(np.count_nonzero(inside[box][mask])) / pixels
        if 1.0 - NESTED_SHARE < share < NESTED_SHARE:
            raise Refusal(
                RefusalCode.SEG_GEOMETRY,
                f"two contours of the region overlap on one slice: {share:.0%} of one lie within the other",
                tag=tag_text("ContourSequence"),
                value=f"{len(outlines)} contours on the slice",
                uid=uid,
            )
        inside[box][mask] = share <= 1.0 - NESTED_SHARE
    return inside


def _area(outline: _Outline) -> float:
    return abs(float(outline.x @ np.roll(outline.y, -1) - outline.y @ np.roll(outline.x, -1))) / 2


def _around(values: NDArray[np.float64], centres: NDArray[np.float64]) -> slice:
    """Return the range of pixel centres that holds all values, with one more at each end, and two or more in all."""
    first = int(np.clip(np.searchsorted(centres, values.min()) - 1, 0, centres.size - 2))
    return slice(first, int(np.clip(np.searchsorted(centres, values.max()) + 1, first + 2, centres.size)))


def _geometry(region: RegionOfInterest, found: str, keyword: str, value: object) -> Refusal:
    return Refusal(
        RefusalCode.SEG_GEOMETRY,
        found,
        tag=tag_text(keyword),
        value=None if value is None else str(value),
        uid=region.instance.sop_instance_uid,
    )


def _limit(region: RegionOfInterest, found: str) -> Refusal:
    return Refusal(
        RefusalCode.LIMIT_EXCEEDED,
        found,
        tag=tag_text("NumberOfContourPoints"),
        value=f"{len(region.contours)} contours",
        uid=region.instance.sop_instance_uid,
    )
