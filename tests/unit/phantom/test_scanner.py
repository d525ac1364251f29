"""The phantom's scanner: what kernel, tube current and thickness do to the same chest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pdl1es.phantom.anatomy import Chest, ChestParameters, build_chest, place_tumour
from pdl1es.phantom.scanner import (
    KERNELS,
    ScanCrop,
    ScannerParameters,
    crop_around,
    draw_scanner,
    first_voxel,
    manufacturer_of,
    modulation_transfer,
    scan,
)
from pdl1es.phantom.tumour import TumourParameters

SMALL = ScannerParameters(matrix=256, pixel_spacing_mm=1.5)
AIR_CORNER = ScanCrop((50, 53), (0, 40), (0, 250))


@pytest.fixture(scope="module")
def chest() -> Chest:
    parameters = ChestParameters(seed=11)
    centre = place_tumour(np.random.default_rng(11), parameters, 30.0)
    return build_chest(parameters, TumourParameters(seed=11, centre=centre))


def _noise(chest: Chest, scanner: ScannerParameters) -> float:
    """Return the standard deviation where there is nothing but air (a little above the lower limit of the scale)."""
    return float(scan(chest, replace(scanner, hu_offset=400.0), seed=1, crop=AIR_CORNER).hu.std())


def test_noise_grows_with_a_sharper_kernel_and_falls_with_tube_current_and_thickness(chest: Chest) -> None:
    reference = _noise(chest, SMALL)
    assert reference == pytest.approx(SMALL.noise_hu, rel=0.05)
    assert _noise(chest, replace(SMALL, kernel="B30f")) < 0.5 * reference
    assert _noise(chest, replace(SMALL, tube_current_ma=800.0)) == pytest.approx(reference / 2, rel=0.05)
    assert _noise(chest, replace(SMALL, slice_thickness_mm=0.75)) == pytest.approx(reference * 2, rel=0.05)


def test_a_sharp_kernel_keeps_more_of_a_vessel_than_a_smooth_one(chest: Chest) -> None:
    """The same slice without noise to speak of: gradients are steeper with B60f than with B30f."""
    quiet = replace(SMALL, pixel_spacing_mm=0.75, matrix=512, tube_current_ma=1e9)
    crop = ScanCrop((50, 51), (150, 350), (80, 220))
    sharp, smooth = (
        np.abs(np.diff(scan(chest, replace(quiet, kernel=kernel), seed=1, crop=crop).hu.astype(float), axis=2)).max()
        for kernel in ("B60f", "B30f")
    )
    assert sharp > 1.2 * smooth


@pytest.mark.parametrize(("manufacturer", "kernel"), [(m, k) for m, kernels in KERNELS.items() for k in kernels])
def test_every_kernel_leaves_flat_regions_alone_and_halves_its_half_frequency(manufacturer: str, kernel: str) -> None:
    s = ScannerParameters(manufacturer=manufacturer, kernel=kernel)
    half = s.kernel_properties.half_frequency
    assert modulation_transfer(s, np.array([0.0, half])) == pytest.approx([1.0, 0.5])
    assert manufacturer_of(kernel) == manufacturer


def test_the_sharp_kernel_overshoots_slightly_and_the_smooth_one_does_not() -> None:
    frequency = np.linspace(0, 1, 400)
    assert 1.02 < modulation_transfer(SMALL, frequency).max() < 1.25
    assert modulation_transfer(replace(SMALL, kernel="B30f"), frequency).max() == 1.0


def test_a_small_field_of_view_shows_the_full_scans_voxels(chest: Chest) -> None:
    """So that a cohort of small volumes and the same cases as whole studies agree: within one HU."""
    assert chest.tumour is not None
    crop = crop_around(SMALL, chest.tumour.parameters.centre, (60.0, 60.0, 9.0))
    part = scan(chest, SMALL, seed=4, crop=crop)
    whole = scan(chest, SMALL, seed=4, crop=ScanCrop(crop.slices, (0, 256), (0, 256)))
    window = (slice(None), slice(*crop.rows), slice(*crop.columns))
    assert np.abs(whole.hu[window].astype(int) - part.hu).max() <= 1
    assert np.array_equal(whole.mask[window], part.mask)
    x0, y0, z0 = first_voxel(SMALL)
    assert part.origin == pytest.approx(
        (x0 + crop.columns[0] * 1.5, y0 + crop.rows[0] * 1.5, z0 + crop.slices[0] * 3.0)
    )


def test_the_number_of_threads_changes_nothing(chest: Chest) -> None:
    crop = ScanCrop((40, 46), (90, 150), (60, 190))
    one, four = (scan(chest, SMALL, seed=2, crop=crop, workers=workers) for workers in (1, 4))
    assert np.array_equal(one.hu, four.hu)


def test_the_mask_has_the_tumours_true_volume_within_three_per_cent(chest: Chest) -> None:
    assert chest.tumour is not None
    truth = chest.tumour.parameters
    made = scan(chest, SMALL, seed=1, crop=crop_around(SMALL, truth.centre, (60.0, 60.0, 60.0)))
    assert made.mask.sum() * np.prod(made.spacing) == pytest.approx(truth.volume_mm3, rel=0.03)


def test_thick_slices_blur_along_the_patient(chest: Chest) -> None:
    """The tumour's upper pole lies within a 5 mm slice: partly tumour, partly lung."""
    assert chest.tumour is not None
    x, y, z = chest.tumour.parameters.centre
    quiet = replace(SMALL, tube_current_ma=1e9, slice_spacing_mm=1.0)
    crop = crop_around(quiet, (x, y, z), (4.0, 4.0, 60.0))
    steep = []
    for thickness in (1.0, 5.0):
        line = scan(chest, replace(quiet, slice_thickness_mm=thickness), seed=1, crop=crop).hu.mean(axis=(1, 2))
        steep.append(np.abs(np.diff(line)).max())
    assert steep[1] < 0.6 * steep[0]


def test_overlapping_slices_share_noise(chest: Chest) -> None:
    overlapping = replace(SMALL, slice_spacing_mm=1.5, hu_offset=400.0)
    hu = scan(chest, overlapping, seed=3, crop=ScanCrop((90, 96), (0, 40), (0, 250))).hu.astype(float)
    neighbours = np.corrcoef(hu[0].ravel(), hu[1].ravel())[0, 1]
    assert neighbours == pytest.approx(0.5, abs=0.05)
    assert abs(np.corrcoef(hu[0].ravel(), hu[3].ravel())[0, 1]) < 0.05


def test_an_unknown_kernel_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(ValueError, match=r"B99x.*B60f"):
        manufacturer_of("B99x")
    with pytest.raises(ValueError, match="no kernel 'LUNG' of 'SIEMENS'"):
        ScannerParameters(kernel="LUNG")


def test_drawn_scanners_are_sharp_where_asked_and_differ() -> None:
    drawn = [draw_scanner(np.random.default_rng(seed)) for seed in range(60)]
    assert all(s.kernel_properties.sharp for s in drawn)
    assert len({s.manufacturer for s in drawn}) >= 3
    assert {s.slice_thickness_mm >= 5 for s in drawn} == {True, False}
    assert not draw_scanner(np.random.default_rng(1), sharp=False).kernel_properties.sharp
