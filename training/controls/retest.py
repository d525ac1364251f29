"""Test and retest: how features and score repeat in the same tumours scanned twice (as the pairs of RIDER)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.features.names import FEATURE_NAMES
from pdl1es.model.fusion import FusionModel
from training.cohort.prepared import PreparedCohort
from training.progress import Progress
from training.scoring.cohort_scores import score_models
from training.scoring.predictions import SIGNATURE, PredictionsError
from training.statistics.agreement import (
    GroupRepeatability,
    Repeatability,
    group_repeatability,
    icc_of_features,
    repeatability,
)
from training.statistics.estimability import NotEstimable, estimated

ICC_BANDS: Final = (
    ("below 0.50", -np.inf, 0.5),
    ("0.50 to 0.75", 0.5, 0.75),
    ("0.75 to 0.90", 0.75, 0.9),
    ("0.90 and above", 0.9, np.inf),
)
"""Poor, moderate, good and excellent, as Koo and Li put it (J Chiropr Med 2016; 15: 155-163)."""


@dataclass(frozen=True, slots=True)
class Retest:
    """How score and features repeat.

    Attributes
    ----------
    case_ids
        Pseudonyms of the pairs, in the order of the first occasion.
    scores
        PD-L1ES of each pair, first and second occasion, float64, shape (N, 2).
    n
        Pairs.
    unpaired
        Cases of either occasion without the other.
    score
        PD-L1ES.
    groups
        By name of the cut-off: the share of patients that change sides.
    feature_icc, feature_lower, feature_upper
        By name of the feature, ICC(2,1) with its interval; NaN where nothing varies.
    features_by_icc
        Features in each band; those without a finite ICC are counted as 'none'.
    n_features
        Features in all.
    median_icc, median_icc_selected
        Of all features, and of those that the model uses; NaN where there are none.
    """

    case_ids: tuple[str, ...]
    scores: NDArray[np.float64]
    n: int
    unpaired: int
    score: Repeatability | NotEstimable
    groups: dict[str, GroupRepeatability | NotEstimable]
    feature_icc: dict[str, float]
    feature_lower: dict[str, float]
    feature_upper: dict[str, float]
    features_by_icc: dict[str, int]
    n_features: int
    median_icc: float
    median_icc_selected: float


@dataclass(frozen=True, slots=True)
class Occasion:
    """One scan of each patient: pseudonyms, PD-L1ES of shape (N,), features of shape (N, 1316)."""

    case_ids: tuple[str, ...]
    score: NDArray[np.float64]
    radiomics: NDArray[np.float64]


def compare_occasions(
    first: Occasion, second: Occasion, cut_offs: Mapping[str, float], selected: Sequence[str] = ()
) -> Retest:
    """Compare two scans of the same patients; pairs have the same pseudonym in both.

    Parameters
    ----------
    first, second
        The two occasions, in any order.
    cut_offs
        By name, as the model's own for expression and progression.
    selected
        Features that the model uses.

    Returns
    -------
    Retest

    Raises
    ------
    PredictionsError
        No patient was scanned twice.
    """
    place = {case: row for row, case in enumerate(second.case_ids)}
    pairs = [(row, place[case]) for row, case in enumerate(first.case_ids) if case in place]
    if not pairs:
        raise PredictionsError("no patient occurs on both occasions")
    one, two = (np.array(side) for side in zip(*pairs, strict=True))
    scores = first.score[one], second.score[two]
    scored = np.isfinite(scores[0]) & np.isfinite(scores[1])
    before, after = scores[0][scored], scores[1][scored]
    icc, lower, upper = icc_of_features(first.radiomics[one], second.radiomics[two])
    chosen = np.isin(FEATURE_NAMES, list(selected))
    bands = {name: int(((icc >= low) & (icc < high)).sum()) for name, low, high in ICC_BANDS}
    return Retest(
        case_ids=tuple(first.case_ids[row] for row in one),
        scores=np.column_stack(scores),
        n=len(pairs),
        unpaired=len(first.case_ids) + len(second.case_ids) - 2 * len(pairs),
        score=estimated(repeatability, before, after),
        groups={name: estimated(group_repeatability, before, after, value) for name, value in cut_offs.items()},
        feature_icc=_by_name(icc),
        feature_lower=_by_name(lower),
        feature_upper=_by_name(upper),
        features_by_icc={**bands, "none (nothing varies, or missing)": int((~np.isfinite(icc)).sum())},
        n_features=len(FEATURE_NAMES),
        median_icc=_median(icc),
        median_icc_selected=_median(icc[chosen]),
    )


def retest_cohorts(
    first: PreparedCohort, second: PreparedCohort, model: FusionModel, progress: Progress | None = None
) -> Retest:
    """Score two prepared cohorts of the same patients by a model, and compare them at its own cut-offs.

    Parameters
    ----------
    first, second
        The same patients, with the same pseudonyms.
    model
        That scores both.
    progress
        Called with the number of patients scored and in all.

    Returns
    -------
    Retest

    Raises
    ------
    PredictionsError
        No patient occurs in both.
    """
    both = np.intersect1d(first.case_ids, second.case_ids)
    if not both.size:
        raise PredictionsError("no patient occurs on both occasions")
    occasions = []
    for name, cohort in (("first scan", first), ("second scan", second)):
        part = cohort.subset(np.isin(cohort.case_ids, both))
        table = score_models(part, {SIGNATURE: model}, progress=_named(progress, name))
        score = table["probability"].to_numpy(dtype=np.float64)
        occasions.append(Occasion(part.case_ids, score, part.radiomics))
    metadata = model.metadata
    cut_offs = {"expression": metadata.expression_cut_off.value, "progression": metadata.progression_cut_off.value}
    return compare_occasions(occasions[0], occasions[1], cut_offs, metadata.selected_features)


def _named(progress: Progress | None, name: str) -> Progress | None:
    return None if progress is None else lambda step, done, of: progress(f"{name}: {step}", done, of)


def _by_name(values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(FEATURE_NAMES, (float(value) for value in values), strict=True))


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")
