"""DICOM SEG objects: binary, fractional and labelmap; their segments, and one segment's mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from pdl1es.dicom.geometry import SlicePlane, create_slice_plane
from pdl1es.dicom.pixels.frames import MAX_DECODED_BYTES, iterate_stored_frames
from pdl1es.dicom.study import Instance, tag_text
from pdl1es.errors import Refusal, RefusalCode

LABEL_MAP_SEGMENTATION_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.66.7"
SEGMENTATION_SOP_CLASSES: Final = frozenset({str(SegmentationStorage), LABEL_MAP_SEGMENTATION_STORAGE})
"""Storage classes that `parse_segmentation` reads; surface and height map segmentations are others."""


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
    sop_instance_uid
        The segmentation's, for a refusal; None where the mask comes from elsewhere.
    """

    planes: tuple[SlicePlane, ...]
    masks: NDArray[np.bool_]
    sop_instance_uid: str | None = None


def parse_segmentation(instance: Instance) -> Segmentation:
    """Read a SEG's header (PS3.3 C.8.20.2, C.8.20.3).

    Tolerant where nothing is lost: a segment may lack label, category, type and algorithm (syngo.via leaves out the
    category); position, orientation and spacing may stand in the shared or the per-frame groups; a frame that does not
    say its segment belongs to the only one. A frame without a place has no plane.

    Parameters
    ----------
    instance
        An object of one of `SEGMENTATION_SOP_CLASSES`.

    Returns
    -------
    Segmentation

    Raises
    ------
    Refusal
        SEG_UNREADABLE: what the object says of its segments and frames is missing or contradicts itself.
    """
    header = instance.header
    if instance.sop_class_uid not in SEGMENTATION_SOP_CLASSES:
        raise _unreadable(instance, "the object is not a segmentation", "SOPClassUID", instance.sop_class_uid or None)
    segmentation_type = _segmentation_type(instance)
    segments = _segments(instance)
    frames = tuple(_frames(instance, segmentation_type, {segment.number for segment in segments}))
    series, images = _references(header)
    return Segmentation(
        instance=instance,
        segmentation_type=segmentation_type,
        segments=segments,
        frames=frames,
        referenced_series_uids=series,
        referenced_sop_instance_uids=images,
    )


def read_segment_mask(
    segmentation: Segmentation, segment_number: int, fractional_threshold: float = 0.5
) -> SegmentMask:
    """Read one segment's voxels.

    Only frames that can show the segment are read and decoded; those without a voxel of it are dropped. A fractional
    voxel belongs to the segment where value / Maximum Fractional Value is at least the threshold; in a labelmap, where
    its value is the segment's number.

    Parameters
    ----------
    segmentation
        The SEG.
    segment_number
        Segment Number of one of its segments.
    fractional_threshold
        Above 0, at most 1.

    Returns
    -------
    SegmentMask
        Without planes where the segment is empty.

    Raises
    ------
    Refusal
        SEG_GEOMETRY: a frame of the segment has no place in space. SEG_UNREADABLE: a fractional object does not say its
        maximum. PIXEL_DATA_CORRUPT, UNSUPPORTED_TRANSFER_SYNTAX, LIMIT_EXCEEDED: as `read_stored_frames`.
    ValueError
        There is no such segment, or the threshold is out of range.
    """
    if segment_number not in {segment.number for segment in segmentation.segments}:
        raise ValueError(f"the segmentation has no segment {segment_number}")
    if not 0.0 < fractional_threshold <= 1.0:
        raise ValueError(f"the fractional threshold must lie above 0 and at most at 1, got {fractional_threshold}")
    instance = segmentation.instance
    shown = [frame for frame in segmentation.frames if frame.segment_number in (None, segment_number)]
    limit = None
    if segmentation.segmentation_type == "FRACTIONAL":
        maximum = instance.header.get("MaximumFractionalValue")
        if not isinstance(maximum, int) or not 1 <= maximum <= 255:
            raise _unreadable(
                instance, "a fractional segmentation does not say its maximum", "MaximumFractionalValue", maximum
            )
        limit = fractional_threshold * maximum

    planes: list[SlicePlane] = []
    masks: list[NDArray[np.bool_]] = []
    size = 0
    for frame, stored in zip(shown, iterate_stored_frames(instance, [frame.index for frame in shown]), strict=True):
        if limit is not None:
            mask = stored >= limit
        elif segmentation.segmentation_type == "LABELMAP":
            mask = stored == segment_number
        else:
            mask = stored != 0
        if not mask.any():
            continue
        if frame.plane is None:
            raise Refusal(
                RefusalCode.SEG_GEOMETRY,
                f"frame {frame.index + 1} of the segmentation has no place in space",
                tag=tag_text("ImagePositionPatient"),
                uid=instance.sop_instance_uid,
            )
        size += mask.nbytes
        if size > MAX_DECODED_BYTES:
            raise Refusal(
                RefusalCode.LIMIT_EXCEEDED,
                "the segment has more voxels than may be decoded",
                tag=tag_text("NumberOfFrames"),
                value=str(len(segmentation.frames)),
                uid=instance.sop_instance_uid,
            )
        planes.append(frame.plane)
        masks.append(mask)
    shape = (0, int(instance.header.get("Rows") or 0), int(instance.header.get("Columns") or 0))
    return SegmentMask(
        planes=tuple(planes),
        masks=np.stack(masks) if masks else np.zeros(shape, dtype=bool),
        sop_instance_uid=instance.sop_instance_uid,
    )


def _unreadable(instance: Instance, found: str, keyword: str, value: object = None) -> Refusal:
    return Refusal(
        RefusalCode.SEG_UNREADABLE,
        found,
        tag=tag_text(keyword),
        value=None if value is None else str(value)[:64],
        uid=instance.sop_instance_uid,
    )


def _segmentation_type(instance: Instance) -> str:
    """Return Segmentation Type, which a labelmap's storage class implies."""
    value = instance.header.get("SegmentationType")
    if value in ("BINARY", "FRACTIONAL", "LABELMAP"):
        return str(value)
    if not value and instance.sop_class_uid == LABEL_MAP_SEGMENTATION_STORAGE:
        return "LABELMAP"
    raise _unreadable(instance, "the type of the segmentation is not known", "SegmentationType", value or None)


def _segments(instance: Instance) -> tuple[Segment, ...]:
    """Return the segments by number."""
    segments: dict[int, Segment] = {}
    for item in instance.header.get("SegmentSequence") or ():
        number = item.get("SegmentNumber")
        if not isinstance(number, int) or not 0 <= number < 2**16:
            raise _unreadable(instance, "a segment has no number", "SegmentNumber", number)
        if number in segments:
            raise _unreadable(instance, "two segments have the same number", "SegmentNumber", number)
        segments[number] = Segment(
            number=number,
            label=_text(item, "SegmentLabel") or "",
            description=_text(item, "SegmentDescription"),
            category=_code(item, "SegmentedPropertyCategoryCodeSequence"),
            property_type=_code(item, "SegmentedPropertyTypeCodeSequence"),
            anatomic_region=_code(item, "AnatomicRegionSequence"),
            tracking_id=_text(item, "TrackingID"),
            tracking_uid=_text(item, "TrackingUID"),
            algorithm_type=_text(item, "SegmentAlgorithmType"),
        )
    if not segments:
        raise _unreadable(instance, "the segmentation has no segments", "SegmentSequence")
    return tuple(segments[number] for number in sorted(segments))


def _text(item: Dataset, keyword: str) -> str | None:
    """Return a text value; one that a stray backslash split is put together again."""
    value = item.get(keyword)
    if value is None or isinstance(value, str):
        return str(value).strip() or None if value else None
    return "\\".join(str(part) for part in value).strip() or None


def _code(item: Dataset, keyword: str) -> Code | None:
    """Return the first item of a code sequence (PS3.3 8.8), or None where there is none with a value."""
    for code in item.get(keyword) or ():
        value = _text(code, "CodeValue") or _text(code, "LongCodeValue") or _text(code, "URNCodeValue")
        if value:
            scheme, meaning = _text(code, "CodingSchemeDesignator"), _text(code, "CodeMeaning")
            return Code(value=value, scheme=scheme or "", meaning=meaning or "")
    return None


def _frames(instance: Instance, segmentation_type: str, numbers: set[int]) -> Iterator[SegmentationFrame]:
    """Yield the frames in the order of the file."""
    header = instance.header
    groups = header.get("PerFrameFunctionalGroupsSequence") or ()
    count = header.get("NumberOfFrames")
    if not isinstance(count, int) or count != len(groups) or count < 1:
        raise _unreadable(
            instance, f"{len(groups)} frames are described, and not as many are there", "NumberOfFrames", count
        )
    shared = next(iter(header.get("SharedFunctionalGroupsSequence") or ()), Dataset())
    for index, group in enumerate(groups):
        number: int | None = None
        if segmentation_type != "LABELMAP":
            named = _in_groups(group, shared, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
            if named is None and len(numbers) == 1:
                (named,) = numbers
            if not isinstance(named, int) or named not in numbers:
                raise _unreadable(
                    instance,
                    f"frame {index + 1} shows a segment that is not described",
                    "ReferencedSegmentNumber",
                    named,
                )
            number = int(named)
        yield SegmentationFrame(index=index, segment_number=number, plane=_plane(instance, group, shared))


def _in_groups(group: Dataset, shared: Dataset, sequence: str, keyword: str) -> object:
    """Return an attribute of a functional group macro: the frame's own, else the shared one."""
    for groups in (group, shared):
        for item in groups.get(sequence) or ():
            value = item.get(keyword)
            if value is not None and value != "":
                return value
    return None


def _plane(instance: Instance, group: Dataset, shared: Dataset) -> SlicePlane | None:
    """Return where a frame lies, or None where the object does not say it."""
    try:
        return create_slice_plane(
            position=_in_groups(group, shared, "PlanePositionSequence", "ImagePositionPatient"),
            orientation=_in_groups(group, shared, "PlaneOrientationSequence", "ImageOrientationPatient"),
            pixel_spacing=_in_groups(group, shared, "PixelMeasuresSequence", "PixelSpacing"),
            rows=instance.header.get("Rows"),
            columns=instance.header.get("Columns"),
            uid=instance.sop_instance_uid,
        )
    except Refusal as refusal:
        if refusal.code is RefusalCode.GEOMETRY_MISSING:
            return None
        raise Refusal(
            RefusalCode.SEG_UNREADABLE, refusal.found, tag=refusal.tag, value=refusal.value, uid=refusal.uid
        ) from None


def _references(header: Dataset) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the series and the images that the object names, wherever it does (PS3.3 C.12.1.1.8, C.7.6.16.2.6)."""
    series: dict[str, None] = {}
    images: set[str] = set()
    elsewhere = header.get("StudiesContainingOtherReferencedInstancesSequence") or ()
    for source in (header, *elsewhere):
        for item in source.get("ReferencedSeriesSequence") or ():
            if uid := _text(item, "SeriesInstanceUID"):
                series[uid] = None
            images.update(_image_uids(item, "ReferencedInstanceSequence"))
    images.update(_image_uids(header, "SourceImageSequence"))
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    for group in (*shared, *(header.get("PerFrameFunctionalGroupsSequence") or ())):
        for derivation in group.get("DerivationImageSequence") or ():
            images.update(_image_uids(derivation, "SourceImageSequence"))
    return tuple(series), frozenset(images)


def _image_uids(item: Dataset, sequence: str) -> Iterator[str]:
    for reference in item.get(sequence) or ():
        if uid := _text(reference, "ReferencedSOPInstanceUID"):
            yield uid
