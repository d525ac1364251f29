"""On which series the tumour was drawn: the one that its SEG references, or the best one where it references none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pdl1es.dicom.seg_references import ImageReference, SegReferences
from pdl1es.dicom.segmentation import Segment
from pdl1es.dicom.selection.facts import StudyFacts
from pdl1es.dicom.selection.series import EligibleSeries, JudgedSeries, UnfitSeries, eligible_among, lies_elsewhere
from pdl1es.dicom.stack import SMALLEST_STACK
from pdl1es.dicom.structure_set import ContourSource, source_words
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.score_warning import ScoreWarning


@dataclass(frozen=True, slots=True)
class SeriesChoice:
    """The series that will be scored.

    Attributes
    ----------
    series
        The series.
    why
        Why it.
    warnings
        Warnings where the references are unclear.
    """

    series: EligibleSeries
    why: tuple[str, ...]
    warnings: tuple[ScoreWarning, ...] = ()


def choose_series(
    series: Sequence[JudgedSeries], segmentation: ContourSource, segment: Segment, facts: StudyFacts
) -> SeriesChoice:
    """Choose the series that will be scored.

    The sources of the tumour's own frames decide; else the series that the SEG names; else the images that it names.

    Parameters
    ----------
    series
        Every series of the study, by UID.
    segmentation, segment
        The tumour.
    facts
        What the study holds.

    Returns
    -------
    SeriesChoice

    Raises
    ------
    Refusal
        In this order: SEG_NOT_ON_CT or SEG_REFERENCES_OTHER_SERIES, SEG_REFERENCES_ABSENT_INSTANCES,
        SEG_FRAME_OF_REFERENCE, and what makes the series unfit.
    """
    if not references_anything(segmentation):
        chosen, why = _best_without_references(series, segmentation)
        message = f"The {source_words(segmentation)} does not say on which series it was drawn; the best ranked series was scored."
        return SeriesChoice(chosen, why, (ScoreWarning("SEG_WITHOUT_REFERENCES", message),))
    drawn = _DrawnOn.of(segmentation, segment)
    referenced = _referenced_series(series, drawn)
    _refuse_absent_images(drawn, referenced, facts)
    same_frame = [s for s in referenced if not lies_elsewhere(s, segmentation)]
    if not same_frame:
        raise _other_frame(segmentation, referenced)
    eligible = eligible_among(same_frame)
    if not eligible:
        raise _with_scattered_slices(_faults(same_frame)[0], series)
    why_it = [f"the {drawn.what} references it"]
    if len(eligible) > 1:
        why_it.append(f"the best ranked of {len(eligible)} that it references")
    return SeriesChoice(eligible[0], tuple(why_it), _warnings(drawn, eligible[0], facts))


def _with_scattered_slices(fault: Refusal, series: Sequence[JudgedSeries]) -> Refusal:
    """Return a fault; one of too few slices tells it where the others lie in many series of as few."""
    alike = sum(refusal.code is RefusalCode.TOO_FEW_SLICES for refusal in _faults(series))
    if fault.code is not RefusalCode.TOO_FEW_SLICES or alike < SMALLEST_STACK:
        return fault
    return Refusal(
        fault.code,
        f"{fault.found}; {alike} CT series of the study have as few, as where every slice is a series of its own",
        tag=fault.tag,
        value=fault.value,
        uid=fault.uid,
        remedy="have the scanner or the archive store the slices of one reconstruction as one series, and the contour on it",
    )


def references_anything(segmentation: ContourSource) -> bool:
    """Tell whether a SEG references any series or image."""
    return bool(segmentation.referenced_series_uids or segmentation.referenced_sop_instance_uids)


@dataclass(frozen=True, slots=True)
class _DrawnOn:
    """What a SEG says that the tumour was drawn on.

    Attributes
    ----------
    uid
        The SOP Instance UID of the SEG or structure set, for refusals.
    what
        Name of that object in messages.
    frames
        The sources of each of the tumour's frames or contours.
    references
        What the object names besides.
    """

    uid: str
    what: str
    frames: tuple[tuple[ImageReference, ...], ...]
    references: SegReferences

    @classmethod
    def of(cls, segmentation: ContourSource, segment: Segment) -> _DrawnOn:
        """Return what a SEG says of a segment."""
        uid = segmentation.instance.sop_instance_uid
        return cls(uid, source_words(segmentation), segmentation.sources_of(segment.number), segmentation.references)

    @property
    def images(self) -> dict[str, ImageReference]:
        """Every object that is named, by UID."""
        series = (*self.references.series, *self.references.elsewhere)
        named = (image for found in series for image in found.images)
        sources = (image for frame in self.frames for image in frame)
        return {image.uid: image for image in (*named, *self.references.sources, *sources)}

    def of_other_series(self, targets: Collection[str], within: Collection[str]) -> frozenset[str]:
        """Return the objects that the SEG puts into another series or study than those it was drawn on.

        Parameters
        ----------
        targets
            UIDs of the series that it was drawn on.
        within
            Objects of these series. A series reference that names one of them is stale, and means these series.
        """
        other: set[str] = set()
        target: set[str] = set()
        for found in self.references.series:
            uids = {image.uid for image in found.images}
            (target if found.uid in targets or not uids.isdisjoint(within) else other).update(uids)
        for found in self.references.elsewhere:
            other.update(image.uid for image in found.images)
        return frozenset(other - target)


def _objects_of(series: Sequence[JudgedSeries]) -> frozenset[str]:
    return frozenset(i.sop_instance_uid for s in series for i in s.facts.instances)


def _referenced_series(series: Sequence[JudgedSeries], drawn: _DrawnOn) -> list[JudgedSeries]:
    """Return the CT series on which the SEG says that the tumour was drawn.

    Empty where it references only images and none of them is in the study.
    """
    ct = [s for s in series if s.facts.has_ct]
    named = set(drawn.references.series_uids)
    shown = {s.facts.uid: _frames_shown(s, drawn) for s in ct}
    most = max(shown.values(), default=0)
    if most:
        found = [s for s in ct if shown[s.facts.uid] == most]
        return [s for s in found if s.facts.uid in named] or found
    if found := [s for s in ct if s.facts.uid in named]:
        return found
    if found := [s for s in ct if not _objects_of([s]).isdisjoint(drawn.images)]:
        return found
    present = [s for s in series if s.facts.uid in named]
    if not named:
        present = [s for s in series if not _objects_of([s]).isdisjoint(drawn.images)]
        if not present:
            return []  # the images themselves are refused as absent
    modality = present[0].facts.modality if present else None
    what = f"is of modality {modality}, not CT" if modality else "is not in the study"
    known = [image for image in drawn.images.values() if image.sop_class_uid]
    other_images = modality != "CT" if modality else bool(known) and not any(image.may_be_ct for image in known)
    if other_images and not modality:
        what += ", and its images are no CT"
    raise Refusal(
        RefusalCode.SEG_NOT_ON_CT if other_images else RefusalCode.SEG_REFERENCES_OTHER_SERIES,
        f"the series that the {drawn.what} references {what}",
        tag="SeriesInstanceUID (0020,000E) in ReferencedSeriesSequence (0008,1115)",
        value=min(named) if named else present[0].facts.uid,
        uid=drawn.uid,
    )


def _frames_shown(series: JudgedSeries, drawn: _DrawnOn) -> int:
    """Return how many of the tumour's frames were derived from an image of a series."""
    uids = _objects_of([series])
    return sum(any(image.uid in uids for image in frame) for frame in drawn.frames)


def _refuse_absent_images(drawn: _DrawnOn, referenced: Sequence[JudgedSeries], facts: StudyFacts) -> None:
    """Refuse a SEG where images that it was drawn on are not in the study.

    Other objects that it names may be absent: a structure set, a prior study, another series. They count only where
    the frames do not name their own images, so that nothing says on which of the series the tumour was drawn.
    """
    within = _objects_of(referenced)
    other = drawn.of_other_series({s.facts.uid for s in referenced}, within)
    own_are_here = all(any(image.uid in within for image in frame) for frame in drawn.frames)
    own = {image.uid for frame in drawn.frames for image in frame}
    in_study = {image.uid for found in drawn.references.series for image in found.images}
    absent = {
        uid
        for uid, image in drawn.images.items()
        if image.may_be_ct
        and uid not in facts.sop_instance_uids
        and (uid not in other or (not own_are_here and (uid in own or uid in in_study)))
    }
    if absent:
        raise Refusal(
            RefusalCode.SEG_REFERENCES_ABSENT_INSTANCES,
            f"{len(absent)} of the {len(drawn.images)} images that the {drawn.what} references are not in the study",
            tag="ReferencedSOPInstanceUID (0008,1155)",
            value=min(absent),
            uid=drawn.uid,
        )


def _warnings(drawn: _DrawnOn, chosen: EligibleSeries, facts: StudyFacts) -> tuple[ScoreWarning, ...]:
    """Tell what the references name besides the chosen series, and where they name another."""
    warnings = []
    named = {found.uid for found in drawn.references.series} - {""}
    if named and chosen.facts.uid not in named:
        message = (
            f"The {drawn.what} names another series than the one that its images lie in; the images' series was scored."
        )
        warnings.append(ScoreWarning("SEG_SERIES_CONTRADICTED", message))
    absent = sum(uid not in facts.sop_instance_uids for uid in drawn.images)
    if absent:
        message = (
            f"The {drawn.what} also references {absent} object(s) that are not in the study; none of them is an image of "
            "the series that was scored."
        )
        warnings.append(ScoreWarning("SEG_REFERENCES_FURTHER", message))
    return tuple(warnings)


def _best_without_references(
    series: Sequence[JudgedSeries], segmentation: ContourSource
) -> tuple[EligibleSeries, tuple[str, ...]]:
    """Return the best ranked series of the SEG's frame of reference, among those that show most of the tumour's planes.

    A series that shows none of them is refused where the tumour is resampled, as SEGMENT_OUTSIDE_VOLUME.
    """
    images = [s for s in series if s.facts.has_ct]
    frame = segmentation.frame_of_reference_uid
    same_frame = [s for s in images if frame and frame in s.facts.frames_of_reference]
    if not same_frame:
        raise _other_frame(segmentation, images)
    eligible = eligible_among(same_frame)
    if not eligible:
        faults = _faults(same_frame)
        if len(faults) == 1:
            raise faults[0]
        reasons = sorted({fault.found for fault in faults})
        raise Refusal(
            RefusalCode.NO_ELIGIBLE_CT,
            f"none of {len(same_frame)} CT series can be used: " + "; ".join(reasons[:4]),
            tag="SeriesInstanceUID (0020,000E)",
            value=same_frame[0].facts.uid,
            uid=segmentation.instance.sop_instance_uid,
        )
    most = max(s.coverage or 0.0 for s in eligible)
    covering = [s for s in eligible if (s.coverage or 0.0) == most]
    return covering[0], (f"the best ranked of {len(covering)} that show {most:.0%} of the tumour's planes",)


def _faults(series: Sequence[JudgedSeries]) -> list[Refusal]:
    """Return why CT series are unfit, in the order of the series."""
    return [s.refusal for s in series if isinstance(s, UnfitSeries) and s.refusal is not None]


def _other_frame(segmentation: ContourSource, series: Sequence[JudgedSeries]) -> Refusal:
    frames = sorted(frame for s in series for frame in s.facts.frames_of_reference)
    own = segmentation.frame_of_reference_uid
    return Refusal(
        RefusalCode.SEG_FRAME_OF_REFERENCE,
        f"the {source_words(segmentation)} lies in another frame of reference than the CT"
        + (f", whose is {frames[0]}" if frames else ", which names none"),
        tag="FrameOfReferenceUID (0020,0052)",
        value=own or None,
        uid=segmentation.instance.sop_instance_uid,
    )
