"""Several passes in one series: phases, acquisitions or reconstructions whose slices lie between each other or at one place."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.functional_groups import FunctionalGroups
from pdl1es.dicom.geometry import position_along
from pdl1es.dicom.header_elements import attribute_value
from pdl1es.dicom.series import MULTI_FRAME_CT_SOP_CLASSES, CTSlice

MOST_PASSES: Final = 32
"""Most passes that are separated: a scan over ten phases of breathing has as many passes, each in one or two parts."""
SAME_POSITION_MM: Final = 0.01
"""Slices closer than this are the same slice twice."""
_CROWDED: Final = 0.75
"""Slices closer than this share of their own pass's spacing lie between those of another pass."""

_ACQUISITIONS: Final = (
    ("FrameOfReferenceUID", "", ""),
    ("TemporalPositionIdentifier", "FrameContentSequence", "TemporalPositionIndex"),
    ("AcquisitionNumber", "FrameContentSequence", "FrameAcquisitionNumber"),
    ("AcquisitionDateTime", "FrameContentSequence", "FrameAcquisitionDateTime"),
    ("AcquisitionTime", "", ""),
)
"""Attributes that tell acquisitions apart, each with the functional group in which a multi-frame object keeps it."""
_FURTHER: Final = (
    ("NominalPercentageOfCardiacPhase", "CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase"),
    ("TriggerTime", "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    ("ConvolutionKernel", "CTReconstructionSequence", "ConvolutionKernel"),
    ("ImageType", "CTImageFrameTypeSequence", "FrameType"),
    ("KVP", "CTXRayDetailsSequence", "KVP"),
    ("ContentTime", "", ""),
)
"""Attributes that differ between phases and reconstructions, but also within one: they count where slices are crowded."""
_ORDERS: Final = ("AcquisitionTime", "ContentTime", "InstanceNumber")
"""Attributes by whose order one pass follows the other."""


@dataclass(frozen=True, slots=True)
class Passes:
    """The passes of a series, whose slices overlap.

    Attributes
    ----------
    told_by
        Keyword of the attribute that tells them apart.
    passes
        The slices of each, ascending along the stack.
    """

    told_by: str
    passes: tuple[tuple[CTSlice, ...], ...]


def overlapping_passes(
    slices: Sequence[CTSlice], normal: NDArray[np.float64], near: tuple[float, float] | None = None
) -> Passes | None:
    """Return the passes of a series.

    Parts of a scan that follow each other along the table are one pass, whatever numbers they have.

    Parameters
    ----------
    slices
        Of one geometry.
    normal
        Of their planes, shape (3,).
    near
        A range along the normal, mm: only passes that overlap in it count.

    Returns
    -------
    Passes or None
        None where one slice follows the other, or where nothing tells the passes apart.
    """
    placed = sorted(
        ((position_along(s.plane, normal), s) for s in slices),
        key=lambda entry: (entry[0], entry[1].instance.sop_instance_uid, entry[1].frame),
    )
    for keyword, macro, in_frame in _ACQUISITIONS:
        if found := _split(placed, keyword, _labels(placed, keyword, macro, in_frame), near):
            return found
    for keyword, macro, in_frame in _FURTHER:
        labels = _labels(placed, keyword, macro, in_frame)
        if _is_crowded(placed, labels) and (found := _split(placed, keyword, labels, near)):
            return found
    for keyword in _ORDERS:
        labels = _runs(placed, keyword)
        # two, because one slice that is there twice divides a scan into two runs
        if _is_crowded(placed, labels) and (found := _split(placed, keyword, labels, near, least=2)):
            return found
    return None


_Placed = Sequence[tuple[float, CTSlice]]


def _split(
    placed: _Placed, told_by: str, labels: Sequence[str], near: tuple[float, float] | None, least: int = 1
) -> Passes | None:
    """Return the slices by their labels, where that makes passes of them that overlap by so many slices at the least."""
    groups: defaultdict[str, list[tuple[float, CTSlice]]] = defaultdict(list)
    for entry, label in zip(placed, labels, strict=True):
        groups[label].append(entry)
    if not 1 < len(groups) <= MOST_PASSES:
        return None
    parts = list(groups.values())
    if not any(_overlap(a, b, near, least) for n, a in enumerate(parts) for b in parts[n + 1 :]):
        return None
    if not all(is_one_pass([z for z, _ in part]) for part in parts):
        return None
    return Passes(told_by, tuple(tuple(s for _, s in part) for part in parts))


def _overlap(first: _Placed, second: _Placed, near: tuple[float, float] | None, least: int) -> bool:
    """Tell whether slices of two groups lie between each other."""
    low, high = max(first[0][0], second[0][0]) - SAME_POSITION_MM, min(first[-1][0], second[-1][0]) + SAME_POSITION_MM
    if any(sum(low <= z <= high for z, _ in group) < min(least, len(group)) for group in (first, second)):
        return False
    if near is not None:
        low, high = max(low, near[0]), min(high, near[1])
    return low < high


def is_one_pass(positions: Sequence[float]) -> bool:
    """Tell whether ascending positions (mm) are those of one stack: none twice, and no two stacks that interleave."""
    distances = np.diff(positions)
    if distances.size and float(distances.min()) < SAME_POSITION_MM:
        return False
    return int(np.count_nonzero(dips(distances))) <= max(1.0, len(distances) / 4)


def dips(distances: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which distances between slices are less than half of the ones beside them, shape as given."""
    around = np.minimum(np.r_[np.inf, distances[:-1]], np.r_[distances[1:], np.inf])
    return distances < 0.5 * around


def _labels(placed: _Placed, keyword: str, macro: str, in_frame: str) -> list[str]:
    return [_text(_frame_value(s, keyword, macro, in_frame)) for _, s in placed]


def _frame_value(ct_slice: CTSlice, keyword: str, macro: str, in_frame: str) -> Any:
    header = ct_slice.instance.header
    if macro and ct_slice.instance.sop_class_uid in MULTI_FRAME_CT_SOP_CLASSES:
        value = FunctionalGroups.of(header, ct_slice.frame).value(macro, in_frame)
        if value is not None:
            return value
    return attribute_value(header, keyword)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _runs(placed: _Placed, keyword: str) -> list[str]:
    """Return a label for each slice: the run that it is of, where runs go along the stack one way in the attribute's order.

    One label for all where a slice lacks the attribute, or where the order has nothing to do with the stack.
    """
    keys = [_order_key(s, keyword) for _, s in placed]
    if any(key is None for key in keys):
        return [""] * len(placed)
    order = sorted(range(len(placed)), key=lambda place: (keys[place] or 0.0, place))
    labels = [""] * len(placed)
    run, direction, previous = 0, 0.0, None
    for place in order:
        if previous is not None:
            step = placed[place][0] - placed[previous][0]
            if abs(step) < SAME_POSITION_MM or (direction and math.copysign(1.0, step) != direction):
                run, direction = run + 1, 0.0
            else:
                direction = math.copysign(1.0, step)
        labels[place] = str(run)
        previous = place
    return labels if run + 1 <= max(2, min(MOST_PASSES, len(placed) // 4)) else [""] * len(placed)


def _order_key(ct_slice: CTSlice, keyword: str) -> float | None:
    if keyword == "InstanceNumber":
        return None if ct_slice.instance_number is None else float(ct_slice.instance_number)
    text = _text(attribute_value(ct_slice.instance.header, keyword))
    try:
        hours, minutes, seconds = float(text[:2]), float(text[2:4] or 0), float(text[4:] or 0)
    except ValueError:
        return None
    return hours * 3600 + minutes * 60 + seconds


def _is_crowded(placed: _Placed, labels: Sequence[str]) -> bool:
    """Tell whether slices lie closer than their runs' own spacing and than they are thick, or than the slices elsewhere.

    The order of a series' images is no sign, because some archives number them in the order of arrival.
    """
    positions = np.array([z for z, _ in placed])
    distances = np.diff(positions)
    if len(set(labels)) == 1 or not distances.size:
        return False
    if float(distances.min()) < SAME_POSITION_MM:
        return True
    places: defaultdict[str, list[float]] = defaultdict(list)
    for z, label in zip(positions.tolist(), labels, strict=True):
        places[label].append(z)
    spacings = [statistics.median(b - a for a, b in pairwise(run)) for run in places.values() if len(run) > 1]
    if not spacings:
        return False
    close = distances < _CROWDED * min(spacings)
    if not close.any():
        return False
    thickness = [s.slice_thickness for _, s in placed if s.slice_thickness]
    thick = bool(thickness) and statistics.median(thickness) * _CROWDED > float(np.median(distances[close]))
    return thick or not bool(close.all())
