"""A header that is read by its bytes is the header that pydicom reads, whatever the bytes are and whatever was read before."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from pdl1es.dicom import header as header_module
from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError, data_set_start
from pdl1es.dicom.header import FIRST_CHUNK, parse_header, read_head
from pdl1es.dicom.limits import ScanLimits
from pdl1es.dicom.plain_header import SharedElements, plain_header
from pdl1es.dicom.silence import silenced_pydicom
from tests.unit.dicom.damaged_bytes import damaged
from tests.unit.dicom.small_files import ct_dataset, items, segmentation_dataset, write

SYNTAXES: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
LIMITS: Final = ScanLimits()


def described(dataset: Dataset) -> list[Any]:
    """Return all that a reader can see of a data set: elements in order, with VR, values, lengths, items and encoding."""
    found: list[Any] = [dataset.original_encoding, str(dataset.original_character_set)]
    for element in dataset:
        value = [described(item) for item in element.value] if element.VR == "SQ" else repr(element.value)
        found.append((int(element.tag), str(element.VR), element.VM, element.is_undefined_length, value))
    return found


def outcome(path: Path, shared: SharedElements) -> Any:
    """Return what reading a file gives, or how it is given up."""
    head = read_head(path)
    assert not isinstance(head, OSError)
    with silenced_pydicom():
        try:
            read = parse_header(path, head, LIMITS, shared)
        except NotDicomError:
            return "no DICOM"
        except UnreadableFileError as error:
            return error.reason, error.remedy
        meta = read.header.file_meta
        return described(read.header), described(meta), read.pixel_data_offset, read.malformed


def by_pydicom(path: Path) -> Any:
    """Return the same where no header counts as plain, and no element is known."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(header_module, "plain_header", lambda *_: None)
        patch.setattr(header_module, "plain_file_meta", lambda *_: None)
        return outcome(path, SharedElements())


def is_plain(path: Path, syntax: str, shared: SharedElements | None = None) -> bool:
    content = path.read_bytes()[:FIRST_CHUNK]
    data = content[data_set_start(content) :]
    return plain_header(data, syntax == ImplicitVRLittleEndian, 16, shared or SharedElements()) is not None


def image(uid: str, **attributes: Any) -> Dataset:
    """Return a CT image with what slices have beside the necessary: sequences in sequences, padding, names, private ones."""
    code = items({"CodeValue": "113100", "CodingSchemeDesignator": "DCM", "CodeMeaning": "Profil für Bilder"})
    dataset = ct_dataset(
        uid,
        PatientName="Müller^Jörg",
        PixelPaddingValue=-2000,
        ConvolutionKernel=["Br59", "3"],
        DeidentificationMethodCodeSequence=code,
        RequestAttributesSequence=items(
            {"ScheduledProcedureStepID": "7", "ScheduledProtocolCodeSequence": code}, {"RequestedProcedureID": ""}
        ),
        SourceImageSequence=items({"ReferencedSOPClassUID": "1.2", "ReferencedSOPInstanceUID": uid + ".1"}),
        StudyTime="",
        **attributes,
    )
    dataset.add_new(0x00130010, "LO", "CTP")
    dataset.add_new(0x00131010, "LO", "private")
    return dataset


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("padding", [-2000, 63536])
def test_the_slices_of_a_series_are_read_by_their_bytes_and_are_as_pydicom_reads_them(
    syntax: str, undefined: bool, padding: int, tmp_path: Path
) -> None:
    shared = SharedElements()
    for number in range(4):
        slice_ = image(f"1.2.3.{number}", ImagePositionPatient=[0, 0, number])
        slice_.PixelRepresentation, slice_.PixelPaddingValue = int(padding < 0), padding
        for element in slice_.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = undefined
                for item in element.value:
                    item.is_undefined_length_sequence_item = undefined
        path = write(tmp_path / f"{number}", slice_, syntax)
        assert is_plain(path, syntax, shared)
        assert outcome(path, shared) == by_pydicom(path)
        assert dcmread(path).PixelPaddingValue == padding


def test_two_series_of_different_character_sets_and_signs_do_not_share_what_depends_on_them(tmp_path: Path) -> None:
    shared = SharedElements()
    for number, (character_set, sign, syntax) in enumerate(
        (character_set, sign, syntax) for character_set in ("ISO_IR 100", "ISO_IR 192", "GB18030", None)
        for sign in (0, 1) for syntax in SYNTAXES
    ):  # fmt: skip
        slice_ = image(f"1.2.3.{number}", SpecificCharacterSet=character_set, PixelRepresentation=sign)
        slice_.PatientName, slice_.PixelPaddingValue = "Mueller", 63536 if sign == 0 else -2000
        slice_.DeidentificationMethodCodeSequence[0].CodeMeaning = "Bilder"
        path = tmp_path / f"{number}"
        written = write(path, slice_, syntax).read_bytes()
        path.write_bytes(written.replace(b"Mueller", b"M\xc3\xbcller").replace(b"Bilder", b"B\xc3\xa4lde"))
        assert outcome(path, shared) == by_pydicom(path)


def test_compressed_slices_are_plain_and_said_to_be_encapsulated(tmp_path: Path) -> None:
    path = write(tmp_path / "ct", image("1.2.3", PixelData=encapsulate([b"\xff\x4f\xff\xd9"])), JPEG2000Lossless)
    assert is_plain(path, JPEG2000Lossless)
    assert outcome(path, SharedElements()) == by_pydicom(path)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_item_whose_length_is_wrong_is_left_to_pydicom(syntax: str, tmp_path: Path) -> None:
    """pydicom reads whole elements beyond the item's end, so that it finds another end of the sequence."""
    slice_ = image("1.2.3.4")
    slice_["SourceImageSequence"].is_undefined_length = True
    path = write(tmp_path / "ct", slice_, syntax)
    content = path.read_bytes()
    item = content.index(b"\xfe\xff\x00\xe0", content.index(b"\x08\x00\x12\x21"))
    (length,) = struct.unpack_from("<L", content, item + 4)
    for wrong in (length - 2, length + 2, length - 8, 0):
        path.write_bytes(content[: item + 4] + struct.pack("<L", wrong) + content[item + 8 :])
        assert outcome(path, SharedElements()) == by_pydicom(path)


def test_every_public_file_beside_the_project_is_read_as_pydicom_reads_it(shared_data: Path) -> None:
    files = [path for path in sorted(shared_data.rglob("*")) if path.is_file()]
    shared = SharedElements()
    read = 0
    for path in files:
        found = outcome(path, shared)
        assert found == by_pydicom(path), path.name
        read += len(found) == 4
    assert read > 100


@pytest.mark.parametrize("kind", ["CT", "SEG"])
def test_damaged_slices_are_read_or_given_up_as_by_pydicom_though_whole_ones_are_known(
    kind: str, tmp_path: Path
) -> None:
    wholes = []
    for number, syntax in enumerate((*SYNTAXES, *SYNTAXES)):
        dataset = image("1.2.3.4") if kind == "CT" else segmentation_dataset(np.ones((3, 4, 4)), (1, 1, 2))
        for element in dataset.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = number > 1
        wholes.append(write(tmp_path / f"{number}", dataset, syntax).read_bytes())
    path = tmp_path / "damaged"

    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sampled_from(wholes).flatmap(damaged))
    def holds(data: bytes) -> None:
        shared = SharedElements()
        for number in range(len(wholes)):
            outcome(tmp_path / f"{number}", shared)
        path.write_bytes(data)
        assert outcome(path, shared) == by_pydicom(path)

    holds()


def test_values_that_differ_in_every_slice_are_not_kept_without_end(tmp_path: Path) -> None:
    shared = SharedElements()
    path = tmp_path / "ct"
    for number in range(300):
        write(path, ct_dataset(f"1.2.3.{number}", ImagePositionPatient=[0, 0, number]))
        outcome(path, shared)
    assert sum(len(known.elements) for known in shared.known.values()) < 64 * 40
