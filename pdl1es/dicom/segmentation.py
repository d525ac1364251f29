"""Headers of DICOM SEG objects (binary, fractional and labelmap): segments, frames and references."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.functional_groups import FunctionalGroups, sequence_items
from pdl1es.dicom.geometry import SlicePlane, create_slice_plane
from pdl1es.dicom.header_elements import tag_text
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.seg_references import ImageReference, SegReferences, frame_sources, read_references
from pdl1es.errors import Refusal, RefusalCode

LABEL_MAP_SEGMENTATION_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.66.7"
SEGMENTATION_SOP_CLASSES: Final = frozenset({str(SegmentationStorage), LABEL_MAP_SEGMENTATION_STORAGE})
"""Storage classes that `parse_segmentation` reads; surface and height map segmentations are others."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One item of the Segment Sequence (PS3.3 C.8.20.2).

    Attributes
    ----------
    number
        Segment Number.
    label
        Segment Label, empty where there is none.
    category, property_type, anatomic_region
        Segmented Property Category, Segmented Property Type and Anatomic Region, or None.
    tracking_id, tracking_uid
        Tracking ID and Tracking UID, or None.
    algorithm_type
        Segment Algorithm Type, or None.
    """

    number: int
    label: str
    category: Code | None
    property_type: Code | None
    anatomic_region: Code | None
    tracking_id: str | None
    tracking_uid: str | None
    algorithm_type: str | None


@dataclass(frozen=True, slots=True)
class SegmentationFrame:
    """One frame.

    Attributes
    ----------
    index
        Zero-based, within the object that holds it.
    segment_number
        The segment that it shows; None in a labelmap, whose frames show all segments.
    plane
        Where it lies; None where the object does not say it.
    part
        Which of `Segmentation.instances` holds it.
    sources
        The images that it was derived from, as far as the object says it.
    """

    index: int
    segment_number: int | None
    plane: SlicePlane | None
    part: int = 0
    sources: tuple[ImageReference, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Segmentation:
    """A SEG's header. It may be stored in several objects, the parts of a concatenation (PS3.3 C.7.6.16.2.2.4).

    Attributes
    ----------
    instance
        The object; the first of several.
    segmentation_type
        ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``.
    segments
        By segment number.
    frames
        In the order of the file.
    references
        What it names apart from its frames' sources.
    further_instances
        The other parts of a concatenation, in order.
    end_unknown
        Whether nothing in a concatenation says that the last part is there.
    """

    instance: Instance
    segmentation_type: str
    segments: tuple[Segment, ...]
    frames: tuple[SegmentationFrame, ...]
    references: SegReferences = field(default_factory=SegReferences)
    further_instances: tuple[Instance, ...] = ()
    end_unknown: bool = False

    def __repr__(self) -> str:
        return (
            f"<Segmentation {self.instance.sop_instance_uid}: {self.segmentation_type}, "
            f"{len(self.segments)} segments, {len(self.frames)} frames>"
        )

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Every object that holds a part of it, in order."""
        return (self.instance, *self.further_instances)

    @property
    def referenced_series_uids(self) -> tuple[str, ...]:
        """Series that it says it was drawn on; empty where it says nothing."""
        return self.references.series_uids

    @property
    def referenced_sop_instance_uids(self) -> frozenset[str]:
        """Source images named anywhere in it."""
        return self.references.image_uids | {image.uid for frame in self.frames for image in frame.sources}

    def frames_of(self, segment_number: int) -> tuple[SegmentationFrame, ...]:
        """Return the frames that can show a segment: its own, or all of a labelmap."""
        return tuple(frame for frame in self.frames if frame.segment_number in (None, segment_number))


def parse_segmentation(instance: Instance) -> Segmentation:
    """Read a SEG's header (PS3.3 C.8.20.2, C.8.20.3).

    What loses nothing is accepted. A segment may lack label, category, type and algorithm (syngo.via leaves out the
    category). Position, orientation and spacing may stand in the shared or the per-frame groups. A frame that does not
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
        raise seg_unreadable(
            instance, "the object is not a segmentation", "SOPClassUID", instance.sop_class_uid or None
        )
    segmentation_type = _segmentation_type(instance)
    segments = _segments(instance)
    frames = tuple(_frames(instance, segmentation_type, {segment.number for segment in segments}))
    return Segmentation(
        instance=instance,
        segmentation_type=segmentation_type,
        segments=segments,
        frames=frames,
        references=read_references(header),
    )


def seg_unreadable(instance: Instance, found: str, keyword: str, value: object = None) -> Refusal:
    """Return the refusal of a malformed SEG.

    Parameters
    ----------
    instance
        The SEG.
    found
        What was found, as in `Refusal`.
    keyword
        Of the attribute at fault.
    value
        Its value; None where it is absent.

    Returns
    -------
    Refusal
        SEG_UNREADABLE.
    """
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
    raise seg_unreadable(instance, "the type of the segmentation is not known", "SegmentationType", value or None)


def _segments(instance: Instance) -> tuple[Segment, ...]:
    """Return the segments by number."""
    segments: dict[int, Segment] = {}
    for item in sequence_items(instance.header, "SegmentSequence"):
        number = item.get("SegmentNumber")
        if not isinstance(number, int) or not 0 <= number < 2**16:
            raise seg_unreadable(instance, "a segment has no number", "SegmentNumber", number)
        if number in segments:
            raise seg_unreadable(instance, "two segments have the same number", "SegmentNumber", number)
        segments[number] = Segment(
            number=number,
            label=_text(item, "SegmentLabel") or "",
            category=_code(item, "SegmentedPropertyCategoryCodeSequence"),
            property_type=_code(item, "SegmentedPropertyTypeCodeSequence"),
            anatomic_region=_code(item, "AnatomicRegionSequence"),
            tracking_id=_text(item, "TrackingID"),
            tracking_uid=_text(item, "TrackingUID"),
            algorithm_type=_text(item, "SegmentAlgorithmType"),
        )
    if not segments:
        raise seg_unreadable(instance, "the segmentation has no segments", "SegmentSequence")
    return tuple(segments[number] for number in sorted(segments))


def _text(item: Dataset, keyword: str) -> str | None:
    """Return a text value. Pydicom splits a text at a backslash; it is put together again."""
    value = item.get(keyword)
    if value is None or isinstance(value, str):
        return str(value).strip() or None if value else None
    return "\\".join(str(part) for part in value).strip() or None


def _code(item: Dataset, keyword: str) -> Code | None:
    """Return the first item of a code sequence (PS3.3 8.8), or None where there is none with a value."""
    for code in sequence_items(item, keyword):
        value = _text(code, "CodeValue") or _text(code, "LongCodeValue") or _text(code, "URNCodeValue")
        if value:
            scheme, meaning = _text(code, "CodingSchemeDesignator"), _text(code, "CodeMeaning")
            return Code(value=value, scheme=scheme or "", meaning=meaning or "")
    return None


def _frames(instance: Instance, segmentation_type: str, numbers: set[int]) -> Iterator[SegmentationFrame]:
    """Yield the frames in the order of the file."""
    header = instance.header
    described = len(sequence_items(header, "PerFrameFunctionalGroupsSequence"))
    count = header.get("NumberOfFrames")
    if not isinstance(count, int) or count != described or count < 1:
        raise seg_unreadable(
            instance, f"{described} frames are described, and not as many are there", "NumberOfFrames", count
        )
    for index in range(described):
        groups = FunctionalGroups.of(header, index)
        number: int | None = None
        if segmentation_type != "LABELMAP":
            named = groups.value("SegmentIdentificationSequence", "ReferencedSegmentNumber")
            if named is None and len(numbers) == 1:
                (named,) = numbers
            if not isinstance(named, int) or named not in numbers:
                raise seg_unreadable(
                    instance,
                    f"frame {index + 1} shows a segment that is not described",
                    "ReferencedSegmentNumber",
                    named,
                )
            number = int(named)
        yield SegmentationFrame(
            index=index, segment_number=number, plane=_plane(instance, groups), sources=frame_sources(groups)
        )


def _plane(instance: Instance, groups: FunctionalGroups) -> SlicePlane | None:
    """Return where a frame lies, or None where the object does not say it."""
    try:
        return create_slice_plane(
            position=groups.value("PlanePositionSequence", "ImagePositionPatient"),
            orientation=groups.value("PlaneOrientationSequence", "ImageOrientationPatient"),
            pixel_spacing=groups.value("PixelMeasuresSequence", "PixelSpacing"),
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
