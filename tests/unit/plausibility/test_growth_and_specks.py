"""Growing and filling a mask, and telling specks from lesions: held to scipy, which the product does not import."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pdl1es.plausibility.filling import filled
from pdl1es.plausibility.growth import grown
from pdl1es.plausibility.specks import are_specks, label_parts


@pytest.mark.parametrize("radius", [1, 2, 3])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.5])
def test_a_mask_grows_by_the_voxels_at_most_a_radius_away(radius: int, share: float) -> None:
    mask = np.random.default_rng(radius).random((14, 17, 20)) < share
    mask[0, 0, 0] = True
    assert np.array_equal(grown(mask, radius), ndimage.distance_transform_edt(~mask) <= radius)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 0.95])
def test_a_slice_is_filled_with_what_its_contour_encloses(share: float) -> None:
    mask = np.random.default_rng(1).random((6, 21, 17)) < share
    mask[2] = False
    assert np.array_equal(filled(mask), np.stack([ndimage.binary_fill_holes(one) for one in mask]))


def test_a_large_outline_is_filled_whole() -> None:
    z, y, x = np.ogrid[-45:46, -50:51, -40:41]
    body = (z / 42) ** 2 + (y / 45) ** 2 + (x / 36) ** 2 < 1
    outline = body & ~((z / 38) ** 2 + (y / 41) ** 2 + (x / 32) ** 2 < 1)
    found = [filled(outline) for _ in range(3)]
    expected = np.stack([ndimage.binary_fill_holes(one) for one in outline])
    assert all(np.array_equal(one, expected) for one in found)


def test_parts_touch_by_a_corner_and_not_across_a_voxel() -> None:
    mask = np.zeros((4, 4, 8), dtype=np.bool_)
    mask[0, 0, 0] = mask[1, 1, 1] = True  # by a corner
    mask[3, 3, 5:8] = True
    labels, sizes = label_parts(mask)
    expected, count = ndimage.label(mask, np.ones((3, 3, 3)))
    assert count == 2
    assert sorted(sizes.tolist()) == [2, 3]
    assert np.array_equal(labels > 0, expected > 0)


@pytest.mark.parametrize(
    ("volumes", "specks"),
    [
        ([10_000.0, 63.0], [False, True]),
        ([10_000.0, 64.0], [False, False]),  # as large as the smallest tumour that is measured
        ([6_000.0, 61.0], [False, False]),  # above 1 % of the largest
        ([50.0], [False]),
    ],
)
def test_a_speck_is_below_64_mm3_and_below_one_per_cent_of_the_largest(
    volumes: list[float], specks: list[bool]
) -> None:
    assert are_specks(np.array(volumes)).tolist() == specks
