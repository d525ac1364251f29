"""Whether a segmentation's frames lie where the images lie that they say they were derived from."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.geometry import SlicePlane, position_along
from pdl1es.dicom.segmentation import Segment, SegmentationFrame
from pdl1es.dicom.series import CTSeries, median_slice_spacing, series_axes, slice_positions
from pdl1es.dicom.structure_set import ContourSource, RegionOfInterest
from pdl1es.score_warning import ScoreWarning

ON_A_SLICE_MM: Final = 0.1
"""A frame this close to a slice lies on it."""
SAME_SPACING_MM: Final = 1e-3


def warn_of_frames_off_their_sources(
    ct: CTSeries, segmentation: ContourSource, segment: Segment
) -> tuple[ScoreWarning, ...]:
    """Warn where frames of the tumour contradict the images that they name as their source.

    A frame on one slice that names only others, one that is farther than a slice from all that it names, and one with the
    very pixels of its source but another first pixel: its place or its source is wrong, and nothing tells which. A
    contour of a structure set that does so is refused where it is read.

    Parameters
    ----------
    ct
        The series that will be scored.
    segmentation, segment
        The tumour.

    Returns
    -------
    tuple of ScoreWarning
        SEG_OFF_SOURCE, which withholds the groups, or empty.
    """
    if isinstance(segmentation, RegionOfInterest):
        return ()
    images: defaultdict[str, list[SlicePlane]] = defaultdict(list)
    for ct_slice in ct.slices:
        images[ct_slice.instance.sop_instance_uid].append(ct_slice.plane)
    places, normal = slice_positions(ct), series_axes(ct)[2]
    # a frame of a coarser lattice is thicker than a slice, and names the first of those that it covers
    reach = max(median_slice_spacing(ct), _spacing(segmentation.positions_of(segment.number, normal)))
    frames = [frame for frame in segmentation.frames_of(segment.number) if frame.plane is not None]
    off = sum(_is_off(frame, images, places, normal, reach) for frame in frames)
    if not off:
        return ()
    message = (
        f"{off} of the tumour's {len(frames)} frames lie elsewhere than the CT images that they were derived from by their "
        "own reference: the contour may be in the wrong place."
    )
    return (ScoreWarning("SEG_OFF_SOURCE", message, "withhold_group"),)


def _spacing(positions: list[float]) -> float:
    distances = np.diff(sorted(set(positions)))
    return float(np.median(distances)) if distances.size else 0.0


def _is_off(
    frame: SegmentationFrame,
    images: dict[str, list[SlicePlane]],
    places: NDArray[np.float64],
    normal: NDArray[np.float64],
    reach: float,
) -> bool:
    own = [plane for image in frame.sources for plane in images.get(image.uid, ())]
    if not own or frame.plane is None:
        return False
    z = position_along(frame.plane, normal)
    nearest = min(own, key=lambda plane: abs(position_along(plane, normal) - z))
    distance = abs(position_along(nearest, normal) - z)
    if distance > ON_A_SLICE_MM:
        return bool(np.abs(places - z).min() <= ON_A_SLICE_MM) or distance > reach + ON_A_SLICE_MM
    return _has_its_pixels(frame.plane, nearest) and _shift(frame.plane, nearest, normal) > nearest.column_spacing


def _has_its_pixels(plane: SlicePlane, source: SlicePlane) -> bool:
    """Tell whether two planes have the same matrix, spacing and directions."""
    return (
        (plane.rows, plane.columns) == (source.rows, source.columns)
        and abs(plane.row_spacing - source.row_spacing) < SAME_SPACING_MM
        and abs(plane.column_spacing - source.column_spacing) < SAME_SPACING_MM
        and np.allclose(plane.row_direction, source.row_direction, atol=SAME_SPACING_MM)
        and np.allclose(plane.column_direction, source.column_direction, atol=SAME_SPACING_MM)
    )


def _shift(plane: SlicePlane, source: SlicePlane, normal: NDArray[np.float64]) -> float:
    """Return how far the first pixels lie apart across the normal, mm."""
    between = np.array(plane.position) - np.array(source.position)
    return float(np.linalg.norm(between - normal * (between @ normal)))
