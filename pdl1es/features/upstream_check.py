"""The check that pyradiomics is the version whose internals this room uses."""

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

from pdl1es.features.extraction_path import NUMPY
from pdl1es.features.names import FEATURES_BY_CLASS

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


class UpstreamChanged(ImportError):
    """pyradiomics is not the version whose internals are used here, or they are not as expected."""


def check_upstream() -> None:
    """Check that pyradiomics is the expected version; `pdl1es.features.default_path` calls it at import.

    Raises
    ------
    UpstreamChanged
        Another version; a class, method or feature is missing; or a compiled matrix holds other counts than ours.
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
    _compare_matrices()


def _compare_matrices() -> None:
    """Compare the texture matrices of a small image with pyradiomics' own."""
    image = np.array([[[1, 1, 2, 3], [2, 1, 1, 3], [3, 3, 2, 1]], [[2, 2, 2, 1], [1, 3, 3, 3], [2, 1, 2, 2]]], np.int32)
    mask = np.ones(image.shape, dtype=np.bool_)
    mask[0, 0, 0] = mask[1, 2, 3] = False
    # Grey levels 1, 2 and 3 are bins of width 1 from 1 on.
    _, ours = NUMPY.describe(image[mask].astype(np.int16), NUMPY.lay_out(mask), 1)
    planar = (True, 0)
    glcm, _ = cMatrices.calculate_glcm(image, mask, np.array([1]), 3, *planar)
    gldm = cMatrices.calculate_gldm(image, mask, np.array([1]), 3, 0, *planar)
    glrlm, _ = cMatrices.calculate_glrlm(image, mask, 3, 4, *planar)
    glszm = cMatrices.calculate_glszm(image, mask, 3, np.count_nonzero(mask), *planar)
    ngtdm = cMatrices.calculate_ngtdm(image, mask, np.array([1]), 3, *planar)
    same = (
        np.array_equal(ours.glcm.transpose(1, 2, 0), glcm[0])
        and np.array_equal(ours.gldm, gldm[0])
        and np.array_equal(ours.glrlm, glrlm[0][:, : ours.glrlm.shape[1]])
        and np.array_equal(ours.glszm, glszm[0][:, ours.zone_sizes - 1])
        and np.array_equal(ours.differences, ngtdm[0][:, 1])
    )
    if not same:
        raise UpstreamChanged("radiomics.cMatrices counts otherwise than pdl1es.features does")
