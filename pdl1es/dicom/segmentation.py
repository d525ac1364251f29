"""Headers of DICOM SEG objects (binary, fractional and labelmap): segments, frames and references."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import SegmentationStorage

from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.free_text import shown_term
from pdl1es.dicom.functional_groups import FunctionalGroups, code_of, sequence_items, text_of
from pdl1es.dicom.geometry import SlicePlane, create_slice_plane, position_along
from pdl1es.dicom.header_elements import tag_text
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.seg_references import ImageReference, SegReferences, frame_sources, read_references
from pdl1es.errors import Refusal, RefusalCode

LABEL_MAP_SEGMENTATION_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.66.7"
SEGMENTATION_SOP_CLASSES: Final = frozenset({str(SegmentationStorage), LABEL_MAP_SEGMENTATION_STORAGE})
"""Storage classes that `parse_segmentation` reads; surface and height map segmentations are others."""


ContourKind = Literal["SEG", "RTSTRUCT"]


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
        Segment Algorithm Type, or ROI Generation Algorithm, or None.
    algorithm_name
        Segment Algorithm Name, or None.
    interpreted_type
        RT ROI Interpreted Type of a structure set's region; None for a SEG's segment.
    """

    number: int
    label: str
    category: Code | None
    property_type: Code | None
    anatomic_region: Code | None
    tracking_id: str | None
    tracking_uid: str | None
    algorithm_type: str | None
    algorithm_name: str | None = None
    interpreted_type: str | None = None


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
    kind
        Name of such an object in messages.
    """

    instance: Instance
    segmentation_type: str
    segments: tuple[Segment, ...]
    frames: tuple[SegmentationFrame, ...]
    references: SegReferences = field(default_factory=SegReferences)
    further_instances: tuple[Instance, ...] = ()
    end_unknown: bool = False
    kind: ContourKind = field(default="SEG", init=False)

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

    def sources_of(self, segment_number: int) -> tuple[tuple[ImageReference, ...], ...]:
        """Return the images that each frame of a segment was derived from; of all frames, where it has none."""
        return tuple(frame.sources for frame in self.frames_of(segment_number) or self.frames)

    @property
    def frame_of_reference_uid(self) -> str:
        """Of the object, or empty."""
        return self.instance.frame_of_reference_uid

    def positions_of(self, segment_number: int, normal: NDArray[np.float64]) -> list[float]:
        """Return where the frames lie that can show a segment, as far as they say it.

        Parameters
        ----------
        segment_number
            The segment.
        normal
            Unit vector, shape (3,).

        Returns
        -------
        list of float
            Coordinates along the normal, mm.
        """
        frames = self.frames_of(segment_number)
        return [position_along(frame.plane, normal) for frame in frames if frame.plane is not None]


def parse_segmentation(instance: Instance) -> Segmentation:
    """Read a SEG's header (PS3.3 C.8.20.2, C.8.20.3).

    Deviations from the standard that lose no information are accepted. A segment may lack label, category, type and
    algorithm (syngo.via leaves out the category). Position, orientation and spacing may stand in the shared or the
    per-frame groups. A frame that does not say its segment belongs to the only one. A frame without a place has no plane.

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
        value=None if value is None else shown_term(str(value)),
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
            label=text_of(item, "SegmentLabel") or "",
            category=code_of(item, "SegmentedPropertyCategoryCodeSequence"),
            property_type=code_of(item, "SegmentedPropertyTypeCodeSequence"),
            anatomic_region=code_of(item, "AnatomicRegionSequence"),
            tracking_id=text_of(item, "TrackingID"),
            tracking_uid=text_of(item, "TrackingUID"),
            algorithm_type=text_of(item, "SegmentAlgorithmType"),
            algorithm_name=text_of(item, "SegmentAlgorithmName"),
        )
    if not segments:
        raise seg_unreadable(instance, "the segmentation has no segments", "SegmentSequence")
    return tuple(segments[number] for number in sorted(segments))


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
