"""Which segment is the primary tumour: every segment judged, and the one that is chosen."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pdl1es.dicom.coded_concept import Code, code_is_among, comes_from_public_scheme
from pdl1es.dicom.free_text import shown_code, shown_term, shown_words
from pdl1es.dicom.geometry import canonical_axes, position_along
from pdl1es.dicom.header_elements import attribute_value
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.segmentation import Segment
from pdl1es.dicom.selection.rules import SegmentRules
from pdl1es.dicom.structure_set import ContourSource, RegionOfInterest
from pdl1es.dicom.tumour_codes import (
    ANATOMICAL_STRUCTURE,
    FOREIGN_CATEGORIES,
    GROSS_TUMOUR_VOLUME,
    NEUTRAL_CODES,
    PLACEHOLDER_CODES,
    UNSAID_TYPES,
)
from pdl1es.dicom.tumour_labels import excluding_pattern, label_matches
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.score_warning import ScoreWarning


@dataclass(frozen=True, slots=True)
class SegmentCandidate:
    """One segment of the study in the light of the rules.

    Attributes
    ----------
    sop_instance_uid
        The SEG or structure set that holds it.
    kind
        ``SEG`` or ``RTSTRUCT``.
    number, label
        As that object says.
    property_type, anatomic_region
        Their codes as text, or None.
    accepted
        Whether the rules take it for a primary tumour.
    chosen
        True for exactly one segment of a selection.
    reason
        Why it is accepted, or why not.
    """

    sop_instance_uid: str
    kind: str
    number: int
    label: str
    property_type: str | None
    anatomic_region: str | None
    accepted: bool
    chosen: bool
    reason: str


@dataclass(frozen=True, slots=True)
class JudgedSegment:
    """One judged segment.

    Attributes
    ----------
    segmentation, segment
        The segment, and the SEG that holds it.
    accepted
        Whether the rules take it for a primary tumour.
    reason
        Why it is accepted, or why not, as a clause.
    """

    segmentation: ContourSource
    segment: Segment
    accepted: bool
    reason: str

    @property
    def description(self) -> str:
        """The segment for a message: ``segment 2 'Heart' coded Heart (80891009, SCT)``."""
        kind = self.segment.property_type
        coded = " without a code" if kind is None else f" coded {_code_words(kind)}"
        name = "segment" if self.segmentation.kind == "SEG" else "ROI"
        return f"{name} {self.segment.number} '{shown_words(self.segment.label)}'{coded}"


def judge_segments(sources: Iterable[ContourSource], rules: SegmentRules) -> tuple[JudgedSegment, ...]:
    """Judge every segment of a study.

    Parameters
    ----------
    sources
        The study's SEGs, and the regions of its structure sets.
    rules
        Which segments are primary tumours.

    Returns
    -------
    tuple of JudgedSegment
        In the order of the sources and the segments' numbers.
    """
    return tuple(
        JudgedSegment(source, segment, *judge_segment(segment, rules))
        for source in sources
        for segment in source.segments
    )


def judge_segment(segment: Segment, rules: SegmentRules) -> tuple[bool, str]:
    """Tell whether the rules take a segment for a primary tumour of the lung, and why.

    Parameters
    ----------
    segment
        The segment.
    rules
        Which segments are primary tumours.

    Returns
    -------
    accepted, reason
        The reason reads as a clause: ``coded as Neoplasm, Primary (86049000, SCT)``.
    """
    if rules.names_one:
        if _is_named(segment, rules):
            return True, "named by the settings"
        return False, "not the one the settings name"
    obstacle = _exclusion(segment, rules)
    if obstacle is not None:
        return False, obstacle
    is_tumour, reason = _is_tumour(segment, rules)
    if not is_tumour:
        return False, reason
    site = segment.anatomic_region
    if site is not None and not rules.any_site and not code_is_among(site, rules.sites):
        return False, f"{reason}, but it lies in {_code_words(site)}, not in the lung"
    return True, reason


def _is_named(segment: Segment, rules: SegmentRules) -> bool:
    """Tell whether a segment matches everything by which the settings name one."""
    pairs = (
        (rules.label and rules.label.strip().casefold(), segment.label.strip().casefold()),
        (rules.tracking_id, segment.tracking_id),
        (rules.tracking_uid, segment.tracking_uid),
        (rules.number, segment.number),
    )
    return all(wanted is None or wanted == found for wanted, found in pairs)


def _exclusion(segment: Segment, rules: SegmentRules) -> str | None:
    """Return why a segment is never a primary tumour, whatever else is said of it, or None."""
    excluding = excluding_pattern(segment.label, rules.excluded_labels)
    if excluding is not None and not rules.accept_metastases:
        return f"the label matches '{excluding}', which excludes it"
    if segment.category is not None and code_is_among(segment.category, FOREIGN_CATEGORIES):
        return f"of the category {_code_words(segment.category)}"
    if segment.interpreted_type and segment.interpreted_type.upper() not in (GROSS_TUMOUR_VOLUME, *UNSAID_TYPES):
        return f"of the RT ROI Interpreted Type {_known_type(segment.interpreted_type)}"
    return None


def _known_type(interpreted_type: str) -> str:
    return shown_term(interpreted_type)


def _is_tumour(segment: Segment, rules: SegmentRules) -> tuple[bool, str]:
    """Tell whether a segment is a tumour by its code, or by its label where its codes name nothing else; and why."""
    kind, category = segment.property_type, segment.category
    if kind is not None and code_is_among(kind, rules.secondary_codes):
        if not rules.accept_metastases:
            return False, f"coded as a metastasis: {_code_words(kind)}"
        return True, f"coded as {_code_words(kind)}"
    if kind is not None and code_is_among(kind, rules.codes):
        return True, f"coded as {_code_words(kind)}"
    if (segment.interpreted_type or "").upper() == GROSS_TUMOUR_VOLUME:
        return True, "of the RT ROI Interpreted Type GTV"
    if not label_matches(segment.label, rules.label_patterns):
        return False, "neither coded nor labelled as a tumour"
    if kind is not None and _repeats_the_label(segment):
        return True, "labelled as a tumour"
    if kind is not None and comes_from_public_scheme(kind) and not code_is_among(kind, NEUTRAL_CODES):
        return False, f"labelled as a tumour but coded as {_code_words(kind)}"
    if category is not None and code_is_among(category, ANATOMICAL_STRUCTURE):
        return False, f"labelled as a tumour but of the category {_code_words(category)}"
    return True, "labelled as a tumour"


def _repeats_the_label(segment: Segment) -> bool:
    """Tell whether a type is the spleen's code with the segment's own label as meaning.

    MONAI Label and others write it so, and the category of organs beside it, where nobody chose a code.
    """
    kind = segment.property_type
    return (
        kind is not None
        and code_is_among(kind, PLACEHOLDER_CODES)
        and kind.meaning.strip().casefold() == segment.label.strip().casefold()
    )


def choose_segment(
    judged: Sequence[JudgedSegment], unreadable: Sequence[Refusal], rules: SegmentRules
) -> tuple[JudgedSegment, tuple[ScoreWarning, ...]]:
    """Choose the one tumour.

    Parameters
    ----------
    judged
        Every segment of the study.
    unreadable
        Why the study's other SEG objects cannot be read.
    rules
        What to do where several segments are tumours.

    Returns
    -------
    tumour, warnings
        The segment, and what the choice passed over.

    Raises
    ------
    Refusal
        SEG_UNREADABLE, SEG_INCOMPLETE, NO_TUMOUR_SEGMENT, SEVERAL_TUMOUR_SEGMENTS. Where the largest of several is
        chosen, what `read_segment_mask` raises.
    """
    accepted, other = _of_one_source([candidate for candidate in judged if candidate.accepted], rules)
    if not accepted and unreadable:
        raise unreadable[0]
    if not accepted:
        raise _no_tumour(judged, rules)
    warnings = list(other)
    if unreadable:
        message = f"{len(unreadable)} further segmentation object(s) could not be read and were ignored."
        warnings.append(ScoreWarning("SEG_IGNORED", message))
    drawn = [candidate for candidate in accepted if len(accepted) == 1 or not _is_empty(candidate)] or accepted[:1]
    if len(drawn) < len(accepted):
        message = f"{len(accepted) - len(drawn)} further segment(s) described as a tumour are empty and were ignored."
        warnings.append(ScoreWarning("EMPTY_SEGMENT_IGNORED", message))
    if len(drawn) == 1:
        return drawn[0], tuple(warnings)
    if rules.choose == "largest":
        message = f"{len(drawn)} segments are tumours; the largest one was scored."
        warnings.append(ScoreWarning("LARGEST_OF_SEVERAL", message))
        return max(drawn, key=_volume_mm3), tuple(warnings)
    if rules.choose == "newest":
        message = f"{len(drawn)} segments are tumours; the one of the newest segmentation was scored."
        warnings.append(ScoreWarning("NEWEST_OF_SEVERAL", message))
        return _newest(drawn), tuple(warnings)
    raise _several(drawn, "")


def _tag(candidates: Sequence[JudgedSegment], of_seg: str, of_structure_set: str) -> str:
    """Return the attribute that a refusal names, by the kind of the first object."""
    return of_structure_set if candidates and candidates[0].segmentation.kind == "RTSTRUCT" else of_seg


def _several(tumours: Sequence[JudgedSegment], why: str) -> Refusal:
    """Return the refusal that names every tumour by its object, number and label."""
    listed = "; ".join(
        f"{candidate.description} of {candidate.segmentation.instance.sop_instance_uid}" for candidate in tumours[:8]
    )
    more = f"; and {len(tumours) - 8} more" if len(tumours) > 8 else ""
    return Refusal(
        RefusalCode.SEVERAL_TUMOUR_SEGMENTS,
        f"{len(tumours)} segments are tumours{why}: {listed}{more}",
        tag=_tag(tumours, "SegmentSequence (0062,0002)", "StructureSetROISequence (3006,0020)"),
        value=f"{len(tumours)} tumours",
        uid=tumours[0].segmentation.instance.sop_instance_uid,
    )


def _is_empty(candidate: JudgedSegment) -> bool:
    """Tell whether a segment has no voxel: no frame, or frames that are all empty; or a region no closed contour."""
    if isinstance(candidate.segmentation, RegionOfInterest):
        return not candidate.segmentation.is_drawn
    if not candidate.segmentation.frames_of(candidate.segment.number):
        return True
    # imported here, because the decoders behind it are not needed where one segment is a tumour
    from pdl1es.dicom.pixels.segment_reader import read_segment_mask

    try:
        return not read_segment_mask(candidate.segmentation, candidate.segment.number).planes
    except Refusal:
        return False  # a segment that cannot be read may hold a tumour


_DRAWN_AT: Final = (("ContentDate", "ContentTime"), ("StructureSetDate", "StructureSetTime"))
_CREATED_AT: Final = (("InstanceCreationDate", "InstanceCreationTime"),)


def _newest(tumours: Sequence[JudgedSegment]) -> JudgedSegment:
    """Return the tumour of the newest segmentation; refuse where two are equally new, or one does not say when it is of."""
    left = list(tumours)
    for pairs in (_DRAWN_AT, _CREATED_AT):
        made = [
            next(filter(None, (_moment(candidate.segmentation.instance, *pair) for pair in pairs)), None)
            for candidate in left
        ]
        known = [moment for moment in made if moment is not None]
        if len(known) == len(left):
            left = [candidate for candidate, moment in zip(left, made, strict=True) if moment == max(known)]
        if len(left) == 1:
            return left[0]
    raise _several(left, ", and none of them is the newest")


def drawn_at(instance: Instance) -> str | None:
    """Return when a contour was drawn by its header (Content Date, or Structure Set Date), as text that sorts by time; None where unknown."""
    return next(filter(None, (_moment(instance, *pair) for pair in _DRAWN_AT)), None)


def _moment(instance: Instance, day: str, time: str) -> str | None:
    """Return date and time as text that sorts by time; None where either is absent or malformed."""
    date = re.fullmatch(r"\d{8}", str(attribute_value(instance.header, day) or "").strip())
    clock = re.fullmatch(
        r"(\d{2}(?:\d{2}(?:\d{2})?)?)(\.\d{1,6})?", str(attribute_value(instance.header, time) or "").strip()
    )
    if date is None or clock is None:
        return None
    return f"{date[0]}{clock[1]:0<6}{(clock[2] or '.').ljust(7, '0')}"


def warn_of_unknown_end(segmentation: ContourSource) -> tuple[ScoreWarning, ...]:
    """Warn where nothing in a segmentation of several objects says that the last of them is there."""
    if isinstance(segmentation, RegionOfInterest) or not segmentation.end_unknown:
        return ()
    message = (
        f"The segmentation is stored in {len(segmentation.instances)} objects that follow each other without a gap, and "
        "none of them says how many there are: a last one may be missing."
    )
    return (ScoreWarning("SEG_END_UNKNOWN", message, "withhold_group"),)


def _of_one_source(
    accepted: list[JudgedSegment], rules: SegmentRules
) -> tuple[list[JudgedSegment], tuple[ScoreWarning, ...]]:
    """Return the tumours of the SEGs, or those of the structure sets where the settings prefer them; tell of the others.

    Where only one of the two holds a tumour, there is nothing to prefer.
    """
    wanted = {"seg": "SEG", "rtstruct": "RTSTRUCT"}[rules.source]
    preferred = [candidate for candidate in accepted if candidate.segmentation.kind == wanted]
    if all(isinstance(c.segmentation, RegionOfInterest) and not c.segmentation.is_drawn for c in preferred):
        return accepted, ()
    if not preferred or len(preferred) == len(accepted):
        return accepted, ()
    words = {"SEG": "DICOM SEG", "RTSTRUCT": "RT Structure Set"}
    ignored = words["RTSTRUCT" if wanted == "SEG" else "SEG"]
    message = (
        f"The study holds the tumour in a DICOM SEG and in an RT Structure Set; the {words[wanted]} was scored, as the "
        f"settings say, and {len(accepted) - len(preferred)} tumour(s) of the {ignored} were not looked at."
    )
    return preferred, (ScoreWarning("OTHER_CONTOUR_IGNORED", message),)


def _no_tumour(judged: Sequence[JudgedSegment], rules: SegmentRules) -> Refusal:
    listed = "; ".join(f"{candidate.description}: {candidate.reason}" for candidate in judged[:12])
    more = f"; and {len(judged) - 12} more" if len(judged) > 12 else ""
    if rules.names_one:
        return Refusal(
            RefusalCode.NO_TUMOUR_SEGMENT,
            f"no segment is the one that the settings name; there is {listed or 'no segment at all'}{more}",
            remedy="correct label, tracking_id, tracking_uid or number of selection.segment in app.yaml, or leave them out",
        )
    what = "no segment is a primary lung tumour"
    first = segment_candidate(judged[0]) if judged else None
    return Refusal(
        RefusalCode.NO_TUMOUR_SEGMENT,
        f"{what}; there is {listed or 'no segment at all'}{more}",
        tag=_tag(judged, "SegmentedPropertyTypeCodeSequence (0062,000F)", "RTROIInterpretedType (3006,00A4)"),
        value=first.property_type if first else None,
        uid=first.sop_instance_uid if first else None,
    )


def _volume_mm3(candidate: JudgedSegment) -> float:
    """Return a segment's volume, mm3; each frame is as thick as the median distance between the SEG's planes.

    It only ranks segments: the volume that is reported is measured on the CT. A SEG with a single plane counts as 1 mm
    thick.
    """
    # imported here, because the decoders behind it are not needed where one segment is a tumour
    from pdl1es.dicom.pixels.segment_reader import read_segment_mask
    from pdl1es.dicom.planar_contours import region_volume_mm3
    from pdl1es.dicom.segment_mask import segment_volume_mm3

    if isinstance(candidate.segmentation, RegionOfInterest):
        return region_volume_mm3(candidate.segmentation)
    mask = read_segment_mask(candidate.segmentation, candidate.segment.number)
    if not mask.planes:
        return 0.0
    normal = canonical_axes(mask.planes[0])[2]
    frames = candidate.segmentation.frames
    places = sorted({position_along(frame.plane, normal) for frame in frames if frame.plane is not None})
    distances = [high - low for low, high in pairwise(places)]
    thickness = statistics.median_low(distances) if distances else 1.0
    return segment_volume_mm3(
        (drawn, plane.row_spacing * plane.column_spacing, thickness)
        for drawn, plane in zip(mask.masks, mask.planes, strict=True)
    )


def segment_candidate(judged: JudgedSegment, *, chosen: bool = False) -> SegmentCandidate:
    """Return a judged segment as it is shown.

    Parameters
    ----------
    judged
        The segment.
    chosen
        Whether it will be scored.

    Returns
    -------
    SegmentCandidate
    """
    segment = judged.segment
    return SegmentCandidate(
        sop_instance_uid=judged.segmentation.instance.sop_instance_uid,
        kind=judged.segmentation.kind,
        number=segment.number,
        label=shown_words(segment.label),
        property_type=_code_words(segment.property_type) if segment.property_type else None,
        anatomic_region=_code_words(segment.anatomic_region) if segment.anatomic_region else None,
        accepted=judged.accepted,
        chosen=chosen,
        reason=judged.reason,
    )


def _code_words(code: Code) -> str:
    return shown_code(code.value, code.scheme, code.meaning)
