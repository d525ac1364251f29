"""Resample: the selected slices and segment in, the tumour on the 1 mm grid out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.step import Step
from pdl1es.dicom.pixels.hounsfield import read_ct_slice
from pdl1es.dicom.segment_mask import read_segment_mask
from pdl1es.dicom.selection.survey import Selection
from pdl1es.grid.measurement import measure_tumour
from pdl1es.grid.placement import place_mask
from pdl1es.grid.resample import tumour_volume


class ResampleOperator(Step):
    """Emit ``volume``, the tumour and its surroundings at 1 mm, and ``tumour``, its size."""

    inputs = ("selection",)
    outputs = ("volume", "tumour")

    def process(self, selection: Selection) -> Mapping[str, Any]:
        """Read the segment, and the slices around it alone."""
        mask = read_segment_mask(selection.segmentation, selection.segment.number)
        placed = place_mask(mask, selection.ct)
        volume = tumour_volume(placed, read_ct_slice)
        return {"volume": volume, "tumour": measure_tumour(placed, volume)}
