"""Each image holds, at the tumour's voxels, the bits that ``radiomics.imageoperations`` computes on the whole crop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from radiomics import imageoperations

from pdl1es.features.filters import gradient, image_filters, laplacian_of_gaussian
from pdl1es.features.names import IMAGE_TYPES
from pdl1es.features.region import Crop
from pdl1es.features.settings import SETTINGS
from tests.unit.features.tumours import KINDS, synthetic_tumour

STOCK: dict[str, dict[str, Any]] = {
    "Original": {},
    "Wavelet": {"wavelet": "coif1", "level": 1},
    "LoG": {"sigma": [1.0, 2.0, 3.0]},
    "Square": {},
    "SquareRoot": {},
    "Logarithm": {},
    "Exponential": {},
    "Gradient": {},
    "LBP2D": {"lbp2DRadius": 1, "lbp2DSamples": 8, "lbp2DMethod": "uniform"},
}


def stock_images(crop: Crop) -> dict[str, NDArray[np.generic]]:
    """pyradiomics' own images of the whole crop, cut to the tumour."""
    image, mask = SimpleITK.GetImageFromArray(crop.hu), SimpleITK.GetImageFromArray(np.zeros(crop.hu.shape, np.uint8))
    images = {}
    for name, settings in STOCK.items():
        generate = getattr(imageoperations, f"get{name}Image")
        for filtered, image_name, _ in generate(image, mask, force2D=True, force2Ddimension=0, **settings):
            images[image_name] = crop.tumour(SimpleITK.GetArrayFromImage(filtered))
    return images


def our_images(crop: Crop) -> dict[str, NDArray[np.generic]]:
    """Our images, each within the tumour."""
    found = {name: values for function in image_filters(SETTINGS).values() for name, values in function(crop).items()}
    return {name: values for name, values in found.items() if values is not None}


@pytest.mark.parametrize("kind", ["blob", "tiny", "at the scan's edge", "negative HU", "one slice", "with metal"])
def test_every_image_has_pyradiomics_bits_and_data_type(kind: str) -> None:
    case = synthetic_tumour(KINDS.index(kind))
    crop = Crop.around(case.hu, case.mask, 10)
    ours = our_images(crop)
    stock = stock_images(crop)
    assert set(ours) == set(stock) == set(IMAGE_TYPES)
    for name in IMAGE_TYPES:
        assert ours[name].dtype == stock[name].dtype, name
        assert ours[name].tobytes() == stock[name].tobytes(), name


def test_the_filters_say_which_images_they_give() -> None:
    case = synthetic_tumour(0)
    crop = Crop.around(case.hu, case.mask, 10)
    for images, function in image_filters(SETTINGS).items():
        assert set(function(crop)) == set(images)


def test_odd_and_even_crops_wrap_alike() -> None:
    """The wavelet needs even lengths; pyradiomics repeats the first row, on the whole crop, and so must we."""
    case = synthetic_tumour(0)
    for rows in (0, 1):
        for columns in (0, 1):
            hu = case.hu[:, rows:, columns:]
            mask = case.mask[:, rows:, columns:]
            crop = Crop.around(hu, mask, 10)
            ours = our_images(crop)
            stock = stock_images(crop)
            assert all(ours[name].tobytes() == stock[name].tobytes() for name in ours if name.startswith("wavelet"))


def test_the_laplacian_of_gaussian_is_dropped_where_pyradiomics_drops_it() -> None:
    hu = np.zeros((3, 9, 9), dtype=np.int16)
    mask = np.zeros(hu.shape, dtype=bool)
    mask[1, 3:6, 3:6] = True
    assert laplacian_of_gaussian(Crop.around(hu, mask, 10), 1.0) is None
    taller = np.zeros((4, 9, 9), dtype=np.int16)
    assert laplacian_of_gaussian(Crop.around(taller, np.pad(mask, ((1, 0), (0, 0), (0, 0))), 10), 3.0) is not None


def test_images_stay_intact_while_others_are_made() -> None:
    """SimpleITK's views do not keep their image alive: memory that is used again must not show in a value."""
    case = synthetic_tumour(KINDS.index("at the scan's edge"))
    crop = Crop.around(case.hu, case.mask, 10)
    first = gradient(crop).copy()
    for _ in range(20):
        assert gradient(crop).tobytes() == first.tobytes()
        laplacian_of_gaussian(crop, 1.0)
