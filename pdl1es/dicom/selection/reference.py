"""On which series the tumour was drawn: the one that its SEG references, or the best one where it references none."""

from __future__ import annotations

from collections.abc import Sequence

from pdl1es.dicom.segmentation import Segmentation
from pdl1es.dicom.selection.facts import StudyFacts
from pdl1es.dicom.selection.series import EligibleSeries, JudgedSeries, UnfitSeries, eligible_among, lies_elsewhere
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.score_warning import ScoreWarning

_Choice = tuple[EligibleSeries, tuple[str, ...]]


def choose_series(series: Sequence[JudgedSeries], segmentation: Segmentation, facts: StudyFacts) -> _Choice:
    """Choose the series that will be scored.

    Parameters
    ----------
    series
        Every series of the study, by UID.
    segmentation
        The SEG that holds the tumour.
    facts
        What the study holds.

    Returns
    -------
    series, why
        The series, and why it.

    Raises
    ------
    Refusal
        In this order: SEG_REFERENCES_OTHER_SERIES, SEG_REFERENCES_ABSENT_INSTANCES, SEG_FRAME_OF_REFERENCE, and what
        makes the series unfit.
    """
    if not references_anything(segmentation):
        return _best_without_references(series, segmentation)
    referenced = _referenced_series(series, segmentation)
    _refuse_absent_images(segmentation, facts)
    same_frame = [s for s in referenced if not lies_elsewhere(s, segmentation)]
    if not same_frame:
        raise _other_frame(segmentation, referenced)
    eligible = eligible_among(same_frame)
    if not eligible:
        raise _faults(same_frame)[0]
    why = ["the segmentation references it"]
    if len(eligible) > 1:
        why.append(f"the best ranked of {len(eligible)} that it references")
    return eligible[0], tuple(why)


def warn_of_missing_references(segmentation: Segmentation) -> tuple[ScoreWarning, ...]:
    """Warn where the SEG does not say on which series it was drawn."""
    if references_anything(segmentation):
        return ()
    message = "The segmentation does not say on which series it was drawn; the best ranked series was scored."
    return (ScoreWarning("SEG_WITHOUT_REFERENCES", message),)


def references_anything(segmentation: Segmentation) -> bool:
    """Tell whether a SEG references any series or image."""
    return bool(segmentation.referenced_series_uids or segmentation.referenced_sop_instance_uids)


def _referenced_series(series: Sequence[JudgedSeries], segmentation: Segmentation) -> list[JudgedSeries]:
    """Return the CT series that the SEG references, by its references to series or else by those to images.

    Empty where it references only images and none of them is in the study.
    """
    named = set(segmentation.referenced_series_uids)
    images = segmentation.referenced_sop_instance_uids
    if named:
        present = [s for s in series if s.facts.uid in named]
    else:
        present = [s for s in series if any(i.sop_instance_uid in images for i in s.facts.instances)]
        if not present:
            return []  # the images themselves are refused as absent
    found = [s for s in present if s.facts.has_ct]
    if found:
        return found
    what = f"is of modality {present[0].facts.modality}, not CT" if present else "is not in the study"
    raise Refusal(
        RefusalCode.SEG_REFERENCES_OTHER_SERIES,
        f"the series that the segmentation references {what}",
        tag="SeriesInstanceUID (0020,000E) in ReferencedSeriesSequence (0008,1115)",
        value=min(named) if named else present[0].facts.uid,
        uid=segmentation.instance.sop_instance_uid,
    )


def _refuse_absent_images(segmentation: Segmentation, facts: StudyFacts) -> None:
    """Refuse a SEG that references images that are not in the study."""
    referenced = segmentation.referenced_sop_instance_uids
    absent = referenced - facts.sop_instance_uids
    if absent:
        raise Refusal(
            RefusalCode.SEG_REFERENCES_ABSENT_INSTANCES,
            f"{len(absent)} of the {len(referenced)} images that the segmentation references are not in the study",
            tag="ReferencedSOPInstanceUID (0008,1155)",
            value=min(absent),
            uid=segmentation.instance.sop_instance_uid,
        )


def _best_without_references(series: Sequence[JudgedSeries], segmentation: Segmentation) -> _Choice:
    """Return the best ranked series of the SEG's frame of reference, among those that show most of the tumour's planes.

    A series that shows none of them is refused where the tumour is resampled, as SEGMENT_OUTSIDE_VOLUME.
    """
    images = [s for s in series if s.facts.has_ct]
    frame = segmentation.instance.frame_of_reference_uid
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


def _other_frame(segmentation: Segmentation, series: Sequence[JudgedSeries]) -> Refusal:
    frames = sorted(frame for s in series for frame in s.facts.frames_of_reference)
    own = segmentation.instance.frame_of_reference_uid
    return Refusal(
        RefusalCode.SEG_FRAME_OF_REFERENCE,
        "the segmentation lies in another frame of reference than the CT"
        + (f", whose is {frames[0]}" if frames else ", which names none"),
        tag="FrameOfReferenceUID (0020,0052)",
        value=own or None,
        uid=segmentation.instance.sop_instance_uid,
    )
