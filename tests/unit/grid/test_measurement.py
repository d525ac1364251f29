"""The tumour's size, and the CT image on which a reader finds it."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pdl1es.dicom.header import read_instance
from pdl1es.dicom.pixels.hounsfield import read_ct_slice
from pdl1es.dicom.pixels.segment_reader import read_segment_mask
from pdl1es.dicom.segmentation import parse_segmentation
from pdl1es.dicom.series import CTSlice
from pdl1es.dicom.stack import ct_series
from pdl1es.grid.measurement import measure_tumour, roi_slice_reference
from pdl1es.grid.patches import extract_patches
from pdl1es.grid.placement import place_mask
from pdl1es.grid.resample import tumour_volume
from tests.unit.grid.stacks import make_mask, make_scan, noise, planes_of, sphere, tilted


def measured(mask, scan):
    placed = place_mask(mask, scan.ct)
    return measure_tumour(placed, tumour_volume(placed, scan.read_slice))


class TestMeasurement:
    def test_volume_is_the_source_voxels_times_their_true_size(self):
        """Spacing 0.9 x 0.95 mm and slices 2.5 mm apart, whatever Slice Thickness says."""
        scan = make_scan(noise, np.arange(24) * 2.5, first=(-35.3, -30.7, -26.1))
        mask = make_mask(sphere((1.2, 2.3, 0.4), 9.0), planes_of(scan))
        size = measured(mask, scan)
        assert size.source_voxels == np.count_nonzero(mask.masks)
        assert size.volume_ml == pytest.approx(size.source_voxels * 0.9 * 0.95 * 2.5 / 1000, rel=1e-6)
        assert size.volume_ml == pytest.approx(4 / 3 * np.pi * 0.9**3, rel=0.03)
        assert size.longest_diameter_mm == pytest.approx(18.0, abs=1.25)

    def test_a_tilted_stacks_voxel_is_as_thick_as_its_slices_are_apart(self):
        """Positions 4 mm apart along the table are 4 cos 20 mm apart along the normal."""
        scan = make_scan(
            noise,
            np.arange(20) * 4.0 - 10,
            axes=tilted(20),
            table=(0.0, 0.0, 1.0),
            first=(-35.3, -40.7, -24.1),
            rows=90,
        )
        mask = make_mask(sphere((1.2, 2.3, 0.4), 12.0), planes_of(scan))
        size = measured(mask, scan)
        voxel = 0.9 * 0.95 * 4.0 * np.cos(np.radians(20))
        assert size.volume_ml == pytest.approx(size.source_voxels * voxel / 1000, rel=1e-5)

    def test_unevenly_spaced_slices_each_count_with_their_own_share(self):
        z = np.array([-30, -25, -20, -15, -10, -6, -3, 0, 3, 6, 10, 15, 20, 25, 30.0])
        scan = make_scan(noise, z, first=(-35.3, -30.7, 0.0))
        mask = make_mask(sphere((1.2, 2.3, 4.0), 12.0), planes_of(scan))
        size = measured(mask, scan)
        shares = {z[i]: (z[i + 1] - z[i - 1]) / 2 for i in range(1, len(z) - 1)}
        expected = sum(
            np.count_nonzero(drawn) * 0.9 * 0.95 * shares[plane.position[2]]
            for plane, drawn in zip(mask.planes, mask.masks, strict=True)
        )
        assert size.volume_ml == pytest.approx(expected / 1000, rel=1e-6)

    def test_the_real_tumour_is_measured_as_its_segmentation_says(self, shared_data):
        """4D-Lung patient 113, a SEG that dcmqi wrote: 23611 voxels of 0.9766 x 0.9766 x 3 mm."""
        case = shared_data / "ct_4dlung113"
        ct = ct_series([read_instance(path) for path in sorted((case / "CT").iterdir())])
        segmentation = parse_segmentation(read_instance(case / "seg_dcmqi.dcm"))
        mask = read_segment_mask(segmentation, segmentation.segments[0].number)
        read: list[CTSlice] = []

        def noted(ct_slice: CTSlice) -> NDArray[np.int16]:
            read.append(ct_slice)
            return read_ct_slice(ct_slice)

        placed = place_mask(mask, ct)
        volume = tumour_volume(placed, noted)
        size = measure_tumour(placed, volume)
        assert size.source_voxels == 23611
        assert round(size.volume_ml, 2) == 67.56
        assert np.count_nonzero(volume.mask) / 1000 == pytest.approx(67.56, rel=0.01)
        assert len(ct.slices) == 99
        assert len(read) == 36  # (83 mm of tumour + 22 mm of margin) / 3 mm, and one


class TestRoiSlice:
    def test_it_is_the_nearest_ct_image(self):
        scan = make_scan(noise, np.arange(24) * 2.5, first=(-35.3, -30.7, -26.1))
        mask = make_mask(sphere((1.2, 2.3, 0.4), 9.0), planes_of(scan))
        volume = tumour_volume(place_mask(mask, scan.ct), scan.read_slice)
        patches = extract_patches(volume)
        found = roi_slice_reference(scan.ct, volume, patches)
        assert patches.roi_z in (-1, 0, 1, 2)
        nearest = min(scan.ct.slices, key=lambda s: abs(s.plane.position[2] - patches.roi_z))
        assert found.sop_instance_uid == nearest.instance.sop_instance_uid
        assert found.table_position_mm == nearest.plane.position[2]
        assert found.instance_number == int(nearest.instance.header.InstanceNumber)
        assert found.frame_number is None

    def test_a_frame_of_an_enhanced_ct_is_named_by_its_one_based_number(self):
        scan = make_scan(noise, np.arange(24) * 2.5, first=(-35.3, -30.7, -26.1))
        mask = make_mask(sphere((1.2, 2.3, 0.4), 9.0), planes_of(scan))
        volume = tumour_volume(place_mask(mask, scan.ct), scan.read_slice)
        for ct_slice in scan.ct.slices:
            ct_slice.instance.header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
        frames = replace(scan.ct, slices=tuple(replace(s, frame=i) for i, s in enumerate(scan.ct.slices)))
        found = roi_slice_reference(frames, volume, replace(extract_patches(volume), roi_z=-11))
        assert found.frame_number == 7  # at -26.1 + 6 * 2.5 = -11.1
        assert found.sop_class_uid == "1.2.840.10008.5.1.4.1.1.2.1"
