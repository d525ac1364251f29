"""The 1316 radiomic features of a tumour on the 1 mm grid, in the model's order (paper, Methods; pyradiomics 3.0.1)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import radiomics.featureextractor
import SimpleITK
import yaml
from numpy.typing import NDArray

from pdl1es.method import radiomics_settings_text
from pdl1es.radiomics.names import FEATURE_NAMES

_SETTINGS: dict[str, Any] = yaml.safe_load(radiomics_settings_text())


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("radiomics")
    disabled = logger.disabled
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.disabled = disabled


def extract_features(hu: NDArray[np.int16], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute every feature of the method.

    Parameters
    ----------
    hu
        int16 Hounsfield units on the 1 mm grid, shape (z, y, x).
    mask
        bool, same shape: the tumour.

    Returns
    -------
    NDArray[np.float64]
        Shape (1316,), in the order of :data:`pdl1es.radiomics.names.FEATURE_NAMES`; NaN where pyradiomics drops a
        feature, fails on it or gives NaN.

    Raises
    ------
    ValueError
        The arrays differ in shape, are not three-dimensional, or the mask is empty.
    """
    if hu.ndim != 3 or hu.shape != mask.shape:
        raise ValueError(f"hu and mask must be one 3-D shape, got {hu.shape} and {mask.shape}")
    if not mask.any():
        raise ValueError("the mask is empty")
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(hu, dtype=np.int16))
    label = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    with _quiet(), np.errstate(all="ignore"):
        extractor = radiomics.featureextractor.RadiomicsFeatureExtractor(_SETTINGS, additionalInfo=False)
        try:
            values = extractor.execute(image, label)
        except ValueError:
            values = {}
    return np.array([float(values.get(name, np.nan)) for name in FEATURE_NAMES], dtype=np.float64)
