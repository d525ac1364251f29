"""Contour stability: the tumour, its clinical data and its score in, the scores for contours 1 mm off out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.run_record import RunRecord
from operators.step import Step
from pdl1es.clinical import ClinicalData
from pdl1es.grid.resample import TumourVolume
from pdl1es.model.fusion import FusionModel, Prediction
from pdl1es.stability import ContourStability, contour_stability


class ContourStabilityOperator(Step):
    """Emit ``stability``: the score's interval, or None where the settings do not ask for it."""

    inputs = ("volume", "clinical", "prediction")
    outputs = ("stability",)

    def __init__(self, fragment: Any, *, model: FusionModel, wanted: bool, record: RunRecord, name: str) -> None:
        self.model = model
        self.wanted = wanted
        super().__init__(fragment, record=record, name=name)

    def process(
        self, volume: TumourVolume, clinical: ClinicalData, prediction: Prediction
    ) -> Mapping[str, ContourStability | None]:
        """Score again."""
        if not self.wanted:
            return {"stability": None}
        return {"stability": contour_stability(volume, clinical, self.model, prediction.score)}
