"""The 1 mm grid: what a user is promised about the tumour's voxels."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.grid.patches import extract_patches
from pdl1es.grid.placement import place_mask
from pdl1es.grid.resample import CROP_MARGIN_MM, TumourVolume, tumour_volume
from tests.unit.grid.stacks import (
    Scan,
    make_mask,
    make_scan,
    node_points,
    noise,
    pixel_centres,
    planes_of,
    ramp,
    sphere,
    tilted,
    turned,
)

Z = np.arange(18) * 2.5
"""Slices from 20.1 mm below the origin to 22.4 above it."""
UNEVEN = np.cumsum([0, 2.5, 2.5, 3.1, 2.5, 1.9, 2.5, 2.5, 3.3, 2.5, 2.5, 2.1, 2.5, 2.5, 2.9, 2.5, 2.5, 2.5])
TUMOUR = sphere((1.2, 2.3, 0.4), 7.6)

GEOMETRIES = {
    "upright": {"z": Z},
    "oblique": {"z": Z, "axes": turned(10)},
    "tilted": {"z": Z / np.cos(np.radians(15)), "axes": tilted(15), "table": (0.0, 0.0, 1.0)},
    "unevenly spaced": {"z": UNEVEN},
}


def volume_of(scan, mask=None, **options):
    return tumour_volume(place_mask(mask or make_mask(TUMOUR, planes_of(scan)), scan.ct), scan.read_slice, **options)


def rounded(x: float, y: float, z: float) -> tuple[float, float, float]:
    """A position as a header with three decimals has it, 0.3 um off."""
    return round(x + 3e-4, 3), round(y + 3e-4, 3), round(z + 3e-4, 3)


def the_same(first: TumourVolume, second: TumourVolume) -> bool:
    return (
        first.hu.tobytes() == second.hu.tobytes()
        and first.mask.tobytes() == second.mask.tobytes()
        and first.hu.shape == second.hu.shape
        and first.origin == second.origin
        and first.axes.tobytes() == second.axes.tobytes()
    )


def simpleitk_on_grid(scan, values, volume, *, outside):
    """Return an evenly spaced stack's values (slices, rows, columns) as SimpleITK interpolates them on a grid."""
    first, second = planes_of(scan)[:2]
    step = np.array(second.position) - first.position
    image = sitk.GetImageFromArray(values.astype(np.float64))
    image.SetOrigin(first.position)
    image.SetSpacing((first.column_spacing, first.row_spacing, float(np.linalg.norm(step))))
    directions = [first.row_direction, first.column_direction, step / np.linalg.norm(step)]
    image.SetDirection(np.array(directions).T.ravel().tolist())
    grid = sitk.Image(volume.hu.shape[::-1], sitk.sitkFloat64)
    grid.SetOrigin((np.array(volume.origin) @ volume.axes).tolist())
    grid.SetDirection(volume.axes.T.ravel().tolist())
    return sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, outside))


@pytest.fixture(scope="module")
def upright():
    return make_scan(noise, Z)


class TestTruth:
    @pytest.mark.parametrize("geometry", GEOMETRIES)
    def test_a_ramp_through_space_is_reproduced_exactly(self, geometry):
        """To the rounding of HU: at 100 HU per mm, a place that is wrong by 0.01 mm would show."""
        scan = make_scan(ramp(), **GEOMETRIES[geometry])
        volume = volume_of(scan)
        truth = ramp()(node_points(volume))
        assert np.abs(volume.hu - truth).max() <= 0.5 + 1e-3

    @pytest.mark.parametrize("geometry", ["upright", "oblique"])
    def test_values_equal_simpleitks_linear_resampling(self, geometry):
        """Within 1 HU after rounding, within 1e-3 before."""
        scan = make_scan(noise, **GEOMETRIES[geometry])
        volume = volume_of(scan)
        stored = np.array([scan.images[s.instance.sop_instance_uid] for s in scan.ct.slices])
        expected = simpleitk_on_grid(scan, stored, volume, outside=-9999.0)
        inside = expected > -9999  # SimpleITK calls some nodes at the scan's very edge outside
        assert inside.mean() > 0.9
        difference = np.abs(volume.hu - expected)[inside]
        assert difference.max() <= 0.5 + 1e-3
        assert np.abs(volume.hu - np.rint(expected))[inside].max() <= 1

    @pytest.mark.parametrize("geometry", ["upright", "oblique"])
    def test_the_mask_equals_simpleitks_linear_resampling_from_a_half_on(self, geometry):
        scan = make_scan(noise, **GEOMETRIES[geometry])
        volume = volume_of(scan)
        drawn = np.array([TUMOUR(pixel_centres(plane)) for plane in planes_of(scan)])
        expected = simpleitk_on_grid(scan, drawn, volume, outside=0.0)
        decided = np.abs(expected - 0.5) > 1e-4
        assert decided.mean() > 0.99
        np.testing.assert_array_equal(volume.mask[decided], expected[decided] > 0.5)

    def test_a_tilted_stack_is_not_sheared(self):
        """A sphere keeps its centre and its volume, in the CT as in the mask."""
        centre, radius = (1.2, 2.3, 0.4), 14.0
        scan = make_scan(
            lambda points: np.where(sphere(centre, radius)(points), 1000, 0),
            np.arange(80) * 1.0 - 4.0,
            axes=tilted(20),
            table=(0.0, 0.0, 1.0),
            rows=120,
            columns=120,
            first=(-45.0, -50.0, -20.0),
            spacing=(0.8, 0.8),
        )
        volume = volume_of(scan, make_mask(sphere(centre, radius), planes_of(scan)))
        points = node_points(volume)
        for weight in (volume.mask.astype(float), volume.hu / 1000.0):
            assert weight.sum() == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.01)
            np.testing.assert_allclose(
                np.average(points.reshape(-1, 3), axis=0, weights=weight.ravel()), centre, atol=0.05
            )
            spread = np.cov(points.reshape(-1, 3).T, aweights=weight.ravel())
            np.testing.assert_allclose(spread, np.eye(3) * radius**2 / 5, atol=0.02 * radius**2 / 5)

    def test_nodes_lie_at_whole_millimetres_from_the_frame_of_references_origin(self, upright):
        volume = volume_of(upright)
        np.testing.assert_array_equal(volume.axes, np.eye(3))
        # first and last pixel centres: x -35.3 to 35.95, y -30.7 to 31.4, z -20.1 to 22.4
        assert volume.scan_low == (-35, -30, -20)
        assert volume.scan_high == (35, 31, 22)
        # the tumour's voxels between -6.4 and 8.8 (x), -5.3 and 9.9 (y), widened by the margin and clipped by the scan
        mask = np.argwhere(volume.mask)[:, ::-1] + volume.origin
        low, high = mask.min(axis=0), mask.max(axis=0)
        assert np.all(np.abs(low - [-6, -5, -7]) <= 1)
        assert np.all(np.abs(high - [8, 9, 8]) <= 1)
        expected_low = np.maximum(low - CROP_MARGIN_MM, volume.scan_low)
        expected_high = np.minimum(high + CROP_MARGIN_MM, volume.scan_high)
        np.testing.assert_array_equal(volume.origin, expected_low)
        np.testing.assert_array_equal(np.array(volume.hu.shape[::-1]), expected_high - expected_low + 1)

    def test_half_way_values_round_to_the_even_number(self):
        scan = make_scan(
            lambda points: np.rint(points[..., 2]).astype(int) // 2 % 2 * 1, np.arange(20) * 2.0, first=(-30, -30, -20)
        )
        volume = volume_of(scan)
        odd = (np.arange(volume.hu.shape[0]) + volume.origin[2]) % 2 == 1
        assert np.all(volume.hu[odd] == 0)  # half-way between 0 and 1

    def test_values_beyond_int16_are_clipped(self):
        scan = make_scan(lambda points: np.full(points.shape[:-1], 70000.0), Z)
        assert np.all(volume_of(scan).hu == 32767)


class TestIndependence:
    @pytest.mark.parametrize("geometry", GEOMETRIES)
    @pytest.mark.parametrize(
        "stored",
        [
            {"reverse": True},
            {"flip_columns": True, "reverse": True},  # a patient scanned feet first
            {"flip_rows": True, "flip_columns": True},  # prone
            {"flip_rows": True},
            {"transposed": True},
            {"transposed": True, "flip_columns": True},
        ],
        ids=lambda stored: " and ".join(stored),
    )
    def test_the_way_of_storing_changes_no_byte(self, geometry, stored):
        plain, other = (make_scan(noise, **GEOMETRIES[geometry], **flags) for flags in (dict[str, Any](), stored))
        assert the_same(volume_of(plain), volume_of(other))

    @pytest.mark.parametrize("geometry", ["upright", "oblique", "tilted"])
    def test_four_hundred_more_slices_change_no_byte(self, geometry):
        options = {**GEOMETRIES[geometry], "first": (-35.3, -30.7, -45.1)}
        step = float(options["z"][1] - options["z"][0])
        options["z"] = np.arange(40) * step
        more = {**options, "z": np.arange(-200, 240) * step}
        small = sphere((1.2, 2.3, 0.4), 5.5)  # whose margin the short scan holds
        few, many = make_scan(noise, **options), make_scan(noise, **more)
        first, second = (volume_of(scan, make_mask(small, planes_of(scan))) for scan in (few, many))
        assert the_same(first, second)
        assert len(few.read) == len(many.read)

    @pytest.mark.parametrize("geometry", GEOMETRIES)
    def test_the_crop_equals_the_whole_volume_resampled(self, geometry):
        scan = make_scan(noise, **GEOMETRIES[geometry])
        crop, whole = volume_of(scan), volume_of(scan, margin_mm=1000)
        assert whole.origin[2] == whole.scan_low[2]
        offset = np.array(crop.origin) - whole.origin
        part = tuple(slice(o, o + n) for o, n in zip(offset[::-1], crop.hu.shape, strict=True))
        assert whole.hu.size > crop.hu.size
        np.testing.assert_array_equal(whole.hu[part], crop.hu)
        np.testing.assert_array_equal(whole.mask[part], crop.mask)
        assert np.count_nonzero(whole.mask) == np.count_nonzero(crop.mask)
        assert (whole.scan_low, whole.scan_high) == (crop.scan_low, crop.scan_high)

    def test_only_the_slices_that_the_box_needs_are_read_once_each(self):
        scan = make_scan(noise, np.arange(120) * 3.0, first=(-35.3, -30.7, -180.5))
        volume = volume_of(scan)
        nodes = volume.origin[2] + np.arange(volume.hu.shape[0])
        z = np.array([s.plane.position[2] for s in scan.ct.slices])
        weighted = [i for i in range(120) if np.any(np.abs(z[i] - nodes) < 3.0)]
        assert scan.read == [scan.ct.slices[i].instance.sop_instance_uid for i in weighted]
        assert len(scan.read) < 20

    def test_a_margin_that_radiomics_could_not_live_with_is_a_programming_error(self, upright):
        with pytest.raises(ValueError, match="at least 11 mm"):
            volume_of(upright, margin_mm=10)


class TestSegmentationLattice:
    def test_truncated_spacing_and_positions_change_nothing(self):
        """dcmqi writes 0.977 where the CT says 0.97699999809265, and positions with six digits."""
        scan = make_scan(noise, Z, spacing=(0.97699999809265, 0.97699999809265))
        mask = make_mask(TUMOUR, planes_of(scan))
        truncated = SegmentMask(
            tuple(
                replace(
                    plane,
                    row_spacing=0.977,
                    column_spacing=0.977,
                    position=rounded(*plane.position),
                )
                for plane in mask.planes
            ),
            mask.masks,
        )
        assert the_same(volume_of(scan, mask), volume_of(scan, truncated))

    def test_frames_in_any_order_and_stored_mirrored_change_nothing(self, upright):
        mask = make_mask(TUMOUR, planes_of(upright))
        mirrored = SegmentMask(
            tuple(
                replace(
                    plane,
                    row_direction=(-1.0, 0.0, 0.0),
                    position=(plane.position[0] + 75 * 0.95, *plane.position[1:]),
                )
                for plane in mask.planes[::-1]
            ),
            mask.masks[::-1, :, ::-1],
        )
        assert the_same(volume_of(upright, mask), volume_of(upright, mirrored))

    def test_frames_cropped_to_the_tumour_change_nothing(self, upright):
        mask = make_mask(TUMOUR, planes_of(upright))
        rows, columns = (np.flatnonzero(mask.masks.any(axis=axes)) for axes in ((0, 2), (0, 1)))
        cropped = SegmentMask(
            tuple(
                replace(
                    plane,
                    position=(
                        plane.position[0] + columns[0] * 0.95,
                        plane.position[1] + rows[0] * 0.9,
                        plane.position[2],
                    ),
                    rows=rows.size,
                    columns=columns.size,
                )
                for plane in mask.planes
            ),
            mask.masks[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1],
        )
        assert the_same(volume_of(upright, mask), volume_of(upright, cropped))

    @pytest.mark.parametrize(
        ("step", "spacing", "offset"),
        [(1.0, 0.5, 0.3), (2.5, 1.0, 1.25), (5.0, 0.95, 0.0), (1.25, 0.475, 0.0)],
        ids=["finer and shifted", "half a slice off", "every second slice", "twice as fine"],
    )
    def test_a_segment_on_another_lattice_keeps_its_place_and_volume(self, step, spacing, offset):
        centre, radius = (1.2, 2.3, 0.4), 9.0
        scan = make_scan(noise, np.arange(30) * 2.5, first=(-35.3, -30.7, -36.1), rows=76)
        own = [
            replace(
                scan.ct.slices[0].plane,
                position=(-35.3 + offset, -30.7 + offset, -36.1 + offset + step * k),
                row_spacing=spacing,
                column_spacing=spacing,
                rows=int(60 / spacing),
                columns=int(60 / spacing),
            )
            for k in range(int(60 / step))
        ]
        volume = volume_of(scan, make_mask(sphere(centre, radius), own))
        assert np.count_nonzero(volume.mask) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.05)
        np.testing.assert_allclose(node_points(volume)[volume.mask].mean(axis=0), centre, atol=0.3)

    def test_an_absent_frame_between_two_is_an_empty_one(self, upright):
        """On the CT's planes and on a lattice of its own alike."""
        whole = make_mask(TUMOUR, planes_of(upright))
        middle = len(whole.planes) // 2
        absent = [index for index in range(len(whole.planes)) if index != middle]
        z = whole.planes[middle].position[2]
        for shift in (0.0, 0.7):
            planes = tuple(replace(p, position=(*p.position[:2], p.position[2] + shift)) for p in whole.planes)
            mask = SegmentMask(tuple(planes[i] for i in absent), whole.masks[absent])
            volume = volume_of(upright, mask)
            hole = round(z + shift) - volume.origin[2]
            assert not volume.mask[hole].any()
            assert volume.mask[hole - 3].any()
            assert volume.mask[hole + 3].any()

    def test_a_tumour_of_one_slice_fills_its_slices_thickness(self, upright):
        plane = planes_of(upright)[8]  # z = -0.1
        volume = volume_of(upright, make_mask(TUMOUR, [plane]))
        occupied = np.flatnonzero(volume.mask.any(axis=(1, 2))) + volume.origin[2]
        assert occupied.tolist() == [-1, 0, 1]  # -0.1 +- 1.25

    def test_half_way_nodes_are_tumour(self):
        """Slices at even millimetres: the odd nodes beside the only drawn slice lie half-way, and are tumour."""
        scan = make_scan(noise, np.arange(20) * 2.0, first=(-30.0, -30.0, -20.0), spacing=(1.0, 1.0))
        volume = volume_of(scan, make_mask(TUMOUR, [planes_of(scan)[10]]))
        occupied = np.flatnonzero(volume.mask.any(axis=(1, 2))) + volume.origin[2]
        assert occupied.tolist() == [-1, 0, 1]


class TestRefusals:
    def refused(self, scan: Scan, mask: SegmentMask, **options: Any) -> Refusal:
        with pytest.raises(Refusal) as caught:
            volume_of(scan, mask, **options)
        assert scan.read == []  # no pixel was decoded for nothing
        return caught.value

    @pytest.fixture
    def scan(self):
        return make_scan(noise, Z)

    def test_an_empty_segment(self, scan):
        blank = np.zeros((1, 70, 76), dtype=bool)
        assert self.refused(scan, SegmentMask((planes_of(scan)[0],), blank)).code is RefusalCode.SEGMENT_EMPTY
        none = SegmentMask((), np.zeros((0, 70, 76), dtype=bool))
        assert self.refused(scan, none).code is RefusalCode.SEGMENT_EMPTY

    def test_a_segment_that_is_not_parallel(self, scan):
        other = make_scan(noise, Z, axes=turned(1))
        refusal = self.refused(scan, make_mask(TUMOUR, planes_of(other)))
        assert refusal.code is RefusalCode.SEG_GEOMETRY
        assert "ImageOrientationPatient (0020,0037) = 0.99" in refusal.message
        assert refusal.uid == "1.2.7"  # the segmentation's

    def test_two_frames_at_one_position(self, scan):
        mask = make_mask(TUMOUR, planes_of(scan))
        double = SegmentMask((*mask.planes, mask.planes[0]), np.concatenate([mask.masks, mask.masks[:1]]))
        assert self.refused(scan, double).code is RefusalCode.SEG_GEOMETRY

    def test_frames_on_no_lattice(self, scan):
        mask = make_mask(TUMOUR, planes_of(scan))
        planes = tuple(
            replace(p, position=(*p.position[:2], p.position[2] + 0.2 * i * i)) for i, p in enumerate(mask.planes)
        )
        refusal = self.refused(scan, SegmentMask(planes, mask.masks))
        assert refusal.code is RefusalCode.SEG_GEOMETRY
        assert "regular distances" in refusal.message

    def test_a_frame_of_one_row(self, scan):
        plane = replace(planes_of(scan)[8], rows=1)
        refusal = self.refused(scan, SegmentMask((plane,), np.ones((1, 1, 76), dtype=bool)))
        assert refusal.code is RefusalCode.SEG_GEOMETRY

    @pytest.mark.parametrize("garbage", [{"column_spacing": 900.0}, {"row_spacing": 900.0}])
    def test_a_segment_of_monstrous_extent_takes_no_memory(self, scan, garbage):
        plane = replace(planes_of(scan)[8], **garbage)
        refusal = self.refused(scan, SegmentMask((plane,), np.ones((1, 70, 76), dtype=bool)))
        assert refusal.code in {RefusalCode.SEG_GEOMETRY, RefusalCode.SEGMENT_OUTSIDE_VOLUME}

    def test_frames_kilometres_apart_take_no_memory(self, scan):
        planes = tuple(replace(planes_of(scan)[8], position=(-35.3, -30.7, z)) for z in (0.3, 0.4, 900_000.0))
        refusal = self.refused(scan, SegmentMask(planes, np.ones((3, 70, 76), dtype=bool)))
        assert refusal.code is RefusalCode.SEG_GEOMETRY

    @pytest.mark.parametrize("axis", [0, 1, 2])
    @pytest.mark.parametrize("sign", [-1, 1])
    def test_a_segment_beyond_the_scan(self, scan, axis, sign):
        centre = np.zeros(3)
        centre[axis] = sign * {0: 32.0, 1: 29.0, 2: 20.0}[axis]
        wide = make_scan(noise, np.arange(40) * 2.5, first=(-53.35, -48.7, -50.1), rows=110, columns=114)
        refusal = self.refused(scan, make_mask(sphere((centre[0], centre[1], centre[2]), 8.0), planes_of(wide)))
        assert refusal.code is RefusalCode.SEGMENT_OUTSIDE_VOLUME
        assert f"along {'xyz'[axis]}" in refusal.message

    def test_a_segment_up_to_the_scans_edge_is_accepted_and_clipped(self, scan):
        volume = volume_of(scan, make_mask(sphere((35.0, 0.0, -19.0), 8.0), planes_of(scan)))
        assert volume.origin[2] == volume.scan_low[2] == -20
        assert volume.origin[0] + volume.hu.shape[2] - 1 == volume.scan_high[0] == 35
        assert volume.mask[0].any()

    @pytest.mark.parametrize(
        "inside",
        [
            sphere((0.5, 0.2, -0.1), 2.2),  # 45 mm3
            lambda points: np.all(np.abs(points - [0.2, 0.2, -0.1]) <= [1.9, 1.9, 0.5], axis=-1),
            lambda points: np.all(np.abs(points - [0.4, 0.1, -0.1]) <= 0.5, axis=-1),  # a single voxel
        ],
    )
    def test_a_tumour_that_is_too_small(self, scan, inside):
        assert self.refused(scan, make_mask(inside, planes_of(scan))).code is RefusalCode.TUMOUR_TOO_SMALL

    def test_a_tumour_between_all_nodes(self):
        scan = make_scan(noise, np.arange(90) * 0.5, first=(-10.45, -10.45, -20.25), spacing=(0.3, 0.3))
        tiny = make_mask(lambda p: np.all(np.abs(p - [0.5, 0.5, 0.5]) < 0.3, axis=-1), planes_of(scan))
        refusal = self.refused(scan, tiny)
        assert refusal.code is RefusalCode.TUMOUR_TOO_SMALL
        assert "no node" in refusal.message

    def test_64_mm3_and_5_mm_are_enough(self):
        scan = make_scan(noise, np.arange(40) * 1.0, first=(-30.0, -30.0, -20.0), spacing=(1.0, 1.0))
        box = make_mask(lambda p: np.all((p >= 0) & (p <= 3), axis=-1), planes_of(scan))
        assert np.count_nonzero(volume_of(scan, box).mask) == 64

    def test_a_slice_missing_where_the_tumour_lies(self):
        z = np.delete(np.arange(60) * 2.5 - 50, 25)
        scan = make_scan(noise, z)
        missing = scan.ct.slices[24].plane.position[2]
        refusal = self.refused(scan, make_mask(sphere((0, 0, missing + 1.0), 8.0), planes_of(scan)))
        assert refusal.code is RefusalCode.MISSING_SLICES

    def test_a_slice_missing_within_the_margin(self):
        scan = make_scan(noise, np.delete(np.arange(60) * 2.5 - 50, 25))
        missing = scan.ct.slices[24].plane.position[2]
        refusal = self.refused(scan, make_mask(sphere((0, 0, missing - 14.0), 8.0), planes_of(scan)))
        assert refusal.code is RefusalCode.MISSING_SLICES

    @pytest.mark.parametrize("margin", [CROP_MARGIN_MM, 60])
    def test_a_slice_missing_elsewhere_does_not_matter(self, margin):
        scan = make_scan(noise, np.delete(np.arange(60) * 2.5 - 50, 25))
        missing = scan.ct.slices[24].plane.position[2]
        volume = volume_of(scan, make_mask(sphere((0, 0, missing - 22.0), 8.0), planes_of(scan)), margin_mm=margin)
        assert volume.mask.any()

    def test_what_the_reader_refuses_is_passed_on(self, scan):
        def corrupt(_):
            raise Refusal(RefusalCode.PIXEL_DATA_CORRUPT, "the pixel data are truncated")

        mask = make_mask(TUMOUR, planes_of(scan))
        with pytest.raises(Refusal) as caught:
            tumour_volume(place_mask(mask, scan.ct), corrupt)
        assert caught.value.code is RefusalCode.PIXEL_DATA_CORRUPT


def test_a_placed_frame_knows_its_own_thickness(upright):
    mask = make_mask(TUMOUR, planes_of(upright))
    frames = place_mask(mask, upright.ct).occupied()
    assert [frame.thickness for frame in frames] == pytest.approx([2.5] * len(frames))
    assert sum(np.count_nonzero(frame.mask) for frame in frames) == np.count_nonzero(mask.masks)
    drawn = np.concatenate([pixel_centres(p)[m] for p, m in zip(mask.planes, mask.masks, strict=True)])
    assert min(frame.x[1] for frame in frames) == pytest.approx(drawn[:, 0].min(), abs=1e-5)
    assert max(frame.y[-2] for frame in frames) == pytest.approx(drawn[:, 1].max(), abs=1e-5)


def test_what_the_grid_returns_is_shown_in_a_line(upright):
    placed = place_mask(make_mask(TUMOUR, planes_of(upright)), upright.ct)
    volume = tumour_volume(placed, upright.read_slice)
    shown = [placed, placed.stack, placed.occupied()[0], volume, extract_patches(volume)]
    assert [len(repr(one)) < 120 and "\n" not in repr(one) for one in shown] == [True] * len(shown)
    assert f"{np.count_nonzero(volume.mask)} of them tumour" in repr(volume)


class TestPadding:
    """What lies below air is no measurement."""

    @staticmethod
    def with_band(value: float) -> Scan:
        """Every slice has one value in all columns from 10 mm right of the tumour's centre on."""
        scan = make_scan(noise, z=Z)
        for image in scan.images.values():
            image[:, 50:] = value
        return scan

    @pytest.mark.parametrize("padding", [-2000, -3024, -32768])
    def test_padding_counts_as_air_before_it_is_interpolated_and_is_told(self, padding):
        padded, air = volume_of(self.with_band(padding)), volume_of(self.with_band(-1024))
        assert the_same(padded, air)
        assert air.padding is None
        assert padded.padding is not None
        # The band and the nodes that are interpolated between it and tissue
        assert padded.padding[air.hu == -1024].all()
        assert not padded.padding[:, :, :10].any()

    def test_noise_of_air_counts_as_air_and_is_not_told(self):
        volume = volume_of(self.with_band(-1060))
        assert the_same(volume, volume_of(self.with_band(-1024)))
        assert volume.padding is None

    @pytest.mark.parametrize(("stated", "limit"), [(-900, None), (64636, None), (-950, -850)])
    def test_pixel_padding_value_counts_as_air_wherever_it_lies(self, stated, limit):
        """64636 is -900 as an unsigned number of 16 bits."""
        scan = self.with_band(-900)
        for ct_slice in scan.ct.slices:
            header = ct_slice.instance.header
            header.PixelRepresentation, header.PixelPaddingValue = 1, stated
            if limit is not None:
                header.PixelPaddingRangeLimit = limit
        volume = volume_of(scan)
        assert the_same(volume, volume_of(self.with_band(-1024)))
        assert volume.padding is not None
        assert volume.padding.any()


@pytest.mark.parametrize("geometry", [pytest.param(value, id=name) for name, value in GEOMETRIES.items()])
def test_the_whole_slice_at_the_largest_area_holds_the_same_values_as_the_crop_and_reaches_over_the_scan(
    geometry: dict[str, Any],
) -> None:
    scan = make_scan(noise, **geometry)
    volume = volume_of(scan)
    whole = volume.whole_slice
    assert whole is not None
    areas = volume.mask.sum(axis=(1, 2))
    assert areas[whole.z - volume.origin[2]] == areas.max()
    assert whole.origin == volume.scan_low[:2]
    assert whole.hu.shape == tuple(volume.scan_high[axis] - volume.scan_low[axis] + 1 for axis in (1, 0))
    left, top = volume.origin[0] - whole.origin[0], volume.origin[1] - whole.origin[1]
    crop = volume.hu[whole.z - volume.origin[2]]
    assert np.array_equal(whole.hu[top : top + crop.shape[0], left : left + crop.shape[1]], crop)
    assert crop.size < whole.hu.size
    assert extract_patches(volume).whole_slice is whole


def test_a_volume_holds_a_mask_whose_bytes_are_0_and_1() -> None:
    """A segmentation of 0 and 255 seen through ``view(bool)`` keeps its bytes; voxels are counted with them."""
    octets = np.zeros((3, 4, 5), np.uint8)
    octets[1, 1:3, 1:3] = 255
    given = octets.view(np.bool_)
    volume = TumourVolume(
        hu=np.zeros(given.shape, np.int16),
        mask=given,
        origin=(0, 0, 0),
        axes=np.eye(3),
        scan_low=(0, 0, 0),
        scan_high=(4, 3, 2),
        padding=given,
    )
    for mask in (volume.mask, volume.padding):
        assert mask is not None
        assert set(mask.view(np.uint8).ravel().tolist()) == {0, 1}
        assert np.array_equal(mask.view(np.uint8), octets // 255)
    assert octets.max() == 255, "the caller's array is left as it was"
