"""Of several passes in one series, the one on which the tumour was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.geometry import position_along, stack_axes
from pdl1es.dicom.passes import SAME_POSITION_MM, Passes, is_one_pass, overlapping_passes
from pdl1es.dicom.segmentation import Segment
from pdl1es.dicom.selection.facts import SeriesFacts
from pdl1es.dicom.series import CT_SOP_CLASSES, CTSeries, CTSlice, SetAside
from pdl1es.dicom.stack import placed_slices, stack_of
from pdl1es.dicom.structure_set import ContourSource
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.score_warning import ScoreWarning

OTHER_PASS: Final = "of another pass than the one on which the tumour was drawn"
_OF_SEVERAL_PASSES: Final = (RefusalCode.DUPLICATE_SLICES, RefusalCode.GEOMETRY_INCONSISTENT)
"""Faults of a series that the choice of one pass can mend."""
REACH_MM: Final = 11.0
"""Distance from the tumour within which a second pass matters: the margin of the features, and a slice's interpolation."""


def with_drawn_pass(
    facts: SeriesFacts, segmentation: ContourSource, segment: Segment, minimum_slices: int
) -> SeriesFacts:
    """Return a series with the stack of the one pass on which the tumour was drawn, where its passes overlap.

    Told in this order: the images that the tumour's frames were derived from, the images that the SEG lists, slices at
    the very places of all frames, the only pass that reaches the tumour. Images that are there twice, and that nothing tells
    apart, are told by the SEG's list. Passes that overlap away from the tumour, and
    form a stack all the same, are left as they are.

    Parameters
    ----------
    facts
        The series.
    segmentation, segment
        The tumour.
    minimum_slices
        Fewest slices of a stack.

    Returns
    -------
    SeriesFacts
        As it was, where there is one pass, or where nothing says which one it is.
    """
    if facts.stack is None and (facts.fault is None or facts.fault.code not in _OF_SEVERAL_PASSES):
        return facts
    if facts.stack is not None:
        slices, aside = list(facts.stack.slices), list(facts.stack.set_aside)
    else:
        try:
            slices, aside = placed_slices(i for i in facts.instances if i.sop_class_uid in CT_SOP_CLASSES)
        except Refusal:
            return facts  # no passes of one geometry
    normal = stack_axes(slices[0].plane)[2]
    heights = _heights(segmentation, segment, normal)
    near = (heights[0] - REACH_MM, heights[-1] + REACH_MM) if heights else None
    found = overlapping_passes(slices, normal, near if facts.stack is not None else None)
    if found is not None:
        drawn = _drawn(found, segmentation, segment, normal)
    elif facts.stack is None:
        drawn = _listed(slices, segmentation, normal, near)
    else:
        return facts
    if drawn is None:
        if found is None or facts.fault is None or facts.fault.code is not RefusalCode.DUPLICATE_SLICES:
            return facts  # a stack is judged later, where the tumour's own extent is known, as OVERLAPPING_PASSES
        return replace(facts, fault=_unclear(found, facts))
    kept = {id(s) for s in drawn}
    others = [SetAside(s.instance.sop_instance_uid, s.frame, OTHER_PASS) for s in slices if id(s) not in kept]
    try:
        stack = stack_of(drawn, [*aside, *others], minimum_slices=minimum_slices)
    except Refusal as refusal:
        return replace(facts, stack=None, fault=refusal)
    return replace(facts, stack=stack, fault=None)


def warn_of_other_passes(stack: CTSeries) -> tuple[ScoreWarning, ...]:
    """Tell how many images of other passes were left out of a stack."""
    left_out = sum(entry.reason == OTHER_PASS for entry in stack.set_aside)
    if not left_out:
        return ()
    message = (
        f"The CT series holds several passes that overlap; the one on which the tumour was drawn was scored, and {left_out} "
        "image(s) of others were left out."
    )
    return (ScoreWarning("OTHER_PASS_LEFT_OUT", message),)


def _heights(segmentation: ContourSource, segment: Segment, normal: NDArray[np.float64]) -> list[float]:
    """Return the coordinates of the tumour's frames along a stack, ascending, mm."""
    return sorted(segmentation.positions_of(segment.number, normal))


def _drawn(
    found: Passes, segmentation: ContourSource, segment: Segment, normal: NDArray[np.float64]
) -> Sequence[CTSlice] | None:
    """Return the pass on which the tumour was drawn; None where that is not clear."""
    uids = [{s.instance.sop_instance_uid for s in one} for one in found.passes]
    # a reference to an object that holds frames of several passes does not identify a pass
    shared = {uid for n, one in enumerate(uids) for other in uids[n + 1 :] for uid in one & other}
    sources = {image.uid for frame in segmentation.sources_of(segment.number) for image in frame} - shared
    listed = segmentation.referenced_sop_instance_uids - shared
    for named in (sources, listed):
        touched = [one for one, own in zip(found.passes, uids, strict=True) if not own.isdisjoint(named)]
        if len(touched) == 1:
            return touched[0]
        if named is sources and touched:
            return None  # drawn on several
    heights = _heights(segmentation, segment, normal)
    if not heights:
        return None
    places = [np.array([position_along(s.plane, normal) for s in one]) for one in found.passes]
    for fits in (_holds_all, _reaches):
        fitting = [one for one, at in zip(found.passes, places, strict=True) if fits(at, heights)]
        if len(fitting) == 1:
            return fitting[0]
    return None


def _listed(
    slices: Sequence[CTSlice],
    segmentation: ContourSource,
    normal: NDArray[np.float64],
    near: tuple[float, float] | None,
) -> Sequence[CTSlice] | None:
    """Return the slices that the SEG names, where they are one pass around the whole tumour; else None.

    For images that are there twice under different UIDs, and that nothing else tells apart.
    """
    named = segmentation.referenced_sop_instance_uids
    at = sorted(
        (position_along(s.plane, normal), n) for n, s in enumerate(slices) if s.instance.sop_instance_uid in named
    )
    places = [z for z, _ in at]
    if near is None or not places or not is_one_pass(places):
        return None
    every = [position_along(s.plane, normal) for s in slices]
    if (
        places[0] > max(near[0], min(every)) + SAME_POSITION_MM
        or places[-1] < min(near[1], max(every)) - SAME_POSITION_MM
    ):
        return None
    return [slices[n] for _, n in at]


def _holds_all(places: NDArray[np.float64], heights: Sequence[float]) -> bool:
    """Tell whether every frame lies at one of the places."""
    return all(float(np.abs(places - z).min()) < SAME_POSITION_MM for z in heights)


def _reaches(places: NDArray[np.float64], heights: Sequence[float]) -> bool:
    """Tell whether a pass has slices at the tumour, or so near that they disturb."""
    return bool(places[-1] > heights[0] - REACH_MM and places[0] < heights[-1] + REACH_MM)


def _unclear(found: Passes, facts: SeriesFacts) -> Refusal:
    assert facts.fault is not None
    return Refusal(
        RefusalCode.DUPLICATE_SLICES,
        f"{len(found.passes)} passes overlap, told apart by {found.told_by}, and the segmentation does not say which one it "
        "was drawn on",
        tag=facts.fault.tag,
        value=facts.fault.value,
        uid=facts.fault.uid,
    )
