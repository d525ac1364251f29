"""A study surveyed: parsed once, then judged once, with the choice or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from pdl1es.dicom.contour_origin import warn_of_automatic
from pdl1es.dicom.protocol.check import check_protocol
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.segmentation import Segment
from pdl1es.dicom.selection.drawn_pass import warn_of_other_passes, with_drawn_pass
from pdl1es.dicom.selection.facts import StudyFacts, parse_study
from pdl1es.dicom.selection.frame_sources import warn_of_frames_off_their_sources
from pdl1es.dicom.selection.left_out import with_left_out
from pdl1es.dicom.selection.reference import choose_series
from pdl1es.dicom.selection.rules import SelectionRules
from pdl1es.dicom.selection.segment import (
    JudgedSegment,
    SegmentCandidate,
    choose_segment,
    judge_segments,
    segment_candidate,
    warn_of_unknown_end,
)
from pdl1es.dicom.selection.series import (
    JudgedSeries,
    SeriesCandidate,
    judge_series,
    series_candidates,
    warn_of_sharper,
    with_coverage,
)
from pdl1es.dicom.series import CTSeries
from pdl1es.dicom.structure_set import ContourSource
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.score_warning import ScoreWarning


@dataclass(frozen=True, slots=True, repr=False)
class Selection:
    """The one CT series, and the one segment of a SEG or region of a structure set that will be scored.

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
    segmentation: ContourSource
    segment: Segment
    candidates: tuple[SeriesCandidate, ...]
    warnings: tuple[ScoreWarning, ...]

    def __repr__(self) -> str:
        codes = ", ".join(warning.code for warning in self.warnings) or "no warning"
        return f"<Selection: {self.ct!r}, number {self.segment.number} of {self.segmentation!r}, {codes}>"


@dataclass(frozen=True, slots=True, repr=False)
class Survey:
    """All that the rules make of a study, whether or not it can be scored.

    Attributes
    ----------
    candidates
        Every series, the chosen one first.
    segments
        Every segment of every readable SEG, and every region of a structure set.
    refusal
        Why nothing is selected, or None.
    selection
        What is selected, or None.
    """

    candidates: tuple[SeriesCandidate, ...]
    segments: tuple[SegmentCandidate, ...]
    refusal: Refusal | None
    selection: Selection | None

    def __repr__(self) -> str:
        outcome = repr(self.selection) if self.refusal is None else f"refused, {self.refusal.code.name}"
        return f"<Survey: {len(self.candidates)} series, {len(self.segments)} segments, {outcome}>"


def select(study: Study, rules: SelectionRules, protocol_rules: ProtocolRules) -> Selection:
    """Choose the CT series and the tumour's segment.

    The segment is chosen first, among all SEG objects. Its SEG's references name the series. Where it has none, the
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
        In this order: SEVERAL_PATIENTS, SEVERAL_STUDIES, NO_CT, NO_SEG, SEG_UNREADABLE, SEG_INCOMPLETE, NO_TUMOUR_SEGMENT,
        SEVERAL_TUMOUR_SEGMENTS, SEG_NOT_ON_CT, SEG_REFERENCES_OTHER_SERIES, SEG_REFERENCES_ABSENT_INSTANCES,
        SEG_FRAME_OF_REFERENCE, NO_ELIGIBLE_CT, then what `ct_series` raises, NOT_HU, and what `check_protocol` raises. With
        ``choose: largest``, what `read_segment_mask` raises as well.
    """
    result = survey(study, rules, protocol_rules)
    if result.refusal is not None:
        raise result.refusal
    assert result.selection is not None  # a survey has one or the other
    return result.selection


def survey(study: Study, rules: SelectionRules, protocol_rules: ProtocolRules) -> Survey:
    """Judge every series and every segment of a study, and choose where a choice can be made.

    Parameters
    ----------
    study
        The headers.
    rules, protocol_rules
        Of ``app.yaml``.

    Returns
    -------
    Survey
        What `select` raises is in ``refusal``.
    """
    facts = parse_study(study, rules.minimum_slices)
    series = tuple(judge_series(found, rules, protocol_rules) for found in facts.series)
    regions = [region for structure_set in facts.structure_sets for region in structure_set.regions]
    segments = judge_segments((*facts.segmentations, *regions), rules.segment)
    tumour: JudgedSegment | None = None
    try:
        _refuse_several_patients(facts)
        _refuse_several_studies(facts)
        _refuse_no_ct(facts)
        _refuse_no_seg(facts)
        tumour, passed_over = choose_segment(segments, facts.unreadable, rules.segment)
        segmentation, segment = tumour.segmentation, tumour.segment
        series = tuple(_of_drawn_pass(judged, tumour, rules, protocol_rules) for judged in series)
        series = tuple(with_coverage(judged, segmentation, segment) for judged in series)
        choice = choose_series(series, segmentation, segment, facts)
        chosen = choice.series
        protocol_warnings = check_protocol(chosen.stack, protocol_rules)
    except Refusal as found:
        refusal = with_left_out(found, study)
        return Survey(series_candidates(series), _segment_candidates(segments, tumour), refusal, None)
    warnings = (
        *passed_over,
        *_warn_of_copies(facts),
        *warn_of_unknown_end(segmentation),
        *warn_of_automatic(segment),
        *protocol_warnings,
        *choice.warnings,
        *warn_of_frames_off_their_sources(chosen.stack, segmentation, segment),
        *warn_of_other_passes(chosen.stack),
        *warn_of_sharper(chosen, series),
    )
    candidates = series_candidates(series, chosen, choice.why)
    selection = Selection(chosen.stack, segmentation, segment, candidates, warnings)
    return Survey(candidates, _segment_candidates(segments, tumour), None, selection)


def _of_drawn_pass(
    judged: JudgedSeries, tumour: JudgedSegment, rules: SelectionRules, protocol_rules: ProtocolRules
) -> JudgedSeries:
    """Return a series by the pass on which the tumour was drawn, judged again where that is another stack."""
    facts = with_drawn_pass(judged.facts, tumour.segmentation, tumour.segment, rules.minimum_slices)
    return judged if facts is judged.facts else judge_series(facts, rules, protocol_rules)


def _segment_candidates(
    segments: tuple[JudgedSegment, ...], tumour: JudgedSegment | None
) -> tuple[SegmentCandidate, ...]:
    return tuple(segment_candidate(judged, chosen=judged is tumour) for judged in segments)


def _refuse_several_patients(facts: StudyFacts) -> None:
    if facts.patients > 1:
        raise Refusal(
            RefusalCode.SEVERAL_PATIENTS,
            f"the input holds objects of {facts.patients} patients",
            tag="PatientID (0010,0020)",
            value=f"{facts.patients} different values",
        )


def _refuse_several_studies(facts: StudyFacts) -> None:
    if len(facts.study_uids) > 1:
        raise Refusal(
            RefusalCode.SEVERAL_STUDIES,
            f"the input holds objects of {len(facts.study_uids)} studies",
            tag="StudyInstanceUID (0020,000D)",
            value=", ".join(facts.study_uids[:3]),
        )


def _refuse_no_ct(facts: StudyFacts) -> None:
    if not any(series.has_ct for series in facts.series):
        raise _lack(facts, RefusalCode.NO_CT, "a CT image")


def _refuse_no_seg(facts: StudyFacts) -> None:
    if not facts.segmentations and not facts.structure_sets and not facts.unreadable:
        raise _lack(facts, RefusalCode.NO_SEG, "a segmentation or structure set")


def _warn_of_copies(facts: StudyFacts) -> tuple[ScoreWarning, ...]:
    if not facts.copies:
        return ()
    message = (
        f"{facts.copies} file(s) are further copies of images of the study, in another encoding or with other values of "
        "attributes that the score does not hang on; the first of each by path was read."
    )
    return (ScoreWarning("FURTHER_COPIES", message),)


def _lack(facts: StudyFacts, code: RefusalCode, wanted: str) -> Refusal:
    modalities = f"modalities found: {', '.join(facts.modalities[:8])}" if facts.modalities else "no modality found"
    found = f"none of the {facts.objects} DICOM objects is {wanted}; {modalities}"
    if code is RefusalCode.NO_CT and facts.stored_otherwise:
        classes = ", ".join(f"{count} as {name}" for name, count in facts.stored_otherwise[:3])
        found += f"; objects of modality CT are stored as something else: {classes}"
    return Refusal(code, found)
