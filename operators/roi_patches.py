"""ROI patches: the tumour on the 1 mm grid in, three patches of 112 x 112 out."""

from __future__ import annotations

from collections.abc import Mapping

from operators.step import Step
from pdl1es.grid.patches import RoiPatches, extract_patches
from pdl1es.grid.resample import TumourVolume


class RoiPatchesOperator(Step):
    """Emit ``patches``: what the network looks at."""

    inputs = ("volume",)
    outputs = ("patches",)

    def process(self, volume: TumourVolume) -> Mapping[str, RoiPatches]:
        """Cut the patches."""
        return {"patches": extract_patches(volume)}
