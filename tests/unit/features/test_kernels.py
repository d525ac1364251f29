"""The compiled kernels give what numpy and the packages give, refuse what does not fit, and need not be there."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pdl1es.features import (
    compiled,
    compiled_filters,
    compiled_first_order,
    compiled_shape,
    compiled_texture,
    default_path,
    discretisation,
    extraction_path,
    filters,
    first_order,
    kernel_check,
    matrices,
    shape,
)
from pdl1es.features.extraction import extract_radiomics
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.features.region import Crop, Region
from tests.unit.features.tumours import KINDS, Array, assert_same_features, synthetic_tumour


@st.composite
def tumours(draw: st.DrawFn) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """HU and mask of any small shape; flat, smooth or noisy; one voxel, dust or a block."""
    lengths = tuple(draw(st.integers(1, 13)) for _ in range(3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0, 1, 30, 500, 32767]))
    hu = (draw(st.integers(-1000, 300)) + random.integers(-scale, scale + 1, lengths)).clip(-32768, 32767)
    if draw(st.booleans()):
        hu = np.repeat(np.repeat(hu, 3, axis=1), 3, axis=2)[:, : lengths[1], : lengths[2]]
    mask = random.random(lengths) < draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    mask.flat[draw(st.integers(0, mask.size - 1))] = True
    return hu.astype(np.int16), mask


FILTERS: dict[str, Callable[[filters.FilterFunctions, Crop], Any]] = {
    "LoG 1": lambda of, crop: of.laplacian_of_gaussian(crop, 1.0),
    "LoG 3": lambda of, crop: of.laplacian_of_gaussian(crop, 3.0),
    "coif1": lambda of, crop: of.wavelet(crop, "coif1"),
    "haar": lambda of, crop: of.wavelet(crop, "haar"),
    "db4": lambda of, crop: of.wavelet(crop, "db4"),
    "gradient": lambda of, crop: of.gradient(crop),
    "LBP 1": lambda of, crop: of.local_binary_pattern_2d(crop, 1, 8),
    "LBP 2": lambda of, crop: of.local_binary_pattern_2d(crop, 2, 6),
    "LBP of 12": lambda of, crop: of.local_binary_pattern_2d(crop, 2, 12),
}


@settings(max_examples=40, deadline=None)
@given(tumours(), st.sampled_from(sorted(FILTERS)), st.integers(0, 10))
def test_a_filter_gives_the_packages_values_to_the_bit(
    tumour: tuple[NDArray[np.int16], NDArray[np.bool_]], name: str, margin: int
) -> None:
    crop = Crop.around(*tumour, margin)
    expected, found = (FILTERS[name](functions, crop) for functions in (filters.FILTERS, compiled_filters.FILTERS))
    if not isinstance(expected, dict):
        expected, found = {"": expected}, {"": found}
    assert expected.keys() == found.keys()
    for key, values in expected.items():
        if values is None:
            assert found[key] is None
        else:
            assert found[key].dtype == values.dtype
            np.testing.assert_array_equal(found[key], values)


@settings(max_examples=40, deadline=None)
@given(
    tumours(), st.booleans(), st.sampled_from([np.int16, np.float32, np.float64]), st.sampled_from([1, 2.5, 25, 400])
)
def test_grey_levels_matrices_and_first_order_are_the_same_to_the_bit(
    tumour: tuple[NDArray[np.int16], NDArray[np.bool_]], force_2d: bool, kind: type, bin_width: float
) -> None:
    crop = Crop.around(*tumour, 0)
    assume(sum(length > 1 for length in crop.mask.shape) >= 2)  # the extraction refuses others
    values: NDArray[Any] = crop.tumour(crop.hu // 16 if bin_width < 25 else crop.hu).astype(kind)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            grey = discretisation.discretise(values, bin_width=bin_width)
        except discretisation.NoGreyLevels as error:
            with pytest.raises(discretisation.NoGreyLevels, match=str(error)):
                compiled_texture.discretise_by_kernel(values, np.sort(values), bin_width=bin_width)
            return
        ours = compiled_texture.discretise_by_kernel(values, np.sort(values), bin_width=bin_width)
    for name in ("voxels", "levels", "counts"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(grey, name))
    with np.errstate(all="ignore"):
        expected = first_order.first_order_features(values, grey)
        assert (
            compiled_first_order.first_order_features_by_kernel(values, np.sort(values), ours).tobytes()
            == expected.tobytes()
        )
    if len(grey.levels) > 300:
        return  # a matrix of all pairs would be large
    theirs = matrices.texture_matrices(grey, Region.of(crop.mask, force_2d=force_2d))
    found = compiled_texture.texture_matrices_by_kernel(
        ours, compiled_texture.TextureLine.of(crop.mask, force_2d=force_2d)
    )
    for name in ("glcm", "glcm_sums", "glcm_differences", "gldm", "glrlm", "glszm", "zone_sizes", "differences"):
        np.testing.assert_array_equal(getattr(found, name), getattr(theirs, name), err_msg=name)


@settings(max_examples=40, deadline=None)
@given(tumours())
def test_shape_is_the_same_to_the_bit(tumour: tuple[NDArray[np.int16], NDArray[np.bool_]]) -> None:
    mask = Crop.around(*tumour, 0).mask
    with np.errstate(all="ignore"):
        assert compiled_shape.shape_features_by_kernel(mask).tobytes() == shape.shape_features(mask).tobytes()


@pytest.mark.parametrize("value", [2, 255])
def test_any_byte_but_0_is_tumour_to_the_surface(value: int) -> None:
    mask = np.pad(np.random.default_rng(0).random((6, 7, 8)) < 0.6, 1)
    results = []
    for one in (mask, (mask * np.uint8(value)).view(np.bool_)):
        counts, positions = np.empty(256, np.int64), np.empty((3, 256), np.int64)
        squares = compiled.surface(one, counts, positions)
        results.append((squares, compiled.coordinate_sums(one), counts.tolist(), positions.tolist()))
    assert results[0] == results[1]


@settings(max_examples=15, deadline=None)
@given(tumours())
def test_all_features_are_the_same_to_the_bit(tumour: tuple[NDArray[np.int16], NDArray[np.bool_]]) -> None:
    hu, mask = tumour
    if np.count_nonzero(mask) > 60:
        hu = hu.clip(-300, 300)  # as many grey levels as voxels would take minutes
    with warnings.catch_warnings():  # pyradiomics' own formula divides by zero on odd tumours, which gives NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        by_numpy = extract_radiomics(hu, mask, path=extraction_path.NUMPY).values
        np.testing.assert_array_equal(extract_radiomics(hu, mask).values, by_numpy)


@pytest.mark.parametrize("number", range(len(KINDS)), ids=list(KINDS))
def test_every_kind_of_tumour_has_the_same_features_to_the_bit(number: int) -> None:
    case = synthetic_tumour(number)
    by_numpy = extract_radiomics(case.hu, case.mask, path=extraction_path.NUMPY).values
    np.testing.assert_array_equal(extract_radiomics(case.hu, case.mask).values, by_numpy)


def test_flat_patches_have_scikit_images_patterns_wherever_they_lie(
    pyradiomics_features: Callable[[NDArray[np.int16], NDArray[np.bool_]], Array],
) -> None:
    """A sample between four equal voxels is rounded by its place in the slice: the place counts from the crop's side."""
    hu = np.repeat(np.repeat(np.arange(-700, 700, 41, dtype=np.int16)[None, :], 34, axis=0)[None], 8, axis=0)
    hu = np.ascontiguousarray(np.repeat(hu, 2, axis=2)[:, :, :60])
    mask = np.zeros(hu.shape, dtype=np.bool_)
    mask[2:6, 13:25, 14:47] = True
    lbp = np.array([name.startswith("lbp-2D") for name in FEATURE_NAMES])
    reference = pyradiomics_features(hu, mask)
    names = tuple(name for name, wanted in zip(FEATURE_NAMES, lbp, strict=True) if wanted)
    for path in (extraction_path.NUMPY, default_path.DEFAULT):
        assert_same_features(extract_radiomics(hu, mask, path=path).values[lbp], reference[lbp], names)


def shifted(function: Callable[..., Any], result: int) -> Callable[..., Any]:
    """A kernel that gives one of its results otherwise."""

    def other(*arguments: Any) -> Any:
        returned = function(*arguments)
        arguments[result][...] += 1
        return returned

    return other


@pytest.mark.parametrize(
    ("name", "result", "told"),
    [
        ("laplacian_of_gaussian", -1, "filter of log-sigma-1-0-mm-3D gives other values"),
        ("wavelet", -1, "filter of wavelet-LH, wavelet-HL, wavelet-HH, wavelet-LL gives other values"),
        ("gradient", -1, "filter of gradient gives other values"),
        ("local_binary_pattern", -1, "filter of lbp-2D gives other values"),
        ("texture_matrices", 5, "texture matrix glcm has other values"),
        ("surface", 1, "shape features have other values"),
    ],
)
def test_a_kernel_that_gives_other_values_is_not_used(
    name: str, result: int, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compiled, name, shifted(getattr(compiled, name), result))
    path, reason = default_path.choose_path()
    assert path is extraction_path.NUMPY
    assert told in str(reason)
    assert told in caplog.text
    assert "numpy computes the features" in caplog.text


def test_sums_of_other_values_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = compiled.moments
    monkeypatch.setattr(compiled, "moments", lambda *a: tuple(np.nextafter(one, np.inf) for one in moments(*a)))
    assert default_path.choose_path()[1] == "the compiled kernels are not used: first-order features have other values"


def test_a_build_of_other_sources_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(compiled, "surface")
    assert default_path.choose_path()[0] is extraction_path.NUMPY
    monkeypatch.setattr(compiled, "gradient", lambda hu, out: None)
    assert "do not fit this version" in str(default_path.choose_path()[1])


def test_kernels_as_built_are_used() -> None:
    assert kernel_check.kernel_difference(extraction_path.compiled_path()) is None
    assert default_path.DEFAULT.name == "compiled"
    assert default_path.WHY_NUMPY is None


def arguments_of(name: str) -> list[Any]:
    """Arguments that a function takes."""
    hu, mask, box = np.zeros((8, 9, 10), np.int16), np.ones((2, 3, 4), np.bool_), ((2, 4), (3, 6), (4, 8))
    circle = np.linspace(-1, 1, 8)
    taps = np.ones(6)
    longs = np.arange(1, 4)
    arguments: dict[str, list[Any]] = {
        "laplacian_of_gaussian": [hu, box, mask, 1.0, np.empty(24, np.float32)],
        "wavelet": [hu, box, mask, taps, taps, np.empty((4, 24))],
        "gradient": [hu, box, mask, np.empty(24, np.float32)],
        "local_binary_pattern": [hu, box, mask, circle, circle, 2, np.empty(24, np.int16)],
        "discretise": [np.zeros(5), np.array([0.0, 1.0]), np.empty(5, np.int32), np.zeros(3, np.int64), np.empty(3, np.int32)],
        "moments": [np.zeros(5), 0.0, 0.0],
        "texture_matrices": [
            np.array([1, 2, 3], np.int32), np.array([0, 1, 3], np.int32), 8, np.array([1, 3]), longs, np.zeros((2, 3, 3)),
            np.zeros((5, 2)), np.zeros((3, 2)), np.zeros((3, 9)), np.zeros((3, 4, 2)), np.zeros(3), np.empty(3, np.int32), np.empty(3, np.int32),
        ],
        "coordinate_sums": [mask],
        "surface": [np.pad(mask, 1), np.empty(256, np.int64), np.empty((3, 256), np.int64)],
    }  # fmt: skip
    return arguments[name]


@pytest.mark.parametrize("name", [name for name in dir(compiled) if not name.startswith("_")])
def test_arrays_that_do_not_fit_are_refused(name: str) -> None:
    function = getattr(compiled, name)
    function(*arguments_of(name))
    for index, argument in enumerate(arguments_of(name)):
        if not isinstance(argument, np.ndarray):
            continue
        other_type = np.ones(argument.shape, np.uint16)
        longer = np.zeros([length + 1 for length in argument.shape], argument.dtype)
        apart = np.zeros([2 * length for length in argument.shape], argument.dtype)[
            (slice(None, None, 2),) * argument.ndim
        ]
        read_only = argument.copy()
        read_only.flags.writeable = False
        for wrong in (other_type, argument[None], apart):
            with pytest.raises((TypeError, ValueError, BufferError)):
                function(*(wrong if k == index else one for k, one in enumerate(arguments_of(name))))
        if name not in ("laplacian_of_gaussian", "gradient", "moments", "surface", "coordinate_sums") and index > 1:
            with pytest.raises((TypeError, ValueError)):
                function(*(longer if k == index else one for k, one in enumerate(arguments_of(name))))


@pytest.mark.parametrize(
    ("name", "place", "wrong"),
    [
        ("gradient", 1, ((2, 4), (3, 6), (8, 12))),
        ("gradient", 1, ((-1, 1), (3, 6), (4, 8))),
        ("gradient", 1, ((2, 5), (3, 6), (4, 8))),
        ("laplacian_of_gaussian", 3, 0.0),
        ("laplacian_of_gaussian", 3, float("nan")),
        ("laplacian_of_gaussian", 0, np.zeros((8, 9, 3), np.int16)),
        ("local_binary_pattern", 5, 0),
        ("local_binary_pattern", 3, np.full(8, 3.5)),
        ("texture_matrices", 0, np.array([1, 2, 4], np.int32)),
        ("texture_matrices", 0, np.array([0, 2, 3], np.int32)),
        ("texture_matrices", 1, np.array([0, 3, 1], np.int32)),
        ("texture_matrices", 1, np.array([0, 1, 8], np.int32)),
        ("texture_matrices", 3, np.array([1, 0])),
        ("texture_matrices", 4, np.array([1, 2, 2**40])),
        ("texture_matrices", 4, np.array([1, 3, 2])),
        ("texture_matrices", 9, np.zeros((3, 0, 2))),
        ("surface", 0, np.ones((2, 5, 5), np.bool_)),
        ("moments", 0, np.empty(0)),
    ],
)
def test_values_that_make_no_sense_are_refused(name: str, place: int, wrong: Any) -> None:
    arguments = arguments_of(name)
    arguments[place] = wrong
    with pytest.raises(ValueError):  # noqa: PT011
        getattr(compiled, name)(*arguments)


PLANTED = """
import sys
import numpy as np
{plant}
from pdl1es.features.extraction import extract_radiomics
from pdl1es.features import default_path

grid = np.indices((24, 24, 24)) - 12
found = extract_radiomics((grid[0] * 40).astype(np.int16), (grid**2).sum(axis=0) < 60)
print(default_path.DEFAULT.name, np.count_nonzero(np.isnan(found.values)), found.values.tobytes().hex())
print(default_path.WHY_NUMPY)
"""
NOT_BUILT = 'sys.modules["pdl1es.features.compiled"] = None'
DIFFERENT = """
from pdl1es.features import compiled
gradient = compiled.gradient
def halved(*arguments):
    gradient(*arguments)
    arguments[-1][:] /= 2
compiled.gradient = halved
"""


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (NOT_BUILT, "the compiled kernels were not built"),
        (DIFFERENT, "the compiled kernels are not used: the filter of gradient gives other values"),
    ],
    ids=["not built", "different"],
)
def test_numpy_computes_the_features_where_the_kernels_do_not(plant: str, reason: str) -> None:
    program = PLANTED.format(plant=plant)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, told = done.stdout.splitlines()
    grid = np.indices((24, 24, 24)) - 12
    expected = extract_radiomics((grid[0] * 40).astype(np.int16), (grid**2).sum(axis=0) < 60).values
    assert first.split() == ["numpy", "0", expected.tobytes().hex()]
    assert told == reason
    # A process that has set up no log sees the line on standard error.
    assert (reason in done.stderr) == (plant == DIFFERENT)
