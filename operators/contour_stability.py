"""Contour stability: the tumour, its clinical data and its score in, the scores for contours 1 mm off out."""

from __future__ import annotations

from typing import Any

from operators.step import StepOperator
from pdl1es.chain import PlausibleTumour, vary_contour
from pdl1es.clinical import ClinicalInput
from pdl1es.model.fusion import FusionModel
from pdl1es.model.prediction import Prediction
from pdl1es.settings import StabilityMode
from pdl1es.stability import ContourStability
from pdl1es.stopwatch import Stopwatch


class ContourStabilityOperator(StepOperator):
    """Emit ``stability``: the score's interval, or None where the settings do not ask for it."""

    step = "contour_stability"
    emits = "stability"

    def __init__(
        self, fragment: Any, *, model: FusionModel, mode: StabilityMode, memory_bytes: int, watch: Stopwatch
    ) -> None:
        self.model = model
        self.mode = mode
        self.memory_bytes = memory_bytes
        super().__init__(fragment, watch=watch)

    def process(
        self, tumour: PlausibleTumour, clinical: ClinicalInput, prediction: Prediction
    ) -> ContourStability | None:
        """Score the tumour again with contours that differ by 1 mm.

        Parameters
        ----------
        tumour
            As it was drawn.
        clinical
            The same for all contours.
        prediction
            Of the drawn contour.

        Returns
        -------
        ContourStability or None
            As `pdl1es.chain.vary_contour`.
        """
        return vary_contour(
            self.model,
            tumour.volume,
            clinical.data,
            prediction,
            mode=self.mode,
            memory_bytes=self.memory_bytes,
            watch=self.watch,
        )
