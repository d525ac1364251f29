"""Headers that break DICOM's rules in what the report repeats: a report comes all the same, and it can be read."""

from __future__ import annotations

import io
import logging
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pydicom
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tests.integration.chain_runs import Score

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy


pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:pydicom\..*")  # odd values are written on purpose


def put(ds: Dataset, keyword: str, value: bytes | None) -> None:
    """Put bytes where an attribute's value stands, or take the attribute away."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    ds.pop(tag, None)
    if value is not None:
        padded = value + b" " * (len(value) % 2)
        ds[tag] = RawDataElement(tag, dictionary_VR(tag), len(padded), padded, 0, False, True)


def with_header(phantom_study: PhantomStudy, folder: Path, header: Mapping[str, bytes | None]) -> Path:
    """Copy the phantom study with attributes of every object replaced, byte for byte."""
    for path in phantom_study.folder.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        for keyword, value in header.items():
            put(ds, keyword, value)
        target = folder / path.relative_to(phantom_study.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        ds.save_as(target)
    shutil.copy(phantom_study.clinical_path, folder)
    return folder


HEADERS: Final[dict[str, dict[str, bytes | None]]] = {
    "dates and times that are none": {
        "StudyDate": b"1999.11.26",
        "StudyTime": b"25:61:99",
        "SeriesDate": b"tomorrow",
        "ContentDate": b"00000000",
        "AcquisitionDate": b"20251399",
        "PatientBirthDate": b"1950",
        "PatientAge": b"58",
        "TimezoneOffsetFromUTC": b"+99",
    },
    "a birth date in words and an age without a number": {"PatientBirthDate": b"unknown!", "PatientAge": b"OLDY"},
    "texts that are too long": {
        "PatientName": b"Papadopoulos" * 12 + b"^Anna",
        "PatientID": b"7" * 100,
        "AccessionNumber": b"A" * 60,
        "StudyID": b"S" * 60,
        "StudyDescription": b"D" * 300,
        "ReferringPhysicianName": b"R" * 200,
        "Manufacturer": b"SIEMENS" + b"x" * 100,
        "PatientSex": b"MALE",
        "PatientAge": b"0000062Y",
    },
    "names with too many parts": {
        "PatientName": b"a^b^c^d^e^f^g^h=i=j=k=l",
        "ReferringPhysicianName": b"Roe^Richard\\Doe^John",
        "PatientID": b"one\\two",
        "StudyID": b"\\\\",
        "AccessionNumber": b"1\\2",
        "StudyDescription": b"a\\b",
    },
    "control characters": {
        "PatientName": b"Doe\r\n^Ja\tne\x00",
        "PatientID": b"12\x0034\x1b",
        "StudyDescription": b"line\nline",
        "AccessionNumber": b"\x07\x08",
        "ConvolutionKernel": b"B60f\x00",
    },
    "numbers that are none": {
        "InstanceNumber": b"first",
        "SeriesNumber": b"1.5",
        "AcquisitionNumber": b"99999999999999999999",
        "PatientWeight": b"heavy",
        "PatientSize": b"1,80",
        "KVP": b"120kV",
        "SliceLocation": b"-",
        "XRayTubeCurrent": b"NaN",
        "SliceThickness": b"3mm",
        "GantryDetectorTilt": b"none",
    },
    "everything about the patient is empty": dict.fromkeys(
        (
            "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
            "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
        ),
        b"",
    ),
    "everything about the patient is absent": dict.fromkeys(
        (
            "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "SmokingStatus", "StudyDate",
            "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
            "SpecificCharacterSet", "SeriesDate", "SeriesTime", "ContentDate", "ContentTime", "Modality",
            "InstitutionName", "ManufacturerModelName", "SoftwareVersions", "PositionReferenceIndicator",
        )
    ),
    "a character set that does not exist": {"SpecificCharacterSet": b"ISO_IR 999", "PatientName": b"M\xfcller^J\xf6rg"},
    "a misspelt character set": {"SpecificCharacterSet": b"ISO-IR 100", "PatientName": b"M\xfcller^J\xf6rg"},
    "Latin-1 bytes called UTF-8": {"SpecificCharacterSet": b"ISO_IR 192", "PatientName": b"M\xfcller^J\xf6rg"},
    "UTF-8 bytes called ASCII": {"SpecificCharacterSet": b"", "PatientName": "Müller^Jörg".encode()},
    "broken escapes": {"SpecificCharacterSet": b"\\ISO 2022 IR 87", "PatientName": b"Yamada^Tarou=\x1b$B;3\x1b"},
    "a UID with a leading zero": {"StudyInstanceUID": b"1.2.03.4"},
    "a UID that ends in a point": {"StudyInstanceUID": b"1.2.3.4."},
    "a UID that is an invalid frame of reference": {"FrameOfReferenceUID": b"1.2.00.7"},
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_a_malformed_header_ends_in_a_report_that_can_be_read_and_written_again(
    phantom_study: PhantomStudy, score: Score, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    study = with_header(phantom_study, tmp_path / "study", HEADERS[name])
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = score(study)
    assert done.code == "scored", done.outcome
    assert done.result["status"] == "scored", caplog.text
    report = done.report
    everything = [element.value for element in report.iterall()]
    assert len(everything) > 100
    report.save_as(io.BytesIO())
    # The report has to land where its study is, whatever is wrong with the study's UID.
    assert report.StudyInstanceUID == pydicom.dcmread(study / "SEG" / "tumour.dcm").StudyInstanceUID
    told = caplog.text + (done.folder / "result.json").read_text(encoding="utf-8")
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate"):
        secret = (HEADERS[name].get(keyword) or b"").decode("latin-1")
        assert len(secret) < 6 or secret not in told
