"""Radiomics: the tumour on the 1 mm grid in, 1316 features out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from operators.step import Step
from pdl1es.features.extraction import extract_features
from pdl1es.grid.resample import TumourVolume


class RadiomicsOperator(Step):
    """Emit ``radiomics``: float64, shape (1316,), NaN where a feature cannot be computed."""

    inputs = ("volume",)
    outputs = ("radiomics",)

    def process(self, volume: TumourVolume) -> Mapping[str, NDArray[np.float64]]:
        """Compute the features."""
        return {"radiomics": extract_features(volume.hu, volume.mask)}
