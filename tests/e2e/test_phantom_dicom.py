"""An independent verifier (dicom3tools' dciodvfy, dcentvfy) on the phantom's files."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pdl1es.phantom.dicom import PhantomStudy
from tests.enhanced_ct import write_enhanced_ct
from tests.odd_segmentations import write_odd_segmentation, write_segmentation_for
from tests.odd_series import Storage, write_odd_series

pytestmark = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy is not installed (Debian package dicom3tools)"
)


def _errors(path: Path) -> list[str]:
    """Return the verifier's errors on a file."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False, timeout=60)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def test_the_phantoms_ct_and_seg_are_valid_dicom(phantom_study: PhantomStudy) -> None:
    for path in (phantom_study.ct.paths[0], phantom_study.ct.paths[-1], phantom_study.seg_path):
        assert _errors(path) == []


def test_the_phantoms_objects_agree_about_patient_study_and_series(phantom_study: PhantomStudy) -> None:
    paths = [*map(str, phantom_study.ct.paths), str(phantom_study.seg_path)]
    done = subprocess.run(["dcentvfy", *paths], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout + done.stderr).strip() == ""


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP", "by hand"])
def test_each_kind_of_seg_is_valid_dicom(phantom_study: PhantomStudy, tmp_path: Path, kind: str) -> None:
    frames = phantom_study.scan.mask
    datasets, path = phantom_study.ct.datasets, tmp_path / "seg.dcm"
    if kind == "by hand":
        write_segmentation_for(path, datasets, [frames], key="s")
    else:
        write_odd_segmentation(path, datasets, [frames], key="s", segmentation_type=kind)  # type: ignore[arg-type]  # by id
    errors = _errors(path)
    if kind == "LABELMAP":
        # This verifier is older than the SOP class (2024) and expects a BINARY one: nothing else may be wrong.
        errors = [e for e in errors if "Information Object Not found" not in e and "SegmentNumber of 0" not in e]
    assert errors == []


def test_the_enhanced_ct_is_valid_dicom(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    path = tmp_path / "enhanced.dcm"
    write_enhanced_ct(path, replace(phantom_study.scan, hu=phantom_study.scan.hu[:4]), key="k")
    assert _errors(path) == []


def test_a_transposed_compressed_series_is_valid_dicom(phantom_study: PhantomStudy, tmp_path: Path) -> None:
    storage = Storage(transpose=True, order="head_first", transfer_syntax_uid="1.2.840.10008.1.2.5")
    series = write_odd_series(tmp_path, replace(phantom_study.scan, hu=phantom_study.scan.hu[:2]), storage, key="k")
    assert _errors(series.paths[0]) == []
