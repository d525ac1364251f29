"""DICOM SEG objects: binary, fractional and labelmap; their segments, and one segment's mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.geometry import SlicePlane
from pdl1es.dicom.study import Instance


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept: Code Value, Coding Scheme Designator, Code Meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Segment:
    """One item of the Segment Sequence (PS3.3 C.8.20.2)."""

    number: int
    label: str
    description: str | None
    category: Code | None
    property_type: Code | None
    anatomic_region: Code | None
    tracking_id: str | None
    tracking_uid: str | None
    algorithm_type: str | None


@dataclass(frozen=True, slots=True)
class SegmentationFrame:
    """One frame: its index (zero-based), the segment it shows (None in a labelmap, which shows all), and its plane."""

    index: int
    segment_number: int | None
    plane: SlicePlane | None


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A SEG's header.

    Attributes
    ----------
    instance
        The object.
    segmentation_type
        ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``.
    segments
        By segment number.
    frames
        In the order of the file.
    referenced_series_uids
        Series that it says it was drawn on; empty where it says nothing.
    referenced_sop_instance_uids
        Source images named anywhere in it.
    """

    instance: Instance
    segmentation_type: str
    segments: tuple[Segment, ...]
    frames: tuple[SegmentationFrame, ...]
    referenced_series_uids: tuple[str, ...]
    referenced_sop_instance_uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class SegmentMask:
    """One segment's non-empty frames.

    Attributes
    ----------
    planes
        Their places.
    masks
        bool, shape (frames, rows, columns), same order.
    """

    planes: tuple[SlicePlane, ...]
    masks: NDArray[np.bool_]
