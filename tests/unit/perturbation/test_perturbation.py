"""What a researcher is promised of perturbations of image and contour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from pdl1es.errors import Refusal, RefusalCode
from pdl1es.grid.placement import place_mask
from pdl1es.grid.source import TumourSource, read_source
from pdl1es.perturbation.contour import changed_volume, randomised_contour
from pdl1es.perturbation.noise import noise_level, noisy
from pdl1es.perturbation.perturbation import Perturbation, perturbations
from pdl1es.perturbation.volume import perturbed_volume
from tests.unit.grid.stacks import make_mask, make_scan, planes_of, sphere

Z = np.arange(22) * 2.5
CENTRE = (1.2, 2.3, 6.4)


def tissue(points: np.ndarray) -> np.ndarray:
    """Return a tumour of 40 HU in lung of -800 HU."""
    return np.where(sphere(CENTRE, 9.6)(points), 40, -800).astype(np.int16)


def source_of(
    values: Callable[[np.ndarray], np.ndarray] = tissue, radius: float = 9.6, **scan_options: Any
) -> TumourSource:
    scan = make_scan(values, Z, **scan_options)
    return read_source(place_mask(make_mask(sphere(CENTRE, radius), planes_of(scan)), scan.ct), scan.read_slice)


# --- noise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [5.0, 20.0, 60.0])
def test_noise_that_was_added_is_estimated_as_what_it_is(level: float) -> None:
    clean = source_of()
    assert noise_level(clean) == pytest.approx(0.0, abs=1e-9), "an edge is no noise"
    # The edge and the sample's own scatter: a few per cent.
    assert noise_level(noisy(clean, level, seed=3)) == pytest.approx(level, rel=0.05)


def test_added_noise_has_the_level_that_is_asked_for_and_repeats_with_its_seed() -> None:
    clean = source_of()
    added = [noisy(clean, 30.0, seed).slices for seed in (7, 7, 8)]
    differences = np.concatenate([(added[0][i].hu - clean.slices[i].hu).ravel() for i in clean.slices])
    assert differences.std() == pytest.approx(30.0, rel=0.02)
    assert differences.mean() == pytest.approx(0.0, abs=0.5)
    for index in clean.slices:
        assert added[0][index].hu.tobytes() == added[1][index].hu.tobytes()
        assert not np.array_equal(added[0][index].hu, added[2][index].hu)


def test_a_slices_noise_does_not_depend_on_the_slices_that_were_read_beside_it() -> None:
    whole, part = source_of(), source_of(radius=5.0)
    shared = sorted(set(whole.slices) & set(part.slices))[3]
    level = noisy(whole, 10.0, seed=1).slices[shared].hu - whole.slices[shared].hu
    other = noisy(part, 10.0, seed=1).slices[shared].hu - part.slices[shared].hu
    assert level.shape == other.shape
    assert np.allclose(level, other)


def test_padding_stays_air_under_noise() -> None:
    def padded(points: np.ndarray) -> np.ndarray:
        return np.where(points[..., 0] > 14.0, -3024, tissue(points)).astype(np.int16)

    volume = perturbed_volume(source_of(padded), Perturbation(noise=True, noise_hu=50.0)).volume
    assert volume.padding is not None
    wholly = volume.padding & ~binary_dilation(~volume.padding, iterations=2)
    assert wholly.any()
    assert set(volume.hu[wholly]) == {-1024}


def test_nothing_is_less_dense_than_air_under_noise() -> None:
    air = lambda points: np.where(sphere(CENTRE, 9.6)(points), 40, -1020).astype(np.int16)  # noqa: E731
    volume = perturbed_volume(source_of(air), Perturbation(noise=True, noise_hu=100.0)).volume
    assert volume.hu.min() == -1024


# --- the contour -----------------------------------------------------------------------------------------------------


def ball(radius: float = 12.0, size: int = 45) -> np.ndarray:
    z, y, x = np.indices((size, size, size)) - size // 2
    return z**2 + y**2 + x**2 <= radius**2


@pytest.mark.parametrize("share", [-0.5, -0.15, -0.01, 0.01, 0.15, 0.5])
def test_a_changed_volume_is_what_was_asked_for_and_lies_on_the_old_rim(share: float) -> None:
    mask = ball()
    changed = changed_volume(mask, share, np.random.default_rng(0))
    assert np.count_nonzero(changed) == int(np.floor(np.count_nonzero(mask) * (1 + share)))
    assert (mask & ~changed).any() == (share < 0)
    assert (changed & ~mask).any() == (share > 0)
    # A ball's radius changes by less than 3 mm of 12 for half of its volume.
    assert not (changed & ~binary_dilation(mask, iterations=3)).any()
    assert not (binary_erosion(mask, iterations=4) & ~changed).any()


def test_a_mask_without_room_is_an_error() -> None:
    with pytest.raises(ValueError, match="no room"):
        changed_volume(np.ones((4, 4, 4), dtype=bool), 0.2, np.random.default_rng(0))


def test_a_contour_drawn_anew_follows_the_images_own_edge_and_repeats_with_its_seed() -> None:
    """The contour lies 1 mm outside of a ball of 12 mm, whose edge the supervoxels show."""
    shown, mask = ball(), ball(13.0)
    noise = np.random.default_rng(5).normal(0, 15, mask.shape)
    drawn = [
        randomised_contour((np.where(inside, 40, -800) + noise).astype(np.int16), mask, np.random.default_rng(seed))
        for inside in (shown, np.ones_like(shown))
        for seed in (1, 1, 2, 3)
    ]
    assert np.array_equal(drawn[0], drawn[1])
    overlaps = [2 * np.count_nonzero(one & shown) / (np.count_nonzero(one) + np.count_nonzero(shown)) for one in drawn]
    assert min(overlaps[:4]) > max(overlaps[4:]), "with an edge, always nearer to it than without one"


def test_where_the_image_has_no_edge_contours_drawn_anew_differ_but_keep_the_core() -> None:
    mask = ball()
    hu = np.random.default_rng(5).normal(40, 15, mask.shape).astype(np.int16)
    drawn = [randomised_contour(hu, mask, np.random.default_rng(seed)) for seed in range(4)]
    assert len({one.tobytes() for one in drawn}) == 4
    core = binary_erosion(mask, iterations=9)
    assert all(one[core].all() for one in drawn)
    far = ~binary_dilation(mask, iterations=12)
    assert not any(one[far].any() for one in drawn)


# --- together --------------------------------------------------------------------------------------------------------


def test_the_same_perturbation_gives_the_same_bytes_and_another_seed_others() -> None:
    source = source_of()
    everything: dict[str, Any] = {
        "rotation_degrees": 4.0,
        "translation_mm": (0.25, 0.5, 0.75),
        "noise": True,
        "noise_hu": 12.0,
    }
    one, again, other = (
        perturbed_volume(source, Perturbation(**everything, volume_share=0.1, redraw_contour=True, seed=seed)).volume
        for seed in (2, 2, 3)
    )
    assert one.hu.tobytes() == again.hu.tobytes()
    assert one.mask.tobytes() == again.mask.tobytes()
    assert one.hu.tobytes() != other.hu.tobytes()


def test_the_volume_holds_what_the_features_look_at_around_a_grown_contour() -> None:
    volume = perturbed_volume(source_of(), Perturbation(volume_share=0.5)).volume
    for axis in range(3):
        occupied = np.flatnonzero(volume.mask.any(axis=tuple({0, 1, 2} - {axis})))
        assert occupied[0] >= 11
        assert volume.mask.shape[axis] - 1 - occupied[-1] >= 11


def test_a_tumour_of_which_too_little_is_left_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        perturbed_volume(source_of(radius=3.0), Perturbation(volume_share=-0.5))
    assert refused.value.code is RefusalCode.TUMOUR_TOO_SMALL


# --- the list --------------------------------------------------------------------------------------------------------


def test_rtnc_is_every_angle_with_every_translation_with_noise_and_a_contour_of_its_own() -> None:
    found = perturbations("RTNC", seed=5)
    assert len(found) == 2 * 8
    assert len({one.seed for one in found}) == 16
    assert {one.rotation_degrees for one in found} == {-4.0, 4.0}
    assert len({one.translation_mm for one in found}) == 8
    assert all(one.noise and one.redraw_contour and not one.volume_share for one in found)
    assert found == perturbations("CNTR", seed=5)
    assert found != perturbations("RTNC", seed=6)


def test_the_papers_own_choice_and_repeated_noise() -> None:
    assert len(perturbations("NTVC")) == 8 * 2
    repeated = perturbations("N", repetitions=5)
    assert len({one.seed for one in repeated}) == len(repeated) == 5


@pytest.mark.parametrize("kinds", ["", "X", "RR", "R T"])
def test_letters_that_are_none_are_told(kinds: str) -> None:
    with pytest.raises(ValueError, match="letters of NRTVC"):
        perturbations(kinds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rotation_degrees": 46.0},
        {"rotation_degrees": float("nan")},
        {"translation_mm": (0.0, 0.0, 1.1)},
        {"translation_mm": (0.0, 0.0)},
        {"volume_share": -0.6},
        {"noise_hu": 10.0},
        {"noise": True, "noise_hu": -1.0},
        {"noise": True, "noise_hu": float("inf")},
        {"noise": True, "noise_hu": 1001.0},
        {"seed": -1},
        {"seed": 1.5},
        {"seed": True},
        {"seed": "1"},
    ],
)
def test_a_perturbation_out_of_range_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"must be|may not be|needs"):
        Perturbation(**wrong)
