"""The phantom's chest and tumour in continuous space."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pdl1es.phantom.anatomy import (
    ChestParameters,
    build_chest,
    draw_chest,
    lung_clearance,
    place_tumour,
)
from pdl1es.phantom.rendering import render_planes
from pdl1es.phantom.shapes import PlaneGrid, plane_grid, polyline, random_field, sphere_directions
from pdl1es.phantom.tumour import TumourParameters, build_tumour, draw_tumour

CHEST = ChestParameters(seed=3)


def _grid(pixel: float = 1.5, half: float = 190.0) -> PlaneGrid:
    axis = np.arange(-half, half + pixel / 2, pixel)
    return plane_grid(axis, axis + 12.0)


def _at(image: np.ndarray, grid: PlaneGrid, x: float, y: float) -> float:
    row, column = int(np.argmin(abs(grid.y - y))), int(np.argmin(abs(grid.x - x)))
    return float(np.median(image[row - 2 : row + 3, column - 2 : column + 3]))


def test_organs_lie_where_a_radiologist_expects_them_with_their_hounsfield_units() -> None:
    """Level of the carina and level of the liver; x grows to the patient's left, y to the back."""
    grid = _grid()
    chest = build_chest(CHEST)
    upper, lower = render_planes(chest, grid, [25.0, -150.0])
    assert _at(upper, grid, 2, 20) == pytest.approx(-985, abs=25)  # carina
    assert -900 < _at(upper, grid, -80, 0) < -820  # right lung
    assert -900 < _at(upper, grid, 80, 0) < -820  # left lung
    assert _at(upper, grid, -12, -26) == pytest.approx(CHEST.blood_hu, abs=10)  # ascending aorta, on the right
    assert _at(upper, grid, 25, 38) == pytest.approx(CHEST.blood_hu, abs=10)  # descending aorta, on the left
    assert 85 < _at(upper, grid, 0, 66) < 320  # vertebral body
    assert _at(upper, grid, 185, 195) == -1000  # air around
    assert _at(lower, grid, -70, 0) == pytest.approx(105, abs=15)  # liver, on the right
    assert _at(lower, grid, 62, -55) < -900  # air in the stomach lies in front: the patient is supine


def test_there_is_no_air_inside_the_body_but_in_lungs_airways_and_stomach() -> None:
    grid = _grid()
    for z in (120.0, 60.0, 0.0, -60.0, -110.0):
        image = render_planes(build_chest(CHEST), grid, [z])[0]
        body = image > -950
        columns = np.flatnonzero(body.any(axis=0))
        assert 260 < np.ptp(grid.x[columns]) < 420
        assert not body[0].any()
        assert not body[:, 0].any()


def test_the_same_seed_gives_the_same_chest_and_another_seed_another() -> None:
    grid = _grid(3.0)
    one, again = (render_planes(build_chest(CHEST), grid, [-20.0])[0] for _ in range(2))
    other = render_planes(build_chest(replace(CHEST, seed=4)), grid, [-20.0])[0]
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("seed", range(6))
def test_a_drawn_tumour_finds_room_inside_a_lung(seed: int) -> None:
    """Every point of a 30 mm ball about the centre lies in a lung of every drawn chest."""
    rng = np.random.default_rng(seed)
    chest = draw_chest(rng, female=bool(seed % 2))
    centre = np.array(place_tumour(rng, chest, 30.0))
    assert (lung_clearance(chest, centre + 15.0 * sphere_directions(200)) > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_tumours_volume_is_that_of_its_ellipsoid_whatever_its_lobes(seed: int) -> None:
    """Checked by counting points on a fine lattice, which is not how the tumour sets its scale."""
    p = draw_tumour(np.random.default_rng(seed), diameter_mm=24.0)
    tumour = build_tumour(p)
    step = 0.5
    axis = np.arange(-20, 20, step, dtype=np.float32)
    inside = sum(tumour.core_mask(axis, axis, float(z)).sum() for z in axis)
    a, b, c = p.semi_axes
    assert inside * step**3 == pytest.approx(4 / 3 * np.pi * a * b * c, rel=0.01)


def test_the_border_factor_moves_tissue_but_neither_adds_nor_removes_any() -> None:
    """Spicules and halo: the mean over the rim is the same within 12 HU of some 900, its pattern is not; the mask is one."""
    grid = plane_grid(np.arange(-30, 30.1, 0.75), np.arange(-30, 30.1, 0.75))
    heights = [float(z) for z in np.arange(-28, 28.1, 1.0)]
    means, spreads, masks = [], [], []
    for spiculation in (0.0, 1.0):
        tumour = build_tumour(TumourParameters(seed=5, centre=(0.0, 0.0, 0.0), spiculation=spiculation, texture_sd=0))
        planes, rims = [], []
        for z in heights:
            image = np.full((len(grid.y), len(grid.x)), -860, np.float32)
            tumour.paint(image, grid, z, np.ones_like(image))
            distance = tumour.core_distance(grid.x[None], grid.y[:, None], z)
            planes.append(image)
            rims.append((distance > 1.0) & (distance < 6.0))
        values = np.stack(planes)[np.stack(rims)]
        means.append(values.mean())
        spreads.append(values.std())
        masks.append(np.stack([tumour.core_mask(grid.x, grid.y, z) for z in heights]))
    assert means[0] == pytest.approx(means[1], abs=12)
    assert spreads[1] > 2 * spreads[0]
    assert np.array_equal(masks[0], masks[1])


def test_the_inner_factor_changes_no_mean_and_nothing_at_the_border() -> None:
    grid = plane_grid(np.arange(-20, 20.1, 0.75), np.arange(-20, 20.1, 0.75))
    weak, strong = (
        build_tumour(
            TumourParameters(
                seed=8, centre=(0.0, 0.0, 0.0), texture_sd=sd, texture_length=length, necrosis=dark, spiculation=0.5
            )
        )
        for sd, length, dark in ((4.0, 1.6, 0.0), (28.0, 4.0, 30.0))
    )
    inside: dict[str, list[np.ndarray]] = {"weak": [], "strong": []}
    for z in np.arange(-15, 15.1, 0.75):
        images = {}
        for name, tumour in (("weak", weak), ("strong", strong)):
            images[name] = np.full((len(grid.y), len(grid.x)), -860, np.float32)
            tumour.paint(images[name], grid, float(z), np.ones_like(images[name]))
            inside[name].append(images[name][tumour.core_distance(grid.x[None], grid.y[:, None], float(z)) < -0.5])
        outside = weak.core_distance(grid.x[None], grid.y[:, None], float(z)) > 0.5
        assert np.allclose(images["weak"][outside], images["strong"][outside], atol=1e-3)
    means = [float(np.concatenate(inside[name]).mean()) for name in ("weak", "strong")]
    spreads = [float(np.concatenate(inside[name]).std()) for name in ("weak", "strong")]
    assert means[0] == pytest.approx(means[1], abs=1.5)
    assert spreads[1] > 3 * spreads[0]


def test_latent_factors_map_monotonically_and_to_nothing_else() -> None:
    def drawn(border: float, inner: float) -> TumourParameters:
        return draw_tumour(np.random.default_rng(1), border=border, inner=inner)

    assert drawn(-1, 0).spiculation < drawn(0, 0).spiculation < drawn(1, 0).spiculation
    assert drawn(0, -1).texture_sd < drawn(0, 1).texture_sd
    assert drawn(0, -1).texture_length < drawn(0, 1).texture_length
    assert replace(drawn(-1, 0), spiculation=0) == replace(drawn(2, 0), spiculation=0)
    quiet: dict[str, Any] = {"texture_sd": 0.0, "texture_length": 1.0, "necrosis": 0.0}
    assert replace(drawn(0, -1), **quiet) == replace(drawn(0, 2), **quiet)


def test_a_tubes_distance_on_a_plane_equals_its_distance_at_points() -> None:
    """Two ways of working it out: boxes of pixels, and every point against every capsule."""
    tube = polyline([(0, 0, -20), (5, 8, 0), (-10, 3, 15)], [4, 3, 1])
    grid = plane_grid(np.arange(-25, 25.0), np.arange(-20, 20.0))
    x, y = np.meshgrid(grid.x, grid.y)
    for z in (-22.0, -3.0, 0.0, 14.0):
        points = np.stack([x.ravel(), y.ravel(), np.full(x.size, z)], axis=1)
        expected = np.minimum(tube.distance_to_points(points), 6.0).reshape(x.shape)
        assert np.allclose(tube.distance_to_plane(grid, z, 6.0), expected, atol=1e-4)


def test_a_random_field_is_one_function_of_space_with_unit_variance() -> None:
    field = random_field(np.random.default_rng(2), 48, 2.0)
    x, y = np.arange(0, 96, 0.9, dtype=np.float32), np.arange(0, 90, 1.1, dtype=np.float32)
    plane = field.in_plane(x, y, 7.3)
    gx, gy = np.meshgrid(x, y)
    points = np.stack([gx.ravel(), gy.ravel(), np.full(gx.size, 7.3)], axis=1)
    assert np.allclose(plane.ravel(), field.at_points(points), atol=1e-4)
    everywhere = field.at_points(np.random.default_rng(0).uniform(0, 96, (40_000, 3)))
    assert everywhere.std() == pytest.approx(1.0, abs=0.03)
