"""Separable linear interpolation."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.interpolate import RegularGridInterpolator

from pdl1es.grid.interpolation import between, interpolate_plane, linear_weights

COORDINATES = st.lists(st.integers(-500, 500), min_size=2, max_size=12, unique=True).map(
    lambda values: np.array(sorted(values)) / 8.0
)


@given(COORDINATES, st.lists(st.floats(-80, 80), min_size=1, max_size=20))
def test_a_node_is_interpolated_as_numpy_does_and_clamped_at_the_ends(coordinates, nodes):
    values = np.cos(coordinates * 3.7) * 1000
    weights = linear_weights(coordinates, np.array(nodes))
    found = between(values[weights.lower], values[weights.upper], weights.fraction)
    np.testing.assert_allclose(found, np.interp(nodes, coordinates, values), rtol=0, atol=1e-9)


@given(COORDINATES, st.integers(-1024, 3071))
def test_a_constant_image_stays_exactly_constant(coordinates, value):
    nodes = np.linspace(coordinates[0] - 3, coordinates[-1] + 3, 57)
    weights = linear_weights(coordinates, nodes.astype(np.float64))
    image = np.full((coordinates.size, coordinates.size), value, dtype=np.int16)
    assert np.all(interpolate_plane(image, weights, weights) == value)


@given(arrays(np.int16, (5, 7), elements=st.integers(-1024, 3071)))
def test_interpolation_does_not_overshoot(image):
    x = linear_weights(np.arange(7, dtype=np.float64) * 0.7, np.linspace(-1, 6, 40))
    y = linear_weights(np.array([0.0, 1.0, 1.3, 4.0, 9.0]), np.linspace(-1, 10, 33))
    result = interpolate_plane(image, x, y)
    assert result.min() >= image.min()
    assert result.max() <= image.max()


def test_a_node_on_a_sample_has_no_weight_on_its_neighbour():
    """So that no slice is read that changes nothing."""
    weights = linear_weights(np.array([0.0, 2.0, 5.0]), np.array([-1.0, 0.0, 2.0, 3.0, 5.0, 6.0]))
    assert weights.lower.tolist() == [0, 0, 1, 1, 2, 2]
    assert weights.upper.tolist() == [0, 0, 1, 2, 2, 2]
    np.testing.assert_array_equal(weights.fraction, [0, 0, 0, 1 / 3, 0, 0])


def test_a_plane_is_interpolated_as_scipy_does():
    rng = np.random.default_rng(5)
    y, x = np.sort(rng.uniform(0, 50, 30)), np.sort(rng.uniform(0, 50, 40))
    image = rng.integers(-1000, 1000, (30, 40))
    x_nodes, y_nodes = np.arange(np.ceil(x[0]), x[-1]), np.arange(np.ceil(y[0]), y[-1])
    expected = RegularGridInterpolator((y, x), image.astype(float))(
        np.stack(np.meshgrid(y_nodes, x_nodes, indexing="ij"), -1)
    )
    found = interpolate_plane(image, linear_weights(x, x_nodes), linear_weights(y, y_nodes))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
