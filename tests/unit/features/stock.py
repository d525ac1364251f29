"""pyradiomics as it comes, on arrays: its whole extraction, and one feature class."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import numpy as np
import SimpleITK
import yaml
from numpy.typing import NDArray
from radiomics.base import RadiomicsFeaturesBase
from radiomics.featureextractor import RadiomicsFeatureExtractor
from radiomics.firstorder import RadiomicsFirstOrder
from radiomics.glcm import RadiomicsGLCM
from radiomics.gldm import RadiomicsGLDM
from radiomics.glrlm import RadiomicsGLRLM
from radiomics.glszm import RadiomicsGLSZM
from radiomics.ngtdm import RadiomicsNGTDM
from radiomics.shape import RadiomicsShape

from pdl1es.features.names import FEATURE_NAMES, FEATURES_BY_CLASS
from pdl1es.features.region import Crop
from pdl1es.features.settings_file import radiomics_settings_text
from tests.unit.features.tumours import KINDS, Array, synthetic_tumour

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


def stock_extraction(hu: NDArray[np.int16], mask: NDArray[np.bool_]) -> Array:
    """pyradiomics' own extraction at the method's settings; image by image where one of them fails it all."""
    settings = yaml.safe_load(radiomics_settings_text())

    def execute(image_types: dict[str, Any]) -> dict[str, Any]:
        extractor = RadiomicsFeatureExtractor(settings, additionalInfo=False)
        extractor.enabledImagetypes = image_types
        return extractor.execute(SimpleITK.GetImageFromArray(hu), SimpleITK.GetImageFromArray(mask.astype(np.uint8)))

    found: dict[str, Any] = {}
    with warnings.catch_warnings():  # it divides by zero on odd tumours, which gives NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # of its way to load its classes
        try:
            found = execute(settings["imageType"])
        except ValueError:
            for image_type, custom in settings["imageType"].items():
                with contextlib.suppress(ValueError):
                    found.update(execute({image_type: custom}))
    return np.array([float(found.get(name, np.nan)) for name in FEATURE_NAMES])
