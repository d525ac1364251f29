"""ROI picture: the assessment in, the ROI slices drawn with the class activation map out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from operators.step import StepOperator
from pdl1es.assessment import Assessment
from pdl1es.chain import draw_pictures
from pdl1es.settings import OutputKind
from pdl1es.stopwatch import Stopwatch


class RoiPictureOperator(StepOperator):
    """Emit ``pictures``: uint8 RGB, shape (slices, rows, columns, 3), or None where no wanted report shows them."""

    step = "roi_picture"
    emits = "pictures"

    def __init__(self, fragment: Any, *, kinds: Collection[OutputKind], watch: Stopwatch) -> None:
        self.kinds = kinds
        super().__init__(fragment, watch=watch)

    def process(self, assessment: Assessment) -> np.ndarray | None:
        """Draw."""
        return draw_pictures(assessment, self.kinds)
