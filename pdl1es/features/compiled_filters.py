"""The filters of `pdl1es.features.filters` that are compiled, with the same arguments and the same bits."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pywt

from pdl1es.features import compiled, filters
from pdl1es.features.region import Crop, Values

_MOST_SAMPLES: Final = 8


def _box(crop: Crop) -> tuple[tuple[int, int], ...]:
    return tuple((side.start, side.stop) for side in crop.box)


def _place(crop: Crop, dtype: Any, images: tuple[int, ...] = ()) -> Values:
    return np.empty((*images, np.count_nonzero(crop.mask)), dtype=dtype)


def laplacian_of_gaussian_by_kernel(crop: Crop, sigma: float) -> Values | None:
    """As `pdl1es.features.filters.laplacian_of_gaussian`.

    Parameters
    ----------
    crop
        The tumour and its surroundings.
    sigma
        Of the Gaussian, mm.

    Returns
    -------
    Values or None
        float32; None where the crop is too small for the filter.
    """
    if filters.too_small_for_laplacian(crop, sigma):
        return None
    voxels = _place(crop, np.float32)
    compiled.laplacian_of_gaussian(crop.hu, _box(crop), crop.mask, sigma, voxels)
    return voxels


def wavelet_by_kernel(crop: Crop, name: str) -> dict[str, Values]:
    """As `pdl1es.features.filters.wavelet`; a slice that is smaller than the filter goes that way.

    Parameters
    ----------
    crop
        The tumour and its surroundings.
    name
        PyWavelets' name of the wavelet.

    Returns
    -------
    dict
        float64 images by the letters of their sub-bands.
    """
    coefficients = pywt.Wavelet(name)
    low, high = (np.array(taps, dtype=np.float64) for taps in (coefficients.dec_lo, coefficients.dec_hi))
    if min(length + length % 2 for length in crop.hu.shape[1:]) < len(low):
        return filters.wavelet(crop, name)
    bands = _place(crop, np.float64, (4,))
    compiled.wavelet(crop.hu, _box(crop), crop.mask, low, high, bands)
    return dict(zip(("LL", "LH", "HL", "HH"), bands, strict=True))


def gradient_by_kernel(crop: Crop) -> Values:
    """As `pdl1es.features.filters.gradient`."""
    voxels = _place(crop, np.float32)
    compiled.gradient(crop.hu, _box(crop), crop.mask, voxels)
    return voxels


def local_binary_pattern_2d_by_kernel(crop: Crop, radius: int, samples: int) -> Values:
    """As `pdl1es.features.filters.local_binary_pattern_2d`; more than eight samples go that way.

    Parameters
    ----------
    crop
        The tumour and its surroundings.
    radius
        Of the circle, voxels.
    samples
        Points on it.

    Returns
    -------
    Values
        int16.
    """
    if samples > _MOST_SAMPLES:
        return filters.local_binary_pattern_2d(crop, radius, samples)
    angle = 2 * np.pi * np.arange(samples, dtype=np.double) / samples
    # Rounded as scikit-image rounds them.
    rows, columns = np.round(-radius * np.sin(angle), 5), np.round(radius * np.cos(angle), 5)
    voxels = _place(crop, np.int16)
    compiled.local_binary_pattern(crop.hu, _box(crop), crop.mask, rows, columns, radius + 1, voxels)
    return voxels


FILTERS: Final = filters.FilterFunctions(
    laplacian_of_gaussian_by_kernel, wavelet_by_kernel, gradient_by_kernel, local_binary_pattern_2d_by_kernel
)
"""This module's own."""
