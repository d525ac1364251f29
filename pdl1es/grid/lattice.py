"""The planes among which a segment's frames lie, those without a frame included, as coordinates along the normal."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.geometry import POSITION_TAG
from pdl1es.errors import Refusal, RefusalCode

COINCIDENCE_MM: Final = 0.01
"""Planes and pixel centres of SEG and CT at most this far apart are the same: dcmqi truncates positions and spacings."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Planes, and the frames' places among them.

    Attributes
    ----------
    planes
        Coordinates of the planes, from one below the lowest frame to one above the highest, mm, ascending, shape
        (planes,).
    places
        For each frame, in ascending order, the index of its plane.
    """

    planes: NDArray[np.float64]
    places: tuple[int, ...]

    def thickness(self, place: int) -> float:
        """Return half the distance between the two planes beside a plane, mm."""
        return float(self.planes[place + 1] - self.planes[place - 1]) / 2.0


def lattice_of(
    frames: NDArray[np.float64], ct: NDArray[np.float64], uid: str | None, *, drawn_on_ct: bool = False
) -> Lattice:
    """Find the planes among which a segment's frames lie.

    Frames on the CT's planes have the CT's planes as their lattice. Frames beside the CT's planes have a lattice of
    their own: their smallest distance, repeated. So have frames on the CT's planes of which no two are neighbours, as
    where every second slice was drawn.

    Parameters
    ----------
    frames
        Coordinates of the frames along the normal, mm, ascending, shape (frames,).
    ct
        Coordinates of the CT's slices, mm, ascending, shape (slices,), two or more.
    uid
        SOP Instance UID of the segmentation, for a refusal.
    drawn_on_ct
        Whether frames on the CT's planes have the CT's planes as their lattice even where no two are neighbours.

    Returns
    -------
    Lattice

    Raises
    ------
    Refusal
        SEG_GEOMETRY where two frames coincide, or frames beside the CT's planes lie at irregular distances.
    """
    gaps = np.diff(frames)
    if gaps.size and float(gaps.min()) <= COINCIDENCE_MM:
        raise Refusal(
            RefusalCode.SEG_GEOMETRY,
            "two frames of the segment lie at one position",
            tag=POSITION_TAG,
            value=f"{frames[int(gaps.argmin())]:.2f} mm along the normal",
            uid=uid,
        )
    nearest = np.argmin(np.abs(ct[np.newaxis, :] - frames[:, np.newaxis]), axis=1)
    on_ct = float(np.abs(ct[nearest] - frames).max()) <= COINCIDENCE_MM
    if on_ct:
        frames = ct[nearest]
    regular = _regular(frames)
    if on_ct and (drawn_on_ct or frames.size == 1 or int(np.diff(nearest).min()) == 1 or regular is None):
        first, last = int(nearest[0]), int(nearest[-1])
        return Lattice(extended(ct)[first : last + 3], tuple(int(index) - first + 1 for index in nearest))
    if frames.size == 1:
        spacing = float(np.diff(ct)[min(int(nearest[0]), ct.size - 2)])
        return Lattice(np.array([frames[0] - spacing, frames[0], frames[0] + spacing]), (1,))
    if regular is None:
        raise Refusal(
            RefusalCode.SEG_GEOMETRY,
            "the segment's frames lie neither on the CT's planes nor at regular distances",
            tag=POSITION_TAG,
            value=f"distances of {gaps.min():.3f} to {gaps.max():.3f} mm",
            uid=uid,
        )
    return regular


def extended(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coordinates with one more at each end, as far away as the last two are apart; two or more are needed."""
    first, last = 2 * coordinates[0] - coordinates[1], 2 * coordinates[-1] - coordinates[-2]
    return np.concatenate([[first], coordinates, [last]])


def _regular(frames: NDArray[np.float64]) -> Lattice | None:
    """Return planes at the frames' smallest distance; None where other distances are not multiples of it."""
    if frames.size == 1:
        return None
    gaps = np.diff(frames)
    spacing = float(gaps.min())
    steps = np.rint(gaps / spacing).astype(int)
    # Tolerance: 0.01 mm for the distance, plus 0.01 mm for each step, because the spacing itself is rounded.
    if bool(np.any(np.abs(gaps - steps * spacing) > COINCIDENCE_MM * (1 + steps))):
        return None
    filled = [
        np.linspace(low, high, step, endpoint=False) for (low, high), step in zip(pairwise(frames), steps, strict=True)
    ]
    places = np.concatenate([[0], np.cumsum(steps)])
    return Lattice(extended(np.concatenate([*filled, frames[-1:]])), tuple(int(place) + 1 for place in places))
