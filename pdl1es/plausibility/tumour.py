"""What the contour holds, and how large it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.grid.bounding_box import bounding_box
from pdl1es.grid.resample import TumourVolume
from pdl1es.plausibility.growth import grown

CAVITY_HU: Final = -500
"""Enclosed background below this is a cavity: a contour may leave it out."""


@dataclass(frozen=True, slots=True)
class Attenuation:
    """Hounsfield units inside the contour, on the 1 mm grid.

    Attributes
    ----------
    median_hu
        Their median.
    below_900
        Share below -900 HU: air, or lung of an emphysema.
    """

    median_hu: float
    below_900: float


def attenuation(volume: TumourVolume) -> Attenuation:
    """Return what the contour holds."""
    values = volume.hu[volume.mask]
    return Attenuation(float(np.median(values)), float(np.mean(values < -900)))


def hollow_share(volume: TumourVolume, whole: NDArray[np.bool_]) -> float:
    """Return how much tissue the contour encloses and leaves out, as a share of what it encloses.

    Parameters
    ----------
    volume
        The tumour.
    whole
        Its mask, `filled`.

    Returns
    -------
    float
        0 to 1. Enclosed air does not count: a cavity may be left out.
    """
    left_out = np.count_nonzero(whole & ~volume.mask & (volume.hu > CAVITY_HU))
    return left_out / np.count_nonzero(whole)


def edge_contrast(volume: TumourVolume) -> float:
    """Return how much denser the contour's inner rim is than its outer rim, HU.

    The inner rim are tumour voxels at most 2 mm from the background; the outer rim are voxels more than 1 mm and at most
    3 mm outside. Values are cut to -1000 to 200 HU, so that bone beside a tumour does not count for more than tissue. A
    contour that follows no edge has about 0; one around ground glass can be negative, because it holds lung.
    """
    near = tuple(slice(max(0, part.start - 3), part.stop + 3) for part in bounding_box(volume.mask))
    hu, mask = np.clip(volume.hu[near], -1000, 200), volume.mask[near]
    inner = mask & grown(~mask, 2)
    outer = grown(mask, 3) & ~grown(mask, 1)
    if not outer.any():
        return 0.0
    return float(hu[inner].mean(dtype=np.float64) - hu[outer].mean(dtype=np.float64))
