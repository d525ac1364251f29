"""Features where pandas is installed, as it is for whoever trains."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdl1es import extract_features
from pdl1es.features.names import FEATURE_NAMES
from training.untrained import phantom_volume


def test_the_librarys_features_are_a_series_with_their_names() -> None:
    volume = phantom_volume(0)
    features = extract_features(volume)
    assert isinstance(features, pd.Series)
    assert tuple(features.index) == FEATURE_NAMES
    assert features["original_shape_VoxelVolume"] == np.count_nonzero(volume.mask)
