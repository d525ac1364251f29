"""SEGs of every maker: each segment's voxels are where another reader, or the maker's own file, says they are."""

from __future__ import annotations

import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError
from pdl1es.dicom.header import read_instance
from pdl1es.dicom.pixels import segment_reader
from pdl1es.dicom.pixels.segment_reader import read_segment_mask
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.segmentation import Segmentation, parse_segmentation
from pdl1es.dicom.study import scan_study
from pdl1es.errors import Refusal, RefusalCode
from tests.unit.dicom.small_files import encapsulated, items, segmentation_dataset, write

Voxels = set[tuple[int, int, int]]
OFF_TIES = 0.137
"""Added before rounding: many positions are whole quarters of a millimetre."""


def read(path: Path) -> Segmentation:
    return parse_segmentation(read_instance(path))


def refusal_of(path: Path) -> Refusal:
    with pytest.raises(Refusal) as refused:
        read(path)
    return refused.value


def patient_points(mask: SegmentMask) -> Voxels:
    """Return the voxels' centres in tenths of a millimetre, LPS."""
    points: Voxels = set()
    for plane, pixels in zip(mask.planes, mask.masks, strict=True):
        rows, columns = np.nonzero(pixels)
        centres = (
            np.array(plane.position)
            + columns[:, None] * plane.column_spacing * np.array(plane.row_direction)
            + rows[:, None] * plane.row_spacing * np.array(plane.column_direction)
        )
        points |= set(map(tuple, np.floor(centres * 10 + OFF_TIES).astype(int).tolist()))
    return points


def nrrd_points(path: Path, label: int) -> Voxels:
    """Return the centres of a label's voxels in an NRRD, as SimpleITK places them."""
    image = sitk.ReadImage(str(path))
    indices = np.argwhere(sitk.GetArrayFromImage(image) == label)[:, ::-1]
    directions = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    centres = np.array(image.GetOrigin()) + indices @ directions.T
    return set(map(tuple, np.floor(centres * 10 + OFF_TIES).astype(int).tolist()))


# --- Real files ------------------------------------------------------------------------------------------------------

NRRD_OF: dict[str, dict[int, tuple[str, int]]] = {
    # SEG: {segment: (NRRD of the same folder's maker, its label)}
    "seg_zoo/dcmqi/23x38x3/seg/label.seg": {1: ("seg_zoo/dcmqi/23x38x3/nrrd/label.nrrd", 1)},
    "seg_zoo/dcmqi/24x38x3/seg/label.seg": {1: ("seg_zoo/dcmqi/24x38x3/nrrd/label.nrrd", 1)},
    "seg_zoo/dcmqi/liver.dcm": {1: ("seg_zoo/dcmqi/liver_seg.nrrd", 1)},
    "seg_zoo/dcmqi/partial_overlaps.dcm": {
        1: ("seg_zoo/dcmqi/partial_overlaps-1.nrrd", 1),
        2: ("seg_zoo/dcmqi/partial_overlaps-2.nrrd", 2),
        3: ("seg_zoo/dcmqi/partial_overlaps-3.nrrd", 3),
        4: ("seg_zoo/dcmqi/partial_overlaps-1.nrrd", 4),
        5: ("seg_zoo/dcmqi/partial_overlaps-1.nrrd", 5),
    },
    "seg_zoo/dcmqi/sparse-labelmap-noppv.dcm": {1: ("seg_zoo/dcmqi/sparse_labelmap_noppv_seg.nrrd", 1)},
    "seg_zoo/dcmqi/sparse-labelmap-ppv5.dcm": {1: ("seg_zoo/dcmqi/sparse_labelmap_ppv5_seg.nrrd", 1)},
    "ct_4dlung113/seg_dcmqi.dcm": {1: ("ct_4dlung113/mask.nrrd", 1)},
}


@pytest.mark.parametrize("name", NRRD_OF)
def test_each_segment_equals_its_makers_nrrd(shared_data: Path, name: str) -> None:
    segmentation = read(shared_data / name)
    for number, (nrrd, label) in NRRD_OF[name].items():
        expected = nrrd_points(shared_data / nrrd, label)
        assert expected
        assert patient_points(read_segment_mask(segmentation, number)) == expected


def test_the_real_tumour_has_23611_voxels_and_67_56_ml(shared_data: Path) -> None:
    segmentation = read(shared_data / "ct_4dlung113" / "seg_dcmqi.dcm")
    mask = read_segment_mask(segmentation, 1)
    assert mask.masks.sum() == 23611
    volume_mm3 = mask.masks.sum() * mask.planes[0].row_spacing * mask.planes[0].column_spacing * 3.0
    assert volume_mm3 / 1000 == pytest.approx(67.56, abs=0.005)
    assert segmentation.segments[0].property_type == Code("86049000", "SCT", "Neoplasm, Primary")
    assert len(segmentation.referenced_series_uids) == 1
    study = scan_study(shared_data / "ct_4dlung113")
    assert segmentation.referenced_sop_instance_uids <= {i.sop_instance_uid for i in study.instances}


SIBLINGS = {
    "liver_expb.dcm": "liver.dcm",
    "liver_rle.dcm": "liver.dcm",
    "liver_j2k.dcm": "liver.dcm",
    "liver_deflate.dcm": "liver.dcm",
    "liver_nonbyte_aligned_rle.dcm": "liver_nonbyte_aligned.dcm",
    "liver_nonbyte_aligned_j2k.dcm": "liver_nonbyte_aligned.dcm",
    "liver_nonbyte_aligned_deflate.dcm": "liver_nonbyte_aligned.dcm",
}


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_compressed_seg_equals_its_uncompressed_sibling(shared_data: Path, name: str) -> None:
    folder = shared_data / "seg_zoo" / "pydicom"
    mask, expected = (read_segment_mask(read(folder / file), 1) for file in (name, SIBLINGS[name]))
    assert mask.planes == expected.planes
    assert np.array_equal(mask.masks, expected.masks)
    assert mask.masks.sum() == 107098


PYDICOM_READS = [
    "pydicom/liver.dcm",
    "pydicom/liver_nonbyte_aligned.dcm",
    "slicer_syngo_liver/DICOM.SEG/syngo.seg.dcm",
    "slicer_syngo_liver/SlicerReportingAIM/1.2.276.0.7230010.3.1.4.0.9625.1345852568.149995.dcm",
    "highdicom/seg_image_ct_binary.dcm",
    "highdicom/seg_image_ct_binary_overlap.dcm",
    "highdicom/seg_image_ct_binary_fractional.dcm",
    "highdicom/seg_image_ct_true_fractional.dcm",
]


@pytest.mark.parametrize("name", PYDICOM_READS)
def test_masks_equal_what_pydicom_unpacks(shared_data: Path, name: str) -> None:
    """The syngo.via SEG among them, which lacks a category code."""
    dataset = dcmread(shared_data / "seg_zoo" / name)
    stored = dataset.pixel_array
    least = 0.5 * dataset.get("MaximumFractionalValue", 1)
    segmentation = read(shared_data / "seg_zoo" / name)
    for segment in segmentation.segments:
        frames = [
            stored[index] >= least
            for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence)
            if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment.number
        ]
        expected = np.stack([frame for frame in frames if frame.any()])
        mask = read_segment_mask(segmentation, segment.number)
        assert np.array_equal(mask.masks, expected)
        assert len(mask.planes) == len(expected)


def test_a_single_frame_seg_is_read(shared_data: Path) -> None:
    segmentation = read(shared_data / "seg_zoo" / "highdicom" / "seg_image_ct_binary_single_frame.dcm")
    expected = dcmread(segmentation.instance.path).pixel_array != 0
    assert np.array_equal(read_segment_mask(segmentation, 1).masks[0], expected)


def test_every_seg_of_the_zoo_is_covered_above(shared_data: Path) -> None:
    files = {path for pattern in ("*.dcm", "*.seg") for path in (shared_data / "seg_zoo").rglob(pattern)}
    segs = set()
    for path in files:
        try:
            if read_instance(path).header.get("Modality") == "SEG":
                segs.add(path.relative_to(shared_data / "seg_zoo").as_posix())
        except NotDicomError:
            continue  # slicer.seg.dcm is an NRRD
    covered = {name.removeprefix("seg_zoo/") for name in NRRD_OF} | {f"pydicom/{name}" for name in SIBLINGS}
    covered |= {*PYDICOM_READS, "highdicom/seg_image_ct_binary_single_frame.dcm"}
    assert segs <= covered


def test_what_the_segments_are_is_read_in_full(shared_data: Path) -> None:
    segmentation = read(shared_data / "seg_zoo" / "dcmqi" / "partial_overlaps.dcm")
    assert [segment.label for segment in segmentation.segments] == [
        "GREEN",
        "ORANGE",
        "PURPLE",
        "LIGHT_BLUE",
        "DARK_BLUE",
    ]
    assert segmentation.segments[1].property_type is not None
    assert segmentation.segments[1].property_type.meaning == "Artery"
    syngo = read(shared_data / "seg_zoo" / "slicer_syngo_liver" / "DICOM.SEG" / "syngo.seg.dcm")
    assert syngo.segments[0].category is None
    assert syngo.segments[0].algorithm_type == "SEMIAUTOMATIC"
    assert len(syngo.referenced_sop_instance_uids) == 3


# --- Made files ------------------------------------------------------------------------------------------------------


def some_masks(frames: int = 3, rows: int = 5, columns: int = 7, seed: int = 1) -> NDArray[np.bool_]:
    """Frames of 35 pixels: none but the first begins on a byte."""
    return np.random.default_rng(seed).random((frames, rows, columns)) < 0.5


@pytest.mark.parametrize(
    "transfer_syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_frames_that_begin_within_a_byte_are_unpacked(tmp_path: Path, transfer_syntax: str) -> None:
    masks = some_masks()
    dataset = segmentation_dataset(masks, (1, 1, 1))
    dataset["PixelData"].VR = "OB" if transfer_syntax != ImplicitVRLittleEndian else "OW"
    mask = read_segment_mask(read(write(tmp_path / "seg", dataset, transfer_syntax)), 1)
    assert np.array_equal(mask.masks, masks)


@pytest.mark.parametrize("transfer_syntax", ["1.2.840.10008.1.2.8.1", RLELossless])
def test_one_bit_frames_compressed_one_by_one_are_unpacked(tmp_path: Path, transfer_syntax: str) -> None:
    masks = some_masks()
    frames = []
    for frame in masks:
        packed = np.packbits(frame.ravel(), bitorder="little").tobytes()
        if transfer_syntax == RLELossless:
            header = np.array([1, 64] + [0] * 14, dtype="<u4").tobytes()
            frames.append(header + bytes([len(packed) - 1]) + packed)
        else:
            deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            frames.append(deflater.compress(packed) + deflater.flush())
    dataset = encapsulated(segmentation_dataset(masks, (1, 1, 1)), frames)
    mask = read_segment_mask(read(write(tmp_path / "seg", dataset, transfer_syntax)), 1)
    assert np.array_equal(mask.masks, masks)


def test_overlapping_segments_keep_their_own_voxels_and_empty_frames_are_dropped(tmp_path: Path) -> None:
    masks = some_masks(4)
    masks[1] = False
    masks[3] = masks[0]
    segmentation = read(write(tmp_path / "seg", segmentation_dataset(masks, (1, 1, 2, 2))))
    first, second = read_segment_mask(segmentation, 1), read_segment_mask(segmentation, 2)
    assert [plane.position[2] for plane in first.planes] == [0.0]
    assert [plane.position[2] for plane in second.planes] == [4.0, 6.0]
    assert np.array_equal(second.masks, masks[2:])


def test_an_empty_segment_has_no_planes(tmp_path: Path) -> None:
    segmentation = read(write(tmp_path / "seg", segmentation_dataset(np.zeros((2, 5, 7)), (1, 1))))
    mask = read_segment_mask(segmentation, 1)
    assert mask.planes == ()
    assert mask.masks.shape == (0, 5, 7)


@pytest.mark.parametrize(("threshold", "voxels"), [(0.5, [0, 0, 1, 1]), (0.2, [0, 1, 1, 1]), (1.0, [0, 0, 0, 1])])
def test_a_fractional_voxel_counts_from_the_threshold_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threshold: float, voxels: list[int]
) -> None:
    monkeypatch.setattr(segment_reader, "FRACTIONAL_THRESHOLD", threshold)
    stored = np.array([[[19, 20, 50, 100]]], dtype=np.uint8)
    dataset = segmentation_dataset(
        stored, (1,), SegmentationType="FRACTIONAL", SegmentationFractionalType="OCCUPANCY",
        MaximumFractionalValue=100, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=stored.tobytes(),
    )  # fmt: skip
    mask = read_segment_mask(read(write(tmp_path / "seg", dataset)), 1)
    assert mask.masks.astype(int).ravel().tolist() == voxels


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "PALETTE COLOR"])
def test_in_a_labelmap_a_pixel_names_its_segment(tmp_path: Path, bits: int, photometric: str) -> None:
    stored = np.array([[[0, 1, 2], [2, 2, 5]]], dtype=f"<u{bits // 8}")
    dataset = segmentation_dataset(
        stored, (1,), SOPClassUID="1.2.840.10008.5.1.4.1.1.66.7", SegmentationType="LABELMAP", BitsAllocated=bits,
        BitsStored=bits, HighBit=bits - 1, PixelPaddingValue=None, PhotometricInterpretation=photometric,
        PixelData=stored.tobytes(), SegmentSequence=items(*({"SegmentNumber": n} for n in (0, 1, 2, 5))),
    )  # fmt: skip
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.SegmentIdentificationSequence
    segmentation = read(write(tmp_path / "seg", dataset))
    assert segmentation.frames[0].segment_number is None
    for number in (1, 2, 5):
        assert np.array_equal(read_segment_mask(segmentation, number).masks, stored == number)


def test_a_frame_that_says_no_place_is_refused_only_when_it_holds_voxels_that_are_needed(tmp_path: Path) -> None:
    dataset = segmentation_dataset(some_masks(2), (1, 2))
    del dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    segmentation = read(write(tmp_path / "seg", dataset))
    assert segmentation.frames[1].plane is None
    assert len(read_segment_mask(segmentation, 1).planes) == 1
    with pytest.raises(Refusal) as refused:
        read_segment_mask(segmentation, 2)
    assert refused.value.code is RefusalCode.SEG_GEOMETRY


def test_a_bare_segment_is_enough(tmp_path: Path) -> None:
    dataset = segmentation_dataset(some_masks(1), (3,), SegmentSequence=items({"SegmentNumber": 3}))
    del dataset.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence
    segmentation = read(write(tmp_path / "seg", dataset))
    (segment,) = segmentation.segments
    assert (segment.number, segment.label, segment.category, segment.tracking_uid) == (3, "", None, None)
    assert segmentation.frames[0].segment_number == 3


@pytest.mark.parametrize(
    ("attributes", "tag"),
    [
        ({"SegmentationType": "SURFACE"}, "SegmentationType (0062,0001)"),
        ({"SegmentationType": None}, "SegmentationType (0062,0001)"),
        ({"SegmentSequence": None}, "SegmentSequence (0062,0002)"),
        ({"SegmentSequence": items({"SegmentLabel": "GTV"})}, "SegmentNumber (0062,0004)"),
        ({"SegmentSequence": items({"SegmentNumber": 1}, {"SegmentNumber": 1})}, "SegmentNumber (0062,0004)"),
        ({"SegmentSequence": items({"SegmentNumber": 8}, {"SegmentNumber": 9})}, "ReferencedSegmentNumber (0062,000B)"),
        ({"NumberOfFrames": 4}, "NumberOfFrames (0028,0008)"),
        ({"NumberOfFrames": None}, "NumberOfFrames (0028,0008)"),
        ({"PerFrameFunctionalGroupsSequence": None}, "NumberOfFrames (0028,0008)"),
        (
            {
                "SharedFunctionalGroupsSequence": items(
                    {
                        "PlaneOrientationSequence": items({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}),
                        "PixelMeasuresSequence": items({"PixelSpacing": [1, 1]}),
                    }
                )
            },
            "ImageOrientationPatient (0020,0037)",
        ),
    ],
)
def test_a_seg_that_contradicts_itself_is_refused_by_name(tmp_path: Path, attributes: dict[str, Any], tag: str) -> None:
    refusal = refusal_of(write(tmp_path / "seg", segmentation_dataset(some_masks(2), (1, 1), **attributes)))
    assert refusal.code is RefusalCode.SEG_UNREADABLE
    assert refusal.tag == tag
    assert refusal.uid == "1.2.3.2"


def test_a_fractional_seg_without_its_maximum_is_refused(tmp_path: Path) -> None:
    masks = np.ones((1, 2, 2), dtype=np.uint8)
    dataset = segmentation_dataset(
        masks, (1,), SegmentationType="FRACTIONAL", BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=masks.tobytes()
    )
    segmentation = read(write(tmp_path / "seg", dataset))
    with pytest.raises(Refusal) as refused:
        read_segment_mask(segmentation, 1)
    assert refused.value.code is RefusalCode.SEG_UNREADABLE


def test_a_segment_that_is_not_there_is_a_callers_mistake(tmp_path: Path) -> None:
    segmentation = read(write(tmp_path / "seg", segmentation_dataset(some_masks(1), (1,))))
    with pytest.raises(ValueError, match="no segment 2"):
        read_segment_mask(segmentation, 2)


@pytest.mark.parametrize("frames", [2, 3])
def test_a_mask_of_another_width_than_the_header_says_is_refused(tmp_path: Path, frames: int) -> None:
    """Read with 79 columns, what was drawn with 80 leans from row to row."""
    path = write(tmp_path / "seg", segmentation_dataset(np.ones((frames, 80, 80)), (1,) * frames, Columns=79))
    with pytest.raises(Refusal) as refused:
        read_segment_mask(read(path), 1)
    assert refused.value.code is RefusalCode.PIXEL_DATA_CORRUPT
    assert refused.value.uid == "1.2.3.2"


def test_frames_that_are_padded_to_whole_bytes_are_refused(tmp_path: Path) -> None:
    """One-bit frames follow each other without a gap (PS3.5 8.1.1); some writers begin each on a byte.

    Where the two lengths are equal nothing tells them apart: 5 frames of 63 pixels are 40 bytes either way.
    """
    masks = np.zeros((5, 7, 7))
    masks[:, 2:5, 3:6] = 1
    padded = b"".join(np.packbits(mask.astype(bool).ravel(), bitorder="little").tobytes() for mask in masks)
    dataset = segmentation_dataset(masks, (1,) * 5, PixelData=padded + b"\0" * (len(padded) % 2))
    with pytest.raises(Refusal) as refused:
        read_segment_mask(read(write(tmp_path / "seg", dataset)), 1)
    assert refused.value.code is RefusalCode.PIXEL_DATA_CORRUPT


def test_truncated_pixel_data_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "seg", segmentation_dataset(some_masks(40), (1,) * 40))
    segmentation = read(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(Refusal) as refused:
        read_segment_mask(segmentation, 1)
    assert refused.value.code is RefusalCode.PIXEL_DATA_CORRUPT


def test_any_damage_to_a_seg_gives_a_mask_or_a_refusal(tmp_path: Path) -> None:
    chance = random.Random(11)
    masks = some_masks(3)
    sources = [
        write(tmp_path / str(index), segmentation_dataset(masks, (1, 2, 1)), transfer_syntax).read_bytes()
        for index, transfer_syntax in enumerate(
            (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
        )
    ]
    path = tmp_path / "damaged"
    results = 0
    for _ in range(800):
        damaged = bytearray(chance.choice(sources))
        if chance.random() < 0.2:
            damaged = damaged[: chance.randrange(len(damaged))]
        for _ in range(chance.randint(1, 4)):
            if len(damaged) > 133:
                damaged[chance.randrange(132, len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            segmentation = read(path)
            for segment in segmentation.segments:
                results += read_segment_mask(segmentation, segment.number).masks.dtype == bool
        except (Refusal, UnreadableFileError, NotDicomError):
            continue
    assert results > 100
