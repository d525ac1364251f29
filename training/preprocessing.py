"""Values fitted on the training cohort before the network: imputation, selection, standardisation, Cox terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdl1es.features.names import FEATURE_NAMES
from pdl1es.model.imputation import ReferenceProfiles


@dataclass(frozen=True, slots=True)
class FittedPreprocessing:
    """Everything between raw values and the network's inputs; fitted on the training cohort alone.

    Attributes
    ----------
    profiles
        Reference table of the imputation.
    clinical_mean, clinical_sd
        float64, shape (4,): of the imputed training cohort, for the z-scores.
    selected
        Indices into the 1316 features, ascending.
    radiomic_mean, radiomic_sd
        float64, one per selected feature, for the z-scores.
    smoker_grade
        Smoking code of a smoker of unknown grade.
    """

    profiles: ReferenceProfiles
    clinical_mean: NDArray[np.float64]
    clinical_sd: NDArray[np.float64]
    selected: tuple[int, ...]
    radiomic_mean: NDArray[np.float64]
    radiomic_sd: NDArray[np.float64]
    smoker_grade: float

    def __post_init__(self) -> None:
        if list(self.selected) != sorted(set(self.selected)):
            raise ValueError("selected must be ascending and without duplicates")
        if self.selected and not (self.selected[0] >= 0 and self.selected[-1] < len(FEATURE_NAMES)):
            raise ValueError(f"selected must lie in 0..{len(FEATURE_NAMES) - 1}")
        n = len(self.selected)
        for name, array, size in (
            ("clinical_mean", self.clinical_mean, 4),
            ("clinical_sd", self.clinical_sd, 4),
            ("radiomic_mean", self.radiomic_mean, n),
            ("radiomic_sd", self.radiomic_sd, n),
        ):
            if array.shape != (size,) or array.dtype != np.float64:
                raise ValueError(f"{name} must be float64 of shape ({size},), got {array.dtype} {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds a value that is not finite")
        if not ((self.clinical_sd > 0).all() and (self.radiomic_sd > 0).all()):
            raise ValueError("a standard deviation is not positive: constant variables and features cannot be used")

    @property
    def selected_features(self) -> tuple[str, ...]:
        """Names of the selected features."""
        return tuple(FEATURE_NAMES[index] for index in self.selected)


@dataclass(frozen=True, slots=True)
class CoxTerms:
    """The Cox models whose linear predictors the exported file gives, centred at the cohort's means.

    ``clinical_risk = clinical_coefficients . (x - clinical_means)`` with x the four imputed variables on the raw scale;
    ``fusion_risk = fusion_coefficients . (y - fusion_means)`` with y = (PD-L1ES, clinical_risk).

    Attributes
    ----------
    clinical_coefficients, clinical_means
        float64, shape (4,): log hazard ratio per unit.
    fusion_coefficients, fusion_means
        float64, shape (2,), or None where there is no fusion model.
    """

    clinical_coefficients: NDArray[np.float64]
    clinical_means: NDArray[np.float64]
    fusion_coefficients: NDArray[np.float64] | None = None
    fusion_means: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if (self.fusion_coefficients is None) != (self.fusion_means is None):
            raise ValueError("fusion_coefficients and fusion_means belong together")
        for name, array, size in (
            ("clinical_coefficients", self.clinical_coefficients, 4),
            ("clinical_means", self.clinical_means, 4),
            ("fusion_coefficients", self.fusion_coefficients, 2),
            ("fusion_means", self.fusion_means, 2),
        ):
            if array is not None and (array.shape != (size,) or not np.isfinite(array).all()):
                raise ValueError(f"{name} must hold {size} finite values, got {array}")
