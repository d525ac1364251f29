"""Radiomics: the tumour on the 1 mm grid in, 1316 features out."""

from __future__ import annotations

from typing import Any

from operators.step import StepOperator
from pdl1es.chain import PlausibleTumour, compute_features
from pdl1es.features.radiomic_features import RadiomicFeatures
from pdl1es.stopwatch import Stopwatch


class RadiomicsOperator(StepOperator):
    """Emit ``features``: the radiomic features, with their names."""

    step = "radiomics"
    emits = "features"

    def __init__(self, fragment: Any, *, memory_bytes: int, watch: Stopwatch) -> None:
        self.memory_bytes = memory_bytes
        super().__init__(fragment, watch=watch)

    def process(self, tumour: PlausibleTumour) -> RadiomicFeatures:
        """Compute the features."""
        return compute_features(tumour.volume, memory_bytes=self.memory_bytes)
