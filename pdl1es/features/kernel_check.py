"""The check, on a small image, that the compiled kernels give the numpy path's values on this machine."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.features.extraction_path import NUMPY, ExtractionPath
from pdl1es.features.filters import image_filters
from pdl1es.features.matrices import TextureMatrices
from pdl1es.features.region import Crop
from pdl1es.features.settings import SETTINGS

_POINTWISE: Final = ("original", "square", "squareroot", "logarithm", "exponential")
"""Images that both ways compute by numpy."""
_MATRICES: Final = ("glcm", "glcm_sums", "glcm_differences", "gldm", "glrlm", "glszm", "zone_sizes", "differences")


def kernel_difference(path: ExtractionPath) -> str | None:
    """Compare the kernels with SimpleITK, PyWavelets, scikit-image and numpy, to the bit.

    Parameters
    ----------
    path
        Computes by the kernels.

    Returns
    -------
    str or None
        What they compute otherwise; None where nothing differs.
    """
    image = (np.arange(7 * 9 * 11) * 7919 % 1301 - 900).astype(np.int16).reshape(7, 9, 11)
    mask = np.zeros(image.shape, dtype=np.bool_)
    mask[1:6, 1:8, 2:11] = image[1:6, 1:8, 2:11] > -700
    crop = Crop.around(image, mask, 10)
    try:
        return _filter_difference(path, crop) or _description_difference(path, crop)
    except (AttributeError, TypeError, ValueError) as error:
        # A build of other sources than these: a function is missing, or takes other arguments.
        return f"they do not fit this version ({error})"


def _filter_difference(path: ExtractionPath, crop: Crop) -> str | None:
    theirs, ours = image_filters(SETTINGS, NUMPY.filters), image_filters(SETTINGS, path.filters)
    for names, reference in theirs.items():
        if names[0] in _POINTWISE:
            continue
        expected, found = reference(crop), ours[names](crop)
        if not all(_same(expected[name], found[name]) for name in names):
            return f"the filter of {', '.join(names)} gives other values"
    return None


def _description_difference(path: ExtractionPath, crop: Crop) -> str | None:
    values = crop.tumour(crop.hu)
    layouts = [one.lay_out(crop.mask) for one in (NUMPY, path)]
    for kind in (np.int16, np.float32, np.float64):
        (expected, theirs), (found, ours) = (
            one.describe(values.astype(kind), layout, SETTINGS.setting.bin_width)
            for one, layout in zip((NUMPY, path), layouts, strict=True)
        )
        if not _same(expected, found):
            return "first-order features have other values"
        for name in _MATRICES:
            if not _same(_matrix(theirs, name), _matrix(ours, name)):
                return f"the texture matrix {name} has other values"
    if not _same(NUMPY.shape_features(crop.mask), path.shape_features(crop.mask)):
        return "shape features have other values"
    return None


def _matrix(matrices: TextureMatrices, name: str) -> NDArray[Any]:
    matrix: NDArray[Any] = getattr(matrices, name)
    return matrix


def _same(expected: NDArray[Any] | None, found: NDArray[Any] | None) -> bool:
    if expected is None or found is None:
        return expected is found
    return expected.dtype == found.dtype and np.array_equal(expected, found, equal_nan=expected.dtype.kind == "f")
