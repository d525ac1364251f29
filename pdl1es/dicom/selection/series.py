"""Which CT series can be scored, and which of them is scored: every series judged, and the one that is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pdl1es.dicom.geometry import angle_degrees, normal_vector
from pdl1es.dicom.protocol.check import series_sharpness
from pdl1es.dicom.protocol.kernels import Sharpness, kernel_text
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.rescale import refuse_other_units
from pdl1es.dicom.segmentation import Segment
from pdl1es.dicom.selection.facts import SeriesFacts
from pdl1es.dicom.selection.rules import SelectionRules
from pdl1es.dicom.series import CTSeries, kernels_of, median_slice_spacing, series_axes, slice_positions
from pdl1es.dicom.structure_set import ContourSource
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.score_warning import ScoreWarning

HEAD: Final = np.array([0.0, 0.0, 1.0])
"""The patient's axis, in LPS."""


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
    slice_spacing_mm
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
    slice_spacing_mm: float | None
    tumour_coverage: float | None
    chosen: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EligibleSeries:
    """A series that can be scored.

    Attributes
    ----------
    facts
        The series.
    stack
        Its slices.
    sharpness
        Of its reconstruction kernels.
    coverage
        Share of the tumour's planes that it shows, 0 to 1, or None where it was not computed.
    """

    facts: SeriesFacts
    stack: CTSeries
    sharpness: Sharpness
    coverage: float | None = None

    @property
    def rank(self) -> tuple[bool, int, float, float, bool, str]:
        """Sorts the better series first: slices as reconstructed, sharp kernel, thinner, coverage, PRIMARY, UID."""
        derived = any(s.derivations for s in self.stack.slices)
        sharp = ("sharp", "unknown", "smooth").index(self.sharpness)
        secondary = any(s.image_type[1:2] != ("PRIMARY",) for s in self.stack.slices)
        return derived, sharp, median_slice_spacing(self.stack), -(self.coverage or 0.0), secondary, self.facts.uid


@dataclass(frozen=True, slots=True)
class UnfitSeries:
    """A series that cannot be scored.

    Attributes
    ----------
    facts
        The series.
    refusal
        Why its CT images cannot be scored; None for a series without CT images.
    """

    facts: SeriesFacts
    refusal: Refusal | None


JudgedSeries = EligibleSeries | UnfitSeries


def judge_series(facts: SeriesFacts, rules: SelectionRules, protocol_rules: ProtocolRules) -> JudgedSeries:
    """Tell whether a series can be scored.

    Parameters
    ----------
    facts
        The series.
    rules
        Which series can be scored.
    protocol_rules
        Which kernels are sharp.

    Returns
    -------
    JudgedSeries
        With the reason where it can't be scored.
    """
    if facts.stack is None:
        return UnfitSeries(facts, facts.fault)
    try:
        _refuse_oblique(facts.stack, rules)
        for ct_slice in facts.stack.slices:
            refuse_other_units(ct_slice.rescale_type, ct_slice.instance.sop_instance_uid)
    except Refusal as refusal:
        return UnfitSeries(facts, refusal)
    return EligibleSeries(facts, facts.stack, series_sharpness(facts.stack, protocol_rules))


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


def with_coverage(series: JudgedSeries, segmentation: ContourSource, segment: Segment) -> JudgedSeries:
    """Return a series with the share of the tumour's planes that it shows.

    Parameters
    ----------
    series
        The series.
    segmentation, segment
        The tumour.

    Returns
    -------
    JudgedSeries
        Unchanged where the series is unfit, where it has another frame of reference, or where no frame of the segment
        has a place.
    """
    if isinstance(series, UnfitSeries) or lies_elsewhere(series, segmentation):
        return series
    normal = series_axes(series.stack)[2]
    planes = segmentation.positions_of(segment.number, normal)
    if not planes:
        return series
    positions = slice_positions(series.stack).tolist()
    margin = median_slice_spacing(series.stack) / 2
    inside = sum(positions[0] - margin <= z <= positions[-1] + margin for z in planes)
    return replace(series, coverage=inside / len(planes))


def lies_elsewhere(series: JudgedSeries, segmentation: ContourSource) -> bool:
    """Tell whether series and SEG both name a frame of reference and it is not the same.

    Parameters
    ----------
    series
        The series.
    segmentation
        The SEG.

    Returns
    -------
    bool
        False where either does not name one.
    """
    frames = series.facts.frames_of_reference
    own = segmentation.frame_of_reference_uid
    return bool(frames) and bool(own) and own not in frames


def warn_of_sharper(chosen: EligibleSeries, series: Sequence[JudgedSeries]) -> tuple[ScoreWarning, ...]:
    """Warn where the tumour was drawn on a smooth series although the study holds a sharp one that shows it.

    Parameters
    ----------
    chosen
        The series that will be scored.
    series
        Every series of the study.

    Returns
    -------
    tuple of ScoreWarning
        SHARPER_SERIES_EXISTS, or empty.
    """
    if chosen.sharpness != "smooth":
        return ()
    # half of the planes, because some SEGs hold empty frames for every slice of their CT
    sharp = [s for s in eligible_among(series) if s.sharpness == "sharp" and (s.coverage or 0.0) >= 0.5]
    if not sharp:
        return ()
    number = min(sharp, key=lambda s: s.rank).facts.number
    where = f" (series {number})" if number is not None else ""
    message = (
        "The segmentation was drawn on a CT with a smooth kernel although the study holds one with a sharp kernel"
        f"{where}; drawn on that one, the result would follow the protocol."
    )
    return (ScoreWarning("SHARPER_SERIES_EXISTS", message),)


def eligible_among(series: Sequence[JudgedSeries]) -> list[EligibleSeries]:
    """Return the series that can be scored, the best ranked first."""
    return sorted((s for s in series if isinstance(s, EligibleSeries)), key=lambda s: s.rank)


def series_candidates(
    series: Sequence[JudgedSeries], chosen: EligibleSeries | None = None, why: tuple[str, ...] = ()
) -> tuple[SeriesCandidate, ...]:
    """Return every series as it is shown.

    Parameters
    ----------
    series
        Every series of the study, by UID.
    chosen, why
        The series that will be scored, and why; None where there is none.

    Returns
    -------
    tuple of SeriesCandidate
        The chosen one, then the eligible ones by rank, then the others by UID.
    """
    first = [] if chosen is None else [chosen]
    eligible = [s for s in eligible_among(series) if s is not chosen]
    others = [s for s in series if isinstance(s, UnfitSeries)]
    return (
        *(_eligible_candidate(s, chosen, why) for s in (*first, *eligible)),
        *(_unfit_candidate(s) for s in others),
    )


def _unfit_candidate(series: UnfitSeries) -> SeriesCandidate:
    refusal = series.refusal
    return SeriesCandidate(
        series_instance_uid=series.facts.uid,
        series_number=series.facts.number,
        modality=series.facts.modality,
        images=len(series.facts.instances),
        kernel=None,
        sharpness="unknown",
        slice_spacing_mm=None,
        tumour_coverage=None,
        chosen=False,
        reasons=("not a CT image" if refusal is None else f"{refusal.code.name}: {refusal.found}",),
    )


def _eligible_candidate(series: EligibleSeries, chosen: EligibleSeries | None, why: tuple[str, ...]) -> SeriesCandidate:
    if series is chosen:
        reasons = why
    elif chosen is None:
        reasons = ("eligible",)
    else:
        reasons = _why_not(series, chosen)
    stack = series.stack
    if stack.set_aside:
        kinds = sorted({entry.reason for entry in stack.set_aside})
        reasons += (f"{len(stack.set_aside)} images set aside: " + "; ".join(kinds[:3]),)
    return SeriesCandidate(
        series_instance_uid=series.facts.uid,
        series_number=series.facts.number,
        modality=series.facts.modality,
        images=len(stack.slices),
        kernel=", ".join(text for text in map(kernel_text, kernels_of(stack)[:3]) if text) or None,
        sharpness=series.sharpness,
        slice_spacing_mm=round(median_slice_spacing(stack), 3),
        tumour_coverage=None if series.coverage is None else round(series.coverage, 3),
        chosen=series is chosen,
        reasons=reasons,
    )


def _why_not(series: EligibleSeries, chosen: EligibleSeries) -> tuple[str, ...]:
    """Return in what an eligible series differs from the chosen one."""
    reasons = ["eligible, but not the series of the segmentation"]
    if series.sharpness != chosen.sharpness:
        reasons.append(f"{series.sharpness} kernel against {chosen.sharpness}")
    spacing, other = median_slice_spacing(series.stack), median_slice_spacing(chosen.stack)
    if abs(spacing - other) > 0.01:
        reasons.append(f"{spacing:.2f} mm between slices against {other:.2f} mm")
    if series.coverage is not None and series.coverage < 1.0:
        reasons.append(f"shows {series.coverage:.0%} of the tumour's planes")
    return tuple(reasons)
