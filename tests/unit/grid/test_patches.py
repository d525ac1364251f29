"""ROI patches: which slice, which rectangle, which pixels."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from pdl1es.grid.patches import extract_patches
from pdl1es.grid.placement import place_mask
from pdl1es.grid.resample import TumourVolume, tumour_volume
from tests.unit.grid.stacks import make_mask, make_scan, noise, planes_of, ramp, sphere, tilted, turned


def make_volume(
    hu: Any, mask: Any, origin: Any = (0, 0, 0), scan_low: Any = None, scan_high: Any = None
) -> TumourVolume:
    size = np.array(hu.shape[::-1])
    return TumourVolume(
        np.asarray(hu, dtype=np.int16),
        np.asarray(mask, dtype=bool),
        origin,
        np.eye(3),
        scan_low or origin,
        scan_high or tuple(int(v) for v in np.array(origin) + size - 1),
    )


def box_mask(shape, *ranges):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(low, high + 1) for low, high in ranges)] = True
    return mask


@pytest.fixture(scope="module")
def hand_made() -> TumourVolume:
    """A box of 10 x 18 nodes, which with 5 mm on every side is stretched from 20 x 28 to 112 x 112."""
    z, y, x = np.indices((12, 40, 50))
    return make_volume(100 * z + 10 * y + x, box_mask((12, 40, 50), (4, 7), (10, 19), (12, 29)), (-100, 200, -7))


class TestGeometry:
    def test_the_rectangle_is_the_tumours_with_5_mm_on_every_side(self, hand_made):
        patches = extract_patches(hand_made)
        assert patches.hu.shape == patches.mask.shape == (3, 112, 112)
        assert patches.hu.dtype == np.float32
        assert patches.mask.dtype == np.bool_
        # columns 12 - 5 to 29 + 5 and rows 10 - 5 to 19 + 5, from the origin on
        assert patches.rectangle == (-100 + 7, 200 + 5, -100 + 34, 200 + 24)

    def test_of_equal_areas_the_lowest_slice_is_the_rois(self, hand_made):
        assert extract_patches(hand_made).roi_z == -7 + 4

    def test_the_slice_of_largest_area_is_the_rois(self, hand_made):
        mask = hand_made.mask.copy()
        mask[6, 20, 12] = True
        patches = extract_patches(replace(hand_made, mask=mask))
        assert patches.roi_z == -7 + 6
        assert patches.rectangle[3] == 200 + 25

    def test_pixels_are_divided_evenly_and_edges_are_clamped(self, hand_made):
        """By hand: 28 columns over 112 pixels are 4 pixels each, whose centres lie at -3/8, -1/8, 1/8, 3/8 of one."""
        patches = extract_patches(hand_made)
        row, column = 50, np.arange(8)
        # rows: 20 over 112; pixel 50's centre lies at 50.5 * 20 / 112 - 0.5 = 8.517857 rows from row 5
        y = 5 + 50.5 * 20 / 112 - 0.5
        x = 7 + np.array([0, 0, 0.125, 0.375, 0.625, 0.875, 1.125, 1.375])
        for k, z in enumerate((3, 4, 5)):
            np.testing.assert_array_equal(patches.hu[k, row, column], np.rint(100 * z + 10 * y + x))

    def test_values_equal_simpleitks_bilinear_resize(self):
        rng = np.random.default_rng(1)
        hu = rng.integers(-1000, 1000, (5, 60, 60))
        volume = make_volume(hu, box_mask(hu.shape, (2, 2), (15, 31), (20, 42)))
        patches = extract_patches(volume)
        for k in range(3):
            image = sitk.GetImageFromArray(hu[1 + k, 10:37, 15:48].astype(np.float64))
            grid = sitk.Image(112, 112, sitk.sitkFloat64)
            spacing = (33 / 112, 27 / 112)
            grid.SetSpacing(spacing)
            grid.SetOrigin([s / 2 - 0.5 for s in spacing])
            expected = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0.0))
            np.testing.assert_allclose(patches.hu[k], expected, rtol=0, atol=0.5 + 1e-6)

    def test_values_are_whole_hu(self, hand_made):
        hu = extract_patches(hand_made).hu
        np.testing.assert_array_equal(hu, np.rint(hu))

    def test_the_mask_lies_where_the_tumour_is(self, hand_made):
        """Of 20 x 28 pixels the tumour fills 10 x 18, 5 from each edge."""
        mask = extract_patches(hand_made).mask
        rows, columns = np.flatnonzero(mask[1].any(axis=1)), np.flatnonzero(mask[1].any(axis=0))
        assert (rows[0], rows[-1], columns[0], columns[-1]) == (28, 83, 20, 91)
        assert not mask[0].any()  # the slice below the lowest of the box
        assert mask[2].any()


class TestBeyondTheScan:
    def test_the_nearest_voxel_is_taken_and_there_is_no_tumour(self):
        z, y, x = np.indices((3, 20, 20))
        hu = 100 * z + 10 * y + x
        volume = make_volume(hu, box_mask(hu.shape, (0, 0), (0, 3), (14, 19)))
        patches = extract_patches(volume)
        assert patches.rectangle == (9, -5, 24, 8)
        np.testing.assert_array_equal(patches.hu[0], patches.hu[1])  # below the scan: the lowest slice
        assert not patches.mask[0].any()
        assert patches.mask[1].any()
        # rows -5 to -1 and columns 20 to 24 repeat the scan's edge: 4 rows of 14, 5 columns of 16
        assert np.all(patches.hu[1][:, -28:] == patches.hu[1][:, -1:])
        assert np.all(patches.hu[1][:36] == patches.hu[1][:1])

    def test_a_tumour_at_the_scans_lower_end_repeats_the_lowest_slice(self):
        scan = make_scan(noise, np.arange(20) * 2.0, first=(-35.3, -30.7, -20.0))
        mask = make_mask(sphere((0, 0, -20.0), 7.0), planes_of(scan))
        patches = extract_patches(tumour_volume(place_mask(mask, scan.ct), scan.read_slice))
        assert patches.roi_z == -20
        np.testing.assert_array_equal(patches.hu[0], patches.hu[1])
        assert not np.array_equal(patches.hu[1], patches.hu[2])


class TestThinTumours:
    @pytest.mark.parametrize("drawn", [1, 2])
    def test_a_tumour_of_one_or_two_slices_gives_three_patches_from_the_ct_itself(self, drawn):
        """The ramp along the normal shows that the neighbours are the CT's, 1 mm off, not copies."""
        scan = make_scan(ramp((0.0, 0.0, 30.0), 0.0), np.arange(16) * 1.0, first=(-35.3, -30.7, -8.0))
        mask = make_mask(sphere((0.3, 0.2, 0.0), 8.0), planes_of(scan)[8 : 8 + drawn])
        patches = extract_patches(tumour_volume(place_mask(mask, scan.ct), scan.read_slice))
        assert patches.hu.shape == (3, 112, 112)
        z = patches.roi_z + np.arange(-1, 2)
        np.testing.assert_array_equal(patches.hu, np.broadcast_to((30.0 * z)[:, None, None], (3, 112, 112)))


class TestCrop:
    @pytest.mark.parametrize(
        "geometry",
        [{}, {"axes": turned(10)}, {"axes": tilted(15), "table": (0.0, 0.0, 1.0)}],
        ids=["upright", "oblique", "tilted"],
    )
    @pytest.mark.parametrize("centre", [(1.2, 2.3, 0.4), (27.0, 18.0, 0.4)], ids=["inside", "near the scan's edge"])
    def test_a_larger_box_changes_no_patch(self, geometry, centre):
        scan = make_scan(noise, np.arange(24) * 2.5, first=(-35.3, -30.7, -26.1), **geometry)
        mask = make_mask(sphere(centre, 7.6), planes_of(scan))
        small, large = (
            extract_patches(tumour_volume(place_mask(mask, scan.ct), scan.read_slice, margin_mm=margin))
            for margin in (11, 200)
        )
        assert small.hu.tobytes() == large.hu.tobytes()
        assert small.mask.tobytes() == large.mask.tobytes()
        assert (small.roi_z, small.rectangle) == (large.roi_z, large.rectangle)

    def test_a_crop_that_lacks_what_the_scan_has_is_a_programming_error(self, hand_made):
        mask = np.roll(hand_made.mask, 18, axis=2)  # columns 30 to 47 of 50
        wider = replace(hand_made, mask=mask, scan_high=(500, 500, 500))
        with pytest.raises(ValueError, match="the patch needs nodes -75 to -48 along x, the crop holds -100 to -51"):
            extract_patches(wider)

    def test_an_empty_mask_is_a_programming_error(self, hand_made):
        with pytest.raises(ValueError, match="the mask is empty"):
            extract_patches(replace(hand_made, mask=np.zeros_like(hand_made.mask)))
