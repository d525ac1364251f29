"""Other contours of the same tumour."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from pdl1es.grid.contours import ContourVariant, contour_variants
from pdl1es.grid.patches import extract_patches
from pdl1es.grid.placement import place_mask
from pdl1es.grid.resample import TumourVolume, tumour_volume
from tests.unit.grid.stacks import Field, Scan, make_mask, make_scan, noise, planes_of, sphere


@pytest.fixture(scope="module")
def scan() -> Scan:
    return make_scan(noise, np.arange(24) * 2.5, first=(-35.3, -30.7, -26.1))


def volume_of(scan: Scan, inside: Field, **options: Any) -> TumourVolume:
    return tumour_volume(place_mask(make_mask(inside, planes_of(scan)), scan.ct), scan.read_slice, **options)


def made(variant: ContourVariant) -> TumourVolume:
    assert variant.volume is not None, variant.name
    return variant.volume


def test_eight_contours_1_mm_off_are_made_of_one_tumour(scan):
    volume = volume_of(scan, sphere((1.2, 2.3, 0.4), 9.0))
    variants = {variant.name: made(variant) for variant in contour_variants(volume)}
    assert len(variants) == 8
    eroded, dilated = variants["eroded by 1 mm"].mask, variants["dilated by 1 mm"].mask
    assert np.all(eroded <= volume.mask)
    assert np.all(volume.mask <= dilated)
    radius = np.cbrt(3 * np.count_nonzero(volume.mask) / (4 * np.pi))
    for mask, expected in ((eroded, radius - 0.9), (dilated, radius + 0.9)):
        assert np.cbrt(3 * np.count_nonzero(mask) / (4 * np.pi)) == pytest.approx(expected, abs=0.25)
    centre = np.argwhere(volume.mask).mean(axis=0)
    moved = {name: np.argwhere(v.mask).mean(axis=0) - centre for name, v in variants.items() if "shifted" in name}
    np.testing.assert_allclose(moved["shifted 1 mm to the left"], [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(moved["shifted 1 mm to the right"], [0, 0, -1], atol=1e-9)
    np.testing.assert_allclose(moved["shifted 1 mm to the back"], [0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(moved["shifted 1 mm to the front"], [0, -1, 0], atol=1e-9)
    np.testing.assert_allclose(moved["shifted 1 mm towards the head"], [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(moved["shifted 1 mm towards the feet"], [-1, 0, 0], atol=1e-9)


def test_every_contour_finds_its_margin_in_the_same_crop(scan):
    """A variant of the small crop gives the patches that a crop of the whole scan gives."""
    inside = sphere((21.0, 2.3, 12.0), 9.0)
    small, large = volume_of(scan, inside), volume_of(scan, inside, margin_mm=300)
    for one, other in zip(contour_variants(small), contour_variants(large), strict=True):
        assert one.name == other.name
        volume = made(one)
        assert extract_patches(volume).hu.tobytes() == extract_patches(made(other)).hu.tobytes()
        low = np.argwhere(volume.mask).min(axis=0)[::-1] + volume.origin
        high = np.argwhere(volume.mask).max(axis=0)[::-1] + volume.origin
        last = np.array(volume.origin) + volume.hu.shape[::-1] - 1
        assert np.all((low - 10 >= volume.origin) | (volume.origin == np.array(volume.scan_low)))
        assert np.all((high + 10 <= last) | (last == np.array(volume.scan_high)))


def test_a_contour_that_becomes_too_small_is_named_without_a_volume(scan):
    variants = contour_variants(volume_of(scan, sphere((1.2, 2.3, 0.4), 3.2)))
    assert [variant.name for variant in variants if variant.volume is None] == ["eroded by 1 mm"]
    assert len(variants) == 8


def test_the_scans_edge_erodes_nothing(scan):
    volume = volume_of(scan, sphere((35.0, 2.3, 0.4), 9.0))
    eroded = made(contour_variants(volume)[0])
    assert volume.origin[0] + volume.hu.shape[2] - 1 == volume.scan_high[0]
    assert eroded.mask[:, :, -1].any()


def test_the_ball_of_erosion_and_dilation_is_scipys(scan):
    volume = volume_of(scan, sphere((35.0, 2.3, 0.4), 9.0))
    eroded, dilated, *_ = map(made, contour_variants(volume))
    ball = ndimage.generate_binary_structure(3, 1)
    np.testing.assert_array_equal(eroded.mask, ndimage.binary_erosion(volume.mask, ball, border_value=1))
    np.testing.assert_array_equal(dilated.mask, ndimage.binary_dilation(volume.mask, ball))
