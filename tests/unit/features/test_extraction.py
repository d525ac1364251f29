"""The 1316 features are pyradiomics', on any tumour, whatever surrounds it, and nothing is said or left behind."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK
import yaml
from numpy.typing import NDArray
from radiomics.featureextractor import RadiomicsFeatureExtractor

from pdl1es.features import default_path, extraction_path
from pdl1es.features.extraction import extract_radiomics
from pdl1es.features.extraction_path import ExtractionPath
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.features.settings_file import radiomics_settings_text
from pdl1es.method import RADIOMICS_MARGIN_MM
from tests.unit.features.stock import stock_features
from tests.unit.features.tumours import KINDS, Array, Tumour, assert_same_features, synthetic_tumour

Reference = Callable[[NDArray[np.int16], NDArray[np.bool_]], Array]


def test_the_names_are_what_pyradiomics_gives_at_the_methods_settings(tumour: Tumour) -> None:
    extractor = RadiomicsFeatureExtractor(yaml.safe_load(radiomics_settings_text()))
    result = extractor.execute(
        SimpleITK.GetImageFromArray(tumour.hu), SimpleITK.GetImageFromArray(tumour.mask.astype(np.uint8))
    )
    assert {name for name in result if not name.startswith("diagnostics")} == set(FEATURE_NAMES)
    assert len(FEATURE_NAMES) == len(set(FEATURE_NAMES)) == 1316


@pytest.mark.parametrize("number", range(2 * len(KINDS)))
def test_every_feature_is_pyradiomics_own_on_random_tumours(number: int, pyradiomics_features: Reference) -> None:
    case = synthetic_tumour(number)
    assert_same_features(extract_radiomics(case.hu, case.mask).values, pyradiomics_features(case.hu, case.mask))


def test_a_larger_array_changes_no_feature(tumour: Tumour) -> None:
    """The chain may read more of the scan than the margin; the values are the same bytes."""
    margin = RADIOMICS_MARGIN_MM
    around = ((margin, margin + 3), (margin + 1, margin), (margin, margin + 7))
    hu = np.pad(tumour.hu, around, constant_values=-321)
    mask = np.pad(tumour.mask, around)
    beyond = ((5, 0), (2, 9), (40, 1))
    larger = np.pad(hu, beyond, constant_values=3000)
    assert (
        extract_radiomics(larger, np.pad(mask, beyond)).values.tobytes() == extract_radiomics(hu, mask).values.tobytes()
    )


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(tumour: Tumour, threads: int) -> None:
    alone = extract_radiomics(tumour.hu, tumour.mask, threads=1).values
    assert extract_radiomics(tumour.hu, tumour.mask, threads=threads).values.tobytes() == alone.tobytes()


def test_the_layout_of_the_arrays_in_memory_changes_no_bit(tumour: Tumour) -> None:
    """A view of a larger array, or Fortran order, as a caller may hold it."""
    expected = extract_radiomics(tumour.hu, tumour.mask).values.tobytes()
    assert extract_radiomics(np.asfortranarray(tumour.hu), np.asfortranarray(tumour.mask)).values.tobytes() == expected
    assert extract_radiomics(np.repeat(tumour.hu, 2, axis=0)[::2], tumour.mask).values.tobytes() == expected


@pytest.mark.parametrize("path", [extraction_path.NUMPY, default_path.DEFAULT], ids=lambda path: path.name)
@pytest.mark.parametrize("value", [2, 255])
def test_a_segmentation_of_2_or_255_seen_as_bool_is_the_same_tumour(
    tumour: Tumour, value: int, path: ExtractionPath
) -> None:
    """``view(bool)`` keeps the bytes, with which numpy and compiled code would count."""
    bytes_kept = (tumour.mask * np.uint8(value)).view(np.bool_)
    found = extract_radiomics(tumour.hu, bytes_kept, path=path).values.tobytes()
    assert found == extract_radiomics(tumour.hu, tumour.mask).values.tobytes()
    labels = tumour.mask * np.int32(value)
    assert extract_radiomics(tumour.hu, labels, path=path).values.tobytes() == found  # type: ignore[arg-type]
    assert path.shape_features(bytes_kept).tobytes() == path.shape_features(tumour.mask).tobytes()
    assert bytes_kept.view(np.uint8).max() == value, "the caller's array is left as it was"


def test_the_arrays_are_left_as_they_were(tumour: Tumour) -> None:
    hu, mask = tumour.hu.copy(), tumour.mask.copy()
    hu.flags.writeable = mask.flags.writeable = False
    extract_radiomics(hu, mask)
    assert np.array_equal(hu, tumour.hu)
    assert np.array_equal(mask, tumour.mask)


@pytest.mark.parametrize("kind", ["blob", "no two neighbours", "thin scan", "constant"])
@pytest.mark.filterwarnings("error")
def test_nothing_is_logged_printed_or_warned(
    kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    case = synthetic_tumour(KINDS.index(kind))
    logging.getLogger("radiomics").setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG):
        extract_radiomics(case.hu, case.mask)
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert capfd.readouterr() == ("", "")


def test_pyradiomics_loggers_are_left_as_they_were(tumour: Tumour) -> None:
    def state() -> list[tuple[str, int, bool, bool, int]]:
        names = [name for name in logging.root.manager.loggerDict if name.startswith("radiomics")]
        loggers = [logging.getLogger(name) for name in sorted(names)]
        return [(one.name, one.level, one.disabled, one.propagate, len(one.handlers)) for one in loggers]

    before = state()
    extract_radiomics(tumour.hu, tumour.mask)
    assert state() == before


def test_an_axis_under_four_voxels_costs_the_279_features_of_the_laplacian_of_gaussian() -> None:
    case = synthetic_tumour(KINDS.index("thin scan"))
    missing = np.isnan(extract_radiomics(case.hu, case.mask).values)
    assert missing.sum() == 279
    assert all("log-sigma" in FEATURE_NAMES[index] for index in np.flatnonzero(missing))


def test_a_line_of_voxels_has_no_features(tumour: Tumour) -> None:
    """pyradiomics refuses a mask that extends along fewer than two axes."""
    mask = np.zeros_like(tumour.mask)
    mask[5, 6, 3:9] = True
    assert np.isnan(extract_radiomics(tumour.hu, mask).values).all()
    mask[5, 6, 4:] = False
    assert np.isnan(extract_radiomics(tumour.hu, mask).values).all()


def test_an_image_of_zeros_costs_the_filters_that_divide_by_its_maximum(pyradiomics_features: Reference) -> None:
    mask = synthetic_tumour(0).mask
    hu = np.zeros(mask.shape, dtype=np.int16)
    ours = extract_radiomics(hu, mask).values
    assert_same_features(ours, pyradiomics_features(hu, mask))
    lost = {FEATURE_NAMES[index].split("_")[0] for index in np.flatnonzero(np.isnan(ours))}
    assert lost == {"square", "logarithm", "exponential"}


@pytest.mark.parametrize("path", [extraction_path.NUMPY, default_path.DEFAULT], ids=lambda path: path.name)
def test_one_voxel_of_metal_whose_bins_leave_int16_costs_the_features_of_the_image(path: ExtractionPath) -> None:
    """pyradiomics fails there; its bins wrap around and would put every voxel into one."""
    mask = np.zeros((6, 10, 10), dtype=np.bool_)
    mask[1:5, 2:8, 2:8] = True
    hu = np.random.default_rng(0).normal(0, 60, mask.shape).astype(np.int16)
    hu[1, 2, 2], hu[3, 4, 4] = -1000, 31743
    values = extract_radiomics(hu, mask, path=path).values
    missing = [name for name, value in zip(FEATURE_NAMES, values, strict=True) if np.isnan(value)]
    of_image = [name for name in FEATURE_NAMES if name.startswith("original_") and "_shape_" not in name]
    assert [name for name in missing if name.startswith("original_")] == of_image
    with np.errstate(over="ignore"), pytest.raises(IndexError, match="NGTDM"):
        stock_features("ngtdm", hu, mask, binWidth=25)


@pytest.mark.parametrize(
    ("hu", "mask", "message"),
    [
        (np.zeros((4, 4, 4), np.int16), np.zeros((4, 4, 4), bool), "empty"),
        (np.zeros((4, 4, 4), np.int16), np.ones((4, 4, 5), bool), "one shape"),
        (np.zeros((4, 4), np.int16), np.ones((4, 4), bool), "one shape"),
    ],
)
def test_arrays_that_do_not_fit_are_named(hu: NDArray[np.int16], mask: NDArray[np.bool_], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extract_radiomics(hu, mask)
