"""The fourteen images of the method, on arrays and only where the tumour needs them.

pyradiomics' own filters work on the whole crop and convert to and from SimpleITK at every step. Here each filter reads
as much of the crop as its support needs and returns the tumour's voxels alone. Every value is the one pyradiomics
computes; ``tests/unit/features/test_filters.py`` compares them with ``radiomics.imageoperations``, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pywt
import SimpleITK
from numpy.typing import NDArray
from skimage.feature import local_binary_pattern

Values = NDArray[Any]
"""The tumour's voxels of one image, shape (n_voxels,), in the order of ``mask.nonzero()``; the image's own data type."""

_LOG_MIN_SIZE: Final = 4
"""Voxels that the recursive Laplacian of Gaussian needs on each axis; pyradiomics drops the images of a smaller crop."""


@dataclass(frozen=True, slots=True)
class Crop:
    """The tumour's box and its margin.

    Attributes
    ----------
    hu
        int16 Hounsfield units of the margin's box, shape (z, y, x).
    box
        Where the tumour's own box lies in ``hu``.
    mask
        bool, the tumour on its own box.
    """

    hu: NDArray[np.int16]
    box: tuple[slice, slice, slice]
    mask: NDArray[np.bool_]

    @classmethod
    def around(cls, hu: NDArray[np.int16], mask: NDArray[np.bool_], margin: int) -> Crop:
        """Cut the tumour's box plus ``margin`` voxels, clipped by the array.

        Parameters
        ----------
        hu, mask
            The image and the tumour, one shape (z, y, x); the mask is not empty.
        margin
            Voxels on every side.
        """
        outer, inner, tumour = [], [], []
        for axis in range(3):
            occupied = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
            low, high = int(occupied[0]), int(occupied[-1]) + 1
            start = max(low - margin, 0)
            outer.append(slice(start, min(high + margin, mask.shape[axis])))
            inner.append(slice(low - start, high - start))
            tumour.append(slice(low, high))
        return cls(
            hu=np.ascontiguousarray(hu[tuple(outer)], dtype=np.int16),
            box=(inner[0], inner[1], inner[2]),
            mask=np.ascontiguousarray(mask[tuple(tumour)]),
        )

    def tumour(self, image: NDArray[Any]) -> Values:
        """Return the tumour's voxels of an image of the whole crop."""
        return image[self.box][self.mask]

    def neighbourhood(self, margin: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return the tumour's box grown by ``margin`` within the crop, and where the tumour's box lies in it."""
        grown, inner = [], []
        for side, length in zip(self.box, self.hu.shape, strict=True):
            start = max(side.start - margin, 0)
            grown.append(slice(start, min(side.stop + margin, length)))
            inner.append(slice(side.start - start, side.stop - start))
        return tuple(grown), tuple(inner)


def original(crop: Crop) -> Values:
    """No filter."""
    return crop.tumour(crop.hu)


def wavelet(crop: Crop, name: str = "coif1") -> dict[str, Values]:
    """Return the four subbands of one level of the undecimated 2-D wavelet transform, by name (``LH``: low along x).

    The transform is in the axial plane, so only the tumour's own slices are transformed; rows and columns stay whole
    because the transform wraps around them.
    """
    slices = crop.hu[crop.box[0]].astype(np.float64)
    # The transform needs even lengths; pyradiomics repeats the first row or column at the end.
    even = np.pad(slices, ((0, 0), (0, slices.shape[1] % 2), (0, slices.shape[2] % 2)), "wrap")
    subbands = pywt.swtn(even, pywt.Wavelet(name), level=1, start_level=0, axes=(2, 1))[0]
    in_plane = (slice(None), *crop.box[1:])
    return {key.replace("a", "L").replace("d", "H"): band[in_plane][crop.mask] for key, band in subbands.items()}


def laplacian_of_gaussian(crop: Crop, sigma: float) -> Values | None:
    """Return the Laplacian of Gaussian, scale-normalised, float32; None where the crop is too small for the filter.

    Parameters
    ----------
    crop
        The tumour; all of its margin counts, because the filter is recursive.
    sigma
        Width in mm on the 1 mm grid.
    """
    if min(crop.hu.shape) < max(_LOG_MIN_SIZE, int(np.ceil(sigma)) + 1):
        return None
    laplacian = SimpleITK.LaplacianRecursiveGaussianImageFilter()
    laplacian.SetNormalizeAcrossScale(True)
    laplacian.SetSigma(sigma)
    filtered = laplacian.Execute(SimpleITK.GetImageFromArray(crop.hu))
    # The view does not keep the image alive; the variable does until the voxels are copied.
    return crop.tumour(SimpleITK.GetArrayViewFromImage(filtered))


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
    """Return the gradient magnitude, float32: central differences, so one voxel of margin is enough."""
    grown, inner = crop.neighbourhood(1)
    magnitude = SimpleITK.GradientMagnitudeImageFilter()
    filtered = magnitude.Execute(SimpleITK.GetImageFromArray(np.ascontiguousarray(crop.hu[grown])))
    # The view does not keep the image alive; the variable does until the voxels are copied.
    return SimpleITK.GetArrayViewFromImage(filtered)[inner][crop.mask]


def local_binary_pattern_2d(crop: Crop, radius: float = 1, samples: int = 8, method: str = "uniform") -> Values:
    """Return the rotation-invariant local binary pattern of each axial slice, int16, on the tumour's slices alone."""
    grown, inner = crop.neighbourhood(int(np.ceil(radius)) + 1)
    slices = crop.hu[crop.box[0], grown[1], grown[2]]
    pattern = np.stack([local_binary_pattern(plane, P=samples, R=radius, method=method) for plane in slices])
    return pattern[:, inner[1], inner[2]].astype(np.int16)[crop.mask]


def _largest_magnitude(crop: Crop) -> np.float64:
    # int16's own minimum has no int16 magnitude.
    return np.float64(max(int(crop.hu.max()), -int(crop.hu.min())))


Filter = Callable[[Crop], dict[str, Values | None]]
"""Gives one or more images of a tumour, by pyradiomics' names; None for an image that it cannot compute."""


def image_filters(
    sigmas: Sequence[float] = (1.0, 2.0, 3.0), wavelet_name: str = "coif1"
) -> dict[tuple[str, ...], Filter]:
    """Return the method's filters by the images that they give; the slowest first, as a pool wants them.

    Parameters
    ----------
    sigmas
        Widths of the Laplacian of Gaussian, mm.
    wavelet_name
        PyWavelets' name of the wavelet.
    """

    def single(name: str, function: Callable[[Crop], Values | None]) -> tuple[tuple[str, ...], Filter]:
        return (name,), lambda crop: {name: function(crop)}

    def laplacian(sigma: float) -> tuple[tuple[str, ...], Filter]:
        name = f"log-sigma-{str(float(sigma)).replace('.', '-')}-mm-3D"
        return single(name, lambda crop: laplacian_of_gaussian(crop, sigma))

    def subbands(crop: Crop) -> dict[str, Values | None]:
        return {f"wavelet-{band}": values for band, values in wavelet(crop, wavelet_name).items()}

    return dict(
        [
            *(laplacian(sigma) for sigma in sigmas),
            (("wavelet-LH", "wavelet-HL", "wavelet-HH", "wavelet-LL"), subbands),
            single("lbp-2D", local_binary_pattern_2d),
            single("gradient", gradient),
            single("exponential", exponential),
            single("logarithm", logarithm),
            single("squareroot", square_root),
            single("square", square),
            single("original", original),
        ]
    )
