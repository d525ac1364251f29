"""Pixel data come out as they went in, or are refused by name."""

from __future__ import annotations

import dataclasses
import random
import shutil
import time
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError
from pdl1es.dicom.geometry import SlicePlane
from pdl1es.dicom.header import read_instance
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.pixels import decoder, frames
from pdl1es.dicom.pixels.frames import read_stored_frames
from pdl1es.dicom.pixels.hounsfield import read_ct_slice
from pdl1es.dicom.series import CTSlice
from pdl1es.dicom.slices import slices_of
from pdl1es.errors import Refusal, RefusalCode
from tests.unit.dicom.small_files import ENHANCED_CT_IMAGE, ct_dataset, encapsulated, items, write


@pytest.fixture(autouse=True)
def impatient_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait half a minute for a decoder that hangs on damaged bytes."""
    monkeypatch.setattr(decoder, "DECODE_SECONDS", 2.0)


def ct_slice(instance: Instance, frame: int = 0, slope: Any = None, intercept: Any = None) -> CTSlice:
    """Return the slice as the series reader does; the plane plays no part here."""
    header = instance.header
    if slope is None:
        slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    units = header.get("RescaleType")
    for group in header.get("SharedFunctionalGroupsSequence") or ():
        for item in group.get("PixelValueTransformationSequence") or ():
            slope, intercept, units = item.RescaleSlope, item.RescaleIntercept, item.get("RescaleType")
    plane = SlicePlane((0, 0, 0), (1, 0, 0), (0, 1, 0), 1, 1, header.get("Rows", 1), header.get("Columns", 1))
    return CTSlice(
        instance=instance,
        frame=frame,
        plane=plane,
        rescale_slope=None if slope is None else float(slope),
        rescale_intercept=None if intercept is None else float(intercept),
        rescale_type=None if units is None else str(units),
    )


def refusal_of(instance: Instance, frame: int = 0, **rescale: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        read_ct_slice(ct_slice(instance, frame, **rescale))
    return refused.value


# --- Real files: every transfer syntax -------------------------------------------------------------------------------

_CT = "transfer_syntaxes/CTImage.dcm"
UNSUPPORTED = RefusalCode.UNSUPPORTED_TRANSFER_SYNTAX

REAL_FILES: dict[str, tuple[str, float] | RefusalCode] = {
    # file: (uncompressed sibling, largest difference in HU), or the refusal
    f"{_CT}_LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm": (_CT, 0),
    f"{_CT}_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm": (_CT, 0),
    f"{_CT}_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm": (_CT, 0),
    f"{_CT}_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm": (_CT, 0),
    f"{_CT}_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm": (_CT, 0),
    f"{_CT}_JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm": (_CT, 0),
    f"{_CT}_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm": (_CT, 0),
    f"{_CT}_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm": (_CT, 0),
    f"{_CT}_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm": (_CT, 1),
    f"{_CT}_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm": (_CT, 0),
    f"{_CT}_JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm": (_CT, 5),
    f"{_CT}_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm": (_CT, 65),  # 8 bits, 32 HU a step
    f"{_CT}_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm": (_CT, 36),
    f"{_CT}_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm": UNSUPPORTED,
    f"{_CT}_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm": UNSUPPORTED,
    "693_J2KR.dcm": ("693_UNCR.dcm", 0),
    "CT_small.dcm": ("CT_small.dcm", 0),
}


@pytest.mark.parametrize("name", REAL_FILES)
def test_a_compressed_ct_equals_its_uncompressed_sibling_or_is_refused(shared_data: Path, name: str) -> None:
    folder = shared_data / "odd_ct"
    expected = REAL_FILES[name]
    instance = read_instance(folder / name)
    if isinstance(expected, RefusalCode):
        refusal = refusal_of(instance)
        assert refusal.code is expected
        assert refusal.tag == "TransferSyntaxUID (0002,0010)"
        assert refusal.value == instance.transfer_syntax_uid
        assert refusal.uid == instance.sop_instance_uid
        return
    sibling, largest = expected
    hu = read_ct_slice(ct_slice(instance))
    reference = read_ct_slice(ct_slice(read_instance(folder / sibling)))
    assert hu.shape == (instance.header.Rows, instance.header.Columns)
    assert np.abs(hu - reference.astype(float)).max() <= largest


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        # HU ranges that pydicom reports for its own test files
        ("J2K_pixelrep_mismatch.dcm", -2000, 1896),
        ("693_UNCI.dcm", -2971 - 1024, 2836 - 1024),
        ("transfer_syntaxes/CT1_J2KR", -2000 - 1024, 2278 - 1024),
        ("transfer_syntaxes/CT2_J2KR", -2048, 1433),
        ("CT_small.dcm", 128 - 1024, 2191 - 1024),
    ],
)
def test_signs_and_unused_bits_are_right(shared_data: Path, name: str, low: int, high: int) -> None:
    hu = read_ct_slice(ct_slice(read_instance(shared_data / "odd_ct" / name)))
    assert (hu.min(), hu.max()) == (low, high)
    assert hu.dtype in (np.int16, np.int32)


def test_each_frame_of_an_enhanced_ct_is_read_alone(shared_data: Path) -> None:
    instance = read_instance(shared_data / "odd_ct" / "eCT_Supplemental.dcm")
    both = read_stored_frames(instance, [0, 1])
    assert np.array_equal(read_stored_frames(instance, [1])[0], both[1])
    assert not np.array_equal(both[0], both[1])


def test_the_real_enhanced_ct_says_that_its_unit_is_unspecified(shared_data: Path) -> None:
    """Its Rescale Type is US: values that only look like HU are not scored."""
    refusal = refusal_of(read_instance(shared_data / "odd_ct" / "eCT_Supplemental.dcm"))
    assert (refusal.code, refusal.tag, refusal.value) == (RefusalCode.NOT_HU, "RescaleType (0028,1054)", "US")


def test_frames_in_fragments_without_an_offset_table_are_told_apart(shared_data: Path) -> None:
    """A fragmented 12-bit JPEG that pydicom 3.0.2's plugins cannot decode; it is eCT_Supplemental compressed."""
    folder = shared_data / "odd_ct"
    instance = read_instance(folder / "transfer_syntaxes" / "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm")
    frames = read_stored_frames(instance, [0, 1])
    assert frames.shape == (2, 512, 512)
    assert 0 < np.abs(frames[0].astype(int) - frames[1]).mean() < 100


# --- Hounsfield units ------------------------------------------------------------------------------------------------


def test_hu_is_slope_times_stored_value_plus_intercept(tmp_path: Path) -> None:
    instance = read_instance(write(tmp_path / "ct", ct_dataset(RescaleSlope=2, RescaleIntercept=-1000)))
    hu = read_ct_slice(ct_slice(instance))
    assert np.array_equal(hu.ravel(), 2 * np.arange(48) - 1000)
    instance = read_instance(write(tmp_path / "ct", ct_dataset(RescaleSlope=0.5, RescaleIntercept=-1000)))
    hu = read_ct_slice(ct_slice(instance))
    assert hu.dtype == np.float64
    assert np.array_equal(hu.ravel(), 0.5 * np.arange(48) - 1000)


def test_hu_never_overflow(tmp_path: Path) -> None:
    """Padding of -32768 less 1024 does not fit 16 bits."""
    stored = np.full(48, -32768, dtype="<i2")
    instance = read_instance(write(tmp_path / "ct", ct_dataset(PixelData=stored.tobytes())))
    assert read_ct_slice(ct_slice(instance)).min() == -33792


@pytest.mark.parametrize(
    ("attributes", "tag"),
    [
        ({"RescaleSlope": None}, "RescaleSlope (0028,1053)"),
        ({"RescaleIntercept": None}, "RescaleIntercept (0028,1052)"),
        ({"RescaleSlope": 0}, "RescaleSlope (0028,1053)"),
        ({"RescaleType": "US"}, "RescaleType (0028,1054)"),
        ({"RescaleType": "HU_MOD"}, "RescaleType (0028,1054)"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "PhotometricInterpretation (0028,0004)"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel (0028,0002)"),
        ({"ModalityLUTSequence": items({"ModalityLUTType": "HU"})}, "ModalityLUTSequence (0028,3000)"),
    ],
)
def test_what_is_not_in_hu_is_refused(tmp_path: Path, attributes: dict[str, Any], tag: str) -> None:
    instance = read_instance(write(tmp_path / "ct", ct_dataset(**attributes)))
    refusal = refusal_of(instance)
    assert refusal.code is RefusalCode.NOT_HU
    assert refusal.tag == tag
    assert refusal.uid == "1.2.3.1"


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("enhanced", [True, False])
def test_a_rescale_of_two_values_is_told_as_such(tmp_path: Path, keyword: str, enhanced: bool) -> None:
    place: dict[str, Any] = {
        "ImagePositionPatient": [0, 0, 0],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1, 1],
    }
    values = {"RescaleSlope": 1, "RescaleIntercept": -1024} | {keyword: [1, 2]}
    attributes: dict[str, Any] = dict(values)
    if enhanced:
        attributes = dict.fromkeys(values) | {
            "SOPClassUID": ENHANCED_CT_IMAGE,
            "NumberOfFrames": 1,
            "SharedFunctionalGroupsSequence": items({"PixelValueTransformationSequence": items(values)}),
            "PerFrameFunctionalGroupsSequence": items({"FrameContentSequence": items({"StackID": "1"})}),
        }
    instance = read_instance(write(tmp_path / "ct", ct_dataset(**(place | attributes))))
    ((ct_slice,), _) = slices_of([instance])
    with pytest.raises(Refusal) as caught:
        read_ct_slice(ct_slice)
    assert caught.value.code is RefusalCode.NOT_HU
    assert caught.value.found == "the rescale has 2 values where one is needed"
    assert (caught.value.tag or "").startswith(keyword)


@pytest.mark.parametrize("slope", [float("nan"), float("inf")])
def test_a_rescale_that_is_no_number_is_refused(tmp_path: Path, slope: float) -> None:
    instance = read_instance(write(tmp_path / "ct", ct_dataset()))
    assert refusal_of(instance, slope=slope, intercept=0.0).code is RefusalCode.NOT_HU


def test_an_enhanced_ct_that_is_not_in_hu_is_refused(tmp_path: Path) -> None:
    transformation = items({"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "US"})
    dataset = ct_dataset(
        SOPClassUID=ENHANCED_CT_IMAGE,
        RescaleSlope=None,
        RescaleIntercept=None,
        SharedFunctionalGroupsSequence=items({"PixelValueTransformationSequence": transformation}),
    )
    refusal = refusal_of(read_instance(write(tmp_path / "ct", dataset)))
    assert (refusal.code, refusal.value) == (RefusalCode.NOT_HU, "US")


# --- Layouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [12, 16])
def test_bits_above_bits_stored_are_not_part_of_the_value(tmp_path: Path, signed: bool, bits: int) -> None:
    values = np.array([-(2 ** (bits - 1)), -1, 0, 5] if signed else [0, 1, 77, 2**bits - 1])
    rubbish = 0 if bits == 16 else 0xF000
    words = ((values & (2**bits - 1)) | rubbish).astype("<u2")
    dataset = ct_dataset(
        rows=2, columns=2, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=int(signed), PixelData=words.tobytes()
    )
    instance = read_instance(write(tmp_path / "ct", dataset))
    assert read_stored_frames(instance, [0]).ravel().tolist() == values.tolist()


@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_big_endian_bytes_are_put_in_order(tmp_path: Path, vr: str) -> None:
    """Words of two pixels are swapped where the VR is OW (PS3.5 8.1.1), over odd frame borders too."""
    values = np.arange(2 * 15, dtype=np.uint8)
    stored = values if vr == "OB" else values.view("<u2").byteswap().view(np.uint8)
    dataset = ct_dataset(
        rows=3, columns=5, NumberOfFrames=2, BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0
    )
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = vr
    instance = read_instance(write(tmp_path / "ct", dataset, ExplicitVRBigEndian))
    assert np.array_equal(read_stored_frames(instance, [1, 0]).ravel(), np.roll(values, 15))


@pytest.mark.parametrize("transfer_syntax", ["1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.1.98", RLELossless])
@pytest.mark.parametrize("table", [True, False])
def test_frames_that_are_compressed_one_by_one(tmp_path: Path, transfer_syntax: str, table: bool) -> None:
    frames = [np.arange(48, dtype="<i2") * sign for sign in (1, -2)]
    encoded = []
    for frame in frames:
        data = frame.tobytes()
        if transfer_syntax.endswith("8.1"):
            deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            data = deflater.compress(data) + deflater.flush()
        elif transfer_syntax == RLELossless:
            data = RLELosslessEncoder.encode(
                frame.reshape(8, 6), rows=8, columns=6, samples_per_pixel=1, number_of_frames=1, bits_allocated=16,
                bits_stored=16, pixel_representation=1, photometric_interpretation="MONOCHROME2",
            )  # fmt: skip
        encoded.append(data)
    dataset = encapsulated(ct_dataset(NumberOfFrames=2), encoded)
    if not table:
        dataset.PixelData = b"\xfe\xff\x00\xe0" + bytes(4) + dataset.PixelData[8 + 8 :]
    instance = read_instance(write(tmp_path / "ct", dataset, transfer_syntax))
    assert np.array_equal(read_stored_frames(instance, [1, 0])[::-1].reshape(2, -1), frames)


def test_an_instance_whose_pixel_data_were_not_located_is_read_all_the_same(tmp_path: Path) -> None:
    for transfer_syntax in (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        instance = read_instance(write(tmp_path / "ct", ct_dataset(), transfer_syntax))
        unlocated = dataclasses.replace(instance, pixel_data_offset=None)
        assert np.array_equal(read_stored_frames(instance, [0]), read_stored_frames(unlocated, [0]))


# --- Damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transfer_syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_truncated_pixel_data_are_corrupt(tmp_path: Path, transfer_syntax: str) -> None:
    path = write(tmp_path / "ct", ct_dataset(), transfer_syntax)
    instance = read_instance(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert refusal_of(instance).code is RefusalCode.PIXEL_DATA_CORRUPT


def test_pixel_data_shorter_than_the_image_are_corrupt(tmp_path: Path) -> None:
    instance = read_instance(write(tmp_path / "ct", ct_dataset(PixelData=bytes(90))))
    assert refusal_of(instance).code is RefusalCode.PIXEL_DATA_CORRUPT


def test_an_image_without_pixel_data_is_corrupt(tmp_path: Path) -> None:
    refusal = refusal_of(read_instance(write(tmp_path / "ct", ct_dataset(PixelData=None))))
    assert (refusal.code, refusal.tag) == (RefusalCode.PIXEL_DATA_CORRUPT, "PixelData (7FE0,0010)")


def test_a_frame_that_is_not_there_is_corrupt(tmp_path: Path) -> None:
    instance = read_instance(write(tmp_path / "ct", ct_dataset()))
    assert refusal_of(instance, frame=1).code is RefusalCode.PIXEL_DATA_CORRUPT


@pytest.mark.parametrize(
    "attributes",
    [{"BitsAllocated": 12}, {"BitsStored": 17}, {"HighBit": 14}, {"PixelRepresentation": None}, {"Rows": 0}],
)
def test_a_header_that_describes_no_pixels_is_refused(tmp_path: Path, attributes: dict[str, Any]) -> None:
    refusal = refusal_of(read_instance(write(tmp_path / "ct", ct_dataset(**attributes))))
    assert refusal.code is RefusalCode.PIXEL_DATA_CORRUPT
    assert refusal.tag is not None
    assert refusal.tag.startswith(next(iter(attributes)))


def test_sizes_are_limited_before_memory_is_taken(tmp_path: Path) -> None:
    dataset = ct_dataset(Rows=60000, Columns=60000)
    refusal = refusal_of(read_instance(write(tmp_path / "ct", dataset)))
    assert refusal.code is RefusalCode.LIMIT_EXCEEDED
    dataset = ct_dataset(Rows=8000, Columns=8000, NumberOfFrames=10_000)
    instance = read_instance(write(tmp_path / "ct", dataset))
    with pytest.raises(Refusal) as refused:
        read_stored_frames(instance, range(10_000))
    assert refused.value.code is RefusalCode.LIMIT_EXCEEDED


def compressed_cts(shared_data: Path) -> list[Path]:
    folder = shared_data / "odd_ct" / "transfer_syntaxes"
    numbers = ("4.50", "4.51", "4.57", "4.70", "4.80", "4.81", "4.90", "1.2.5")
    return [next(folder.glob(f"CTImage*{number}.dcm")) for number in numbers]


def test_a_compressed_ct_cut_in_half_is_corrupt(
    tmp_path: Path, shared_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for source in compressed_cts(shared_data):
        data = source.read_bytes()
        (tmp_path / "ct").write_bytes(data[: len(data) // 2])
        assert refusal_of(read_instance(tmp_path / "ct")).code is RefusalCode.PIXEL_DATA_CORRUPT, source.name
    assert capfd.readouterr() == ("", "")


def test_damaged_compressed_frames_cost_a_refusal_and_never_the_process(
    tmp_path: Path, shared_data: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDCM aborts, CharLS hangs and OpenJPEG takes half a minute on some of these."""
    monkeypatch.setattr(decoder, "DECODE_SECONDS", 0.5)
    chance = random.Random(20210501)
    outcomes: list[object] = []
    for source in compressed_cts(shared_data):
        whole = bytearray(source.read_bytes())
        instance = read_instance(Path(shutil.copy(source, tmp_path / "ct")))
        assert instance.pixel_data_offset is not None
        for _ in range(6):
            damaged = bytearray(whole)
            start = instance.pixel_data_offset + 28
            for _ in range(chance.randint(1, 8)):
                damaged[start + chance.randrange(chance.choice([300, len(whole) - start]))] = chance.randrange(256)
            instance.path.write_bytes(damaged)
            try:
                outcomes.append(read_ct_slice(ct_slice(instance)).shape)
            except Refusal as refusal:
                outcomes.append(refusal.code)
    assert set(outcomes) <= {(512, 512), RefusalCode.PIXEL_DATA_CORRUPT}
    assert len(outcomes) == 48
    # the decoder is there again for the next study
    sound = read_instance(compressed_cts(shared_data)[2])
    assert read_ct_slice(ct_slice(sound)).shape == (512, 512)
    assert capfd.readouterr() == ("", "")


def fragment(data: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + len(data).to_bytes(4, "little") + data


def encapsulated_ct(path: Path, value: bytes, transfer_syntax: str, **attributes: Any) -> Instance:
    """Write a CT whose encapsulated pixel data are these bytes, after an empty offset table."""
    dataset = encapsulated(ct_dataset(**attributes), [bytes(2)])
    dataset.PixelData = fragment(b"") + value
    return read_instance(write(path, dataset, transfer_syntax))


def test_hostile_fragments_are_refused_before_they_take_time_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pydicom lists as many as there are: 64 MB of empty ones take 7 s and 300 MB."""
    monkeypatch.setattr(frames, "MAX_FRAGMENTS", 1000)
    instance = encapsulated_ct(tmp_path / "ct", fragment(b"") * 1001, RLELossless)
    refusal = refusal_of(instance)
    assert refusal.code is RefusalCode.PIXEL_DATA_CORRUPT
    assert refusal.found == "the pixel data are more than 1000 fragments"


def test_a_file_that_ends_within_a_fragment_is_corrupt_though_the_frame_before_it_is_whole(tmp_path: Path) -> None:
    value = fragment(bytes(96)) * 2
    instance = encapsulated_ct(tmp_path / "ct", value, "1.2.840.10008.1.2.1.98", NumberOfFrames=2)
    assert read_stored_frames(instance, [0]).shape == (1, 8, 6)
    instance.path.write_bytes(instance.path.read_bytes()[:-20])
    assert refusal_of(instance).code is RefusalCode.PIXEL_DATA_CORRUPT


def test_an_rle_segment_is_expanded_no_further_than_the_image_needs(tmp_path: Path) -> None:
    """Each two bytes are a run of 128: pydicom makes 256 MB of 4."""
    header = np.array([2, 64, 64 + 4_000_000, *[0] * 13], "<u4").tobytes()
    segment = b"\x81\x07" * 2_000_000
    instance = encapsulated_ct(tmp_path / "ct", fragment(header + segment + segment), RLELossless)
    tracemalloc.start()
    refusal = refusal_of(instance)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refusal.code is RefusalCode.PIXEL_DATA_CORRUPT
    assert peak < 50e6


def test_a_jpeg_2000_box_of_no_length_does_not_hang(tmp_path: Path) -> None:
    """pydicom's reader never returns from it."""
    value = fragment(b"\x00\x00\x00\x0c\x6a\x50\x20\x20" + bytes(100))
    assert refusal_of(encapsulated_ct(tmp_path / "ct", value, JPEG2000Lossless)).code is RefusalCode.PIXEL_DATA_CORRUPT


# --- Bytes against header --------------------------------------------------------------------------------------------

NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
EIGHT_BITS: dict[str, Any] = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


def refuses_corrupt(instance: Instance) -> bool:
    return refusal_of(instance).code is RefusalCode.PIXEL_DATA_CORRUPT


@pytest.mark.parametrize("transfer_syntax", NATIVE)
@pytest.mark.parametrize(
    "attributes",
    [
        {"Columns": 5},
        {"Rows": 7},
        EIGHT_BITS,
        {"NumberOfFrames": 2},
        {"PixelData": bytes(98)},
        {"PixelData": bytes(94)},
    ],
    ids=["fewer columns", "fewer rows", "8 bits", "two frames", "two bytes too many", "two bytes too few"],
)
def test_pixel_data_of_another_length_than_the_header_says_are_corrupt(
    tmp_path: Path, transfer_syntax: str, attributes: dict[str, Any]
) -> None:
    assert refuses_corrupt(read_instance(write(tmp_path / "ct", ct_dataset(**attributes), transfer_syntax)))


def test_a_number_of_frames_beyond_all_bounds_is_refused_at_once(tmp_path: Path) -> None:
    started = time.process_time()
    assert refuses_corrupt(read_instance(write(tmp_path / "ct", ct_dataset(NumberOfFrames=2147483647))))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("padding", [b"", b"\0"])
def test_an_odd_length_may_be_padded_by_one_zero(tmp_path: Path, padding: bytes) -> None:
    values = np.arange(15, dtype=np.uint8)
    dataset = ct_dataset(rows=3, columns=5, PixelRepresentation=0, PixelData=values.tobytes() + b"\0", **EIGHT_BITS)
    path = write(tmp_path / "ct", dataset, ImplicitVRLittleEndian)
    length = 15 + len(padding)
    path.write_bytes(path.read_bytes()[: -16 - 4] + length.to_bytes(4, "little") + values.tobytes() + padding)
    assert np.array_equal(read_stored_frames(read_instance(path), [0]).ravel(), values)


def test_a_byte_of_pixels_where_the_padding_should_be_is_corrupt(tmp_path: Path) -> None:
    """One stray byte before an odd number of bytes: the length is what a padded one would be."""
    stored = b"\0" + np.arange(1, 16, dtype=np.uint8).tobytes()
    dataset = ct_dataset(rows=3, columns=5, PixelRepresentation=0, PixelData=stored, **EIGHT_BITS)
    assert refuses_corrupt(read_instance(write(tmp_path / "ct", dataset)))


@pytest.mark.parametrize("transfer_syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("where", ["in the pixels", "behind them"])
def test_two_stray_bytes_are_found_whatever_they_are(tmp_path: Path, transfer_syntax: str, where: str) -> None:
    """Within the pixels they move every later one, and the last pixel comes to stand behind the element."""
    path = write(tmp_path / "ct", ct_dataset(), transfer_syntax)
    data = path.read_bytes()
    position = len(data) if where == "behind them" else len(data) - 60
    for stray in (b"\0\0", b"\xff\xff", b"\xfc\xff"):
        path.write_bytes(data[:position] + stray + data[position:])
        assert refuses_corrupt(read_instance(path))


@pytest.mark.parametrize("transfer_syntax", NATIVE)
def test_what_dicom_lets_follow_the_pixel_data_is_no_matter(tmp_path: Path, transfer_syntax: str) -> None:
    alone = read_stored_frames(read_instance(write(tmp_path / "alone", ct_dataset(), transfer_syntax)), [0])
    signature = items({"MACIDNumber": 1, "DigitalSignatureUID": "1.2.3", "Signature": b"\1\2"})
    dataset = ct_dataset(DigitalSignaturesSequence=signature, DataSetTrailingPadding=bytes(2000))
    private = dataset.private_block(0x7FE1, "MAKER", create=True)
    private.add_new(0x01, "LO", "text")
    private.add_new(0x02, "OB", bytes(5000))
    private.add_new(0x03, "SQ", items({"PatientComments": "within", "ReferencedStudySequence": items({"Rows": 1})}))
    for undefined in (False, True):
        dataset[0x7FE11003].is_undefined_length = undefined
        instance = read_instance(write(tmp_path / "ct", dataset, transfer_syntax))
        assert np.array_equal(read_stored_frames(instance, [0]), alone)


@pytest.mark.parametrize("transfer_syntax", NATIVE)
def test_a_standard_element_behind_the_pixel_data_is_not_what_may_follow_them(
    tmp_path: Path, transfer_syntax: str
) -> None:
    dataset = ct_dataset()
    dataset.add_new(0x7FE20010, "OW", bytes(96))
    assert refuses_corrupt(read_instance(write(tmp_path / "ct", dataset, transfer_syntax)))


def test_what_follows_compressed_pixel_data_is_looked_at_too(tmp_path: Path) -> None:
    frame = np.arange(48, dtype="<i2").tobytes()
    instance = encapsulated_ct(tmp_path / "ct", fragment(frame), "1.2.840.10008.1.2.1.98")
    assert np.array_equal(read_stored_frames(instance, [0]).ravel(), np.arange(48))
    instance.path.write_bytes(instance.path.read_bytes() + b"\0\0")
    assert refuses_corrupt(instance)


def test_hostile_elements_behind_the_pixel_data_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "ct", ct_dataset())
    data = path.read_bytes()
    private = b"\xe1\x7f\x01\x10"
    nested = (
        private
        + b"SQ\0\0\xff\xff\xff\xff"
        + (b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + private + b"SQ\0\0" + b"\xff" * 4) * 5000
    )
    for tail in (
        nested,
        private + b"OB\0\0\xf0\xff\xff\xff",
        private + b"OB\0\0\xff\xff\xff\xff" + bytes(100),
        (private + b"LO\0\0") * 2,
        bytes(range(256)) * 50,
    ):
        path.write_bytes(data + tail)
        assert refuses_corrupt(read_instance(path))
    path.write_bytes(data + private + b"SQ\0\0\xff\xff\xff\xff" + fragment(b"") * 20_000)
    assert refusal_of(read_instance(path)).code is RefusalCode.LIMIT_EXCEEDED


def deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


def packed(plane: bytes) -> bytes:
    """Return literal runs of a plane (PS3.5 G.3.1)."""
    return b"".join(bytes([len(part) - 1]) + part for part in (plane[i : i + 128] for i in range(0, len(plane), 128)))


def rle(image: np.ndarray) -> bytes:
    planes = [packed(image.astype(">i2").tobytes()[byte::2]) for byte in (0, 1)]
    return np.array([2, 64, 64 + len(planes[0]), *[0] * 13], "<u4").tobytes() + b"".join(planes)


@pytest.mark.parametrize(
    ("transfer_syntax", "encode"),
    [
        ("1.2.840.10008.1.2.1.98", lambda image: image.astype("<i2").tobytes()),
        ("1.2.840.10008.1.2.8.1", lambda image: deflated(image.astype("<i2").tobytes())),
        (RLELossless, rle),
    ],
    ids=["uncompressed", "deflated", "RLE"],
)
def test_a_compressed_frame_has_exactly_the_declared_pixels(tmp_path: Path, transfer_syntax: str, encode: Any) -> None:
    image = np.arange(48)
    whole = encapsulated_ct(tmp_path / "ct", fragment(encode(image)), transfer_syntax)
    assert np.array_equal(read_stored_frames(whole, [0]).ravel(), image)
    for attributes in ({"Columns": 5}, {"Rows": 7}, {"Columns": 7}, EIGHT_BITS):
        assert refuses_corrupt(encapsulated_ct(tmp_path / "ct", fragment(encode(image)), transfer_syntax, **attributes))


def test_two_jpeg_frames_are_not_taken_for_the_one_that_the_header_says(tmp_path: Path, shared_data: Path) -> None:
    source = next((shared_data / "odd_ct" / "transfer_syntaxes").glob("CTImage*4.70.dcm"))
    dataset = dcmread(source)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([frame, frame], has_bot=False)
    dataset.save_as(tmp_path / "ct")
    assert refuses_corrupt(read_instance(tmp_path / "ct"))
    dataset.PixelData = encapsulate([frame], fragments_per_frame=3)
    dataset.save_as(tmp_path / "ct")
    assert read_ct_slice(ct_slice(read_instance(tmp_path / "ct"))).shape == (512, 512)


def test_any_damage_to_a_ct_gives_a_result_or_a_refusal(tmp_path: Path) -> None:
    chance = random.Random(7)
    sources = []
    for index, transfer_syntax in enumerate((ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)):
        sources.append(write(tmp_path / str(index), ct_dataset(), transfer_syntax).read_bytes())
    path = tmp_path / "ct"
    results = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(900):
            damaged = bytearray(chance.choice(sources))
            if chance.random() < 0.2:
                damaged = damaged[: chance.randrange(len(damaged))]
            for _ in range(chance.randint(1, 4)):
                if len(damaged) > 133:
                    damaged[chance.randrange(132, len(damaged))] = chance.randrange(256)
            path.write_bytes(damaged)
            try:
                results += read_ct_slice(ct_slice(read_instance(path))).ndim == 2
            except (Refusal, UnreadableFileError, NotDicomError):
                continue
    assert results > 100
