"""Resample: the selected slices and segment in, the tumour on the 1 mm grid out."""

from __future__ import annotations

from typing import Any

from operators.step import StepOperator
from pdl1es.chain import ResampledTumour, resample
from pdl1es.dicom.selection.survey import Selection
from pdl1es.plausibility.rules import PlausibilityRules
from pdl1es.stopwatch import Stopwatch


class ResampleOperator(StepOperator):
    """Emit ``resampled``: the tumour and its surroundings at 1 mm, and its size."""

    step = "resample"
    emits = "resampled"

    def __init__(self, fragment: Any, *, rules: PlausibilityRules, watch: Stopwatch) -> None:
        self.rules = rules
        super().__init__(fragment, watch=watch)

    def process(self, selection: Selection) -> ResampledTumour:
        """Read the segment and the slices around it."""
        return resample(selection, self.rules)
