"""Which CT series and which segment: the rules, the choice, and why every other series was not chosen."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from pdl1es.dicom.geometry import angle_degrees, canonical_axes, normal_vector, position_along
from pdl1es.dicom.protocol import ProtocolRules, check_protocol, kernel_text, series_sharpness
from pdl1es.dicom.rescale import refuse_other_units
from pdl1es.dicom.segmentation import (
    SEGMENTATION_SOP_CLASSES,
    Segment,
    Segmentation,
    parse_segmentation,
    read_segment_mask,
)
from pdl1es.dicom.series import (
    CT_SOP_CLASSES,
    SMALLEST_STACK,
    CTSeries,
    attribute_value,
    ct_series,
    kernels_of,
    median_slice_spacing,
    series_axes,
    series_of,
    slice_positions,
)
from pdl1es.dicom.study import Instance, Study
from pdl1es.dicom.tumour_codes import (
    ANATOMICAL_STRUCTURE,
    FOREIGN_CATEGORIES,
    LUNG_SITES,
    NEUTRAL_CODES,
    SECONDARY_CODES,
    TUMOUR_CODES,
    code_is_among,
    code_text,
    comes_from_public_scheme,
)
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.score_warning import ScoreWarning

MAX_LABEL: Final = 64
"""Characters of a label that the rules look at: VR LO has no more."""
HEAD: Final = np.array([0.0, 0.0, 1.0])
"""The patient's axis, in LPS."""


def _checked_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_checked_pattern)]
CodeEntry = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+:[A-Za-z0-9._-]+$", max_length=64)]


class SegmentRules(BaseModel):
    """Which segment is the primary tumour.

    A segment is taken for it where its Segmented Property Type is in ``codes``, or where its label matches ``labels``
    and its type names nothing else; and where its Anatomic Region, if it has one, is in ``sites``. Where ``label``,
    ``tracking_id``, ``tracking_uid`` or ``number`` is set, the segment is named outright: it is what matches all that
    are set, however it is coded. Volume never makes a segment a tumour.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    choose: Literal["refuse", "largest"] = Field(
        default="refuse", description="what to do where several segments are tumours"
    )
    label: str | None = Field(
        default=None, description="the segment's label (case does not matter), to name it outright"
    )
    tracking_id: str | None = Field(default=None, description="the segment's tracking id, to name it outright")
    tracking_uid: str | None = Field(default=None, description="the segment's tracking UID, to name it outright")
    number: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None, description="the segment's number, to name it outright"
    )
    codes: tuple[CodeEntry, ...] = Field(
        default=TUMOUR_CODES, description="segmented property types that are tumours, as scheme:value"
    )
    secondary_codes: tuple[CodeEntry, ...] = Field(
        default=SECONDARY_CODES, description="segmented property types that are metastases"
    )
    accept_metastases: bool = Field(default=False, description="take metastases for tumours to score")
    labels: tuple[Pattern, ...] = Field(
        default=(
            r"^GTV[-_ ]?[pT]?([-_ ]?\d{1,2})?$",
            r"^(primary[-_ ]?)?(lung[-_ ]?)?(tumou?r|neoplasm|mass|nodule|cancer)([-_ ]?\d{1,2})?$",
            r"^(tumou?r|neoplasm|lesion|mass|nodule),? ?[-_]?primary$",
        ),
        description="regular expressions of labels that are tumours (case does not matter)",
    )
    excluded_labels: tuple[Pattern, ...] = Field(
        default=(r"metasta", r"\bmets?\b", r"lymph", r"\bnod(e|es|al)\b", r"\bGTV[-_ ]?n", r"\bbenign\b"),
        description="regular expressions of labels that are never the primary tumour",
    )
    sites: tuple[CodeEntry, ...] = Field(
        default=LUNG_SITES, description="anatomic regions that are accepted, where a segment names one"
    )
    any_site: bool = Field(default=False, description="accept a tumour in any anatomic region")

    @property
    def names_one(self) -> bool:
        """Whether the settings name the segment outright."""
        return any(value is not None for value in (self.label, self.tracking_id, self.tracking_uid, self.number))


class SelectionRules(BaseModel):
    """Which CT series can be scored, and which segment.

    A series is eligible where its images are CT by SOP Class, are no localizers or projections by Image Type, form one
    stack, lie across the patient, and are in Hounsfield units by Rescale Type. Image Type's second value (PRIMARY,
    SECONDARY) only ranks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    maximum_obliquity_degrees: Annotated[float, Field(ge=0.0, lt=90.0)] = Field(
        default=35.0,
        description="largest angle between the slices' normal and the patient's axis; gantries tilt by up to 30",
    )
    minimum_slices: Annotated[int, Field(ge=SMALLEST_STACK)] = Field(
        default=SMALLEST_STACK, description="fewest slices of a series"
    )
    segment: SegmentRules = SegmentRules()


@dataclass(frozen=True, slots=True)
class SeriesCandidate:
    """One series of the study in the light of the rules.

    Attributes
    ----------
    series_instance_uid, series_number, modality
        Its identity. A series description may hold a name and is never repeated.
    images
        Number of slices.
    kernel
        Convolution Kernel, or None.
    sharpness
        ``sharp``, ``smooth`` or ``unknown`` by the vendor table.
    slice_spacing
        Median distance between slices, mm, or None.
    tumour_coverage
        Share of the segment's planes that this series shows, 0 to 1, or None where it was not computed.
    chosen
        True for exactly one series of a selection.
    reasons
        Why it was chosen, or why not.
    """

    series_instance_uid: str
    series_number: int | None
    modality: str
    images: int
    kernel: str | None
    sharpness: str
    slice_spacing: float | None
    tumour_coverage: float | None
    chosen: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SegmentCandidate:
    """One segment of the study in the light of the rules.

    Attributes
    ----------
    sop_instance_uid
        The SEG that holds it.
    number, label
        As the SEG says.
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
    number: int
    label: str
    property_type: str | None
    anatomic_region: str | None
    accepted: bool
    chosen: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The one CT series, the one SEG and the one segment that will be scored.

    Attributes
    ----------
    ct, segmentation, segment
        The choice.
    candidates
        Every series of the study, the chosen one first.
    warnings
        Protocol warnings of the chosen series, and what the choice passed over.
    """

    ct: CTSeries
    segmentation: Segmentation
    segment: Segment
    candidates: tuple[SeriesCandidate, ...]
    warnings: tuple[ScoreWarning, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """All that the rules make of a study, whether or not it can be scored.

    Attributes
    ----------
    candidates
        Every series, the chosen one first.
    segments
        Every segment of every readable SEG.
    refusal
        Why nothing is selected, or None.
    selection
        What is selected, or None.
    """

    candidates: tuple[SeriesCandidate, ...]
    segments: tuple[SegmentCandidate, ...]
    refusal: Refusal | None
    selection: Selection | None


def select(study: Study, rules: SelectionRules, protocol_rules: ProtocolRules) -> Selection:
    """Choose the CT series and the tumour's segment.

    The segment is chosen first, among all SEG objects. Its SEG's references name the series; where it has none, the
    best ranked series (`ProtocolRules`: sharp kernel, then thinner slices, then coverage of the tumour) of the same
    frame of reference is taken, and a warning says so.

    Parameters
    ----------
    study
        The headers.
    rules, protocol_rules
        Of ``app.yaml``.

    Returns
    -------
    Selection
        Independent of the order of ``study.instances``.

    Raises
    ------
    Refusal
        In this order: SEVERAL_PATIENTS, SEVERAL_STUDIES, NO_CT, NO_SEG, SEG_UNREADABLE, NO_TUMOUR_SEGMENT,
        SEVERAL_TUMOUR_SEGMENTS, SEG_REFERENCES_OTHER_SERIES, SEG_REFERENCES_ABSENT_INSTANCES, SEG_FRAME_OF_REFERENCE,
        NO_ELIGIBLE_CT, then what `ct_series` raises, NOT_HU, and what `check_protocol` raises. With ``choose: largest``, what
        `read_segment_mask` raises as well.
    """
    result = survey(study, rules, protocol_rules)
    if result.selection is None:
        assert result.refusal is not None  # a survey has one or the other
        raise result.refusal
    return result.selection


def survey(study: Study, rules: SelectionRules, protocol_rules: ProtocolRules) -> Survey:
    """Judge every series and every segment of a study, and choose where a choice can be made.

    Parameters and order of tests as for `select`, which is built on this; what `select` raises is in ``refusal``.
    """
    assessed = tuple(
        _assess(uid, instances, rules, protocol_rules) for uid, instances in series_of(study.instances).items()
    )
    try:
        _refuse_mixture(study)
        _refuse_lack(study)
    except Refusal as refusal:
        return Survey(_candidates(assessed), _readable_segments(study, rules.segment), refusal, None)
    segmentations, unreadable = _parse_all(study)
    judged = _judge_all(segmentations, rules.segment)
    try:
        segmentation, segment, warnings = _choose_segment(judged, unreadable, rules.segment)
    except Refusal as refusal:
        return Survey(_candidates(assessed), tuple(j.candidate for j in judged), refusal, None)
    segments = tuple(
        replace(j.candidate, chosen=j.segmentation is segmentation and j.segment is segment) for j in judged
    )
    assessed = tuple(_with_coverage(a, segmentation, segment) for a in assessed)
    try:
        chosen, why = _choose_series(assessed, segmentation, study)
        assert chosen.ct is not None  # only eligible series are chosen
        warnings += check_protocol(chosen.ct, protocol_rules)
    except Refusal as refusal:
        return Survey(_candidates(assessed), segments, refusal, None)
    warnings += _passed_over(chosen, assessed, segmentation)
    candidates = _candidates(assessed, chosen, why)
    selection = Selection(chosen.ct, segmentation, segment, candidates, warnings)
    return Survey(candidates, segments, None, selection)


# --- the study -------------------------------------------------------------------------------------------------------


def _refuse_mixture(study: Study) -> None:
    """Refuse several patients or studies. Objects that name none (a DICOMDIR, say) do not count."""
    issuers: dict[str, set[str]] = {}
    for instance in study.instances:
        patient = _text(instance, "PatientID")
        if patient:
            issuers.setdefault(patient, set()).add(_text(instance, "IssuerOfPatientID"))
    # One id with and without an issuer is one patient; the same id of two issuers is two.
    patients = sum(max(1, len(known - {""})) for known in issuers.values())
    if patients > 1:
        raise Refusal(
            RefusalCode.SEVERAL_PATIENTS,
            f"the input holds objects of {patients} patients",
            tag="PatientID (0010,0020)",
            value=f"{patients} different values",
        )
    studies = sorted({i.study_instance_uid for i in study.instances} - {""})
    if len(studies) > 1:
        raise Refusal(
            RefusalCode.SEVERAL_STUDIES,
            f"the input holds objects of {len(studies)} studies",
            tag="StudyInstanceUID (0020,000D)",
            value=", ".join(studies[:3]),
        )


def _refuse_lack(study: Study) -> None:
    """Refuse a study without CT or without SEG."""
    tag = "SOPClassUID (0008,0016)"
    if not any(i.sop_class_uid in CT_SOP_CLASSES for i in study.instances):
        raise Refusal(
            RefusalCode.NO_CT,
            f"none of the {len(study.instances)} DICOM objects is a CT image",
            tag=tag,
            value=_modalities(study),
        )
    if not any(i.sop_class_uid in SEGMENTATION_SOP_CLASSES for i in study.instances):
        raise Refusal(
            RefusalCode.NO_SEG,
            f"none of the {len(study.instances)} DICOM objects is a segmentation",
            tag=tag,
            value=_modalities(study),
        )


def _modalities(study: Study) -> str:
    found = sorted({_modality(i) for i in study.instances})
    return "modalities " + ", ".join(found[:8]) if found else "no object"


# --- the segment -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Judged:
    """One segment and the verdict on it."""

    segmentation: Segmentation
    segment: Segment
    candidate: SegmentCandidate


def _parse_all(study: Study) -> tuple[tuple[Segmentation, ...], tuple[Refusal, ...]]:
    """Return every readable SEG, by SOP Instance UID, and the refusals of the others."""
    objects = {i.sop_instance_uid: i for i in study.instances if i.sop_class_uid in SEGMENTATION_SOP_CLASSES}
    segmentations, unreadable = [], []
    for uid in sorted(objects):
        try:
            segmentations.append(parse_segmentation(objects[uid]))
        except Refusal as refusal:
            unreadable.append(refusal)
    return tuple(segmentations), tuple(unreadable)


def _readable_segments(study: Study, rules: SegmentRules) -> tuple[SegmentCandidate, ...]:
    return tuple(j.candidate for j in _judge_all(_parse_all(study)[0], rules))


def _judge_all(segmentations: Iterable[Segmentation], rules: SegmentRules) -> tuple[_Judged, ...]:
    judged = []
    for segmentation in segmentations:
        for segment in sorted(segmentation.segments, key=lambda s: s.number):
            accepted, reason = judge_segment(segment, rules)
            candidate = SegmentCandidate(
                sop_instance_uid=segmentation.instance.sop_instance_uid,
                number=segment.number,
                label=_printable(segment.label),
                property_type=_printable(code_text(segment.property_type)) if segment.property_type else None,
                anatomic_region=_printable(code_text(segment.anatomic_region)) if segment.anatomic_region else None,
                accepted=accepted,
                chosen=False,
                reason=reason,
            )
            judged.append(_Judged(segmentation, segment, candidate))
    return tuple(judged)


def judge_segment(segment: Segment, rules: SegmentRules) -> tuple[bool, str]:
    """Tell whether the rules take a segment for a primary tumour of the lung, and why.

    Returns
    -------
    accepted, reason
        The reason reads as a clause: ``coded as Neoplasm, Primary (86049000, SCT)``.
    """
    if rules.names_one:
        return (
            (True, "named by the settings") if _is_named(segment, rules) else (False, "not the one the settings name")
        )
    label = segment.label.strip()[:MAX_LABEL]
    excluding = next((p for p in rules.excluded_labels if re.search(p, label, re.IGNORECASE)), None)
    if excluding is not None and not rules.accept_metastases:
        return False, f"the label matches {excluding!r}, which excludes it"
    category = segment.category
    if category is not None and code_is_among(category, FOREIGN_CATEGORIES):
        return False, f"of the category {_printable(code_text(category))}"
    kind = segment.property_type
    labelled = any(re.search(pattern, label, re.IGNORECASE) for pattern in rules.labels)
    if kind is not None and code_is_among(kind, rules.secondary_codes):
        if not rules.accept_metastases:
            return False, f"coded as a metastasis: {_printable(code_text(kind))}"
        reason = f"coded as {_printable(code_text(kind))}"
    elif kind is not None and code_is_among(kind, rules.codes):
        reason = f"coded as {_printable(code_text(kind))}"
    elif not labelled:
        return False, "neither coded nor labelled as a tumour"
    elif kind is not None and comes_from_public_scheme(kind) and not code_is_among(kind, NEUTRAL_CODES):
        return False, f"labelled as a tumour but coded as {_printable(code_text(kind))}"
    elif category is not None and code_is_among(category, ANATOMICAL_STRUCTURE):
        return False, f"labelled as a tumour but of the category {_printable(code_text(category))}"
    else:
        reason = "labelled as a tumour"
    site = segment.anatomic_region
    if site is not None and not rules.any_site and not code_is_among(site, rules.sites):
        return False, f"{reason}, but it lies in {_printable(code_text(site))}, not in the lung"
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


def _choose_segment(
    judged: Sequence[_Judged], unreadable: Sequence[Refusal], rules: SegmentRules
) -> tuple[Segmentation, Segment, tuple[ScoreWarning, ...]]:
    """Return the one tumour, its SEG, and what the choice passed over."""
    accepted = [j for j in judged if j.candidate.accepted]
    if not accepted:
        if unreadable:
            raise unreadable[0]
        raise _no_tumour(judged, rules)
    warnings: list[ScoreWarning] = []
    if unreadable:
        message = f"{len(unreadable)} further segmentation object(s) could not be read and were ignored."
        warnings.append(ScoreWarning("SEG_IGNORED", message))
    choice = accepted[0]
    if len(accepted) > 1:
        if rules.choose != "largest":
            listed = "; ".join(_named(j.candidate) for j in accepted[:8])
            raise Refusal(
                RefusalCode.SEVERAL_TUMOUR_SEGMENTS,
                f"{len(accepted)} segments are tumours: {listed}",
                tag="SegmentSequence (0062,0002)",
                value=f"{len(accepted)} tumours",
                uid=choice.segmentation.instance.sop_instance_uid,
            )
        choice = max(accepted, key=lambda j: _volume_mm3(j.segmentation, j.segment.number))
        message = f"{len(accepted)} segments are tumours; the largest one was scored."
        warnings.append(ScoreWarning("LARGEST_OF_SEVERAL", message))
    return choice.segmentation, choice.segment, tuple(warnings)


def _no_tumour(judged: Sequence[_Judged], rules: SegmentRules) -> Refusal:
    listed = "; ".join(f"{_named(j.candidate)}: {j.candidate.reason}" for j in judged[:12])
    more = f"; and {len(judged) - 12} more" if len(judged) > 12 else ""
    what = "no segment is the one that the settings name" if rules.names_one else "no segment is a primary lung tumour"
    first = judged[0].candidate if judged else None
    return Refusal(
        RefusalCode.NO_TUMOUR_SEGMENT,
        f"{what}; there is {listed or 'no segment at all'}{more}",
        tag="SegmentedPropertyTypeCodeSequence (0062,000F)",
        value=first.property_type if first else None,
        uid=first.sop_instance_uid if first else None,
    )


def _named(candidate: SegmentCandidate) -> str:
    """Return a segment for a message: ``segment 2 'Heart' coded Heart (80891009, SCT)``."""
    coded = f" coded {candidate.property_type}" if candidate.property_type else " without a code"
    return f"segment {candidate.number} '{candidate.label}'{coded}"


def _volume_mm3(segmentation: Segmentation, number: int) -> float:
    """Return a segment's volume, mm3: voxels times pixel area times the median distance between the SEG's planes.

    A SEG with a single plane counts as 1 mm thick.
    """
    mask = read_segment_mask(segmentation, number)
    if not mask.planes:
        return 0.0
    normal = canonical_axes(mask.planes[0])[2]
    places = sorted({position_along(f.plane, normal) for f in segmentation.frames if f.plane is not None})
    distances = [high - low for low, high in pairwise(places)]
    thickness = statistics.median_low(distances) if distances else 1.0
    area = mask.planes[0].row_spacing * mask.planes[0].column_spacing
    return float(np.count_nonzero(mask.masks)) * area * thickness


# --- the series ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Assessed:
    """One series: what it is, and why it cannot be scored if it cannot.

    Attributes
    ----------
    uid, instances
        The series.
    ct
        Its stack where it is eligible, else None.
    refusal
        Why it is not eligible; None for an eligible series and for what is no CT.
    sharpness, coverage
        As in `SeriesCandidate`.
    """

    uid: str
    instances: tuple[Instance, ...]
    ct: CTSeries | None
    refusal: Refusal | None
    sharpness: str
    coverage: float | None = None

    @property
    def is_ct(self) -> bool:
        return self.ct is not None or self.refusal is not None

    @property
    def rank(self) -> tuple[int, float, float, bool, str]:
        """Sorts the better series first: sharp kernel, thinner slices, coverage, PRIMARY images, UID."""
        assert self.ct is not None  # only eligible series are ranked
        sharp = ("sharp", "unknown", "smooth").index(self.sharpness)
        secondary = any(s.image_type[1:2] != ("PRIMARY",) for s in self.ct.slices)
        return sharp, median_slice_spacing(self.ct), -(self.coverage or 0.0), secondary, self.uid


def _assess(
    uid: str, instances: tuple[Instance, ...], rules: SelectionRules, protocol_rules: ProtocolRules
) -> _Assessed:
    images = tuple(i for i in instances if i.sop_class_uid in CT_SOP_CLASSES)
    if not images:
        return _Assessed(uid, instances, None, None, "unknown")
    try:
        series = ct_series(images, minimum_slices=rules.minimum_slices)
        _refuse_oblique(series, rules)
        for ct_slice in series.slices:
            refuse_other_units(ct_slice.rescale_type, ct_slice.instance.sop_instance_uid)
    except Refusal as refusal:
        return _Assessed(uid, instances, None, refusal, "unknown")
    return _Assessed(uid, instances, series, None, series_sharpness(series, protocol_rules))


def _refuse_oblique(series: CTSeries, rules: SelectionRules) -> None:
    """Refuse slices that do not lie across the patient."""
    plane = series.slices[0].plane
    angle = angle_degrees(normal_vector(plane), HEAD)
    if angle > rules.maximum_obliquity_degrees:
        raise Refusal(
            RefusalCode.NO_ELIGIBLE_CT,
            f"the slices are not axial: their normal lies {angle:.0f} degrees from the patient's axis",
            tag="ImageOrientationPatient (0020,0037)",
            value="\\".join(f"{cosine:g}" for cosine in (*plane.row_direction, *plane.column_direction)),
            uid=series.series_instance_uid,
        )


def _with_coverage(assessed: _Assessed, segmentation: Segmentation, segment: Segment) -> _Assessed:
    """Return the series with the share of the segment's planes that it shows."""
    if assessed.ct is None or _other_frame_of_reference(assessed, segmentation):
        return assessed
    normal = series_axes(assessed.ct)[2]
    planes = [
        position_along(f.plane, normal)
        for f in segmentation.frames
        if f.plane is not None and f.segment_number in (None, segment.number)
    ]
    if not planes:
        return assessed
    positions = slice_positions(assessed.ct).tolist()
    margin = median_slice_spacing(assessed.ct) / 2
    inside = sum(positions[0] - margin <= z <= positions[-1] + margin for z in planes)
    return replace(assessed, coverage=inside / len(planes))


def _choose_series(
    assessed: Sequence[_Assessed], segmentation: Segmentation, study: Study
) -> tuple[_Assessed, tuple[str, ...]]:
    """Return the series that will be scored, and why it."""
    referenced = _referenced_series(assessed, segmentation)
    if referenced is None:
        return _best_without_references(assessed, segmentation)
    absent = _absent_instances(segmentation, study)
    uid = segmentation.instance.sop_instance_uid
    if absent:
        total = len(segmentation.referenced_sop_instance_uids)
        raise Refusal(
            RefusalCode.SEG_REFERENCES_ABSENT_INSTANCES,
            f"{len(absent)} of the {total} images that the segmentation references are not in the study",
            tag="ReferencedSOPInstanceUID (0008,1155)",
            value=absent[0],
            uid=uid,
        )
    same_frame = [a for a in referenced if not _other_frame_of_reference(a, segmentation)]
    if not same_frame:
        raise _other_frame(segmentation, referenced)
    eligible = sorted((a for a in same_frame if a.ct is not None), key=lambda a: a.rank)
    if not eligible:
        refusal = same_frame[0].refusal
        assert refusal is not None  # a CT series that is not eligible
        raise refusal
    why = ["the segmentation references it"]
    if len(eligible) > 1:
        why.append(f"the best ranked of {len(eligible)} that it references")
    return eligible[0], tuple(why)


def _referenced_series(assessed: Sequence[_Assessed], segmentation: Segmentation) -> list[_Assessed] | None:
    """Return the CT series that the SEG was drawn on, by its series references or else by its images.

    None where it references nothing; empty where it references only images and none of them is in the study.
    """
    named = set(segmentation.referenced_series_uids)
    images = segmentation.referenced_sop_instance_uids
    if not named and not images:
        return None
    if named:
        present = [a for a in assessed if a.uid in named]
    else:
        present = [a for a in assessed if any(i.sop_instance_uid in images for i in a.instances)]
        if not present:
            return []  # images without a series, and none of them here: they are told as absent
    found = [a for a in present if a.is_ct]
    if found:
        return found
    what = f"is of modality {_modality(present[0].instances[0])}, not CT" if present else "is not in the study"
    raise Refusal(
        RefusalCode.SEG_REFERENCES_OTHER_SERIES,
        f"the series that the segmentation references {what}",
        tag="SeriesInstanceUID (0020,000E) in ReferencedSeriesSequence (0008,1115)",
        value=min(named) if named else present[0].uid,
        uid=segmentation.instance.sop_instance_uid,
    )


def _absent_instances(segmentation: Segmentation, study: Study) -> list[str]:
    present = {i.sop_instance_uid for i in study.instances}
    return sorted(segmentation.referenced_sop_instance_uids - present)


def _best_without_references(
    assessed: Sequence[_Assessed], segmentation: Segmentation
) -> tuple[_Assessed, tuple[str, ...]]:
    """Return the best ranked series of the SEG's frame of reference, among those that show most of the tumour's planes.

    One that shows none is refused where the tumour is resampled, as SEGMENT_OUTSIDE_VOLUME.
    """
    images = [a for a in assessed if a.is_ct]
    frame = segmentation.instance.frame_of_reference_uid
    same_frame = [a for a in images if frame and frame in _frames_of_reference(a)]
    if not same_frame:
        raise _other_frame(segmentation, images)
    eligible = [a for a in same_frame if a.ct is not None]
    if not eligible:
        if len(same_frame) == 1 and same_frame[0].refusal is not None:
            raise same_frame[0].refusal
        reasons = sorted({a.refusal.found for a in same_frame if a.refusal is not None})
        raise Refusal(
            RefusalCode.NO_ELIGIBLE_CT,
            f"none of {len(same_frame)} CT series can be used: " + "; ".join(reasons[:4]),
            tag="SeriesInstanceUID (0020,000E)",
            value=same_frame[0].uid,
            uid=segmentation.instance.sop_instance_uid,
        )
    most = max(a.coverage or 0.0 for a in eligible)
    covering = sorted((a for a in eligible if (a.coverage or 0.0) == most), key=lambda a: a.rank)
    return covering[0], (f"the best ranked of {len(covering)} that show {most:.0%} of the tumour's planes",)


def _other_frame(segmentation: Segmentation, series: Sequence[_Assessed]) -> Refusal:
    frames = sorted(set().union(*(_frames_of_reference(a) for a in series)))
    own = segmentation.instance.frame_of_reference_uid
    return Refusal(
        RefusalCode.SEG_FRAME_OF_REFERENCE,
        "the segmentation lies in another frame of reference than the CT"
        + (f", whose is {frames[0]}" if frames else ", which names none"),
        tag="FrameOfReferenceUID (0020,0052)",
        value=own or None,
        uid=segmentation.instance.sop_instance_uid,
    )


def _frames_of_reference(assessed: _Assessed) -> set[str]:
    return {i.frame_of_reference_uid for i in assessed.instances} - {""}


def _other_frame_of_reference(assessed: _Assessed, segmentation: Segmentation) -> bool:
    """Tell whether both name a frame of reference and it is not the same."""
    frames = _frames_of_reference(assessed)
    own = segmentation.instance.frame_of_reference_uid
    return bool(frames) and bool(own) and own not in frames


def _passed_over(
    chosen: _Assessed, assessed: Sequence[_Assessed], segmentation: Segmentation
) -> tuple[ScoreWarning, ...]:
    """Return warnings on what a reader may ask about the choice of the series."""
    warnings = []
    if not segmentation.referenced_series_uids and not segmentation.referenced_sop_instance_uids:
        message = "The segmentation does not say on which series it was drawn; the best ranked series was scored."
        warnings.append(ScoreWarning("SEG_WITHOUT_REFERENCES", message))
    if chosen.sharpness == "smooth":
        # half of the planes: some SEG hold empty frames for every slice of their CT, beyond the tumour
        sharp = [a for a in assessed if a.ct is not None and a.sharpness == "sharp" and (a.coverage or 0.0) >= 0.5]
        if sharp:
            best = min(sharp, key=lambda a: a.rank)
            number = _series_number(best.instances[0])
            where = f" (series {number})" if number is not None else ""
            message = (
                "The segmentation was drawn on a CT with a smooth kernel although the study holds one with a sharp kernel"
                f"{where}; drawn on that one, the result would follow the protocol."
            )
            warnings.append(ScoreWarning("SHARPER_SERIES_EXISTS", message))
    return tuple(warnings)


# --- what is shown ---------------------------------------------------------------------------------------------------


def _candidates(
    assessed: Sequence[_Assessed], chosen: _Assessed | None = None, why: tuple[str, ...] = ()
) -> tuple[SeriesCandidate, ...]:
    """Return every series: the chosen one, then the eligible ones by rank, then the others by UID."""
    eligible = sorted((a for a in assessed if a.ct is not None and a is not chosen), key=lambda a: a.rank)
    others = [a for a in assessed if a.ct is None]
    first = [chosen] if chosen is not None else []
    return tuple(_candidate(a, chosen, why) for a in (*first, *eligible, *others))


def _candidate(assessed: _Assessed, chosen: _Assessed | None, why: tuple[str, ...]) -> SeriesCandidate:
    first = assessed.instances[0]
    series = assessed.ct
    if series is None:
        reason = f"{assessed.refusal.code.name}: {assessed.refusal.found}" if assessed.refusal else "not a CT image"
        reasons: tuple[str, ...] = (reason,)
    elif assessed is chosen:
        reasons = why
    elif chosen is None:
        reasons = ("eligible",)
    else:
        reasons = _why_not(assessed, chosen)
    if series is not None and series.set_aside:
        kinds = sorted({entry.reason for entry in series.set_aside})
        reasons += (f"{len(series.set_aside)} images set aside: " + "; ".join(kinds[:3]),)
    kernels = kernels_of(series) if series is not None else ()
    return SeriesCandidate(
        series_instance_uid=assessed.uid,
        series_number=_series_number(first),
        modality=_modality(first),
        images=len(series.slices) if series is not None else len(assessed.instances),
        kernel=", ".join(text for text in map(kernel_text, kernels[:3]) if text) or None,
        sharpness=assessed.sharpness,
        slice_spacing=round(median_slice_spacing(series), 3) if series is not None else None,
        tumour_coverage=None if assessed.coverage is None else round(assessed.coverage, 3),
        chosen=assessed is chosen,
        reasons=reasons,
    )


def _why_not(assessed: _Assessed, chosen: _Assessed) -> tuple[str, ...]:
    """Return in what an eligible series differs from the chosen one."""
    assert assessed.ct is not None  # both are eligible
    assert chosen.ct is not None
    reasons = ["eligible, but not the series of the segmentation"]
    if assessed.sharpness != chosen.sharpness:
        reasons.append(f"{assessed.sharpness} kernel against {chosen.sharpness}")
    spacing, other = median_slice_spacing(assessed.ct), median_slice_spacing(chosen.ct)
    if abs(spacing - other) > 0.01:
        reasons.append(f"{spacing:.2f} mm between slices against {other:.2f} mm")
    if assessed.coverage is not None and assessed.coverage < 1.0:
        reasons.append(f"shows {assessed.coverage:.0%} of the tumour's planes")
    return tuple(reasons)


def _text(instance: Instance, keyword: str) -> str:
    value = attribute_value(instance.header, keyword)
    return "" if value is None else str(value).strip()


def _modality(instance: Instance) -> str:
    """Return Modality where it looks like a code, so that nothing else can stand in its place."""
    text = _text(instance, "Modality")
    return text if re.fullmatch(r"[A-Z0-9_ ]{1,16}", text) else "unknown"


def _series_number(instance: Instance) -> int | None:
    try:
        return int(_text(instance, "SeriesNumber"))
    except ValueError:
        return None


def _printable(text: str) -> str:
    """Return a text of a file for a message: one line, at most 100 characters, no control characters."""
    return "".join(character if character.isprintable() else "?" for character in text)[:100]
