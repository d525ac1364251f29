"""Judges whether the values are Hounsfield units of a chest, by the histogram of the slices that were read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.padding import padding_range_hu
from pdl1es.dicom.series import CTSlice
from pdl1es.grid.resample import SliceReader
from pdl1es.method import NOISE_FLOOR_HU

_LOW: Final = -4096
_HIGH: Final = 4096
_BIN: Final = 8
"""Width of a bin, HU."""
_STEP: Final = 3
"""Every third row and column is counted, which is enough for shares of some per cent."""
AIR: Final = (NOISE_FLOOR_HU, -500)
"""Air and lung, HU."""
SOFT: Final = (-200, 200)
"""Fat, water, muscle, blood, HU."""
LEAST_AIR: Final = 0.02
LEAST_SOFT: Final = 0.005
"""A small field around a small tumour in the lung holds little: 0.9 % in the least of 939 phantoms' crops."""
MOST_DENSE: Final = 0.05
"""Largest share above 1500 HU."""
MOST_BELOW_AIR: Final = 0.02
"""Largest share below -1100 HU that is not padding, which is one value."""
PEAK: Final = (-150, 180)
"""The commonest value above -250 HU: fat or muscle."""
LOW_MEDIAN: Final = (-1080, -550)
"""The median of the values below -400 HU: air or lung."""
SHIFTED: Final = 400
"""A slice whose low values' median lies this far from that of all slices has another intercept, HU."""
_SAMPLE: Final = 80
"""Rows and columns, at the least, of the sample that is kept of each slice."""
_SAMPLE_HU: Final = (-1000, 200)
UNLIKE_NEIGHBOURS: Final = 1.3
"""A slice that differs from both neighbours by so many times their own difference is not from between them. In twelve
real series and crops the ratio is 0.9 at most, and in noise alone 1; with slices exchanged, cut off or of another pass it
is 1.4 to 10."""
_LEAST_DIFFERENCE_HU: Final = 5.0


@dataclass(slots=True)
class HounsfieldSurvey:
    """Histograms of the slices as they are read; filled by the reader that `reading` returns.

    Attributes
    ----------
    counts
        One histogram per slice, `_BIN` HU per bin.
    samples
        Of each slice the directions of its rows and columns, and pixels at regular distances, HU.
    """

    counts: list[NDArray[np.int64]] = field(default_factory=list)
    samples: list[tuple[tuple[float, ...], NDArray[np.float32]]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"HounsfieldSurvey({len(self.counts)} slices)"

    def reading(self, read_slice: SliceReader) -> SliceReader:
        """Return a reader that gives what ``read_slice`` gives, and keeps each slice's histogram."""

        def read(ct_slice: CTSlice) -> NDArray[Any]:
            hu = read_slice(ct_slice)
            seen = hu[::_STEP, ::_STEP]
            # padding below air is left out of the judgement in any case; at air's own value it cannot be told from air
            if (padding := padding_range_hu(ct_slice)) is not None and padding[0] > AIR[1]:
                seen = seen[(seen < padding[0]) | (seen > padding[1])]
            bins = (np.clip(seen, _LOW, _HIGH - 1).astype(np.int32) - _LOW) // _BIN
            self.counts.append(np.bincount(bins.ravel(), minlength=(_HIGH - _LOW) // _BIN))
            step = max(1, min(hu.shape) // _SAMPLE)
            directions = (*ct_slice.plane.row_direction, *ct_slice.plane.column_direction)
            self.samples.append((directions, np.clip(hu[::step, ::step], *_SAMPLE_HU).astype(np.float32)))
            return hu

        return read

    def foreign_slices(self) -> int:
        """Return how many slices resemble neither neighbour, although these resemble each other.

        Such a slice is damaged, or of another place or pass. Slices are taken in the order in which they were read, which is
        that of the stack.
        """
        return sum(map(_is_foreign, self.samples, self.samples[1:], self.samples[2:]))

    def repeated_slices(self) -> int:
        """Return how many slices hold the very values of the slice before; slices of one value do not count."""
        return sum(map(_is_repeated, self.samples, self.samples[1:]))


_Sample = tuple[tuple[float, ...], NDArray[np.float32]]


def _is_foreign(below: _Sample, own: _Sample, above: _Sample) -> bool:
    if not (_stored_alike(below, own) and _stored_alike(own, above)):
        return False
    nearest = min(_difference(below, own), _difference(own, above))
    return nearest > _LEAST_DIFFERENCE_HU and nearest > UNLIKE_NEIGHBOURS * _difference(below, above)


def _is_repeated(below: _Sample, own: _Sample) -> bool:
    return bool(np.ptp(own[1]) > 0) and np.array_equal(below[1], own[1])


def _stored_alike(first: _Sample, second: _Sample) -> bool:
    return first[1].shape == second[1].shape and bool(np.allclose(first[0], second[0], atol=1e-3))


def _difference(first: _Sample, second: _Sample) -> float:
    return float(np.abs(first[1] - second[1]).mean())


@dataclass(frozen=True, slots=True)
class HounsfieldLook:
    """What the slices' values look like.

    Attributes
    ----------
    air, soft, dense, below_air
        Shares of the pixels; padding does not count.
    peak_hu
        The commonest value above -250 HU; None where no pixel is above.
    low_median_hu
        Median of the values below -400 HU; None where there is none.
    shifted_slices
        Slices whose low values lie elsewhere than the others'.
    """

    air: float
    soft: float
    dense: float
    below_air: float
    peak_hu: int | None
    low_median_hu: int | None
    shifted_slices: int

    def faults(self) -> tuple[str, ...]:
        """Return what is not as in a CT of a chest, in words; empty where all is."""
        found = []
        if self.air < LEAST_AIR:
            found.append(f"{self.air:.1%} of the pixels are air or lung ({AIR[0]} to {AIR[1]} HU)")
        if self.soft < LEAST_SOFT:
            found.append(f"{self.soft:.1%} are soft tissue ({SOFT[0]} to {SOFT[1]} HU)")
        if self.dense > MOST_DENSE:
            found.append(f"{self.dense:.1%} lie above 1500 HU")
        if self.below_air > MOST_BELOW_AIR:
            found.append(f"{self.below_air:.1%} lie below air and are no padding")
        if self.peak_hu is None or not PEAK[0] <= self.peak_hu <= PEAK[1]:
            found.append(f"the commonest value of tissue is {self.peak_hu} HU")
        if self.low_median_hu is not None and not LOW_MEDIAN[0] <= self.low_median_hu <= LOW_MEDIAN[1]:
            found.append(f"air and lung have a median of {self.low_median_hu} HU")
        if self.shifted_slices:
            found.append(f"{self.shifted_slices} slices are shifted against the others")
        return tuple(found)


def look_at(survey: HounsfieldSurvey) -> HounsfieldLook:
    """Describe the values of the slices that a survey has seen.

    Raises
    ------
    ValueError
        It has seen none.
    """
    if not survey.counts:
        raise ValueError("no slice was read")
    slices = [_without_padding(counts) for counts in survey.counts]
    counts = np.sum(slices, axis=0)
    total = max(1, int(counts.sum()))
    tissue = np.convolve(np.where(_CENTRES > -250, counts, 0), np.ones(5), mode="same")
    medians = [median for median in map(_low_median, slices) if median is not None]
    median = _low_median(counts)
    return HounsfieldLook(
        air=_between(counts, *AIR) / total,
        soft=_between(counts, *SOFT) / total,
        dense=_between(counts, 1500, _HIGH) / total,
        below_air=_between(counts, _LOW, AIR[0]) / total,
        peak_hu=int(_CENTRES[int(tissue.argmax())]) if tissue.any() else None,
        low_median_hu=median,
        shifted_slices=sum(median is not None and abs(one - median) > SHIFTED for one in medians)
        + (len(slices) - len(medians) if medians else 0),
    )


_CENTRES: Final = np.arange(_LOW, _HIGH, _BIN) + _BIN // 2


def _between(counts: NDArray[np.int64], low: int, high: int) -> int:
    return int(counts[(low <= _CENTRES) & (high > _CENTRES)].sum())


def _without_padding(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a histogram without the padding: the one value below air that is commonest there, and its neighbours.

    Lossy compression spreads padding over a few values.
    """
    below = np.flatnonzero((AIR[0] > _CENTRES) & (counts > 0))
    if not below.size:
        return counts
    peak = int(below[counts[below].argmax()])
    around = slice(max(0, peak - 3), peak + 4)
    # A scale of values that is stretched leaves much outside of any one value.
    result = counts.copy()
    result[around] = np.where(_CENTRES[around] < AIR[0], 0, counts[around])
    return result


def _low_median(counts: NDArray[np.int64]) -> int | None:
    low = np.where(_CENTRES < -400, counts, 0)
    if low.sum() < 0.005 * counts.sum():
        return None
    return int(_CENTRES[int(np.searchsorted(np.cumsum(low), low.sum() / 2))])
