"""Plausibility: the resampled tumour in, the tumour that may be scored out."""

from __future__ import annotations

from typing import Any

from operators.step import StepOperator
from pdl1es.chain import PlausibleTumour, ResampledTumour, check_tumour
from pdl1es.plausibility.rules import PlausibilityRules
from pdl1es.stopwatch import Stopwatch


class PlausibilityOperator(StepOperator):
    """Emit ``tumour``: the tumour with the numbers by which it was judged."""

    step = "plausibility"
    emits = "tumour"

    def __init__(self, fragment: Any, *, rules: PlausibilityRules, watch: Stopwatch) -> None:
        self.rules = rules
        super().__init__(fragment, watch=watch)

    def process(self, resampled: ResampledTumour) -> PlausibleTumour:
        """Judge it."""
        return check_tumour(resampled, self.rules)
