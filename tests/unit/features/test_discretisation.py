"""Grey levels are pyradiomics' own, whatever the image's data type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from radiomics import imageoperations

from pdl1es.features.compiled_texture import discretise_by_kernel
from pdl1es.features.discretisation import NoGreyLevels, discretise
from tests.unit.features.stock import cropped


@pytest.mark.parametrize("kind", ["blob", "constant", "negative HU", "in one bin", "with metal"])
@pytest.mark.parametrize("bins", [{"binWidth": 25}, {"binWidth": 7.5}, {"binWidth": 25, "binCount": 64}])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_the_grey_levels_are_pyradiomics(kind: str, bins: dict[str, float], dtype: Any) -> None:
    hu, mask = cropped(kind)
    image = hu.astype(dtype)
    if dtype is not np.int16:
        image = image * dtype(0.37)
    stock, _ = imageoperations.binImage(image, mask, **bins)
    grey = discretise(image[mask], bin_width=bins["binWidth"], bin_count=bins.get("binCount"))  # type: ignore[arg-type]
    levels, counts = np.unique(stock[mask], return_counts=True)
    assert np.array_equal(grey.levels, levels)
    assert np.array_equal(grey.counts, counts)
    assert np.array_equal(grey.levels[grey.voxels - 1], stock[mask])


@pytest.mark.parametrize(("low", "high"), [(-1000, 31743), (-1024, 32767), (-32768, 0)])
def test_bins_that_leave_the_images_data_type_are_refused(low: int, high: int) -> None:
    """int16 wraps around, and all voxels would have one grey level."""
    values = np.array([low, 40, high] if low < 40 < high else [low, high], dtype=np.int16)
    with pytest.raises(NoGreyLevels, match=f"{low} to {high} leave the range of int16"):
        discretise(values, bin_width=25)
    with pytest.raises(NoGreyLevels, match=f"{low} to {high} leave the range of int16"):
        discretise_by_kernel(values, np.sort(values), bin_width=25)
    assert len(discretise(values.astype(np.float64), bin_width=25).levels) == len(np.unique(values // 25))


def test_the_widest_bins_that_fit_are_pyradiomics() -> None:
    values = np.array([-1000, 40, 31700], dtype=np.int16)
    assert discretise(values, bin_width=25).levels.tolist() == [1, 42, 1309]


def test_an_image_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        discretise(np.array([1.0, np.nan, 3.0]), bin_width=25)
