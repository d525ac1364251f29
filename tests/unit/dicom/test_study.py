"""A folder of files becomes a study, whatever the folder holds."""

from __future__ import annotations

import logging
import os
import shutil
import struct
import subprocess
import threading
import time
import warnings
import zlib
from pathlib import Path

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pdl1es.dicom import study as study_module
from pdl1es.dicom.header import FileHead, read_head
from pdl1es.dicom.limits import ScanLimits
from pdl1es.dicom.study import Study, scan_study
from pdl1es.errors import Refusal, RefusalCode
from tests.unit.dicom.small_files import ct_dataset, items, write, write_bare

UNDEFINED = 0xFFFFFFFF


def reasons(study: Study) -> dict[str, str]:
    return {file.path: file.reason for file in study.unreadable}


def nested_file(path: Path, depth: int) -> Path:
    """Write a CT whose Request Attributes Sequence holds itself ``depth`` times, with undefined lengths."""
    write(path, ct_dataset("1.2.3.66", PixelData=None))
    sequence = struct.pack("<HH2sHL", 0x0040, 0x0275, b"SQ", 0, UNDEFINED)
    item = struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)
    ends = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    path.write_bytes(path.read_bytes() + (sequence + item) * depth + ends * depth)
    return path


def test_nesting_and_names_of_files_do_not_matter(tmp_path: Path) -> None:
    write(tmp_path / "b" / "deep" / "er" / "zzz", ct_dataset("1.2.3.1"))
    write(tmp_path / "a.not-dicom.txt", ct_dataset("1.2.3.2"))
    write(tmp_path / "x.dcm", ct_dataset("1.2.3.0"))
    study = scan_study(tmp_path)
    assert [i.sop_instance_uid for i in study.instances] == ["1.2.3.0", "1.2.3.1", "1.2.3.2"]
    assert study.unreadable == ()
    assert study.ignored_files == 0


def test_a_study_on_slow_storage_is_the_study_that_it_is_on_a_fast_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        write(tmp_path / f"{number}", ct_dataset(f"1.2.3.{number}", InstanceNumber=number))
    fast = scan_study(tmp_path)
    threads = set()

    def slowly(path: Path) -> FileHead | OSError:
        threads.add(threading.current_thread())
        time.sleep(0.003)
        return read_head(path)

    monkeypatch.setattr(study_module, "read_head", slowly)
    slow = scan_study(tmp_path)
    assert len(threads) > 1
    assert [(i.path, i.header, i.pixel_data_offset) for i in slow.instances] == [
        (i.path, i.header, i.pixel_data_offset) for i in fast.instances
    ]


def test_what_is_not_dicom_is_ignored_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "ct.dcm", ct_dataset())
    for name, content in {
        "empty": b"",
        "clinical.json": b'{"age": 63}',
        "mask.nrrd": b"NRRD0004\n" + bytes(500),
        "zeros": bytes(4096),
        "text.txt": b"AB" * 400,
    }.items():
        (tmp_path / name).write_bytes(content)
    dicomdir = ct_dataset("1.2.3.5", SOPClassUID="1.2.840.10008.1.3.10")
    write(tmp_path / "DICOMDIR", dicomdir)
    study = scan_study(tmp_path)
    assert len(study.instances) == 1
    assert study.ignored_files == 6
    assert study.unreadable == ()


def test_one_file_nested_250_sequences_deep_costs_that_file_and_is_listed(tmp_path: Path) -> None:
    write(tmp_path / "good.dcm", ct_dataset())
    nested_file(tmp_path / "deep.dcm", 250)
    study = scan_study(tmp_path)
    assert [i.sop_instance_uid for i in study.instances] == ["1.2.3.1"]
    assert reasons(study) == {"deep.dcm": "its sequences are nested too deep"}


@pytest.mark.parametrize(("depth", "accepted"), [(3, True), (60, False)])
def test_nesting_that_python_survives_is_still_limited(tmp_path: Path, depth: int, accepted: bool) -> None:
    nested_file(tmp_path / "deep.dcm", depth)
    assert (len(scan_study(tmp_path, ScanLimits(max_sequence_depth=16)).instances) == 1) is accepted


def test_sequences_of_defined_length_are_limited_too(tmp_path: Path) -> None:
    """pydicom reads them when they are asked for, which would be in the middle of the chain."""
    nested = items({"CodeValue": "1"})
    for _ in range(40):
        nested = items({"RequestAttributesSequence": nested})
    write(tmp_path / "deep.dcm", ct_dataset(RequestAttributesSequence=nested))
    assert reasons(scan_study(tmp_path)) == {"deep.dcm": "its sequences are nested too deep"}


@pytest.mark.parametrize("kept", [140, 200, 500, 640])
def test_a_file_cut_off_in_its_header_is_listed(tmp_path: Path, kept: int) -> None:
    whole = write(tmp_path / "ct.dcm", ct_dataset()).read_bytes()
    (tmp_path / "ct.dcm").write_bytes(whole[:kept])
    study = scan_study(tmp_path)
    assert study.instances == ()
    assert list(reasons(study)) == ["ct.dcm"]


@pytest.mark.parametrize("implicit", [True, False])
def test_a_data_set_without_preamble_and_meta_is_read_and_gets_its_transfer_syntax(
    tmp_path: Path, implicit: bool
) -> None:
    write_bare(tmp_path / "bare", ct_dataset(), implicit=implicit)
    (instance,) = scan_study(tmp_path).instances
    assert instance.header.Rows == 8
    assert instance.transfer_syntax_uid == (ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)


@pytest.mark.parametrize(
    "transfer_syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_every_encoding_of_a_header_gives_the_same_header(tmp_path: Path, transfer_syntax: str) -> None:
    dataset = ct_dataset(ConvolutionKernel=["Br64d", "3"], SmokingStatus="NO", PixelPaddingValue=-2000)
    dataset["PixelPaddingValue"].VR = "SS"
    write(tmp_path / "ct.dcm", dataset, transfer_syntax)
    (instance,) = scan_study(tmp_path).instances
    assert list(instance.header.ConvolutionKernel) == ["Br64d", "3"]
    assert instance.header.SmokingStatus == "NO"
    assert instance.header.PixelPaddingValue == -2000
    assert list(instance.header.PixelSpacing) == [1.0, 1.0]
    assert instance.malformed == ()


@pytest.mark.parametrize(
    ("character_set", "name"), [("GB18030", "王^小东"), ("ISO_IR 192", "Gødel^Åse"), ("ISO 2022 IR 87", "山田^太郎")]
)
def test_names_in_other_scripts_are_read_as_written(tmp_path: Path, character_set: str, name: str) -> None:
    sets = ["", character_set] if character_set.startswith("ISO 2022") else character_set
    write(tmp_path / "ct.dcm", ct_dataset(SpecificCharacterSet=sets, PatientName=name))
    (instance,) = scan_study(tmp_path).instances
    assert str(instance.header.PatientName) == name


def test_an_attribute_that_breaks_the_rules_is_left_out_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "ct.dcm", ct_dataset(NumberOfFrames=12, SliceThickness="1.25"))
    path.write_bytes(path.read_bytes().replace(b"IS\x02\x0012", b"IS\x02\x001A").replace(b"1.25", b"1,25"))
    (instance,) = scan_study(tmp_path).instances
    assert instance.malformed == ("NumberOfFrames", "SliceThickness")
    assert "NumberOfFrames" not in instance.header
    assert instance.header.Rows == 8


def test_private_attributes_are_not_kept(tmp_path: Path) -> None:
    dataset = ct_dataset()
    dataset.private_block(0x0029, "ACME", create=True).add_new(0x10, "LO", "Doe^Jane again")
    dataset.RequestAttributesSequence = items({"RequestedProcedureID": "R1"})
    dataset.RequestAttributesSequence[0].private_block(0x0029, "ACME", create=True).add_new(0x10, "LO", "Doe")
    write(tmp_path / "ct.dcm", dataset)
    (instance,) = scan_study(tmp_path).instances
    assert not any(element.tag.is_private for element in instance.header.iterall())


def test_the_same_file_twice_counts_once(tmp_path: Path) -> None:
    first = write(tmp_path / "a.dcm", ct_dataset())
    shutil.copy(first, tmp_path / "b.dcm")
    study = scan_study(tmp_path)
    assert [i.path.name for i in study.instances] == ["a.dcm"]
    assert study.unreadable == ()


def test_of_two_different_images_with_one_uid_both_are_kept_as_copies(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", ct_dataset())
    write(tmp_path / "b.dcm", ct_dataset(PixelData=bytes(96)))
    write(tmp_path / "c.dcm", ct_dataset())
    study = scan_study(tmp_path)
    assert [instance.path.name for instance in study.instances] == ["a.dcm"]
    assert [[instance.path.name for instance in files] for files in study.copies] == [["a.dcm", "b.dcm"]]
    assert study.unreadable == ()


def test_of_two_different_other_objects_with_one_uid_neither_is_used(tmp_path: Path) -> None:
    report = "1.2.840.10008.5.1.4.1.1.88.33"
    write(tmp_path / "a.dcm", ct_dataset(SOPClassUID=report))
    write(tmp_path / "b.dcm", ct_dataset(SOPClassUID=report, PixelData=bytes(96)))
    study = scan_study(tmp_path)
    assert study.instances == ()
    assert set(reasons(study)) == {"a.dcm", "b.dcm"}
    assert all("SOPInstanceUID (0008,0018)" in reason for reason in reasons(study).values())


@pytest.mark.parametrize(
    "content",
    [
        b"\xfe\xff\x00\xe0\x0c\x00\x00\x00\x08\x00\x50\x11UI\xf0\x001.2\x00",  # a value longer than its item
        b"\xfe\xff\x00\xe0\xf4\x01\x00\x00\x08\x00\x50\x11UI\x04\x001.2\x00",  # an item longer than its sequence
        b"\xfe\xff\x00\xe0\x0c\x00\x00\x00\x08\x00\x50\x11\x01\x02\x04\x001.2\x00",  # a VR that is none
        b"no sequence at all",
    ],
)
@pytest.mark.parametrize("keyword", ["ReferencedStudySequence", "RequestAttributesSequence"])
@pytest.mark.filterwarnings("ignore:VR lookup failed")
def test_a_malformed_sequence_that_nothing_needs_costs_itself(tmp_path: Path, content: bytes, keyword: str) -> None:
    dataset = ct_dataset()
    tag = Tag(keyword)
    dataset[tag] = RawDataElement(tag, "SQ", len(content), content, 0, False, True)
    write(tmp_path / "a.dcm", dataset)
    (instance,) = scan_study(tmp_path).instances
    assert instance.header.Rows == 8
    assert instance.header.PatientID == "P1"


@pytest.mark.parametrize("value", [b"ISO_IR 100\0\0", b"\0\0", b"ISO_IR\x00100 ", b"\0ISO_IR 100\0"])
@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.filterwarnings("ignore:Unknown encoding")
def test_a_nul_in_the_character_set_costs_nothing_else(tmp_path: Path, value: bytes, implicit: bool) -> None:
    name = b"ISO_IR 192" + b" " * (len(value) - 10)
    dataset = ct_dataset(SpecificCharacterSet=name.decode() if len(value) >= 10 else "XX")
    path = write(tmp_path / "a.dcm", dataset, ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)
    content = path.read_bytes()
    written = b"ISO_IR 192" if len(value) >= 10 else b"XX"
    place = content.index(written)
    length = len(written)
    path.write_bytes(content[:place] + value[:length].ljust(length, b"\0") + content[place + length :])
    (instance,) = scan_study(tmp_path).instances
    assert instance.header.PatientID == "P1"
    assert instance.pixel_data_offset is not None


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_uid_with_letters_costs_its_file_and_says_so(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", ct_dataset(SOPInstanceUID="1.2.a.3"))
    (file,) = scan_study(tmp_path).unreadable
    assert file.reason == "SOPInstanceUID (0008,0018) is not a UID"
    assert "UIDs of digits and dots" in file.remedy


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "ct.dcm", ct_dataset())
    inside = tmp_path / "study"
    inside.mkdir()
    (inside / "file").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent, target_is_directory=True)
    study = scan_study(inside)
    assert study.instances == ()
    assert reasons(study) == {"file": "a symbolic link out of the folder"}


def test_links_that_lead_in_a_circle_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "a", ct_dataset("1.2.3.1"))
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "there").symlink_to("back")
    (tmp_path / "back").symlink_to("there")
    (tmp_path / "above").symlink_to(tmp_path)
    study = scan_study(tmp_path)
    assert len(study.instances) == 1
    assert reasons(study) == dict.fromkeys(("itself", "there", "back"), "the file cannot be opened")


def test_folders_nested_deeper_than_python_calls_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a", ct_dataset("1.2.3.1"))
    monkeypatch.chdir(tmp_path)
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    write(Path("b"), ct_dataset("1.2.3.2"))
    try:
        assert len(scan_study(tmp_path).instances) == 2
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # pytest's own removal calls itself for each level


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        scan_study(tmp_path / "gone")
    assert refused.value.code is RefusalCode.INPUT_UNREADABLE


def test_a_named_pipe_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert scan_study(tmp_path).ignored_files == 1


@pytest.mark.parametrize("uid", [None, "Doe^Jane", "1.2.3\n4"])
def test_a_file_without_a_proper_identity_is_listed_without_its_value(tmp_path: Path, uid: str | None) -> None:
    path = write(tmp_path / "ct.dcm", ct_dataset("9.8.7.6.5.4.3.2"))
    value = b"" if uid is None else uid.encode()
    path.write_bytes(path.read_bytes().replace(b"9.8.7.6.5.4.3.2", value.ljust(15, b"\0")))
    study = scan_study(tmp_path)
    assert study.instances == ()
    assert "SOPInstanceUID (0008,0018)" in reasons(study)["ct.dcm"]
    assert "Doe" not in reasons(study)["ct.dcm"]


def test_limits_on_the_whole_study_refuse_it(tmp_path: Path) -> None:
    for index in range(5):
        write(tmp_path / f"{index}", ct_dataset(f"1.2.3.{index}"))
    for limits in (ScanLimits(max_files=4), ScanLimits(max_total_bytes=2000), ScanLimits(seconds=1e-9)):
        with pytest.raises(Refusal) as refused:
            scan_study(tmp_path, limits)
        assert refused.value.code is RefusalCode.LIMIT_EXCEEDED


def test_limits_on_one_file_cost_that_file_alone(tmp_path: Path) -> None:
    write(tmp_path / "good", ct_dataset("1.2.3.1"))
    write(tmp_path / "large", ct_dataset("1.2.3.2", rows=200, columns=200))
    write(tmp_path / "header", ct_dataset("1.2.3.3", DerivationDescription="x" * 800))
    write(tmp_path / "crowd", ct_dataset("1.2.3.4", SourceImageSequence=items(*[{}] * 20_000)))
    limits = ScanLimits(max_file_bytes=60_000)
    assert set(reasons(scan_study(tmp_path, limits))) == {"large", "crowd"}
    assert set(reasons(scan_study(tmp_path, ScanLimits(max_header_bytes=1000)))) == {"header", "crowd"}
    assert set(reasons(scan_study(tmp_path, ScanLimits(max_sequence_items=10_000)))) == {"crowd"}


def test_a_deflated_header_that_inflates_without_end_is_given_up(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb", ct_dataset(), DeflatedExplicitVRLittleEndian)
    raw = path.read_bytes()
    meta_end = 144 + struct.unpack("<L", raw[140:144])[0]
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    element = struct.pack("<HH2sHL", 0x0008, 0x0001, b"UN", 0, 300 * 2**20)
    path.write_bytes(raw[:meta_end] + deflater.compress(element + bytes(100 * 2**20)) + deflater.flush())
    started = time.process_time()
    study = scan_study(tmp_path, ScanLimits(max_header_bytes=2**20))
    assert "max_header_bytes" in reasons(study)["bomb"]
    assert time.process_time() - started < 5


def test_a_header_larger_than_the_first_read_is_read_whole(tmp_path: Path) -> None:
    write(tmp_path / "ct", ct_dataset(SourceImageSequence=items(*[{"ReferencedSOPInstanceUID": "1.2"}] * 9000)))
    (instance,) = scan_study(tmp_path).instances
    assert len(instance.header.SourceImageSequence) == 9000
    assert instance.header.Rows == 8


def test_nothing_is_printed_warned_or_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """pydicom's warnings quote values, and a value may be a patient's name."""
    path = write(tmp_path / "ct.dcm", ct_dataset(PatientName="Doe^Jane", StudyDate="20200101", PatientAge="063Y"))
    path.write_bytes(path.read_bytes().replace(b"20200101", b"Doe^Jane").replace(b"063Y", b"Jane"))
    nested_file(tmp_path / "deep.dcm", 250)
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        study = scan_study(tmp_path)
    assert len(study.instances) == 1
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


def test_500_headers_take_well_under_a_second_of_work(tmp_path: Path) -> None:
    for index in range(500):
        write(tmp_path / str(index), ct_dataset(f"1.2.3.{index}", PixelData=bytes(96)))
    started = time.process_time()
    assert len(scan_study(tmp_path).instances) == 500
    assert time.process_time() - started < 1.5  # 0.3 s on an idle machine


ODD_FILES = {
    "badVR.dcm": "read",  # an RT Dose whose Number of Frames is '1A'
    "meta_missing_tsyntax.dcm": "SOPClassUID (0008,0016) is absent",
    "nested_priv_SQ.dcm": "SOPClassUID (0008,0016) is absent",
    "no_meta.dcm": "ignored",  # one byte too many before the first element: nothing can tell it for DICOM
    "rtplan_truncated.dcm": "read",  # what is missing lies in the plan, which is not read
    "rtstruct.dcm": "read",  # neither preamble nor meta
    "CT_small.dcm": "read",
    "eCT_Supplemental.dcm": "read",
    "J2K_pixelrep_mismatch.dcm": "read",
    "JPEG2000.dcm": "read",
    "693_J2KR.dcm": "read",
    "693_UNCI.dcm": "read",
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_odd_real_files_are_read_listed_or_ignored(tmp_path: Path, shared_data: Path, name: str) -> None:
    shutil.copy(shared_data / "odd_ct" / name, tmp_path)
    study = scan_study(tmp_path)
    expected = ODD_FILES[name]
    if expected == "read":
        assert [i.path.name for i in study.instances] == [name]
        assert study.unreadable == ()
    elif expected == "ignored":
        assert (study.instances, study.unreadable, study.ignored_files) == ((), (), 1)
    else:
        assert reasons(study) == {name: expected}


def test_the_real_case_is_read_whole(shared_data: Path) -> None:
    study = scan_study(shared_data / "ct_4dlung113")
    assert len(study.instances) == 101  # 99 CT, RTSTRUCT, SEG
    assert study.unreadable == ()
    assert study.ignored_files == 1  # mask.nrrd
    assert all(instance.malformed == () for instance in study.instances)
