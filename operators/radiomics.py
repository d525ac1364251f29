"""Radiomics: the tumour on the 1 mm grid in, 1316 features out."""

from __future__ import annotations

from operators.step import StepOperator
from pdl1es.chain import PlausibleTumour, compute_features
from pdl1es.features.radiomic_features import RadiomicFeatures


class RadiomicsOperator(StepOperator):
    """Emit ``features``: the radiomic features, with their names."""

    step = "radiomics"
    emits = "features"

    def process(self, tumour: PlausibleTumour) -> RadiomicFeatures:
        """Compute the features."""
        return compute_features(tumour.volume)
