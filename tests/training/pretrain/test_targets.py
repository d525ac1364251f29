"""The targets are principal components as numpy's eigenvectors give them, scaled as documented."""

from __future__ import annotations

import numpy as np
import pytest

from pdl1es.features.names import FEATURE_NAMES
from training.pretrain.targets import fit_components

N = len(FEATURE_NAMES)


def _rim(patients: int = 80, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(patients, 3)) * (3.0, 2.0, 1.0)
    return factors @ rng.normal(size=(3, N)) + 0.1 * rng.normal(size=(patients, N)) + rng.normal(size=N)


def test_they_are_the_covariances_eigenvectors() -> None:
    rim = _rim()
    found = fit_components(rim, 3)
    z = np.clip((rim - rim.mean(0)) / rim.std(0), -5, 5)
    values, vectors = np.linalg.eigh(np.cov(z, rowvar=False, ddof=0))
    for number in range(3):
        assert abs(abs(found.axes[number] @ vectors[:, -1 - number]) - 1) < 1e-9
    np.testing.assert_allclose(found.explained, values[::-1][:3] / values.sum(), rtol=1e-9)


def test_a_components_spread_is_the_root_of_its_share_of_the_first() -> None:
    rim = _rim()
    found = fit_components(rim, 3)
    spread = found.targets(rim).astype(np.float64).std(axis=0)
    expected = (found.explained / found.explained[0]) ** 0.25
    np.testing.assert_allclose(spread, expected, rtol=1e-4)


def test_features_that_cannot_be_compared_are_left_out_and_missing_values_are_the_mean() -> None:
    rim = _rim()
    rim[:, 4] = 7.0
    rim[:10, 5] = np.nan
    rim[:2, 6] = np.nan
    rim[0, 7] = np.inf
    found = fit_components(rim, 3)
    assert not {4, 5} & set(found.features.tolist())
    assert {6, 7} <= set(found.features.tolist())
    nobody = np.full((1, N), np.nan)
    np.testing.assert_array_equal(found.targets(nobody), np.zeros((1, 3), np.float32))


def test_there_are_no_more_components_than_patients_span() -> None:
    assert len(fit_components(_rim(4), 24).axes) == 3


@pytest.mark.parametrize(
    ("rim", "said"), [(_rim(2), "at least 3 are needed"), (np.ones((9, N)), "no feature of the rim differs")]
)
def test_what_has_no_components_is_said(rim: np.ndarray[tuple[int, int], np.dtype[np.float64]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit_components(rim, 3)
