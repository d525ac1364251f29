"""Shared by this project's subclasses of pyradiomics' feature classes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from pdl1es.features.names import FEATURES_BY_CLASS

SILENT: Final = logging.Logger("pdl1es.features.silent", level=logging.CRITICAL + 1)
"""A logger of our own for pyradiomics' objects: its global loggers stay as they are, and nothing is written."""


class PreparedClass:
    """Mix-in for a feature class of pyradiomics that is given its input instead of reading SimpleITK images.

    `_prepare` takes the place of ``RadiomicsFeaturesBase.__init__``, which converts image and mask anew for each class
    and inspects the class for its features at each instance. ``execute`` and the formulas stay pyradiomics'.
    """

    logger: logging.Logger
    coefficients: dict[str, Any]
    execute: Callable[[], dict[str, Any]]

    def _prepare(self, feature_class: str) -> None:
        self.logger = SILENT
        self.settings: dict[str, Any] = {}
        self.voxelBased = False
        self.coefficients = {}
        self.featureValues: dict[str, Any] = {}
        self.enabledFeatures = dict.fromkeys(FEATURES_BY_CLASS[feature_class], True)
