"""The prediction for one tumour: the score and its terms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

CAM_SIZE: Final = 3
"""DenseNet121 turns 112 x 112 into 3 x 3 cells."""


def score_text(value: float) -> str:
    """Return a score, a cut-off or a probability as every text writes it: with three decimals."""
    return f"{value:.3f}"


@dataclass(frozen=True, slots=True)
class Contribution:
    """One term of the logit, in log-odds."""

    name: str
    log_odds: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one tumour.

    Attributes
    ----------
    score
        sigmoid of the mean slice logit, 0 to 1.
    slice_scores
        float64, shape (S,).
    cam
        float64, shape (S, 3, 3): log-odds, the sum over a slice is its deep term.
    bias, deep, radiomic, clinical
        The logit's exact sum: one bias, one deep term, one term per selected feature, one per clinical variable.
    imputed_clinical
        float64, shape (4,): the values after imputation, raw scale.
    imputed
        Names of the clinical variables that were imputed.
    missing_features
        Selected features that were NaN and counted as the training mean.
    clipped_features
        Selected features that lay more than 5 standard deviations from the training mean and were clipped.
    provider
        onnxruntime's execution provider that ran it.
    model_sha256
        Of the model's file, hexadecimal.
    clinical_risk, fusion_risk
        Linear predictors of the Cox models, or None where the model has none.
    training_distance
        Mahalanobis distance from the training patients; None where the model does not say how far they lie.
    imputed_range
        Lowest and highest score over the values that the unknown clinical variables may have
        (`clinical_range.CLINICAL_RANGE`); None where all are known, or it was not asked for.
    """

    score: float
    slice_scores: NDArray[np.float64]
    cam: NDArray[np.float64]
    bias: float
    deep: float
    radiomic: tuple[Contribution, ...]
    clinical: tuple[Contribution, ...]
    imputed_clinical: NDArray[np.float64]
    imputed: tuple[str, ...]
    missing_features: tuple[str, ...]
    clipped_features: tuple[str, ...]
    provider: str
    model_sha256: str
    clinical_risk: float | None = None
    fusion_risk: float | None = None
    training_distance: float | None = None
    imputed_range: tuple[float, float] | None = None

    def __repr__(self) -> str:
        return f"Prediction(score={self.score:.3f}, {len(self.slice_scores)} slices, provider={self.provider!r})"

    @property
    def radiomic_total(self) -> float:
        """Sum of the radiomic terms, log-odds."""
        return math.fsum(term.log_odds for term in self.radiomic)

    @property
    def clinical_total(self) -> float:
        """Sum of the clinical terms, log-odds."""
        return math.fsum(term.log_odds for term in self.clinical)

    @property
    def logit(self) -> float:
        """Sum of all terms, log-odds: its sigmoid is `score`."""
        return self.bias + self.deep + self.radiomic_total + self.clinical_total
