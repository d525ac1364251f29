"""The fusion model: one ONNX file that holds everything from HU to score, and its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

TrainingData = Literal["untrained", "synthetic", "patients"]


class CutOff(BaseModel):
    """A cut-off that belongs to the model, never to the code.

    Attributes
    ----------
    value
        On the scale of the quantity it cuts; a value above it (strictly) is the upper group.
    method
        How it was found: ``"Youden on validation"``, ``"X-tile"``...
    above, below
        What the groups mean, as ``"high risk"`` and ``"low risk"``: the direction is the fitted model's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    value: float
    method: str
    above: str
    below: str


class ModelMetadata(BaseModel):
    """What the file says of itself, under the ONNX metadata key ``pdl1es`` as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[1] = 1
    name: str
    version: str
    training_data: TrainingData
    trained_on: str
    intended_use: str
    limitations: tuple[str, ...]
    method_digest: str
    feature_names: tuple[str, ...]
    selected_features: tuple[str, ...]
    clinical_names: tuple[str, ...]
    smoker_grade: float
    """Code of a smoker of unknown grade: never's code plus one plus the training share of 'constantly' among smokers."""
    expression_cut_off: CutOff
    progression_cut_off: CutOff
    calibrated: bool
    clinical_cut_off: CutOff | None = None
    fusion_cut_off: CutOff | None = None


@dataclass(frozen=True, slots=True)
class Contribution:
    """One term of the logit, in log-odds."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one tumour.

    Attributes
    ----------
    pdl1es
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
        Selected features whose |z| was above 5 and was clipped.
    provider
        onnxruntime's execution provider that ran it.
    clinical_risk, fusion_risk
        Linear predictors of the Cox models, or None where the model has none.
    """

    pdl1es: float
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
    clinical_risk: float | None = None
    fusion_risk: float | None = None
