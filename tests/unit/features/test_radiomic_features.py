"""The features of a tumour as a user reads them."""

from __future__ import annotations

import numpy as np
import pytest

from pdl1es.features.names import FEATURE_NAMES
from pdl1es.features.radiomic_features import RadiomicFeatures


def test_a_feature_is_read_by_its_name() -> None:
    features = RadiomicFeatures(np.arange(1316, dtype=np.float64))
    assert len(features) == 1316
    assert list(features) == list(features.names) == list(FEATURE_NAMES)
    assert [features[name] for name in FEATURE_NAMES[:3]] == [0.0, 1.0, 2.0]
    with pytest.raises(KeyError, match="original_shape_Beauty"):
        features["original_shape_Beauty"]


def test_its_repr_is_one_short_line() -> None:
    values = np.zeros(1316)
    values[:3] = np.nan
    assert repr(RadiomicFeatures(values)) == "RadiomicFeatures(1316 values, 3 of them NaN)"


def test_a_series_of_pandas_has_the_names_as_its_index() -> None:
    pytest.importorskip("pandas")
    series = RadiomicFeatures(np.arange(1316, dtype=np.float64)).as_series()
    assert series["original_shape_Flatness"] == float(FEATURE_NAMES.index("original_shape_Flatness"))
    assert list(series.index) == list(FEATURE_NAMES)


@pytest.mark.parametrize("values", [np.zeros(1315), np.zeros((1, 1316)), np.zeros(1316, np.float32)])
def test_arrays_of_another_shape_or_type_are_no_features(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"float64 of shape \(1316,\)"):
        RadiomicFeatures(values)
