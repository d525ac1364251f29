"""Fusion model: patches, radiomics and clinical data in, the score and what it is made of out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.clinical import ClinicalData
from pdl1es.grid.patches import RoiPatches
from pdl1es.model.fusion import FusionModel, Prediction


class FusionModelOperator(Step):
    """Emit ``prediction``: PD-L1ES and its terms."""

    inputs = ("patches", "radiomics", "clinical")
    outputs = ("prediction",)

    def __init__(self, fragment: Any, *, model: FusionModel, record: RunRecord, name: str) -> None:
        self.model = model
        super().__init__(fragment, record=record, name=name)

    def process(
        self, patches: RoiPatches, radiomics: NDArray[np.float64], clinical: ClinicalData
    ) -> Mapping[str, Prediction]:
        """Run the ONNX model."""
        return {"prediction": self.model.predict(patches.hu, radiomics, clinical)}
