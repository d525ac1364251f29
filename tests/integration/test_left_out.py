"""Files that were left out, or are there twice: a refusal tells them, and a score too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage

from pdl1es.phantom.dicom import PhantomStudy
from tests.altered_phantom import AlteredPhantom, copied
from tests.integration.chain_runs import Score, Scored

Spoil = Callable[[Path], None]
Change = Callable[[FileDataset], None]


@pytest.fixture(scope="module")
def plain(phantom_study: PhantomStudy, score: Score) -> Scored:
    return score(phantom_study.folder)


@pytest.fixture
def study(phantom_study: PhantomStudy, tmp_path: Path) -> Path:
    return AlteredPhantom(phantom_study).write(tmp_path / "study")


def files_of(study: Path, modality: str) -> list[Path]:
    paths = sorted(study.glob("*.dcm"))
    return [path for path in paths if pydicom.dcmread(path, stop_before_pixels=True).Modality == modality]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("modality", "step", "code"),
    [
        ("CT", 1, "NO_CT"),
        ("CT", 2, "SEG_REFERENCES_ABSENT_INSTANCES"),
        ("SEG", 1, "NO_SEG"),
    ],
)
def test_a_refusal_for_absence_says_how_many_files_were_left_out_and_why(
    modality: str, step: int, code: str, study: Path, score: Score
) -> None:
    lost = files_of(study, modality)[::step]
    for path in lost:
        cut(path)
    done = score(study)
    refusal = done.outcome.refusal
    assert refusal is not None
    assert refusal.code.name == code
    assert f"{len(lost)} file(s) were left out: {len(lost)} because the file is truncated or malformed" in refusal.found
    assert refusal.remedy.startswith("send the files again that were left out, whole")
    assert done.result["refusal"]["remedy"] == refusal.remedy


def test_slices_that_are_missing_because_they_could_not_be_read_are_told_too(
    phantom_study: PhantomStudy, tmp_path: Path, score: Score
) -> None:
    altered = AlteredPhantom(phantom_study)
    for keyword in ("ReferencedSeriesSequence", "SourceImageSequence"):
        altered.seg.pop(keyword, None)
    for group in altered.groups:
        group.pop("DerivationImageSequence", None)
    low, high = altered.tumour_slices
    uid = altered.ct[(low + high) // 2].SOPInstanceUID
    study = altered.write(tmp_path / "study")
    (path,) = (p for p in files_of(study, "CT") if pydicom.dcmread(p).SOPInstanceUID == uid)
    cut(path)
    refusal = score(study).outcome.refusal
    assert refusal is not None
    assert refusal.code.name == "MISSING_SLICES"
    assert "1 file(s) were left out" in refusal.found


def test_images_that_are_stored_as_something_else_are_told(study: Path, score: Score) -> None:
    for path in files_of(study, "CT"):
        ds = pydicom.dcmread(path)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        ds.save_as(path)
    (study / "mask.nii").write_bytes(bytes(400))
    refusal = score(study).outcome.refusal
    assert refusal is not None
    assert refusal.code.name == "NO_CT"
    assert "50 as Secondary Capture Image Storage" in refusal.found
    assert "1 file(s) are not DICOM" in refusal.found


def renamed(ds: FileDataset) -> None:
    ds.PatientName, ds.StationName = "Other^Name", "X"


def implicit(ds: FileDataset) -> None:
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def compressed(ds: FileDataset) -> None:
    ds.compress(RLELossless, generate_instance_uid=False)


def add_copies(study: Path, modality: str, change: Change, every: int) -> int:
    paths = files_of(study, modality)[::every]
    for path in paths:
        ds = pydicom.dcmread(path)
        change(ds)
        ds.save_as(study / f"copy of {path.name}", implicit_vr=change is implicit, little_endian=True)
    return len(paths)


@pytest.mark.parametrize(
    ("modality", "change", "every"),
    [("CT", renamed, 1), ("CT", implicit, 1), ("CT", compressed, 7), ("SEG", renamed, 1), ("CT", renamed, 100)],
)
def test_copies_that_differ_in_what_decides_nothing_are_one_image_and_told(
    modality: str, change: Change, every: int, study: Path, score: Score, plain: Scored
) -> None:
    count = add_copies(study, modality, change, every)
    result = score(study).result
    assert result["assessment"]["score"] == plain.result["assessment"]["score"]
    (told,) = (w for w in result["warnings"] if w["code"] == "FURTHER_COPIES")
    assert told["message"].startswith(f"{count} file(s)")


def other_pixels(ds: FileDataset) -> None:
    ds.PixelData = bytes([ds.PixelData[0] ^ 1]) + ds.PixelData[1:]


def other_place(ds: FileDataset) -> None:
    ds.ImagePositionPatient = [0, 0, 0]


def other_label(ds: FileDataset) -> None:
    ds.SegmentSequence[0].SegmentLabel = "Heart"


@pytest.mark.parametrize(
    ("modality", "change", "differs"),
    [
        ("CT", other_pixels, "PixelData"),
        ("CT", other_place, "ImagePositionPatient"),
        ("SEG", other_pixels, "PixelData"),
        ("SEG", other_label, "SegmentSequence"),
    ],
)
def test_copies_that_are_different_images_are_refused_with_what_differs(
    modality: str, change: Change, differs: str, study: Path, score: Score
) -> None:
    add_copies(study, modality, change, every=100)
    refusal = score(study).outcome.refusal
    assert refusal is not None
    assert refusal.code.name == "COPIES_DIFFER"
    assert f"differ in {differs}" in refusal.found


def test_different_copies_in_a_series_that_is_not_scored_cost_that_series_alone(
    phantom_study: PhantomStudy, tmp_path: Path, score: Score, plain: Scored
) -> None:
    altered = AlteredPhantom(phantom_study)
    other = [copied(ct, SOPInstanceUID=f"1.2.3.{n + 1}", SeriesInstanceUID="1.2.3") for n, ct in enumerate(altered.ct)]
    again = copied(other[0])
    other_pixels(again)
    altered.further = [*other, again]
    result = score(altered.write(tmp_path / "study")).result
    assert result["assessment"]["score"] == plain.result["assessment"]["score"]
    (series,) = (s for s in result["assessment"]["selection"]["series"] if s["series_instance_uid"] == "1.2.3")
    assert series["reasons"][0].startswith("COPIES_DIFFER")
