"""How far training patients lie: held to scikit-learn's own distance, and to patients that were not trained on."""

from __future__ import annotations

import numpy as np
from sklearn.covariance import LedoitWolf

from training.reach import fit_reach

RNG = np.random.default_rng(0)
MIXING = RNG.normal(size=(30, 30)) / np.sqrt(30)
TRAINING, OTHERS = (RNG.normal(size=(count, 30)) @ MIXING for count in (600, 2000))
VOLUMES = np.exp(RNG.normal(3, 1, 600))
DIAMETERS = 12 * np.cbrt(VOLUMES)


def test_the_distance_is_scikit_learns() -> None:
    reach = fit_reach(TRAINING, VOLUMES, DIAMETERS)
    assert reach is not None
    expected = np.sqrt(LedoitWolf().fit(TRAINING).mahalanobis(OTHERS[:50]))
    np.testing.assert_allclose([reach.distance_of(one) for one in OTHERS[:50]], expected, rtol=1e-5)
    assert reach.volume_ml == (VOLUMES.min(), VOLUMES.max())
    assert reach.longest_diameter_mm == (DIAMETERS.min(), DIAMETERS.max())


def test_few_others_of_the_same_kind_lie_beyond_and_all_of_another_kind() -> None:
    reach = fit_reach(TRAINING, VOLUMES, DIAMETERS)
    assert reach is not None
    assert np.mean([reach.distance_of(one) > reach.distance for one in OTHERS]) < 0.01
    # As large in every single feature, without the features' correlations
    other_kind = np.random.default_rng(1).permuted(OTHERS, axis=0)
    assert np.mean([reach.distance_of(one) > reach.distance for one in other_kind]) > 0.5


def test_clipped_features_count_by_their_share() -> None:
    wild = TRAINING.copy()
    wild[:10, :3] = 7.0
    reach = fit_reach(wild, VOLUMES, DIAMETERS)
    assert reach is not None
    assert reach.clipped_share == 0.1


def test_a_handful_of_patients_says_nothing_of_how_far_patients_lie() -> None:
    assert fit_reach(TRAINING[:19], VOLUMES[:19], DIAMETERS[:19]) is None
    assert fit_reach(np.zeros((100, 0)), VOLUMES[:100], DIAMETERS[:100]) is None
