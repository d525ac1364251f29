"""The phantom's files: what they say, and that they never change."""

from __future__ import annotations

import filecmp
import json
import os
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest

from pdl1es.clinical import read_clinical_json
from pdl1es.phantom.dicom import PhantomStudy, make_phantom_study


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice, with another number of threads: every file, the SEG included."""
    made = []
    for name, processors in (("a", 1), ("b", 3)):
        monkeypatch.setattr(os, "cpu_count", lambda processors=processors: processors)
        made.append(make_phantom_study(tmp_path / name, 7, matrix=128, slices=(30, 60), slice_thickness=3.0))
    one, two = made
    names = sorted(str(path.relative_to(one.folder)) for path in one.folder.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(two.folder)) for path in two.folder.rglob("*") if path.is_file())
    assert len(names) == 32
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
