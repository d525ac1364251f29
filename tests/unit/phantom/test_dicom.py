"""The phantom's files: what they say, that they never change, and the odd forms in which they can be stored."""

from __future__ import annotations

import filecmp
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from pdl1es.clinical import read_clinical_json
from pdl1es.phantom.ct_series import (
    Storage,
    StoredSeries,
    Volume,
    tilted,
    volume_of,
    write_ct_series,
    write_enhanced_ct,
)
from pdl1es.phantom.dicom import PatientRecord, PhantomStudy, make_phantom_study
from pdl1es.phantom.segmentation import (
    GTV,
    HEART_SEGMENT,
    LUNGS_SEGMENT,
    TUMOUR,
    write_segmentation,
    write_segmentation_for,
)


def _affine(ds: pydicom.Dataset) -> np.ndarray:
    """Return the LPS position of pixel (row, column) = columns of a 3 x 3 matrix [origin, per row, per column]."""
    row, column = np.array(ds.ImageOrientationPatient[:3]), np.array(ds.ImageOrientationPatient[3:])
    return np.stack(
        [np.array(ds.ImagePositionPatient), column * ds.PixelSpacing[0], row * ds.PixelSpacing[1]], axis=1
    ).astype(float)


def _cut(study: PhantomStudy, count: int = 6) -> tuple[Volume, np.ndarray]:
    """Return a few slices through the tumour and their mask."""
    middle = int(np.argmax(study.scan.mask.sum(axis=(1, 2))))
    part = slice(middle - count // 2, middle - count // 2 + count)
    origin = (*study.scan.origin[:2], study.scan.origin[2] + part.start * study.scan.spacing[2])
    return replace(volume_of(study.scan, study.scan.hu[part]), origin=origin), study.scan.mask[part]


def _points(series: StoredSeries, mask: np.ndarray) -> np.ndarray:
    """Return the sorted LPS positions of a mask's voxels as the stored images place them."""
    found = []
    for ds, frame in zip(series.datasets, series.frames_of(mask), strict=True):
        origin, per_row, per_column = _affine(ds).T
        for r, c in np.argwhere(frame):
            found.append(origin + r * per_row + c * per_column)
    array = np.round(np.array(found), 3)
    return array[np.lexsort(array.T)]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """Twice, with another number of threads: every file, the SEG included."""
    one, two = (
        make_phantom_study(tmp_path / name, 7, matrix=128, slices=(0, 100), slice_thickness=3.0, workers=workers)
        for name, workers in (("a", 1), ("b", 3))
    )
    names = sorted(str(path.relative_to(one.folder)) for path in one.folder.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(two.folder)) for path in two.folder.rglob("*") if path.is_file())
    assert len(names) == 102
    _, different, errors = filecmp.cmpfiles(one.folder, two.folder, names, shallow=False)
    assert not different
    assert not errors


def test_the_files_hold_the_scan_in_hounsfield_units_where_it_was(phantom_study: PhantomStudy) -> None:
    scan = phantom_study.scan
    for index in (0, 25, 49):
        ds = pydicom.dcmread(phantom_study.ct.paths[index])
        hu = ds.pixel_array.astype(float) * ds.RescaleSlope + ds.RescaleIntercept
        assert np.array_equal(hu, scan.hu[index])
        assert [float(v) for v in ds.ImagePositionPatient] == pytest.approx(
            [scan.origin[0], scan.origin[1], scan.origin[2] + 3 * index]
        )
        assert ds.ConvolutionKernel == "B60f"
        assert ds.PatientName == "PHANTOM^CHEST"
        assert ds.PatientID == "PHANTOM-0"


def test_the_segs_volume_is_the_tumours_true_volume_within_three_per_cent(phantom_study: PhantomStudy) -> None:
    """Counted from the file; the truth is the ellipsoid's formula."""
    seg = hd.seg.segread(phantom_study.seg_path)
    frames = seg.pixel_array
    assert frames.sum() * 1.5 * 1.5 * 3.0 == pytest.approx(phantom_study.true_volume_mm3, rel=0.03)
    segment = seg.SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "86049000"
    assert segment.AnatomicRegionSequence[0].CodeValue == "39607008"
    assert segment.TrackingID


def test_the_seg_lies_on_the_tumour(phantom_study: PhantomStudy) -> None:
    """Under the mask is soft tissue; a rim outside of it is mostly lung."""
    hu, mask = phantom_study.scan.hu, phantom_study.scan.mask
    assert np.median(hu[mask]) == pytest.approx(phantom_study.tumour.hu, abs=15)
    from scipy import ndimage

    rim = ndimage.binary_dilation(mask, iterations=4) & ~ndimage.binary_dilation(mask, iterations=2)
    assert np.median(hu[rim]) < -700


def test_clinical_json_follows_the_chains_own_schema(phantom_study: PhantomStudy) -> None:
    record = read_clinical_json(phantom_study.clinical_path.read_bytes())
    header = pydicom.dcmread(phantom_study.ct.paths[0], stop_before_pixels=True)
    assert header.PatientAge == f"{int(record.age or 0):03d}Y"
    assert {"female": "F", "male": "M"}[str(record.sex)] == header.PatientSex
    assert set(json.loads(phantom_study.clinical_path.read_text())) == {"age", "sex", "smoking", "family_history"}


@pytest.mark.parametrize(
    "storage",
    [
        Storage(order="head_first"),
        Storage(order="shuffled", file_names="{uid}"),
        Storage(flip_rows=True),
        Storage(flip_columns=True, file_names="a/{index}/IM"),
        Storage(transpose=True),
        Storage(flip_rows=True, transpose=True, transfer_syntax_uid=RLELossless),
        Storage(transfer_syntax_uid=ImplicitVRLittleEndian, replaced={"PatientPosition": "FFS"}),
    ],
    ids=["head first", "shuffled", "rows flipped", "columns flipped", "transposed", "RLE", "implicit, feet first"],
)
def test_however_it_is_stored_each_voxel_stays_where_it_is_in_the_patient(
    phantom_study: PhantomStudy, tmp_path: Path, storage: Storage
) -> None:
    volume, mask = _cut(phantom_study)
    plain = write_ct_series(tmp_path / "plain", volume, phantom_study.scan.scanner, key="k")
    other = write_ct_series(tmp_path / "other", volume, phantom_study.scan.scanner, key="k", storage=storage)
    assert np.allclose(_points(plain, mask), _points(other, mask))
    stored = np.stack([pydicom.dcmread(path).pixel_array for path in other.paths]).astype(int) - 1024
    assert np.array_equal(stored, other.frames_of(volume.hu))


def test_slices_can_be_left_out_or_written_twice(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    volume, _ = _cut(phantom_study)
    series = write_ct_series(
        tmp_path, volume, phantom_study.scan.scanner, key="k", storage=Storage(omit=(2,), duplicate=(4,))
    )
    assert series.slices == (0, 1, 3, 4, 4, 5)
    assert len({ds.SOPInstanceUID for ds in series.datasets}) == 6


def test_attributes_can_be_taken_away_or_replaced(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    volume, _ = _cut(phantom_study, 2)
    storage = Storage(absent=("RescaleSlope", "RescaleIntercept", "StudyDate"), replaced={"KVP": "100"})
    path = write_ct_series(tmp_path, volume, phantom_study.scan.scanner, key="k", storage=storage).paths[0]
    ds = pydicom.dcmread(path)
    assert "RescaleSlope" not in ds
    assert "StudyDate" not in ds
    assert ds.KVP == 100


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (("", "ISO 2022 IR 87"), "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 192", "Müller^Łukasz=王^小東"),
    ],
)
def test_names_in_other_scripts_survive(
    phantom_study: PhantomStudy, tmp_path: Path, character_set: Any, name: str
) -> None:
    """The CT's name, and the SEG's that highdicom copies from it."""
    volume, mask = _cut(phantom_study, 2)
    series = write_ct_series(
        tmp_path,
        volume,
        phantom_study.scan.scanner,
        key="k",
        patient=PatientRecord(name=name, character_set=character_set),
    )
    seg = write_segmentation(tmp_path / "seg.dcm", series.datasets, [series.frames_of(mask)], key="s")
    assert pydicom.dcmread(series.paths[0]).PatientName == name
    assert pydicom.dcmread(seg).PatientName == name


def test_a_tilted_gantry_leaves_the_tumour_in_its_place(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    volume, mask = volume_of(phantom_study.scan), phantom_study.scan.mask
    leaned, leaned_mask = tilted(volume, mask, 12.0)
    part = np.flatnonzero(leaned_mask.any(axis=(1, 2)))
    series = write_ct_series(tmp_path, leaned, phantom_study.scan.scanner, key="k")
    assert series.datasets[0].ImageOrientationPatient[5] == pytest.approx(np.sin(np.radians(12)))
    centre = _points(series, leaned_mask).mean(axis=0)
    assert len(part) > 5
    assert centre == pytest.approx(phantom_study.tumour.centre, abs=1.0)
    # The planes lean, the table does not: a voxel is smaller by the cosine.
    voxel = 1.5 * 1.5 * 3.0 * np.cos(np.radians(12))
    assert leaned_mask.sum() * voxel == pytest.approx(phantom_study.true_volume_mm3, rel=0.04)


def test_a_seg_can_hold_organs_beside_the_tumour(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    volume, mask = _cut(phantom_study)
    series = write_ct_series(tmp_path / "ct", volume, phantom_study.scan.scanner, key="k")
    frames = series.frames_of(mask)
    organs = [np.roll(frames, 40, axis=2), np.roll(frames, -30, axis=1)]
    path = write_segmentation(
        tmp_path / "seg.dcm",
        series.datasets,
        [organs[0], frames, organs[1]],
        segments=(HEART_SEGMENT, GTV, LUNGS_SEGMENT),
        key="s",
    )
    seg = hd.seg.segread(path)
    assert [s.SegmentLabel for s in seg.SegmentSequence] == ["Heart", "GTV-1", "Lungs"]
    read = seg.get_pixels_by_source_instance([ds.SOPInstanceUID for ds in series.datasets], segment_numbers=[2])
    assert np.array_equal(read[..., 0], frames)


def test_fractional_and_labelmap_segs_hold_the_same_tumour(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    volume, mask = _cut(phantom_study)
    series = write_ct_series(tmp_path / "ct", volume, phantom_study.scan.scanner, key="k")
    frames = series.frames_of(mask)
    for kind in ("FRACTIONAL", "LABELMAP"):
        path = write_segmentation(
            tmp_path / f"{kind}.dcm",
            series.datasets,
            [frames * 0.8 if kind == "FRACTIONAL" else frames],
            key=kind,
            segmentation_type=kind,  # type: ignore[arg-type]  # a literal in a loop
        )
        ds = pydicom.dcmread(path)
        assert ds.SegmentationType == kind
        shown = ds.pixel_array.reshape(-1, *frames.shape[1:])
        assert (shown > 0).sum() == frames.sum()


def test_the_hand_written_seg_says_the_same_as_highdicoms(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    """Read by highdicom: the same pixels on the same source images."""
    volume, mask = _cut(phantom_study)
    series = write_ct_series(tmp_path / "ct", volume, phantom_study.scan.scanner, key="k")
    frames = series.frames_of(mask)
    uids = [ds.SOPInstanceUID for ds in series.datasets]
    read = []
    for name, writer in (("library", write_segmentation), ("hand", write_segmentation_for)):
        seg = hd.seg.segread(writer(tmp_path / name, series.datasets, [frames], segments=(TUMOUR,), key="s"))
        read.append(seg.get_pixels_by_source_instance(uids, segment_numbers=[1])[..., 0])
    assert np.array_equal(read[0], frames)
    assert np.array_equal(read[1], frames)


def test_an_enhanced_ct_holds_the_same_slices_and_takes_a_seg(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    volume, mask = _cut(phantom_study)
    series = write_enhanced_ct(tmp_path / "enhanced.dcm", volume, phantom_study.scan.scanner, key="k")
    ds = pydicom.dcmread(series.paths[0])
    assert np.array_equal(ds.pixel_array.astype(int) - 1024, volume.hu)
    positions = [f.PlanePositionSequence[0].ImagePositionPatient[2] for f in ds.PerFrameFunctionalGroupsSequence]
    assert np.diff(positions) == pytest.approx(3.0)
    frames = series.frames_of(mask)
    for name, writer in (("library", write_segmentation), ("hand", write_segmentation_for)):
        path = writer(tmp_path / name, series.datasets, [frames], key="s")
        assert pydicom.dcmread(path).pixel_array.sum() == frames.sum()


def test_a_seg_can_be_written_on_a_ct_that_lacks_nearly_everything(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    volume, mask = _cut(phantom_study)
    storage = Storage(absent=("FrameOfReferenceUID", "StudyDate", "SliceThickness", "PatientSex", "StudyID"))
    series = write_ct_series(tmp_path / "ct", volume, phantom_study.scan.scanner, key="k", storage=storage)
    path = write_segmentation_for(tmp_path / "seg.dcm", series.datasets, [series.frames_of(mask)], key="s")
    ds = pydicom.dcmread(path)
    assert ds.FrameOfReferenceUID
    assert ds.pixel_array.sum() == mask.sum()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"slice_thickness": 0.0}, "slice thickness"),
        ({"tumour_diameter": 200.0}, "tumour diameter"),
        ({"kernel": "B99"}, "unknown convolution kernel"),
        ({"seed": -1}, "seed"),
    ],
)
def test_nonsense_is_refused_with_the_range(tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_phantom_study(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())
