"""One perturbation of a tumour's image and contour, and lists of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from numbers import Integral
from typing import Final

import numpy as np

MOST_DEGREES: Final = 45.0
MOST_SHIFT_MM: Final = 1.0
MOST_VOLUME_SHARE: Final = 0.5
MOST_NOISE_HU: Final = 1000.0
KINDS: Final = "NRTVC"
"""Noise, rotation, translation, volume, contour: the paper's letters, in the order in which they are applied."""


@dataclass(frozen=True, slots=True)
class Perturbation:
    """What is done to a tumour's image and contour; by default nothing.

    Attributes
    ----------
    rotation_degrees
        The 1 mm grid is turned by this angle in the axial plane, around the tumour, -45 to 45.
    translation_mm
        (x, y, z) by which the grid is shifted, -1 to 1 mm each.
    noise
        Whether Gaussian noise is added to the source slices.
    noise_hu
        Its standard deviation, HU, 0 to 1000; None for the level that the image itself has (`noise_level`).
    volume_share
        The contour is grown (or shrunk) by this share of its volume, -0.5 to 0.5.
    redraw_contour
        Whether the contour is drawn anew along supervoxels, at random.
    seed
        Of all that is random: a whole number, not negative.

    Raises
    ------
    ValueError
        A value lies outside its range, the seed is no whole number, or there is a level of noise without noise.

    Notes
    -----
    Zwanenburg, Leger, Agolli et al., Assessing robustness of radiomic features by image perturbation, Sci Rep 2019; 9: 614,
    doi 10.1038/s41598-018-36938-4.
    """

    rotation_degrees: float = 0.0
    translation_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise: bool = False
    noise_hu: float | None = None
    volume_share: float = 0.0
    redraw_contour: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what a perturbation cannot be."""
        if not abs(self.rotation_degrees) <= MOST_DEGREES:
            raise ValueError(f"rotation_degrees must be -{MOST_DEGREES:g} to {MOST_DEGREES:g}")
        if len(self.translation_mm) != 3 or not all(abs(shift) <= MOST_SHIFT_MM for shift in self.translation_mm):
            raise ValueError(f"translation_mm must be three numbers from -{MOST_SHIFT_MM:g} to {MOST_SHIFT_MM:g}")
        if not abs(self.volume_share) <= MOST_VOLUME_SHARE:
            raise ValueError(f"volume_share must be -{MOST_VOLUME_SHARE:g} to {MOST_VOLUME_SHARE:g}")
        if self.noise_hu is not None and not (self.noise and 0 <= self.noise_hu <= MOST_NOISE_HU):
            raise ValueError(f"noise_hu must be 0 to {MOST_NOISE_HU:g}, and needs noise=True")
        if not isinstance(self.seed, Integral) or isinstance(self.seed, bool) or self.seed < 0:
            raise ValueError("the seed must be a whole number and may not be negative")


def perturbations(
    kinds: str,
    *,
    angles: Sequence[float] = (-4.0, 4.0),
    shifts: Sequence[float] = (0.25, 0.75),
    volume_shares: Sequence[float] = (-0.15, 0.15),
    repetitions: int = 1,
    seed: int = 0,
) -> tuple[Perturbation, ...]:
    """Return a list of perturbations: every angle with every shift with every change of volume.

    Parameters
    ----------
    kinds
        The paper's letters: N noise, R rotation, T translation, V volume, C contour, as ``"RTNC"``; the paper's own choice is
        ``"NTVC"``. They are applied in the order N, R and T, V, C, however they are written.
    angles
        Of R, degrees.
    shifts
        Of T, mm: along x, y and z each of them, so that two make eight translations.
    volume_shares
        Of V.
    repetitions
        How often the whole list is drawn, with other seeds: for N, V and C.
    seed
        Same seed, same list.

    Returns
    -------
    tuple of Perturbation
        Each with a seed of its own.

    Raises
    ------
    ValueError
        A letter is none of these or stands twice; ``repetitions`` is under 1.
    """
    wanted = kinds.upper()
    if not wanted or set(wanted) - set(KINDS) or len(set(wanted)) < len(wanted):
        raise ValueError(f"kinds must be letters of {KINDS}, each once at most, not {kinds!r}")
    if repetitions < 1:
        raise ValueError("repetitions must be 1 or more")
    turns = angles if "R" in wanted else (0.0,)
    moves = [(x, y, z) for x, y, z in product(shifts, repeat=3)] if "T" in wanted else [(0.0, 0.0, 0.0)]
    shares = volume_shares if "V" in wanted else (0.0,)
    combinations = product(range(repetitions), turns, moves, shares)
    return tuple(
        Perturbation(
            rotation_degrees=angle,
            translation_mm=move,
            noise="N" in wanted,
            volume_share=share,
            redraw_contour="C" in wanted,
            seed=int(np.random.SeedSequence([seed, number]).generate_state(1)[0]),
        )
        for number, (_, angle, move, share) in enumerate(combinations)
    )
