"""ROI patches: the tumour on the 1 mm grid in, three patches of 112 x 112 out."""

from __future__ import annotations

from operators.step import StepOperator
from pdl1es.chain import PlausibleTumour, cut_patches
from pdl1es.grid.patches import RoiPatches


class RoiPatchesOperator(StepOperator):
    """Emit ``patches``: what the network looks at."""

    step = "roi_patches"
    emits = "patches"

    def process(self, tumour: PlausibleTumour) -> RoiPatches:
        """Cut the patches."""
        return cut_patches(tumour.volume)
