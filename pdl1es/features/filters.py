"""The fourteen images of the method, computed only where the tumour needs them.

pyradiomics' own filters work on the whole crop and convert to and from SimpleITK at every step. Here each filter is a
function of the crop, reads as much of it as its support needs, and returns the tumour's voxels alone. Every value is the
one that pyradiomics computes, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pywt
import SimpleITK

# The compiled function behind skimage.feature.local_binary_pattern, whose own module imports scipy.
from skimage.feature._texture import _local_binary_pattern

from pdl1es.features.names import log_image
from pdl1es.features.region import Crop, Values
from pdl1es.features.settings import RadiomicsSettings

_LOG_MIN_SIZE: Final = 4
"""Voxels that the recursive Laplacian of Gaussian needs on each axis; pyradiomics drops the images of a smaller crop."""


def original(crop: Crop) -> Values:
    """No filter."""
    return crop.tumour(crop.hu)


def wavelet(crop: Crop, name: str) -> dict[str, Values]:
    """Return the four subbands of one level of the undecimated 2-D wavelet transform.

    The transform is in the axial plane, so only the tumour's own slices are transformed. Rows and columns stay whole,
    because the transform wraps around their ends.

    Parameters
    ----------
    crop
        The tumour.
    name
        PyWavelets' name of the wavelet.

    Returns
    -------
    dict
        float64 by the subband's name; ``LH`` is low-pass along x and high-pass along y.
    """
    slices = crop.hu[crop.box[0]].astype(np.float64)
    # The transform needs even lengths; pyradiomics repeats the first row or column at the end.
    even = np.pad(slices, ((0, 0), (0, slices.shape[1] % 2), (0, slices.shape[2] % 2)), "wrap")
    subbands = pywt.swtn(even, pywt.Wavelet(name), level=1, start_level=0, axes=(2, 1))[0]
    in_plane = (slice(None), *crop.box[1:])
    return {key.replace("a", "L").replace("d", "H"): band[in_plane][crop.mask] for key, band in subbands.items()}


def laplacian_of_gaussian(crop: Crop, sigma: float) -> Values | None:
    """Return the Laplacian of Gaussian, normalised across scales.

    Parameters
    ----------
    crop
        The tumour; all of its margin counts, because the filter is recursive.
    sigma
        Width in mm on the 1 mm grid.

    Returns
    -------
    Values or None
        float32; None where the crop is too small for the filter.
    """
    if too_small_for_laplacian(crop, sigma):
        return None
    laplacian = SimpleITK.LaplacianRecursiveGaussianImageFilter()
    laplacian.SetNormalizeAcrossScale(True)
    laplacian.SetSigma(sigma)
    filtered = laplacian.Execute(SimpleITK.GetImageFromArray(crop.hu))
    # The view does not keep the image's memory; the variable ``filtered`` keeps it until the voxels are copied.
    return crop.tumour(SimpleITK.GetArrayViewFromImage(filtered))


def too_small_for_laplacian(crop: Crop, sigma: float) -> bool:
    """Tell whether pyradiomics drops the Laplacian of Gaussian: an axis of the crop is too short for it.

    Parameters
    ----------
    crop
        The tumour and its surroundings.
    sigma
        Of the Gaussian, mm.

    Returns
    -------
    bool
    """
    return min(crop.hu.shape) < max(_LOG_MIN_SIZE, int(np.ceil(sigma)) + 1)


def square(crop: Crop) -> Values:
    """Return the squared intensities, scaled by the crop's largest magnitude."""
    return ((1 / np.sqrt(_largest_magnitude(crop))) * original(crop).astype(np.float64)) ** 2


def square_root(crop: Crop) -> Values:
    """Return the square root of the magnitude with the sign kept, scaled by the crop's largest magnitude."""
    values = original(crop).astype(np.float64)
    return np.copysign(np.sqrt(np.abs(values) * _largest_magnitude(crop)), values)


def logarithm(crop: Crop) -> Values:
    """Return the logarithm of the magnitude + 1 with the sign kept, scaled by the crop's largest magnitude."""
    largest = _largest_magnitude(crop)
    values = original(crop).astype(np.float64)
    return np.copysign(np.log(np.abs(values) + 1), values) * (largest / np.log(largest + 1))


def exponential(crop: Crop) -> Values:
    """Return the exponential, scaled so that the crop's largest magnitude maps to itself."""
    largest = _largest_magnitude(crop)
    return np.exp((np.log(largest) / largest) * original(crop).astype(np.float64))


def gradient(crop: Crop) -> Values:
    """Return the gradient magnitude, float32; its central differences need one voxel of margin."""
    grown, inner = crop.neighbourhood(1)
    magnitude = SimpleITK.GradientMagnitudeImageFilter()
    filtered = magnitude.Execute(SimpleITK.GetImageFromArray(np.ascontiguousarray(crop.hu[grown])))
    # The view does not keep the image's memory; the variable ``filtered`` keeps it until the voxels are copied.
    return SimpleITK.GetArrayViewFromImage(filtered)[inner][crop.mask]


def local_binary_pattern_2d(crop: Crop, radius: int, samples: int) -> Values:
    """Return the rotation-invariant uniform local binary pattern of each axial slice (Ojala et al., 2002).

    Parameters
    ----------
    crop
        The tumour; only its own slices are read.
    radius
        Of the circle of samples around a voxel, in voxels.
    samples
        Number of samples on the circle.

    Returns
    -------
    Values
        int16: the number of samples that are not below the voxel, or ``samples + 1`` where the pattern is not uniform.
    """
    grown, inner = crop.neighbourhood(radius + 1)
    slices = crop.hu[crop.box[0], grown[1], grown[2]].astype(np.float64)
    pattern = np.stack([_local_binary_pattern(plane, samples, radius, ord("U")) for plane in slices])
    return pattern[:, inner[1], inner[2]].astype(np.int16)[crop.mask]


def _largest_magnitude(crop: Crop) -> np.float64:
    """Return the largest absolute value within the crop."""
    # The magnitude of int16's minimum is no int16.
    return np.float64(max(int(crop.hu.max()), -int(crop.hu.min())))


@dataclass(frozen=True, slots=True)
class FilterFunctions:
    """The filters that exist as compiled code too, with the arguments of this module's functions."""

    laplacian_of_gaussian: Callable[[Crop, float], Values | None]
    wavelet: Callable[[Crop, str], dict[str, Values]]
    gradient: Callable[[Crop], Values]
    local_binary_pattern_2d: Callable[[Crop, int, int], Values]


FILTERS: Final = FilterFunctions(laplacian_of_gaussian, wavelet, gradient, local_binary_pattern_2d)
"""This module's own."""

Filter = Callable[[Crop], dict[str, Values | None]]
"""Gives one or more images of a tumour, by pyradiomics' names; None for an image that it cannot compute."""


def image_filters(settings: RadiomicsSettings, functions: FilterFunctions = FILTERS) -> dict[tuple[str, ...], Filter]:
    """Return the method's filters by the images that they give; the most work first, as a pool wants it.

    Parameters
    ----------
    settings
        Of the method.
    functions
        Those of one way to compute the features.

    Returns
    -------
    dict
        The images together are `pdl1es.features.names.IMAGE_TYPES`.
    """

    def single(name: str, function: Callable[[Crop], Values | None]) -> tuple[tuple[str, ...], Filter]:
        return (name,), lambda crop: {name: function(crop)}

    def subbands(crop: Crop) -> dict[str, Values | None]:
        name = settings.image_types.wavelet.wavelet
        return {f"wavelet-{band}": values for band, values in functions.wavelet(crop, name).items()}

    def pattern(crop: Crop) -> Values:
        return functions.local_binary_pattern_2d(crop, settings.setting.lbp_radius, settings.setting.lbp_samples)

    def laplacian(sigma: float) -> Callable[[Crop], Values | None]:
        return lambda crop: functions.laplacian_of_gaussian(crop, sigma)

    return dict(
        [
            (("wavelet-LH", "wavelet-HL", "wavelet-HH", "wavelet-LL"), subbands),
            *(single(log_image(sigma), laplacian(sigma)) for sigma in settings.image_types.log.sigma),
            single("lbp-2D", pattern),
            single("gradient", functions.gradient),
            single("exponential", exponential),
            single("logarithm", logarithm),
            single("squareroot", square_root),
            single("square", square),
            single("original", original),
        ]
    )
