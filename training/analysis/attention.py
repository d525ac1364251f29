"""Attention of the patients that a network was not fitted on."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.attention import AttentionSummary, grad_cam, summarise_attention
from training.cohort.prepared import PreparedCohort
from training.network import FusionNetwork
from training.progress import Progress
from training.scoring.scored_cohort import ScoredCohort
from training.statistics.estimability import NotEstimable, estimated

MOST_PATIENTS: Final = 96
"""Most patients of one mean: Grad-CAM takes one second per patient."""


def attention_of(
    prepared: PreparedCohort,
    scored: ScoredCohort,
    network: FusionNetwork,
    progress: Progress | None = None,
) -> AttentionSummary | NotEstimable:
    """Return where the network looks in patients that it was not fitted on, at most `MOST_PATIENTS` of them.

    Parameters
    ----------
    prepared
        The cohort with its patches.
    scored
        Its scores.
    network
        The run's PD-L1ES, with a deep part.
    progress
        Called with the number of patients done and in all.

    Returns
    -------
    AttentionSummary or NotEstimable
        `NotEstimable` where no patient can be looked at.
    """
    rows = held_out_rows(scored)[:MOST_PATIENTS]
    if not rows.size:
        return NotEstimable("there are no patients that the network was not fitted on")
    found = []
    for row in rows:
        found.append(grad_cam(network, prepared.patches[row].astype(np.float32)))
        if progress is not None:
            progress("Grad-CAM", len(found), len(rows))
    return estimated(summarise_attention, found, prepared.masks[rows])


def held_out_rows(scored: ScoredCohort) -> NDArray[np.intp]:
    """Return rows of patients with a label and a score: of the test split, else of validation, else without a split."""
    label = scored.cases["label"].to_numpy(dtype=np.float64, na_value=np.nan)
    usable = ~np.isnan(label) & ~np.isnan(scored.signature)
    split = scored.cases["split"].to_numpy(dtype=object)
    for name in ("test", "validation"):
        if (usable & (split == name)).any():
            return np.flatnonzero(usable & (split == name))
    return np.flatnonzero(usable & pd.isna(split))
