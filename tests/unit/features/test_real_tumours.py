"""Real patients' tumours: the 1316 features are pyradiomics', and the paper's two maps take seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pdl1es.features.extraction import extract_radiomics
from pdl1es.features.maps import feature_map
from tests.unit.features.tumours import Array, Tumour, assert_same_features, real_tumour

Reference = Callable[[NDArray[np.int16], NDArray[np.bool_]], Array]


@pytest.fixture(scope="module")
def ibsi_phantom(shared_data: Path) -> Tumour:
    """The IBSI CT phantom's GTV-1 on the 1 mm grid: 360 mL."""
    folder = shared_data / "ibsi1" / "ct_phantom"
    return real_tumour(folder / "dicom" / "image", folder / "seg_dcmqi_derived.dcm")


def test_the_ibsi_phantoms_features_are_pyradiomics(ibsi_phantom: Tumour, pyradiomics_features: Reference) -> None:
    """Of 18 of its slices, 111 mL: pyradiomics takes as long as there are voxels."""
    assert 350_000 < ibsi_phantom.mask.sum() < 370_000
    middle = int(ibsi_phantom.mask.sum(axis=(1, 2)).argmax())
    part = slice(middle - 9, middle + 9)
    hu, mask = ibsi_phantom.hu[part], ibsi_phantom.mask[part]
    assert mask.sum() > 100_000
    ours = extract_radiomics(hu, mask).values
    assert not np.isnan(ours).any()
    assert_same_features(ours, pyradiomics_features(hu, mask))


def test_a_patients_features_are_pyradiomics(shared_data: Path, pyradiomics_features: Reference) -> None:
    folder = shared_data / "ct_4dlung113"
    case = real_tumour(folder / "CT", folder / "seg_dcmqi.dcm")
    ours = extract_radiomics(case.hu, case.mask).values
    assert not np.isnan(ours).any()
    assert_same_features(ours, pyradiomics_features(case.hu, case.mask))


@pytest.mark.parametrize("name", ["wavelet-HL_glcm_SumEntropy", "wavelet-LL_glrlm_GrayLevelNonUniformityNormalized"])
def test_the_papers_maps_cover_the_tumour_of_a_large_slice_and_nothing_else(ibsi_phantom: Tumour, name: str) -> None:
    z = int(ibsi_phantom.mask.sum(axis=(1, 2)).argmax())
    result = feature_map(ibsi_phantom.hu, ibsi_phantom.mask, name, z)
    assert np.array_equal(np.isfinite(result), ibsi_phantom.mask[z])
