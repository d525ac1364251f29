"""Each override gives what the method of pyradiomics that it replaces gives."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from radiomics import cMatrices, cShape, imageoperations
from radiomics.base import RadiomicsFeaturesBase
from radiomics.featureextractor import RadiomicsFeatureExtractor
from radiomics.firstorder import RadiomicsFirstOrder
from radiomics.glcm import RadiomicsGLCM
from radiomics.gldm import RadiomicsGLDM
from radiomics.glrlm import RadiomicsGLRLM
from radiomics.glszm import RadiomicsGLSZM
from radiomics.ngtdm import RadiomicsNGTDM
from radiomics.shape import RadiomicsShape

from pdl1es.features import fast
from pdl1es.features.fast import (
    GLCM,
    Batch,
    Region,
    UpstreamChanged,
    batches,
    check_upstream,
    discretise,
    first_order_features,
    image_features,
    shape_features,
    texture_features,
    texture_matrices,
)
from pdl1es.features.filters import Crop
from pdl1es.features.names import FEATURES_BY_CLASS
from tests.unit.features.tumours import KINDS, assert_same_features, synthetic_tumour

STOCK: dict[str, type[RadiomicsFeaturesBase]] = {
    "firstorder": RadiomicsFirstOrder,
    "glcm": RadiomicsGLCM,
    "gldm": RadiomicsGLDM,
    "glrlm": RadiomicsGLRLM,
    "glszm": RadiomicsGLSZM,
    "ngtdm": RadiomicsNGTDM,
    "shape": RadiomicsShape,
}


def stock_features(feature_class: str, image: NDArray[Any], mask: NDArray[np.bool_], **settings: Any) -> NDArray[Any]:
    """One class of pyradiomics on arrays cropped to the tumour."""
    spacing = settings.pop("spacing", (1.0, 1.0, 1.0))
    images = [SimpleITK.GetImageFromArray(array) for array in (image, mask.astype(np.uint8))]
    for one in images:
        one.SetSpacing(spacing[::-1])
    settings.setdefault("force2D", True)
    found = STOCK[feature_class](*images, force2Ddimension=0, **settings).execute()
    return np.array([float(np.squeeze(found[name])) for name in FEATURES_BY_CLASS[feature_class]])


def cropped(kind: str) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """A synthetic tumour on its own box."""
    case = synthetic_tumour(KINDS.index(kind))
    crop = Crop.around(case.hu, case.mask, 0)
    return crop.hu, crop.mask


class TestDiscretisation:
    @pytest.mark.parametrize("kind", ["blob", "constant", "negative HU", "in one bin", "with metal"])
    @pytest.mark.parametrize("bins", [{"binWidth": 25}, {"binWidth": 7.5}, {"binWidth": 25, "binCount": 64}])
    @pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
    def test_the_grey_levels_are_pyradiomics(self, kind: str, bins: dict[str, float], dtype: Any) -> None:
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

    def test_an_image_that_is_not_finite_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not finite"):
            discretise(np.array([1.0, np.nan, 3.0]))


class TestMatrices:
    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "thin scan"])
    @pytest.mark.parametrize("force_2d", [True, False])
    def test_the_counts_are_those_of_the_compiled_matrices(self, kind: str, force_2d: bool) -> None:
        """One line of voxels holds every neighbour and every run that the box holds, in 2-D and in 3-D."""
        hu, mask = cropped(kind)
        grey = discretise(hu[mask])
        region = Region.of(mask, force_2d=force_2d)
        ours = texture_matrices(grey, region)
        image, _ = imageoperations.binImage(hu, mask)
        highest, rows, one = int(grey.levels[-1]), grey.levels - 1, np.array([1])

        glcm, angles = cMatrices.calculate_glcm(image, mask, one, highest, force_2d, 0)
        assert np.array_equal(ours.glcm, glcm[0][np.ix_(rows, rows)])
        assert len(region.steps) == len(angles)
        gldm = cMatrices.calculate_gldm(image, mask, one, highest, 0, force_2d, 0)
        assert np.array_equal(ours.gldm, gldm[0][rows])
        glrlm, _ = cMatrices.calculate_glrlm(image, mask, highest, max(mask.shape), force_2d, 0)
        longest = ours.glrlm.shape[1]
        assert np.array_equal(ours.glrlm, glrlm[0][rows][:, :longest])
        assert not glrlm[0][:, longest:].any()
        glszm = cMatrices.calculate_glszm(image, mask, highest, int(mask.sum()), force_2d, 0)
        assert np.array_equal(ours.glszm, glszm[0][np.ix_(rows, ours.zone_sizes - 1)])
        assert ours.glszm.sum() == glszm.sum()
        ngtdm = cMatrices.calculate_ngtdm(image, mask, one, highest, force_2d, 0)
        assert np.array_equal(ours.differences, ngtdm[0][rows, 1])
        assert np.array_equal(ours.counts, ngtdm[0][rows, 0])

    def test_a_direction_along_which_no_line_holds_two_voxels_is_dropped(self) -> None:
        mask = np.zeros((2, 5, 5), dtype=bool)
        mask[0, 0, :] = mask[1, 2, :] = True
        directions = [(1, 1), (1, 0), (1, -1), (0, 1)]
        assert dict(zip(directions, (line is None for line in Region.of(mask).lines), strict=True)) == {
            (1, 1): True,
            (1, 0): True,
            (1, -1): True,
            (0, 1): False,
        }
        # a gap in a line does not make its voxels lone
        mask[0, 4, 0] = True
        lone = dict(zip(directions, (line is None for line in Region.of(mask).lines), strict=True))
        assert not lone[1, 0]

    def test_levels_far_apart_take_no_memory(self) -> None:
        """Metal beside air: pyradiomics lays out 4000 x 4000 cells and deletes all but a few."""
        _, mask = cropped("blob")
        grey = discretise(np.where(np.arange(mask.sum()) % 2, 1_000_000, 0), bin_width=25)
        assert texture_matrices(grey, Region.of(mask)).glcm.shape == (2, 2, 4)


class TestTextureFeatures:
    @pytest.mark.parametrize("feature_class", ["glcm", "gldm", "glrlm", "glszm", "ngtdm"])
    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "thin scan"])
    def test_a_batch_of_images_gives_what_pyradiomics_gives_one_by_one(self, feature_class: str, kind: str) -> None:
        hu, mask = cropped(kind)
        region = Region.of(mask)
        images = [hu, (hu * 0.5).astype(np.float32), hu.astype(np.float64) ** 2 / 400, np.full_like(hu, 7)]
        matrices = [texture_matrices(discretise(image[mask]), region) for image in images]
        with np.errstate(all="ignore"):
            together = texture_features(feature_class, matrices)
        for image, row in zip(images, together, strict=True):
            assert_same_features(row, stock_features(feature_class, image, mask), FEATURES_BY_CLASS[feature_class])

    def test_images_are_grouped_once_each_by_their_numbers_of_grey_levels(self) -> None:
        hu, mask = cropped("blob")
        region = Region.of(mask)
        widths = [200, 100, 2, 25, 1, 50, 1000, 0.2]
        images = [texture_matrices(discretise(hu[mask], bin_width=width), region) for width in widths]
        groups = batches(images)
        assert sorted(index for group in groups for index in group) == list(range(len(widths)))
        assert len(groups) > 1

    def test_an_eigenvalue_of_nought_is_pyradiomics_noise(self) -> None:
        """Where the second eigenvalue is 0 but for rounding, MCC is a root of that rounding, or NaN."""
        image = np.array([[[1, 26], [1, 26], [26, 1], [26, 1], [1, 1], [26, 26]]], dtype=np.int16).repeat(3, axis=2)
        mask = np.ones(image.shape, dtype=bool)
        matrices = texture_matrices(discretise(image[mask]), Region.of(mask))
        ours = texture_features("glcm", [matrices])[0]
        assert_same_features(ours, stock_features("glcm", image, mask), FEATURES_BY_CLASS["glcm"])

    def test_diagonals_are_summed_as_pyradiomics_sums_them(self) -> None:
        hu, mask = cropped("with metal")
        grey = discretise(hu[mask])
        ours = GLCM(Batch([texture_matrices(grey, Region.of(mask))]))
        ours._initCalculation()
        image, label = SimpleITK.GetImageFromArray(hu), SimpleITK.GetImageFromArray(mask.astype(np.uint8))
        stock = RadiomicsGLCM(image, label, force2D=True, force2Ddimension=0)
        stock._initCalculation()
        for sums, values in (("kValuesSum", "pxAddy"), ("kValuesDiff", "pxSuby")):
            found = np.isin(stock.coefficients[sums], ours.coefficients[sums])
            assert np.allclose(stock.coefficients[values][:, found], ours.coefficients[values], rtol=1e-13, atol=0)
            assert not stock.coefficients[values][:, ~found].any()


class TestFirstOrder:
    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "thin scan"])
    @pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
    def test_it_is_pyradiomics(self, kind: str, dtype: Any) -> None:
        hu, mask = cropped(kind)
        image = hu if dtype is np.int16 else (hu * dtype(1.37)).astype(dtype)
        with np.errstate(all="ignore"):
            ours = first_order_features(image[mask], discretise(image[mask]))
        assert_same_features(ours, stock_features("firstorder", image, mask), FEATURES_BY_CLASS["firstorder"])

    def test_a_flat_image_of_no_round_value_keeps_pyradiomics_rounding(self) -> None:
        """Skewness and kurtosis of a flat image divide one rounding error by another."""
        mask = np.ones((5, 7, 9), dtype=bool)
        image = np.full(mask.shape, 2 * 1050.1234567)
        ours = first_order_features(image[mask], discretise(image[mask]))
        assert_same_features(ours, stock_features("firstorder", image, mask), FEATURES_BY_CLASS["firstorder"])


class TestShape:
    @pytest.mark.parametrize("number", range(2 * len(KINDS)))
    def test_it_is_pyradiomics(self, number: int) -> None:
        case = synthetic_tumour(number)
        mask = Crop.around(case.hu, case.mask, 0).mask
        stock = stock_features("shape", mask.astype(np.int16), mask)
        assert_same_features(shape_features(Region.of(mask)), stock, FEATURES_BY_CLASS["shape"])

    @pytest.mark.parametrize("spacing", [(5.0, 0.57, 0.57), (3.0, 0.9765625, 0.9765625), (0.5, 2.0, 1.3)])
    def test_it_is_pyradiomics_on_voxels_that_are_no_cubes(self, spacing: tuple[float, float, float]) -> None:
        _, mask = cropped("hollow")
        stock = stock_features("shape", mask.astype(np.int16), mask, spacing=spacing)
        ours = shape_features(Region.of(mask, spacing=spacing))
        assert_same_features(ours, stock, FEATURES_BY_CLASS["shape"])

    def test_diameters_are_exact_for_large_ragged_and_slanting_tumours(self) -> None:
        random = np.random.default_rng(3)
        z, y, x = np.indices((40, 60, 60)) - 30
        masks = [
            z**2 + y**2 + x**2 + random.integers(0, 120, z.shape) < 400,
            (np.abs(x - y) < 2) & (np.abs(z) < 3),
            (np.abs(x - y + z) < 1) & (x**2 < 90),
            (z == 0) & (x**2 + y**2 < 500),
            random.random(z.shape) < 0.001,
        ]
        for mask in masks:
            padded = np.pad(mask, 1)
            *_, expected = cShape.calculate_coefficients(padded, np.ones(3))
            assert fast._diameters(padded, np.ones(3)) == tuple(expected)

    def test_every_cube_of_the_mesh_is_tabulated(self) -> None:
        """A mask whose 2 x 2 x 2 neighbourhoods take all 256 forms."""
        mask = np.pad(np.random.default_rng(0).random((30, 30, 30)) < 0.5, 1)
        corners = [mask[a : a + 31, b : b + 31, c : c + 31] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
        assert len(np.unique(sum(corner.astype(int) << bit for bit, corner in enumerate(corners)))) == 256
        area, volume, _ = cShape.calculate_coefficients(mask, np.ones(3))
        assert fast._surface(mask, (1.0, 1.0, 1.0)) == pytest.approx((area, volume), rel=1e-10)


class TestUpstream:
    def test_this_pyradiomics_is_accepted(self) -> None:
        assert check_upstream() is None

    @pytest.mark.parametrize("version", ["v3.1.0", "3.0", "v3.0.1.post1", "unknown"])
    def test_another_version_is_named(self, version: str) -> None:
        with pytest.raises(UpstreamChanged, match=rf"3\.0\.1 is needed, {version} is installed"):
            check_upstream(version)

    def test_a_missing_method_is_named(self) -> None:
        with pytest.raises(UpstreamChanged, match="RadiomicsGLCM lacks _calculateTensor"):
            check_upstream(relied_on={RadiomicsGLCM: ["_calculateMatrix", "_calculateTensor"]})

    def test_other_features_are_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(RadiomicsNGTDM, "getRoughnessFeatureValue", lambda self: 0.0, raising=False)
        with pytest.raises(UpstreamChanged, match="RadiomicsNGTDM has other features"):
            check_upstream()

    def test_a_compiled_function_that_counts_otherwise_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def doubled(*arguments: Any) -> NDArray[Any]:
            return 2 * original(*arguments)

        original = cMatrices.calculate_gldm
        monkeypatch.setattr(cMatrices, "calculate_gldm", doubled)
        with pytest.raises(UpstreamChanged, match="counts otherwise"):
            check_upstream()


BASELINES = {
    "lung1": {"force2D": False, "voxelArrayShift": 2000, "minimumROIDimensions": 1},
    "lung1_2d": {"force2D": True},
    "lung1_FBN": {"force2D": False, "binCount": 64},
    "lung1_flatRegion": {"force2D": False, "binWidth": 5000, "resegmentRange": [0]},
    "lung1_normalization": {"force2D": False, "normalize": True, "normalizeScale": 100, "binWidth": 5},
    "lung1_resampling": {"force2D": False, "resampledPixelSpacing": [2, 2, 2], "interpolator": "sitkBSpline"},
    "lung1_resegmentation": {"force2D": False, "resegmentRange": [-3, 3], "resegmentMode": "sigma"},
}
"""pyradiomics' own test cases at the settings that its tables give; ``combined`` weights angles, which we never do."""


@pytest.mark.parametrize("name", BASELINES)
def test_pyradiomics_published_tables_are_met(name: str, shared_data: Path) -> None:
    """Its image, mask and values of lung1; the masks and images that it prepares are its own."""
    folder = shared_data / "pyradiomics"
    settings = {"binWidth": 25, "padDistance": 5, "interpolator": None, "resampledPixelSpacing": None}
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
    found = image_features(
        SimpleITK.GetArrayFromImage(image)[inside],
        Region.of(inside, spacing=spacing, force_2d=settings["force2D"]),
        bin_width=settings["binWidth"],
        bin_count=settings.get("binCount"),
        voxel_array_shift=settings.get("voxelArrayShift", 0),
    )
    shape = shape_features(Region.of(SimpleITK.GetArrayFromImage(whole) == 1, spacing=spacing))
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
