"""First-order statistics are pyradiomics'."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pdl1es.features.discretisation import discretise
from pdl1es.features.first_order import first_order_features
from pdl1es.features.names import FEATURES_BY_CLASS
from tests.unit.features.stock import cropped, stock_features
from tests.unit.features.tumours import KINDS, assert_same_features


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "thin scan"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_it_is_pyradiomics(kind: str, dtype: Any) -> None:
    hu, mask = cropped(kind)
    image = hu if dtype is np.int16 else (hu * dtype(1.37)).astype(dtype)
    with np.errstate(all="ignore"):
        ours = first_order_features(image[mask], discretise(image[mask], bin_width=25))
    assert_same_features(ours, stock_features("firstorder", image, mask), FEATURES_BY_CLASS["firstorder"])


def test_a_flat_image_of_no_round_value_keeps_pyradiomics_rounding() -> None:
    """Skewness and kurtosis of a flat image divide one rounding error by another."""
    mask = np.ones((5, 7, 9), dtype=bool)
    image = np.full(mask.shape, 2 * 1050.1234567)
    ours = first_order_features(image[mask], discretise(image[mask], bin_width=25))
    assert_same_features(ours, stock_features("firstorder", image, mask), FEATURES_BY_CLASS["firstorder"])
