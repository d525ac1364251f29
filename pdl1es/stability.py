"""How much a score depends on the contour: the same tumour is scored again with contours that differ by 1 mm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pdl1es.grid.contours import contour_variants
from pdl1es.grid.resample import TumourVolume
from pdl1es.model.metadata import CutOff
from pdl1es.model.prediction import score_text
from pdl1es.score_warning import ScoreWarning


@dataclass(frozen=True, slots=True)
class VariantScore:
    """The score for one other contour; None where that contour cannot be scored (too small, too many features gone)."""

    contour: str
    score: float | None


@dataclass(frozen=True, slots=True)
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


def contour_stability(
    volume: TumourVolume, score: float, score_of: Callable[[TumourVolume], float | None]
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

    Returns
    -------
    ContourStability
    """
    variants = tuple(
        VariantScore(variant.name, None if variant.volume is None else score_of(variant.volume))
        for variant in contour_variants(volume)
    )
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
