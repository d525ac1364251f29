"""Noise: its level estimated from the image itself, and Gaussian noise of that level added to the source."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import pywt
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from pdl1es.grid.source import SourceSlice, TumourSource
from pdl1es.method import FLOOR_HU

_WAVELET: Final = "coif1"
_MEDIAN_OF_NORMAL: Final = 0.6744897501960817
"""The median magnitude of a standard normal number. Zwanenburg's MIRP divides by 0.6754, which gives 0.13 % less."""


def noise_level(source: TumourSource) -> float:
    """Estimate an image's noise from its finest diagonal details.

    The slices around the tumour are high-pass filtered along x and along y with the wavelet coif1, whose taps' squares add up to
    1, so that white noise keeps its standard deviation and edges are few. The median of the magnitudes tells it.

    Parameters
    ----------
    source
        The tumour and the slices around it.

    Returns
    -------
    float
        Standard deviation, HU. It is low where the reconstruction kernel is smooth, which takes the finest details away.

    Notes
    -----
    Chang, Yu and Vetterli, IEEE Trans Image Process 2000; 9(9): 1532-1546, as Zwanenburg et al., Sci Rep 2019; 9: 614 use it.
    Pixels that are padding are left out.
    """
    taps = np.array(pywt.Wavelet(_WAVELET).dec_hi, dtype=np.float64)
    details = []
    for part in source.slices.values():
        filtered = np.abs(convolve1d(convolve1d(_values(part), taps, axis=0), taps, axis=1))
        details.append(filtered.ravel() if part.padding is None else filtered[~part.padding])
    return float(np.median(np.concatenate(details))) / _MEDIAN_OF_NORMAL


def noisy(source: TumourSource, level_hu: float, seed: int) -> TumourSource:
    """Add Gaussian noise to every pixel that is no padding.

    Parameters
    ----------
    source
        The tumour and the slices around it.
    level_hu
        Standard deviation, HU.
    seed
        Same seed, same noise: each slice's depends on it and on the slice's position alone.

    Returns
    -------
    TumourSource
        With slices of float64 HU.
    """
    return replace(source, slices={index: _noisy(part, level_hu, seed) for index, part in source.slices.items()})


def _noisy(part: SourceSlice, level_hu: float, seed: int) -> SourceSlice:
    # Positions in micrometres, as a positive number.
    rng = np.random.default_rng([seed, 1, round(part.z * 1000) + 2**40])
    values = _values(part)
    return replace(part, hu=values + level_hu * rng.standard_normal(values.shape))


def _values(part: SourceSlice) -> NDArray[np.float64]:
    """Return the HU as they were read, with padding as air."""
    hu = part.hu.astype(np.float64)
    return hu if part.padding is None else np.where(part.padding, float(FLOOR_HU), hu)
