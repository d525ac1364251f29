"""The check that pyradiomics is the version whose internals this room uses, and that the compiled kernels agree."""

from __future__ import annotations

from typing import Final

import numpy as np
import radiomics
from radiomics import cMatrices
from radiomics.firstorder import RadiomicsFirstOrder
from radiomics.glcm import RadiomicsGLCM
from radiomics.gldm import RadiomicsGLDM
from radiomics.glrlm import RadiomicsGLRLM
from radiomics.glszm import RadiomicsGLSZM
from radiomics.ngtdm import RadiomicsNGTDM
from radiomics.shape import RadiomicsShape

from pdl1es.features import extraction_path
from pdl1es.features.extraction_path import ExtractionPath
from pdl1es.features.filters import image_filters
from pdl1es.features.names import FEATURES_BY_CLASS
from pdl1es.features.region import Crop
from pdl1es.features.settings import SETTINGS

UPSTREAM_VERSION: Final = "3.0.1"
"""The version of pyradiomics whose internals are used here."""
SAME_CODE_VERSION: Final = "3.1.4"
"""What pyradiomics-bhklab calls itself: 3.0.1's code, with a build file that pip understands on every Python."""

RELIED_ON: Final[dict[type, tuple[str, ...]]] = {
    RadiomicsFirstOrder: ("_initCalculation", "_calculateSegment"),
    RadiomicsGLCM: ("_calculateMatrix", "_calculateCoefficients", "_initCalculation", "_calculateSegment"),
    RadiomicsGLDM: ("_calculateMatrix", "_initCalculation", "_calculateSegment"),
    RadiomicsGLRLM: ("_calculateMatrix", "_calculateCoefficients", "_initCalculation", "_calculateSegment"),
    RadiomicsGLSZM: ("_calculateMatrix", "_calculateCoefficients", "_initCalculation", "_calculateSegment"),
    RadiomicsNGTDM: ("_calculateMatrix", "_calculateCoefficients", "_initCalculation", "_calculateSegment"),
    RadiomicsShape: ("_initSegmentBasedCalculation", "_calculateSegment"),
}
"""The methods of pyradiomics' classes that are replaced or called here."""


_POINTWISE: Final = ("original", "square", "squareroot", "logarithm", "exponential")
"""Images that both ways compute by numpy."""


class UpstreamChanged(ImportError):
    """pyradiomics is not the version whose internals are used here, or they are not as expected."""


def check_upstream() -> None:
    """Check that pyradiomics is the expected version; `pdl1es.features.extraction` calls it at import.

    Raises
    ------
    UpstreamChanged
        Another version; a class, method or feature is missing; a compiled matrix holds other counts than ours; or a
        compiled filter gives another value than the package that it stands for.
    """
    if radiomics.__version__.removeprefix("v") not in (UPSTREAM_VERSION, SAME_CODE_VERSION):
        raise UpstreamChanged(f"pyradiomics {UPSTREAM_VERSION} is needed, {radiomics.__version__} is installed")
    for owner, methods in RELIED_ON.items():
        missing = [name for name in methods if not callable(getattr(owner, name, None))]
        if missing:
            raise UpstreamChanged(f"radiomics.{owner.__name__} lacks {', '.join(missing)}")
    for owner in RELIED_ON:
        feature_class = owner.__name__.removeprefix("Radiomics").lower()
        offered = {name for name, deprecated in owner.getFeatureNames().items() if not deprecated}  # type: ignore[attr-defined]
        if offered != set(FEATURES_BY_CLASS[feature_class]):
            raise UpstreamChanged(f"radiomics.{owner.__name__} has other features than the method's")
    for path in {extraction_path.NUMPY, extraction_path.DEFAULT}:
        _compare_matrices(path)
    if extraction_path.DEFAULT is not extraction_path.NUMPY:
        _compare_filters()


def _compare_filters() -> None:
    """Compare the compiled filters with SimpleITK, PyWavelets and scikit-image on a small image, to the bit."""
    image = (np.arange(7 * 9 * 11) * 7919 % 1301 - 900).astype(np.int16).reshape(7, 9, 11)
    mask = np.zeros(image.shape, dtype=np.bool_)
    mask[1:6, 1:8, 2:11] = image[1:6, 1:8, 2:11] > -700
    crop = Crop.around(image, mask, 10)
    theirs, ours = (image_filters(SETTINGS, path.filters) for path in (extraction_path.NUMPY, extraction_path.DEFAULT))
    for names, reference in theirs.items():
        if names[0] in _POINTWISE:
            continue
        expected, found = reference(crop), ours[names](crop)
        if not all(np.array_equal(expected[name], found[name]) for name in names):  # type: ignore[arg-type]
            raise UpstreamChanged(f"the compiled filter of {', '.join(names)} gives other values than the package's")


def _compare_matrices(path: ExtractionPath) -> None:
    """Compare the texture matrices of a small image with pyradiomics' own."""
    image = np.array([[[1, 1, 2, 3], [2, 1, 1, 3], [3, 3, 2, 1]], [[2, 2, 2, 1], [1, 3, 3, 3], [2, 1, 2, 2]]], np.int32)
    mask = np.ones(image.shape, dtype=np.bool_)
    mask[0, 0, 0] = mask[1, 2, 3] = False
    # Grey levels 1, 2 and 3 are bins of width 1 from 1 on.
    _, ours = path.describe(image[mask].astype(np.int16), path.lay_out(mask), 1)
    planar = (True, 0)
    glcm, _ = cMatrices.calculate_glcm(image, mask, np.array([1]), 3, *planar)
    gldm = cMatrices.calculate_gldm(image, mask, np.array([1]), 3, 0, *planar)
    glrlm, _ = cMatrices.calculate_glrlm(image, mask, 3, 4, *planar)
    glszm = cMatrices.calculate_glszm(image, mask, 3, np.count_nonzero(mask), *planar)
    ngtdm = cMatrices.calculate_ngtdm(image, mask, np.array([1]), 3, *planar)
    same = (
        np.array_equal(ours.glcm, glcm[0])
        and np.array_equal(ours.gldm, gldm[0])
        and np.array_equal(ours.glrlm, glrlm[0][:, : ours.glrlm.shape[1]])
        and np.array_equal(ours.glszm, glszm[0][:, ours.zone_sizes - 1])
        and np.array_equal(ours.differences, ngtdm[0][:, 1])
    )
    if not same:
        raise UpstreamChanged("radiomics.cMatrices counts otherwise than pdl1es.features does")
