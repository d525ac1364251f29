"""The largest distance between two points, against all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.spatial.distance import pdist

from pdl1es.grid.diameter import largest_distance, longest_diameter


class TestLongestDiameter:
    @settings(max_examples=200, deadline=None)
    @given(arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, max_side=9)))
    def test_it_is_the_largest_distance_between_any_two_voxels(self, mask):
        points = np.argwhere(mask)
        expected = pdist(points).max() if len(points) > 1 else 0.0
        assert longest_diameter(mask) == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("radius", [12, 30])
    def test_a_large_ragged_tumour_is_measured_exactly(self, radius):
        z, y, x = np.indices((2 * radius + 9,) * 3) - radius - 4
        rng = np.random.default_rng(radius)
        mask = (z**2 + 1.3 * y**2 + x**2 + rng.integers(0, radius * 4, z.shape)) <= radius**2
        surface = np.argwhere(mask & (z**2 + 1.3 * y**2 + x**2 >= (0.8 * radius) ** 2))
        # the farthest pair by brute force over the outer shell, in chunks
        farthest = (
            max(
                float(((surface[i : i + 200, None] - surface[None]) ** 2).sum(-1).max())
                for i in range(0, len(surface), 200)
            )
            if radius < 20
            else None
        )
        found = longest_diameter(mask)
        if farthest is None:
            assert 2 * radius * 0.95 <= found <= 2 * radius
        else:
            assert found == np.sqrt(farthest)

    def test_flat_straight_and_oblique_sheets_are_measured(self):
        flat = np.zeros((3, 60, 80), dtype=bool)
        flat[1] = True
        assert longest_diameter(flat) == np.hypot(59, 79)
        line = np.zeros((1, 1, 1500), dtype=bool)
        line[...] = True
        assert longest_diameter(line) == 1499
        sheet = np.zeros((60, 60, 60), dtype=bool)  # a plane across all three axes: no hull has a volume
        z, y, x = np.indices(sheet.shape)
        sheet[x + y - z == 20] = True
        assert longest_diameter(sheet) == pytest.approx(pdist(np.argwhere(sheet)).max())


class TestLargestDistance:
    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(0, 2**32 - 1),
        st.sampled_from([2, 3]),
        st.integers(0, 1500),
        st.sampled_from(["ball", "sphere", "line", "sheet", "two clusters", "one place"]),
    )
    def test_it_is_that_of_all_pairs(self, seed, dimensions, count, form):
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(count, dimensions))
        lengths = np.sqrt((points**2).sum(axis=1, keepdims=True))
        if form == "ball":
            points = points / lengths * rng.random((count, 1))
        elif form == "sphere":
            points = points / lengths
        elif form == "line":
            points = points[:, :1] * np.arange(1, dimensions + 1)
        elif form == "sheet":
            points[:, 0] = points[:, 1]
        elif form == "two clusters":
            points[::2] += 1000.0
        elif form == "one place":
            points[:] = 3.5
        # multiples of 1/2, as the vertices of a mesh are: exact, and many of them twice
        points = np.rint(points * 40) / 2
        expected = pdist(points).max() if count > 1 else 0.0
        assert largest_distance(points) == expected

    def test_points_on_a_circle_are_told_apart_to_the_last_digit(self):
        """All diameters are nearly equal; only one is longest."""
        angle = np.linspace(0, 2 * np.pi, 3001)[:-1]
        points = np.column_stack([np.cos(angle), np.sin(angle)]) * 100
        points[1234] *= 1 + 1e-9
        assert largest_distance(points) == pytest.approx(pdist(points).max(), rel=1e-15)
