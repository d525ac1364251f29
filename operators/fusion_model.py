"""Fusion model: patches, features and clinical data in, the score and what it is made of out."""

from __future__ import annotations

from typing import Any

from operators.step import StepOperator
from pdl1es.chain import predict
from pdl1es.clinical import ClinicalInput
from pdl1es.features.radiomic_features import RadiomicFeatures
from pdl1es.grid.patches import RoiPatches
from pdl1es.model.fusion import FusionModel
from pdl1es.model.prediction import Prediction
from pdl1es.stopwatch import Stopwatch


class FusionModelOperator(StepOperator):
    """Emit ``prediction``: PD-L1ES and its terms."""

    step = "fusion_model"
    emits = "prediction"

    def __init__(self, fragment: Any, *, model: FusionModel, watch: Stopwatch) -> None:
        self.model = model
        super().__init__(fragment, watch=watch)

    def process(self, patches: RoiPatches, features: RadiomicFeatures, clinical: ClinicalInput) -> Prediction:
        """Score the tumour.

        Parameters
        ----------
        patches
            Of the ROI slice and its neighbours.
        features
            The 1316 radiomic features.
        clinical
            Age, sex, smoking and family history.

        Returns
        -------
        Prediction

        Raises
        ------
        pdl1es.errors.Refusal
            RADIOMICS_INCOMPLETE, SCORE_NOT_FINITE.
        """
        return predict(self.model, patches, features, clinical.data)
