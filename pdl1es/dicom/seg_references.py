"""The references of a SEG to what it was drawn on: series, images, and each frame's own sources (PS3.3 C.12.2, C.7.6.16.2.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from pdl1es.dicom.functional_groups import FunctionalGroups, sequence_items
from pdl1es.dicom.header_elements import attribute_value
from pdl1es.dicom.series import CT_SOP_CLASSES


@dataclass(frozen=True, slots=True)
class ImageReference:
    """One object that a SEG names.

    Attributes
    ----------
    uid
        Referenced SOP Instance UID.
    sop_class_uid
        Referenced SOP Class UID; empty where it is absent.
    """

    uid: str
    sop_class_uid: str

    @property
    def may_be_ct(self) -> bool:
        """Whether it is a CT image, or does not say what it is."""
        return self.sop_class_uid in CT_SOP_CLASSES or not self.sop_class_uid


@dataclass(frozen=True, slots=True)
class SeriesReference:
    """One series that a SEG names.

    Attributes
    ----------
    uid
        Series Instance UID; empty where it is absent.
    images
        The objects of it that are named.
    """

    uid: str
    images: tuple[ImageReference, ...]

    def __repr__(self) -> str:
        """Name the series, and count its images."""
        return f"<SeriesReference {self.uid}: {len(self.images)} images>"


@dataclass(frozen=True, slots=True)
class SegReferences:
    """What a SEG names apart from its frames' sources.

    Attributes
    ----------
    series
        Series of its own study (Referenced Series Sequence).
    elsewhere
        Series of other studies (Studies Containing Other Referenced Instances Sequence).
    sources
        Images of Source Image Sequence, which names no series.
    """

    series: tuple[SeriesReference, ...] = ()
    elsewhere: tuple[SeriesReference, ...] = ()
    sources: tuple[ImageReference, ...] = ()

    def __repr__(self) -> str:
        """Count what is named."""
        return (
            f"<SegReferences: {len(self.series)} series of this study, {len(self.elsewhere)} of others, "
            f"{len(self.sources)} source images>"
        )

    @property
    def series_uids(self) -> tuple[str, ...]:
        """UIDs of all series, each once, those of its own study first."""
        return tuple(dict.fromkeys(series.uid for series in (*self.series, *self.elsewhere) if series.uid))

    @property
    def image_uids(self) -> frozenset[str]:
        """UIDs of all objects."""
        named = (image for series in (*self.series, *self.elsewhere) for image in series.images)
        return frozenset(image.uid for image in (*named, *self.sources))

    def joined(self, other: SegReferences) -> SegReferences:
        """Return these references and those of another part of the same segmentation."""
        return SegReferences(
            _union(self.series, other.series),
            _union(self.elsewhere, other.elsewhere),
            tuple(dict.fromkeys((*self.sources, *other.sources))),
        )


def _union(first: tuple[SeriesReference, ...], second: tuple[SeriesReference, ...]) -> tuple[SeriesReference, ...]:
    images: dict[str, dict[ImageReference, None]] = {}
    for series in (*first, *second):
        images.setdefault(series.uid, {}).update(dict.fromkeys(series.images))
    return tuple(SeriesReference(uid, tuple(found)) for uid, found in images.items())


def read_references(header: Dataset) -> SegReferences:
    """Return what a SEG's header names, apart from its frames' sources."""
    own = list(_series(header))
    elsewhere: list[SeriesReference] = []
    for study in sequence_items(header, "StudiesContainingOtherReferencedInstancesSequence"):
        # some writers put the study itself among the others
        same = uid_text(study, "StudyInstanceUID") == uid_text(header, "StudyInstanceUID")
        (own if same else elsewhere).extend(_series(study))
    return SegReferences(
        _union(tuple(own), ()), _union(tuple(elsewhere), ()), tuple(image_references(header, "SourceImageSequence"))
    )


def frame_sources(groups: FunctionalGroups) -> tuple[ImageReference, ...]:
    """Return the images that a frame was derived from: its own, or those that all frames share."""
    for item in groups.items:
        found = [
            image
            for derivation in sequence_items(item, "DerivationImageSequence")
            for image in image_references(derivation, "SourceImageSequence")
        ]
        if found:
            return tuple(dict.fromkeys(found))
    return ()


def _series(source: Dataset) -> Iterator[SeriesReference]:
    for item in sequence_items(source, "ReferencedSeriesSequence"):
        images = tuple(image_references(item, "ReferencedInstanceSequence"))
        uid = uid_text(item, "SeriesInstanceUID")
        if uid or images:
            yield SeriesReference(uid, images)


def image_references(item: Dataset, sequence: str) -> Iterator[ImageReference]:
    """Yield the objects that a sequence references.

    Parameters
    ----------
    item
        A header, or an item of one of its sequences.
    sequence
        Keyword of the sequence of references.

    Yields
    ------
    ImageReference
    """
    for reference in sequence_items(item, sequence):
        if uid := uid_text(reference, "ReferencedSOPInstanceUID"):
            yield ImageReference(uid, uid_text(reference, "ReferencedSOPClassUID"))


def uid_text(item: Dataset, keyword: str) -> str:
    """Return a UID.

    Parameters
    ----------
    item
        A header, or an item of one of its sequences.
    keyword
        Of the attribute.

    Returns
    -------
    str
        Empty where it is absent.
    """
    value = attribute_value(item, keyword)
    return str(value).strip(" \0") if isinstance(value, str) else ""
