"""Shape features are pyradiomics'."""

from __future__ import annotations

import numpy as np
import pytest
from radiomics import cShape

from pdl1es.features.names import FEATURES_BY_CLASS
from pdl1es.features.region import Crop
from pdl1es.features.shape import diameters, shape_features, surface
from tests.unit.features.stock import cropped, stock_features
from tests.unit.features.tumours import KINDS, assert_same_features, synthetic_tumour


@pytest.mark.parametrize("number", range(2 * len(KINDS)))
def test_it_is_pyradiomics(number: int) -> None:
    case = synthetic_tumour(number)
    mask = Crop.around(case.hu, case.mask, 0).mask
    stock = stock_features("shape", mask.astype(np.int16), mask)
    assert_same_features(shape_features(mask), stock, FEATURES_BY_CLASS["shape"])


@pytest.mark.parametrize("spacing", [(5.0, 0.57, 0.57), (3.0, 0.9765625, 0.9765625), (0.5, 2.0, 1.3)])
def test_it_is_pyradiomics_on_voxels_that_are_no_cubes(spacing: tuple[float, float, float]) -> None:
    _, mask = cropped("hollow")
    stock = stock_features("shape", mask.astype(np.int16), mask, spacing=spacing)
    ours = shape_features(mask, spacing=spacing)
    assert_same_features(ours, stock, FEATURES_BY_CLASS["shape"])


def test_diameters_are_exact_for_large_ragged_and_slanting_tumours() -> None:
    random = np.random.default_rng(3)
    z, y, x = np.indices((40, 60, 60)) - 30
    masks = [
        z**2 + y**2 + x**2 + random.integers(0, 120, z.shape) < 400,
        (np.abs(x - y) < 2) & (np.abs(z) < 3),
        (np.abs(x - y + z) < 1) & (x**2 < 90),
        (z == 0) & (x**2 + y**2 < 500),
        random.random(z.shape) < 0.001,
    ]
    for mask in masks:
        padded = np.pad(mask, 1)
        *_, expected = cShape.calculate_coefficients(padded, np.ones(3))
        assert diameters(padded, np.ones(3)) == tuple(expected)


def test_every_cube_of_the_mesh_is_tabulated() -> None:
    """A mask whose 2 x 2 x 2 neighbourhoods take all 256 forms."""
    mask = np.pad(np.random.default_rng(0).random((30, 30, 30)) < 0.5, 1)
    corners = [mask[a : a + 31, b : b + 31, c : c + 31] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    assert len(np.unique(sum(corner.astype(int) << bit for bit, corner in enumerate(corners)))) == 256
    area, volume, _ = cShape.calculate_coefficients(mask, np.ones(3))
    assert surface(mask, (1.0, 1.0, 1.0)) == pytest.approx((area, volume), rel=1e-10)
