"""How much a score depends on the contour: the same tumour is scored again with contours that differ by 1 mm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from pdl1es.grid.contours import ContourVariant, contour_variants
from pdl1es.grid.resample import TumourVolume
from pdl1es.model.metadata import CutOff
from pdl1es.model.prediction import score_text
from pdl1es.score_warning import ScoreWarning
from pdl1es.settings import StabilityMode

BORDERLINE_LOG_ODDS: Final = 2.7
"""A score within this of a cut-off, in log-odds, is borderline. The farthest that a contour moved one of 112 tumours was 2.66
(benchmarks/results/contour-stability.md)."""


@dataclass(frozen=True, slots=True)
class VariantScore:
    """The score for one other contour; None where that contour cannot be scored (too small, too many features gone)."""

    contour: str
    score: float | None


@dataclass(frozen=True, slots=True, repr=False)
class ContourStability:
    """The scores for all other contours.

    Attributes
    ----------
    variants
        In the order of `contours.contour_variants`.
    lowest, highest
        Of all scores, the drawn contour's own among them.
    """

    variants: tuple[VariantScore, ...]
    lowest: float
    highest: float

    def __repr__(self) -> str:
        return f"ContourStability({self.lowest:.3f} to {self.highest:.3f} over {len(self.variants)} other contours)"


def stability_wanted(mode: StabilityMode, score: float, cut_offs: Iterable[CutOff]) -> bool:
    """Tell whether a tumour is to be scored again with other contours.

    Parameters
    ----------
    mode
        ``contour_stability`` of ``app.yaml``.
    score
        PD-L1ES of the drawn contour.
    cut_offs
        On the score.

    Returns
    -------
    bool
        Where borderline: whether the score lies within `BORDERLINE_LOG_ODDS` of one of the cut-offs.
    """
    if mode != "borderline":
        return mode == "on"
    return any(abs(log_odds(score) - log_odds(cut_off.value)) <= BORDERLINE_LOG_ODDS for cut_off in cut_offs)


def log_odds(probability: float) -> float:
    """Return log(p / (1 - p)); minus or plus infinity for 0 and 1, and beyond them."""
    if not 0 < probability < 1:
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability / (1 - probability))


def contour_stability(
    volume: TumourVolume, score: float, score_of: Callable[[TumourVolume], float | None], *, threads: int = 1
) -> ContourStability:
    """Score the tumour again for eroded, dilated and shifted contours.

    Parameters
    ----------
    volume
        The tumour as it was drawn, on the 1 mm grid.
    score
        PD-L1ES of the drawn contour.
    score_of
        Returns PD-L1ES of the same tumour with another contour, or None where it cannot be scored.
    threads
        Contours that are scored at the same time. The scores do not depend on it.

    Returns
    -------
    ContourStability
    """

    def scored(variant: ContourVariant) -> VariantScore:
        return VariantScore(variant.name, None if variant.volume is None else score_of(variant.volume))

    contours = contour_variants(volume)
    if threads == 1:
        variants = tuple(map(scored, contours))
    else:
        with ThreadPoolExecutor(threads) as pool:
            variants = tuple(pool.map(scored, contours))
    scores = [score, *(variant.score for variant in variants if variant.score is not None)]
    return ContourStability(variants, min(scores), max(scores))


def contour_warning(stability: ContourStability, cut_off: CutOff, question: str) -> ScoreWarning | None:
    """Return the warning that a contour 1 mm off would change the group.

    Parameters
    ----------
    stability
        The scores of the other contours.
    cut_off
        On the score.
    question
        What it decides, as ``"the risk group"``.

    Returns
    -------
    ScoreWarning or None
        CONTOUR_DECIDES.
    """
    if not stability.lowest <= cut_off.value < stability.highest:
        return None
    return ScoreWarning(
        "CONTOUR_DECIDES",
        f"With contours that differ by 1 mm the score ranges from {score_text(stability.lowest)} to "
        f"{score_text(stability.highest)}: the contour decides on which side of the cut-off {score_text(cut_off.value)} for {question} it lies.",
    )
