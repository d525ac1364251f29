"""pyradiomics itself, as the reference of every test here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.features.stock import stock_extraction
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
    """`stock_extraction`."""
    return stock_extraction


@pytest.fixture(scope="session")
def tumour() -> Tumour:
    """One ordinary tumour."""
    return synthetic_tumour(0)
