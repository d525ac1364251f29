"""A texture class over a batch of images gives what pyradiomics gives image by image."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from radiomics.glcm import RadiomicsGLCM

from pdl1es.features.cooccurrence import GLCM, maximal_correlation
from pdl1es.features.discretisation import discretise
from pdl1es.features.matrices import texture_matrices
from pdl1es.features.names import FEATURES_BY_CLASS
from pdl1es.features.region import Region
from pdl1es.features.texture import batches, texture_features
from pdl1es.features.texture_batch import Batch
from tests.unit.features.stock import cropped, stock_features
from tests.unit.features.tumours import KINDS, assert_same_features


# pyradiomics says of a tumour without two neighbours that it takes the mean of nothing.
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
@pytest.mark.parametrize("feature_class", ["glcm", "gldm", "glrlm", "glszm", "ngtdm"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "thin scan"])
def test_a_batch_of_images_gives_what_pyradiomics_gives_one_by_one(feature_class: str, kind: str) -> None:
    hu, mask = cropped(kind)
    region = Region.of(mask)
    images: list[NDArray[Any]] = [
        hu,
        (hu * 0.5).astype(np.float32),
        hu.astype(np.float64) ** 2 / 400,
        np.full_like(hu, 7),
    ]
    matrices = [texture_matrices(discretise(image[mask], bin_width=25), region) for image in images]
    with np.errstate(all="ignore"):
        together = texture_features(feature_class, matrices)
    for image, row in zip(images, together, strict=True):
        assert_same_features(row, stock_features(feature_class, image, mask), FEATURES_BY_CLASS[feature_class])


def test_images_are_grouped_once_each_by_their_numbers_of_grey_levels() -> None:
    hu, mask = cropped("blob")
    region = Region.of(mask)
    widths = [200, 100, 2, 25, 1, 50, 1000, 0.2]
    images = [texture_matrices(discretise(hu[mask], bin_width=width), region) for width in widths]
    groups = batches(images)
    assert sorted(index for group in groups for index in group) == list(range(len(widths)))
    assert len(groups) > 1


def test_an_image_with_a_level_of_0_takes_nothing_from_the_others() -> None:
    """Close to int16's ends pyradiomics' edges wrap around, and its bins count from 0."""
    hu, mask = cropped("blob")
    ordinary = texture_matrices(discretise(hu[mask], bin_width=25), Region.of(mask))
    from_nought = replace(ordinary, levels=ordinary.levels - ordinary.levels[0])
    images = [ordinary, from_nought, ordinary]
    for group in batches(images):
        with np.errstate(all="ignore"):
            rows = texture_features("gldm", [images[index] for index in group])
        for index, row in zip(group, rows, strict=True):
            assert np.isfinite(row).all() == (index != 1)


def test_an_eigenvalue_of_nought_is_pyradiomics_noise() -> None:
    """Where the second eigenvalue is 0 but for rounding, MCC is a root of that rounding, or NaN."""
    image = np.array([[[1, 26], [1, 26], [26, 1], [26, 1], [1, 1], [26, 26]]], dtype=np.int16).repeat(3, axis=2)
    mask = np.ones(image.shape, dtype=bool)
    matrices = texture_matrices(discretise(image[mask], bin_width=25), Region.of(mask))
    ours = texture_features("glcm", [matrices])[0]
    assert_same_features(ours, stock_features("glcm", image, mask), FEATURES_BY_CLASS["glcm"])


def test_diagonals_are_summed_as_pyradiomics_sums_them() -> None:
    hu, mask = cropped("with metal")
    grey = discretise(hu[mask], bin_width=25)
    ours = GLCM(Batch([texture_matrices(grey, Region.of(mask))]))
    ours._initCalculation()
    image, label = SimpleITK.GetImageFromArray(hu), SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    stock = RadiomicsGLCM(image, label, force2D=True, force2Ddimension=0)
    stock._initCalculation()
    for sums, values in (("kValuesSum", "pxAddy"), ("kValuesDiff", "pxSuby")):
        theirs = dict(zip(stock.coefficients[sums], stock.coefficients[values][0], strict=True))
        for label, found in zip(ours.coefficients[sums], ours.coefficients[values][0], strict=True):
            assert np.allclose(theirs.pop(label), found, rtol=1e-13, atol=0)
        assert not np.any(list(theirs.values()))


def test_the_second_eigenvalue_is_that_of_pyradiomics_matrix_where_levels_are_rare() -> None:
    """Beside levels of one pair in 10^8, eps in the divisor of Q counts."""
    random = np.random.default_rng(5)
    for n in (2, 3, 7, 40):
        near = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
        rarity = 10.0 ** -random.uniform(0, 4, n)
        counts = random.random((4, n, n)) * np.exp(-near / 3) * np.outer(rarity, rarity)
        counts += counts.transpose(0, 2, 1)
        matrix = counts / counts.sum(axis=(1, 2), keepdims=True)
        marginal = matrix.sum(axis=2)
        px = marginal.T[None, :, None, :]
        stock = SimpleNamespace(
            P_glcm=matrix.transpose(1, 2, 0)[None],
            coefficients={"px": px, "py": px.transpose(0, 2, 1, 3), "eps": np.spacing(1)},
        )
        expected = float(np.squeeze(RadiomicsGLCM.getMCCFeatureValue(stock)))
        assert maximal_correlation(matrix, marginal) == pytest.approx(expected, rel=1e-9)
