"""The area under the curve that scores have on average over the labels that a known truth could have drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.expression.results import SPLITS
from training.scoring.predictions import BAYES
from training.scoring.scored_cohort import ScoredCohort

Floats = NDArray[np.float64]


def expected_auc(probability: Floats, score: Floats) -> float:
    """Return the share of ordered pairs, over all labels that could be drawn, that a score ranks rightly.

    Each pair of two patients counts by the probability that the first is high and the second is low; a tie counts one
    half. The labels' own noise is left out, so that two scores differ by what they know.

    Parameters
    ----------
    probability
        True probability of high expression, shape (n,), 0 to 1.
    score
        Of the same patients, shape (n,), any scale.

    Returns
    -------
    float
        Expected numerator of the Mann-Whitney statistic over the expected number of pairs.

    Raises
    ------
    ValueError
        Arrays of different length, a value that is not finite or no probability, or no pair that could be drawn.
    """
    if probability.ndim != 1 or probability.shape != score.shape:
        raise ValueError(f"probabilities of shape {probability.shape}, and scores of shape {score.shape}")
    if not (np.isfinite(score).all() and ((probability >= 0) & (probability <= 1)).all()):
        raise ValueError("a score is not finite, or a probability lies outside 0 to 1")
    low = 1 - probability
    _, place = np.unique(score, return_inverse=True)
    low_at, both_at = np.bincount(place, low), np.bincount(place, probability * low)
    below = np.cumsum(low_at) - low_at
    # A patient is no pair with himself: he counts among the ties of his own score.
    ties = float(probability @ low_at[place]) - float(both_at.sum())
    pairs = float(probability.sum() * low.sum() - probability @ low)
    if pairs <= 0:
        raise ValueError("no pair of a high and a low patient can be drawn")
    return (float(probability @ below[place]) + ties / 2) / pairs


def expected_areas(scored: ScoredCohort, split: str) -> dict[str, float]:
    """Return every model's expected area on the patients of a split that all models scored.

    Parameters
    ----------
    scored
        A synthetic cohort with its scores.
    split
        Its name in the prepared cohort.

    Returns
    -------
    dict[str, float]
        By model, the Bayes score among them; empty where the truth is not known or the split has no such patients.

    Raises
    ------
    ValueError
        The split is none.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    scores = scored.predictions.probability
    if BAYES not in scores:
        return {}
    rows = (scored.cases["split"] == split).to_numpy(dtype=np.bool_) & scored.cases["label"].notna().to_numpy()
    names = [name for name in scores if name not in scored.controls and np.isfinite(scores[name][rows]).any()]
    for name in names:
        rows &= np.isfinite(scores[name])
    if np.count_nonzero(rows) < 2:
        return {}
    return {name: expected_auc(scores[BAYES][rows], scores[name][rows]) for name in names}
