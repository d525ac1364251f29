"""One feature class of pyradiomics as it comes, on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from radiomics.base import RadiomicsFeaturesBase
from radiomics.firstorder import RadiomicsFirstOrder
from radiomics.glcm import RadiomicsGLCM
from radiomics.gldm import RadiomicsGLDM
from radiomics.glrlm import RadiomicsGLRLM
from radiomics.glszm import RadiomicsGLSZM
from radiomics.ngtdm import RadiomicsNGTDM
from radiomics.shape import RadiomicsShape

from pdl1es.features.names import FEATURES_BY_CLASS
from pdl1es.features.region import Crop
from tests.unit.features.tumours import KINDS, synthetic_tumour

STOCK: dict[str, type[RadiomicsFeaturesBase]] = {
    "firstorder": RadiomicsFirstOrder,
    "glcm": RadiomicsGLCM,
    "gldm": RadiomicsGLDM,
    "glrlm": RadiomicsGLRLM,
    "glszm": RadiomicsGLSZM,
    "ngtdm": RadiomicsNGTDM,
    "shape": RadiomicsShape,
}


def stock_features(feature_class: str, image: NDArray[Any], mask: NDArray[np.bool_], **settings: Any) -> NDArray[Any]:
    """One class of pyradiomics on arrays cropped to the tumour."""
    spacing = settings.pop("spacing", (1.0, 1.0, 1.0))
    images = [SimpleITK.GetImageFromArray(array) for array in (image, mask.astype(np.uint8))]
    for one in images:
        one.SetSpacing(spacing[::-1])
    settings.setdefault("force2D", True)
    found = STOCK[feature_class](*images, force2Ddimension=0, **settings).execute()
    return np.array([float(np.squeeze(found[name])) for name in FEATURES_BY_CLASS[feature_class]])


def cropped(kind: str) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """A synthetic tumour on its own box."""
    case = synthetic_tumour(KINDS.index(kind))
    crop = Crop.around(case.hu, case.mask, 0)
    return crop.hu, crop.mask
