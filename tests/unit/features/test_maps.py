"""A map of one slice holds pyradiomics' voxel-based values of the whole tumour."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
import yaml
from radiomics.featureextractor import RadiomicsFeatureExtractor

from pdl1es.features.maps import feature_map
from pdl1es.features.settings_file import radiomics_settings_text
from tests.unit.features.tumours import synthetic_tumour

PAPER = ("wavelet-HL_glcm_SumEntropy", "wavelet-LL_glrlm_GrayLevelNonUniformityNormalized")
"""The two that the paper shows."""
OTHERS = ("wavelet-LL_firstorder_Entropy", "wavelet-LL_ngtdm_Coarseness", "wavelet-HL_gldm_DependenceVariance")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_maps_are_pyradiomics_voxel_based_extraction() -> None:
    case = synthetic_tumour(30)
    settings = yaml.safe_load(radiomics_settings_text())
    wanted = PAPER + OTHERS
    settings["imageType"] = {"Wavelet": settings["imageType"]["Wavelet"]}
    settings["featureClass"] = {
        name: [feature.split("_")[2] for feature in wanted if f"_{name}_" in feature]
        for name in ("firstorder", "glcm", "glrlm", "gldm", "ngtdm")
    }
    extractor = RadiomicsFeatureExtractor(settings, additionalInfo=False, initValue=np.nan)
    image, label = SimpleITK.GetImageFromArray(case.hu), SimpleITK.GetImageFromArray(case.mask.astype(np.uint8))
    maps = extractor.execute(image, label, voxelBased=True)
    z = int(case.mask.sum(axis=(1, 2)).argmax())
    for name in wanted:
        # pyradiomics crops to the tumour and a margin; its origin says where.
        x0, y0, z0 = (round(coordinate) for coordinate in maps[name].GetOrigin())
        stock = SimpleITK.GetArrayFromImage(maps[name])[z - z0]
        whole = np.full(case.hu.shape[1:], np.nan)
        whole[y0 : y0 + stock.shape[0], x0 : x0 + stock.shape[1]] = stock
        ours = feature_map(case.hu, case.mask, name, z)
        assert np.array_equal(np.isnan(ours), ~case.mask[z])
        assert np.allclose(ours[case.mask[z]], whole[case.mask[z]], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "z", "message"),
    [
        ("original_shape_Flatness", 15, "no map"),
        ("original_glcm_Nonsense", 15, "no map"),
        (PAPER[0], 0, "does not reach"),
        (PAPER[0], -1, "does not reach"),
        (PAPER[0], 999, "does not reach"),
    ],
)
def test_what_cannot_be_mapped_is_named(name: str, z: int, message: str) -> None:
    case = synthetic_tumour(0)
    mask = case.mask.copy()
    mask[0] = False
    with pytest.raises(ValueError, match=message):
        feature_map(case.hu, mask, name, z)
