"""pyradiomics' published tables of its own test image are met."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from radiomics import imageoperations
from radiomics.featureextractor import RadiomicsFeatureExtractor

from benchmarks.ibsi import image_features
from pdl1es.features.names import FEATURES_BY_CLASS
from pdl1es.features.region import Region
from pdl1es.features.shape import shape_features

BASELINES: dict[str, dict[str, Any]] = {
    "lung1": {"force2D": False, "voxelArrayShift": 2000, "minimumROIDimensions": 1},
    "lung1_2d": {"force2D": True},
    "lung1_FBN": {"force2D": False, "binCount": 64},
    "lung1_flatRegion": {"force2D": False, "binWidth": 5000, "resegmentRange": [0]},
    "lung1_normalization": {"force2D": False, "normalize": True, "normalizeScale": 100, "binWidth": 5},
    "lung1_resampling": {"force2D": False, "resampledPixelSpacing": [2, 2, 2], "interpolator": "sitkBSpline"},
    "lung1_resegmentation": {"force2D": False, "resegmentRange": [-3, 3], "resegmentMode": "sigma"},
}
"""pyradiomics' own test cases at the settings that its tables give; ``combined`` weights angles, which we never do."""


SHIFTED = ("Energy", "TotalEnergy", "RootMeanSquared")


@pytest.mark.parametrize("name", BASELINES)
def test_pyradiomics_published_tables_are_met(name: str, shared_data: Path) -> None:
    """Its image, mask and values of lung1; the masks and images that it prepares are its own."""
    folder = shared_data / "pyradiomics"
    settings: dict[str, Any] = {"binWidth": 25, "padDistance": 5, "interpolator": None, "resampledPixelSpacing": None}
    settings.update(BASELINES[name])
    image, mask = RadiomicsFeatureExtractor.loadImage(
        str(folder / "lung1_image.nrrd"), str(folder / "lung1_label.nrrd"), None, **settings
    )
    box, _ = imageoperations.checkMask(image, mask, **settings)
    whole = imageoperations.cropToTumorMask(image, mask, box)[1]
    if "resegmentRange" in settings:
        mask = imageoperations.resegmentMask(image, mask, **settings)
        box, _ = imageoperations.checkMask(image, mask, **settings)
    image, mask = imageoperations.cropToTumorMask(image, mask, box)
    spacing = tuple(image.GetSpacing()[::-1])

    inside = SimpleITK.GetArrayFromImage(mask) == 1
    values = SimpleITK.GetArrayFromImage(image)[inside]
    region = Region.of(inside, spacing=spacing, force_2d=settings["force2D"])
    bins: dict[str, Any] = {"bin_width": settings["binWidth"], "bin_count": settings.get("binCount")}
    found = image_features(values, region, **bins)
    # Three features are of the shifted intensities, where a shift is set; the method has none.
    shifted = image_features(values.astype(np.float64) + settings.get("voxelArrayShift", 0), region, **bins)
    found |= {f"firstorder_{name}": shifted[f"firstorder_{name}"] for name in SHIFTED}
    shape = shape_features(SimpleITK.GetArrayFromImage(whole) == 1, spacing=spacing)
    found.update(zip((f"shape_{feature}" for feature in FEATURES_BY_CLASS["shape"]), shape, strict=True))

    compared = 0
    for feature_class in FEATURES_BY_CLASS:
        with (folder / "baseline" / f"baseline_{feature_class}.csv").open(encoding="utf-8", newline="") as file:
            rows = {row["featureName"]: row.get(name) for row in csv.DictReader(file)}
        for feature in FEATURES_BY_CLASS[feature_class]:
            published = rows.get(f"original_{feature_class}_{feature}")
            if published:
                assert found[f"{feature_class}_{feature}"] == pytest.approx(float(published), rel=1e-9, abs=1e-12), (
                    feature
                )
                compared += 1
    assert compared >= 60
