"""One segment's mask: its frames' places and voxels, from any source."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.geometry import SlicePlane


@dataclass(frozen=True, slots=True)
class SegmentMask:
    """One segment's non-empty frames.

    Attributes
    ----------
    planes
        Their places.
    masks
        bool, shape (frames, rows, columns), same order.
    sop_instance_uid
        The segmentation's, for a refusal; None where the mask comes from elsewhere.
    drawn_on_ct
        Whether it was drawn slice by slice on the CT, as contours are, so that every slice without it is a gap. A SEG
        has planes of its own, which may lie farther apart than the CT's.
    """

    planes: tuple[SlicePlane, ...]
    masks: NDArray[np.bool_]
    sop_instance_uid: str | None = None
    drawn_on_ct: bool = False

    def __repr__(self) -> str:
        return f"SegmentMask({len(self.planes)} frames of {' x '.join(map(str, self.masks.shape[1:]))} pixels)"


def segment_volume_mm3(frames: Iterable[tuple[NDArray[np.bool_], float, float]]) -> float:
    """Return the volume of a segment's voxels, mm3.

    Parameters
    ----------
    frames
        Of each frame the mask, the area of a pixel (mm2) and the frame's thickness (mm).
    """
    return math.fsum(int(np.count_nonzero(mask)) * area * thickness for mask, area, thickness in frames)
