"""Where slices are missing in a stack."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from pdl1es.dicom.geometry import POSITION_TAG
from pdl1es.dicom.series import CTSeries, slice_positions
from pdl1es.errors import Refusal, RefusalCode

GAP_RATIO: Final = 1.5
"""A distance above this multiple of the usual distance around it is a gap: one slice missing doubles a distance."""
GAP_WINDOW: Final = 7
"""Distances around a slice pair (itself included) of which the lower median is the usual distance."""


@dataclass(frozen=True, slots=True)
class SliceGap:
    """Two neighbouring slices with at least one missing between them.

    Attributes
    ----------
    low, high
        Their coordinates along the canonical normal, mm.
    usual
        Usual distance around them, mm.
    """

    low: float
    high: float
    usual: float

    @property
    def distance(self) -> float:
        """Distance between the two slices, mm."""
        return self.high - self.low


def slice_gaps(series: CTSeries) -> tuple[SliceGap, ...]:
    """Return where slices are missing.

    A distance is a gap where it exceeds `GAP_RATIO` times the usual distance around it, which is the lower median of the
    `GAP_WINDOW` distances centred on it. The median of the whole series is not used, because a scan of 4 mm steps
    followed by 7 mm steps is whole, and because slices elsewhere must not change what is said of the tumour's.

    Where slices were lost regularly, the gaps themselves are the usual distance around. Instance Number then tells: a
    distance above `GAP_RATIO` times the median of the whole series is a gap where the numbers skip across it.

    Parameters
    ----------
    series
        The stack.

    Returns
    -------
    tuple of SliceGap
        Ascending; empty for a whole stack.
    """
    positions = slice_positions(series)
    distances = np.diff(positions).tolist()
    overall = statistics.median_low(distances)
    skips = _number_skips(series)
    half = GAP_WINDOW // 2
    gaps = []
    for i, distance in enumerate(distances):
        usual = statistics.median_low(distances[max(0, i - half) : i + half + 1])
        if distance > GAP_RATIO * usual or (skips[i] and distance > GAP_RATIO * overall):
            gaps.append(SliceGap(float(positions[i]), float(positions[i + 1]), min(usual, overall)))
    return tuple(gaps)


def _number_skips(series: CTSeries) -> list[bool]:
    """Tell for each pair of neighbours whether Instance Number steps further between them than is usual in the series."""
    numbers = [s.instance_number for s in series.slices]
    steps = [None if a is None or b is None else abs(b - a) for a, b in pairwise(numbers)]
    known = [step for step in steps if step is not None]
    usual = statistics.median_low(known) if known else 0
    return [step is not None and step > usual for step in steps]


def refuse_gaps(series: CTSeries, low: float, high: float) -> None:
    """Refuse a stack with slices missing in a range.

    Parameters
    ----------
    series
        The stack.
    low, high
        Ends of the range along the canonical normal, mm. A gap that only touches an end is not in it.

    Raises
    ------
    Refusal
        MISSING_SLICES, naming the positions.
    """
    gaps = [gap for gap in slice_gaps(series) if gap.high > low and gap.low < high]
    if gaps:
        places = ", ".join(f"{gap.low:.2f} and {gap.high:.2f} mm" for gap in gaps[:5])
        more = f" and {len(gaps) - 5} more" if len(gaps) > 5 else ""
        raise Refusal(
            RefusalCode.MISSING_SLICES,
            f"no slices between {places}{more} along the stack, where the usual distance is {gaps[0].usual:.2f} mm",
            tag=POSITION_TAG,
            value=f"{gaps[0].distance:.2f} mm apart",
            uid=series.series_instance_uid,
        )
