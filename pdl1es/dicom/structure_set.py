"""RT Structure Sets: regions of interest drawn as closed planar contours (PS3.3 A.19, C.8.8.5, C.8.8.6, C.8.8.8)."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, RTStructureSetStorage

from pdl1es.dicom.file_format import data_set_encoding, data_set_start, inflate_data_set
from pdl1es.dicom.free_text import shown_term
from pdl1es.dicom.functional_groups import code_of, sequence_items, text_of
from pdl1es.dicom.geometry import MAX_COORDINATE_MM
from pdl1es.dicom.header_elements import MALFORMED, attribute_value, tag_text
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.seg_references import ImageReference, SegReferences, SeriesReference, image_references
from pdl1es.dicom.segmentation import ContourKind, Segment, Segmentation
from pdl1es.dicom.silence import silenced_pydicom
from pdl1es.errors import Refusal, RefusalCode

RT_STRUCTURE_SET: Final = str(RTStructureSetStorage)
CLOSED_TYPES: Final = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
"""Contour Geometric Types that enclose an area (PS3.3 C.8.8.6.1)."""
MAX_BYTES: Final = 2**28
"""Largest structure set that is read; the contours of forty organs take about 2**25."""
MAX_ITEMS: Final = 500_000
"""Most sequence items of one structure set, as `limits.max_sequence_items` has it for headers."""
MAX_POINTS: Final = 2_000_000
"""Most points of one region's contours."""
MAX_VALUE_BYTES: Final = 64
"""Longest text of one coordinate: VR DS has 16 characters, and some writers exceed them."""
_TAGS: Final[list[BaseTag | int]] = [
    tag
    for keyword in (
        "SpecificCharacterSet",
        "FrameOfReferenceUID",
        "ReferencedFrameOfReferenceSequence",
        "StructureSetROISequence",
        "ROIContourSequence",
        "RTROIObservationsSequence",
    )
    if (tag := tag_for_keyword(keyword)) is not None
]
_CONTOUR_DATA: Final = 0x30060050
_NUMERALS: Final = b"0123456789+-.eE "


@dataclass(frozen=True, slots=True, repr=False)
class Contour:
    """One item of the Contour Sequence (PS3.3 C.8.8.6).

    Attributes
    ----------
    geometric_type
        Contour Geometric Type, empty where there is none.
    declared_points
        Number of Contour Points, or None.
    data
        Contour Data as the file has it: coordinates as text. It is read where the contour is needed
        (`contour_points`), because a structure set holds the contours of all organs.
    images
        Images that the contour says it was drawn on.
    """

    geometric_type: str
    declared_points: int | None
    data: bytes
    images: tuple[ImageReference, ...]


@dataclass(frozen=True, repr=False, eq=False)
class RegionOfInterest:
    """One ROI of a structure set. It has what a `Segmentation` has, so that the same rules choose among both.

    Attributes
    ----------
    instance
        The structure set.
    segment
        What the ROI is: ROI Number, ROI Name, its codes, RT ROI Interpreted Type and ROI Generation Algorithm.
    items
        Its items of the ROI Contour Sequence, as the file has them: a structure set holds the contours of all organs, and
        most are never looked at.
    frame_of_reference_uid
        Its own, or empty.
    references
        Series and images that its frame of reference lists.
    kind
        Name of such an object in messages.
    """

    instance: Instance
    segment: Segment
    items: tuple[Dataset, ...]
    frame_of_reference_uid: str
    references: SegReferences
    kind: ContourKind = field(default="RTSTRUCT", init=False)

    def __repr__(self) -> str:
        return f"<RegionOfInterest {self.segment.number} of {self.instance.sop_instance_uid}>"

    @cached_property
    def contours(self) -> tuple[Contour, ...]:
        """Its contours, in the order of the file.

        Raises
        ------
        Refusal
            SEG_UNREADABLE: an item is malformed.
        """
        with silenced_pydicom():
            try:
                return tuple(_contours(self.instance, self.items))
            except (RecursionError, *MALFORMED):
                raise structure_set_unreadable(self.instance, "the region's contours are malformed") from None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The ROI alone."""
        return (self.segment,)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The structure set alone: it is never stored in parts."""
        return (self.instance,)

    @property
    def referenced_series_uids(self) -> tuple[str, ...]:
        """Series that it says it was drawn on; empty where it says nothing."""
        return self.references.series_uids

    @property
    def referenced_sop_instance_uids(self) -> frozenset[str]:
        """Images that are named anywhere in it."""
        return self.references.image_uids | {image.uid for contour in self.contours for image in contour.images}

    @property
    def is_drawn(self) -> bool:
        """Whether the ROI has a contour that encloses an area; contours that cannot be read may enclose one."""
        try:
            return any(contour.geometric_type in CLOSED_TYPES for contour in self.contours)
        except Refusal:
            return True

    def sources_of(self, segment_number: int) -> tuple[tuple[ImageReference, ...], ...]:
        """Return the images that each contour says it was drawn on."""
        return tuple(contour.images for contour in self.contours)

    def positions_of(self, segment_number: int, normal: NDArray[np.float64]) -> list[float]:
        """Return the coordinate of each closed contour's first point along a normal, mm; of unreadable ones none.

        Parameters
        ----------
        segment_number
            The ROI's number.
        normal
            Unit vector, shape (3,).

        Returns
        -------
        list of float
            In the order of the contours.
        """
        positions = []
        for contour in self.contours:
            if contour.geometric_type in CLOSED_TYPES:
                try:
                    first = contour_points(contour, self.instance, only_first=True)
                except Refusal:
                    continue  # refused where the mask is read
                positions.append(float(first[0] @ normal))
        return positions


@dataclass(frozen=True, slots=True, repr=False)
class StructureSet:
    """An RT Structure Set.

    Attributes
    ----------
    instance
        The object.
    regions
        By ROI Number.
    """

    instance: Instance
    regions: tuple[RegionOfInterest, ...]

    def __repr__(self) -> str:
        return f"<StructureSet {self.instance.sop_instance_uid}: {len(self.regions)} regions>"


ContourSource = Segmentation | RegionOfInterest
"""Objects in which a tumour can be drawn."""


def source_words(source: ContourSource) -> str:
    """Return what a source is called in a message: ``segmentation`` or ``structure set``."""
    return "segmentation" if source.kind == "SEG" else "structure set"


def parse_structure_set(instance: Instance) -> StructureSet:
    """Read a structure set; the coordinates of its contours stay text until they are needed.

    Parameters
    ----------
    instance
        An object of RT Structure Set Storage.

    Returns
    -------
    StructureSet

    Raises
    ------
    Refusal
        SEG_UNREADABLE: the object is malformed or contradicts itself. LIMIT_EXCEEDED: it is larger than `MAX_BYTES` or
        `MAX_ITEMS` allow.
    """
    with silenced_pydicom():
        try:
            data_set = _data_set(instance)
            return StructureSet(instance, tuple(_regions(instance, data_set)))
        except (RecursionError, *MALFORMED):
            raise structure_set_unreadable(instance, "the structure set is truncated or malformed") from None


def structure_set_unreadable(
    instance: Instance, found: str, keyword: str | None = None, value: object = None
) -> Refusal:
    """Return the refusal of a malformed structure set.

    Parameters
    ----------
    instance
        The structure set.
    found
        What was found, as in `Refusal`.
    keyword
        Of the attribute at fault, or None.
    value
        Its value; None where it is absent. Never text that a person wrote.

    Returns
    -------
    Refusal
    """
    return Refusal(
        RefusalCode.SEG_UNREADABLE,
        found,
        tag=None if keyword is None else tag_text(keyword),
        value=None if value is None else shown_term(str(value)),
        uid=instance.sop_instance_uid,
    )


def contour_points(contour: Contour, instance: Instance, *, only_first: bool = False) -> NDArray[np.float64]:
    """Return a contour's points.

    Parameters
    ----------
    contour
        The contour.
    instance
        Its structure set, for a refusal.
    only_first
        Whether the first point is enough.

    Returns
    -------
    NDArray[np.float64]
        LPS, mm, shape (points, 3).

    Raises
    ------
    Refusal
        SEG_UNREADABLE: the coordinates are no numbers, no place in a scanner, or not as many as the contour says.
    """

    def unreadable(found: str, value: object) -> Refusal:
        return structure_set_unreadable(instance, found, "ContourData", value)

    texts = contour.data[: 4 * MAX_VALUE_BYTES].split(b"\\") if only_first else contour.data.rstrip(b"\0").split(b"\\")
    texts = texts[:3] if only_first else texts
    if b"".join(texts).translate(None, _NUMERALS) or any(len(text) > MAX_VALUE_BYTES for text in texts):
        raise unreadable("a contour's coordinates are not numeric", None)
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        raise unreadable("a contour's coordinates are not numeric", None) from None
    if not np.isfinite(values).all() or float(np.abs(values).max()) > MAX_COORDINATE_MM:
        raise unreadable("a contour's coordinate is no place in a scanner", f"{float(np.abs(values).max()):g}")
    count = contour.declared_points
    if values.size % 3 or (not only_first and count is not None and values.size != 3 * count):
        raise unreadable(
            f"a contour has {'no' if count is None else count} points by its header and {values.size} coordinates",
            values.size,
        )
    return values.reshape(-1, 3)


def _data_set(instance: Instance) -> Dataset:
    """Return the structure set's sequences."""
    size = instance.path.stat().st_size
    content = instance.path.read_bytes() if size <= MAX_BYTES else b""
    start = data_set_start(content)
    data, whole = content[start:], size <= MAX_BYTES
    if whole and instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        data, whole = inflate_data_set(instance.path, start, MAX_BYTES)
    items = data.count(b"\xfe\xff\x00\xe0") + data.count(b"\xff\xfe\xe0\x00")
    if not whole or items > MAX_ITEMS:
        raise Refusal(
            RefusalCode.LIMIT_EXCEEDED,
            f"a structure set of more than {MAX_BYTES} bytes or {MAX_ITEMS} items is not read",
            tag=tag_text("ROIContourSequence"),
            value=f"{size} bytes, {items} items",
            uid=instance.sop_instance_uid,
        )
    implicit, little = data_set_encoding(data, instance.transfer_syntax_uid or None)
    data_set = read_dataset(io.BytesIO(data), implicit, little, specific_tags=_TAGS)
    for element in data_set.elements():
        length = getattr(element, "length", 0xFFFFFFFF)
        if length != 0xFFFFFFFF and len(element.value or b"") < length:
            raise structure_set_unreadable(instance, "the structure set is truncated")
    return data_set


def _regions(instance: Instance, data_set: Dataset) -> Iterator[RegionOfInterest]:
    """Yield the ROIs by number."""
    drawn: defaultdict[int, list[Dataset]] = defaultdict(list)
    for item in sequence_items(data_set, "ROIContourSequence"):
        number = _number(item, "ReferencedROINumber")
        if number is None:
            raise structure_set_unreadable(
                instance, "contours do not say of which region they are", "ReferencedROINumber"
            )
        drawn[number].append(item)
    observations = {
        number: item
        for item in sequence_items(data_set, "RTROIObservationsSequence")
        if (number := _number(item, "ReferencedROINumber")) is not None
    }
    listed = _frames_of_reference(data_set)
    rois: dict[int, Dataset] = {}
    for item in sequence_items(data_set, "StructureSetROISequence"):
        number = _number(item, "ROINumber")
        if number is None or number in rois:
            what = "a region has no number" if number is None else "two regions have the same number"
            raise structure_set_unreadable(instance, what, "ROINumber", number)
        rois[number] = item
    if not rois:
        raise structure_set_unreadable(instance, "the structure set has no regions", "StructureSetROISequence")
    only_frame = next(iter(listed)) if len(listed) == 1 else text_of(data_set, "FrameOfReferenceUID") or ""
    for number in sorted(rois):
        frame = text_of(rois[number], "ReferencedFrameOfReferenceUID") or only_frame
        yield RegionOfInterest(
            instance=instance,
            segment=_segment(number, rois[number], observations.get(number, Dataset())),
            items=tuple(drawn[number]),
            frame_of_reference_uid=frame,
            references=SegReferences(series=tuple(listed.get(frame, ()))),
        )


def _segment(number: int, roi: Dataset, observation: Dataset) -> Segment:
    """Return what an ROI is, in the words of a segment."""
    return Segment(
        number=number,
        label=text_of(roi, "ROIName") or text_of(observation, "ROIObservationLabel") or "",
        category=None,
        property_type=code_of(observation, "RTROIIdentificationCodeSequence"),
        anatomic_region=None,
        tracking_id=None,
        tracking_uid=None,
        algorithm_type=text_of(roi, "ROIGenerationAlgorithm"),
        interpreted_type=text_of(observation, "RTROIInterpretedType"),
    )


def _contours(instance: Instance, items: Iterable[Dataset]) -> Iterator[Contour]:
    """Yield the contours of one ROI."""
    for roi in items:
        for item in sequence_items(roi, "ContourSequence"):
            raw = item.get_item(_CONTOUR_DATA) if _CONTOUR_DATA in item else None
            data = b"" if raw is None else raw.value
            if data is not None and not isinstance(data, bytes):
                raise structure_set_unreadable(instance, "a contour's coordinates are not numeric", "ContourData")
            yield Contour(
                geometric_type=text_of(item, "ContourGeometricType") or "",
                declared_points=_number(item, "NumberOfContourPoints"),
                data=data or b"",
                images=tuple(image_references(item, "ContourImageSequence")),
            )


def _frames_of_reference(data_set: Dataset) -> dict[str, list[SeriesReference]]:
    """Return the series, with their images, that each frame of reference lists (PS3.3 C.8.8.5)."""
    listed: dict[str, list[SeriesReference]] = {}
    for frame in sequence_items(data_set, "ReferencedFrameOfReferenceSequence"):
        series = listed.setdefault(text_of(frame, "FrameOfReferenceUID") or "", [])
        for study in sequence_items(frame, "RTReferencedStudySequence"):
            for item in sequence_items(study, "RTReferencedSeriesSequence"):
                images = tuple(image_references(item, "ContourImageSequence"))
                series.append(SeriesReference(text_of(item, "SeriesInstanceUID") or "", images))
    return listed


def _number(item: Dataset, keyword: str) -> int | None:
    """Return a whole number of at most nine digits, or None."""
    value = attribute_value(item, keyword)
    return int(value) if isinstance(value, int) and 0 <= value < 10**9 else None
