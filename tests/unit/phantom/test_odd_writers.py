"""The writers of odd studies: each stores the same voxels in the same places, so that tests may rely on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from pdl1es.phantom.dicom import PhantomStudy
from pdl1es.phantom.scanner import Scan
from tests.enhanced_ct import write_enhanced_ct
from tests.odd_segmentations import (
    GTV,
    HEART_SEGMENT,
    LUNGS_SEGMENT,
    TUMOUR,
    write_odd_segmentation,
    write_segmentation_for,
)
from tests.odd_series import Storage, StoredSeries, write_odd_series


def _affine(ds: pydicom.Dataset) -> np.ndarray:
    """Return the LPS position of pixel (row, column) = columns of a 3 x 3 matrix [origin, per row, per column]."""
    row, column = np.array(ds.ImageOrientationPatient[:3]), np.array(ds.ImageOrientationPatient[3:])
    return np.stack(
        [np.array(ds.ImagePositionPatient), column * ds.PixelSpacing[0], row * ds.PixelSpacing[1]], axis=1
    ).astype(float)


def _cut(study: PhantomStudy, count: int = 6) -> Scan:
    """Return a few slices through the tumour."""
    middle = int(np.argmax(study.scan.mask.sum(axis=(1, 2))))
    part = slice(middle - count // 2, middle - count // 2 + count)
    origin = (*study.scan.origin[:2], study.scan.origin[2] + part.start * study.scan.spacing[2])
    return replace(study.scan, hu=study.scan.hu[part], mask=study.scan.mask[part], origin=origin)


def _points(series: StoredSeries, mask: np.ndarray) -> np.ndarray:
    """Return the sorted LPS positions of a mask's voxels as the stored images place them."""
    found = []
    for ds, frame in zip(series.datasets, series.frames_of(mask), strict=True):
        origin, per_row, per_column = _affine(ds).T
        for r, c in np.argwhere(frame):
            found.append(origin + r * per_row + c * per_column)
    array = np.round(np.array(found), 3)
    return array[np.lexsort(array.T)]


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
    scan = _cut(phantom_study)
    plain = write_odd_series(tmp_path / "plain", scan, key="k")
    other = write_odd_series(tmp_path / "other", scan, storage, key="k")
    assert np.allclose(_points(plain, scan.mask), _points(other, scan.mask))
    stored = np.stack([pydicom.dcmread(path).pixel_array for path in other.paths]).astype(int) - 1024
    assert np.array_equal(stored, other.frames_of(scan.hu))


def test_slices_can_be_left_out_or_written_twice(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    series = write_odd_series(tmp_path, _cut(phantom_study), Storage(omit=(2,), duplicate=(4,)), key="k")
    assert series.slices == (0, 1, 3, 4, 4, 5)
    assert len({ds.SOPInstanceUID for ds in series.datasets}) == 6


def test_attributes_can_be_taken_away_or_replaced(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    storage = Storage(absent=("RescaleSlope", "RescaleIntercept", "StudyDate"), replaced={"KVP": "100"})
    path = write_odd_series(tmp_path, _cut(phantom_study, 2), storage, key="k").paths[0]
    ds = pydicom.dcmread(path)
    assert "RescaleSlope" not in ds
    assert "StudyDate" not in ds
    assert ds.KVP == 100


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 192", "Müller^Łukasz=王^小東"),
    ],
)
def test_names_in_other_scripts_survive(
    phantom_study: PhantomStudy, tmp_path: Path, character_set: Any, name: str
) -> None:
    """The CT's name, and the SEG's that highdicom copies from it."""
    scan = _cut(phantom_study, 2)
    storage = Storage(replaced={"SpecificCharacterSet": character_set, "PatientName": name})
    series = write_odd_series(tmp_path, scan, storage, key="k")
    seg = write_odd_segmentation(tmp_path / "seg.dcm", series.datasets, [scan.mask], key="s")
    assert pydicom.dcmread(series.paths[0]).PatientName == name
    assert pydicom.dcmread(seg).PatientName == name


def test_a_seg_can_hold_organs_beside_the_tumour(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    scan = _cut(phantom_study)
    series = write_odd_series(tmp_path / "ct", scan, key="k")
    frames = scan.mask
    organs = [np.roll(frames, 40, axis=2), np.roll(frames, -30, axis=1)]
    path = write_odd_segmentation(
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
    scan = _cut(phantom_study)
    series = write_odd_series(tmp_path / "ct", scan, key="k")
    frames = scan.mask
    for kind in ("FRACTIONAL", "LABELMAP"):
        path = write_odd_segmentation(
            tmp_path / f"{kind}.dcm",
            series.datasets,
            [frames * 0.8 if kind == "FRACTIONAL" else frames],
            key=kind,
            segmentation_type=kind,
        )
        ds = pydicom.dcmread(path)
        assert ds.SegmentationType == kind
        shown = ds.pixel_array.reshape(-1, *frames.shape[1:])
        assert (shown > 0).sum() == frames.sum()


def test_the_hand_written_seg_says_the_same_as_highdicoms(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    """Read by highdicom: the same pixels on the same source images."""
    scan = _cut(phantom_study)
    series = write_odd_series(tmp_path / "ct", scan, key="k")
    frames = scan.mask
    uids = [ds.SOPInstanceUID for ds in series.datasets]
    read = []
    for name, writer in (("library", write_odd_segmentation), ("hand", write_segmentation_for)):
        seg = hd.seg.segread(writer(tmp_path / name, series.datasets, [frames], segments=(TUMOUR,), key="s"))
        read.append(seg.get_pixels_by_source_instance(uids, segment_numbers=[1])[..., 0])
    assert np.array_equal(read[0], frames)
    assert np.array_equal(read[1], frames)


def test_an_enhanced_ct_holds_the_same_slices_and_takes_a_seg(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    scan = _cut(phantom_study)
    header = write_enhanced_ct(tmp_path / "enhanced.dcm", scan, key="k")
    ds = pydicom.dcmread(tmp_path / "enhanced.dcm")
    assert np.array_equal(ds.pixel_array.astype(int) - 1024, scan.hu)
    positions = [f.PlanePositionSequence[0].ImagePositionPatient[2] for f in ds.PerFrameFunctionalGroupsSequence]
    assert np.diff(positions) == pytest.approx(3.0)
    for name, writer in (("library", write_odd_segmentation), ("hand", write_segmentation_for)):
        path = writer(tmp_path / name, [header], [scan.mask], key="s")
        assert pydicom.dcmread(path).pixel_array.sum() == scan.mask.sum()


def test_a_seg_can_be_written_on_a_ct_that_lacks_nearly_everything(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    scan = _cut(phantom_study)
    storage = Storage(absent=("FrameOfReferenceUID", "StudyDate", "SliceThickness", "PatientSex", "StudyID"))
    series = write_odd_series(tmp_path / "ct", scan, storage, key="k")
    path = write_segmentation_for(tmp_path / "seg.dcm", series.datasets, [scan.mask], key="s")
    ds = pydicom.dcmread(path)
    assert ds.FrameOfReferenceUID
    assert ds.pixel_array.sum() == scan.mask.sum()
