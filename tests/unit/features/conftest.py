"""pyradiomics itself, as the reference of every test here."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import SimpleITK
import yaml
from numpy.typing import NDArray
from radiomics.featureextractor import RadiomicsFeatureExtractor

from pdl1es.features.names import FEATURE_NAMES
from pdl1es.features.settings_file import radiomics_settings_text
from tests.unit.features.tumours import Array, Tumour, synthetic_tumour


@pytest.fixture(autouse=True)
def _quiet_reference() -> Iterator[None]:
    """pyradiomics itself logs a line per image; not what is tested."""
    logger = logging.getLogger("radiomics")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def pyradiomics_features() -> Callable[[NDArray[np.int16], NDArray[np.bool_]], Array]:
    """pyradiomics' own extraction at the method's settings; image by image where one of them fails it all."""
    settings = yaml.safe_load(radiomics_settings_text())

    def execute(hu: NDArray[np.int16], mask: NDArray[np.bool_], image_types: dict[str, Any]) -> dict[str, Any]:
        extractor = RadiomicsFeatureExtractor(settings, additionalInfo=False)
        extractor.enabledImagetypes = image_types
        return extractor.execute(SimpleITK.GetImageFromArray(hu), SimpleITK.GetImageFromArray(mask.astype(np.uint8)))

    def compute(hu: NDArray[np.int16], mask: NDArray[np.bool_]) -> Array:
        with warnings.catch_warnings():  # it divides by zero on odd tumours, which gives NaN
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("ignore", DeprecationWarning)  # of its way to load its classes
            return features_of(hu, mask)

    def features_of(hu: NDArray[np.int16], mask: NDArray[np.bool_]) -> Array:
        found: dict[str, Any] = {}
        try:
            found = execute(hu, mask, settings["imageType"])
        except ValueError:
            for image_type, custom in settings["imageType"].items():
                with contextlib.suppress(ValueError):
                    found.update(execute(hu, mask, {image_type: custom}))
        return np.array([float(found.get(name, np.nan)) for name in FEATURE_NAMES])

    return compute


@pytest.fixture(scope="session")
def tumour() -> Tumour:
    """One ordinary tumour."""
    return synthetic_tumour(0)
