"""The 1 mm grid placed differently: what a researcher is promised of a turned and a shifted grid."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pdl1es.grid.placement import place_mask
from pdl1es.grid.pose import GridPose, posed_hu, posed_mask, scan_along
from pdl1es.grid.resample import tumour_volume
from pdl1es.grid.source import TumourSource, read_source
from pdl1es.perturbation.perturbation import Perturbation
from pdl1es.perturbation.volume import perturbed_volume
from tests.unit.grid.stacks import Scan, make_mask, make_scan, noise, planes_of, ramp, sphere, tilted, turned

Z = np.arange(22) * 2.5
TUMOUR = sphere((1.2, 2.3, 6.4), 9.6)
GEOMETRIES = {
    "upright": {"z": Z},
    "oblique": {"z": Z, "axes": turned(10)},
    "tilted": {"z": Z / np.cos(np.radians(15)), "axes": tilted(15), "table": (0.0, 0.0, 1.0)},
    "stored otherwise": {"z": Z, "transposed": True, "flip_rows": True, "reverse": True},
    "the tumour near an edge": {"z": Z, "columns": 50, "rows": 48},
}


def source_of(scan: Scan) -> TumourSource:
    return read_source(place_mask(make_mask(TUMOUR, planes_of(scan)), scan.ct), scan.read_slice)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_without_a_change_the_volume_is_the_one_that_is_scored_to_the_bit(geometry: str) -> None:
    scan = make_scan(noise, **GEOMETRIES[geometry])
    usual = tumour_volume(place_mask(make_mask(TUMOUR, planes_of(scan)), scan.ct), scan.read_slice)
    volume = perturbed_volume(source_of(scan), Perturbation()).volume
    for field in dataclasses.fields(usual):
        if field.name != "whole_slice":
            found, expected = getattr(volume, field.name), getattr(usual, field.name)
            assert found is None if expected is None else np.array_equal(found, expected), field.name
    assert usual.hu.dtype == volume.hu.dtype


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shift_by_a_whole_millimetre_finds_the_same_voxels_one_node_lower(axis: int) -> None:
    source = source_of(make_scan(noise, Z))
    still = perturbed_volume(source, Perturbation()).volume
    shift = [0.0, 0.0, 0.0]
    shift[axis] = 1.0
    moved = perturbed_volume(source, Perturbation(translation_mm=(shift[0], shift[1], shift[2]))).volume
    assert np.array_equal(moved.hu, still.hu)
    assert np.array_equal(moved.mask, still.mask)
    assert [low - high for low, high in zip(still.origin, moved.origin, strict=True)] == shift


@pytest.mark.parametrize(
    ("degrees", "shift"), [(0.0, (0.25, 0.5, 0.75)), (4.0, (0.0, 0.0, 0.0)), (-17.0, (0.3, -0.6, 0.1))]
)
def test_a_ramp_has_its_own_value_at_every_node_of_a_turned_and_shifted_grid(
    degrees: float, shift: tuple[float, float, float]
) -> None:
    gradient = np.array([61.0, -83.0, 47.0])
    source = source_of(make_scan(ramp((61.0, -83.0, 47.0)), Z))
    pose = GridPose(degrees, shift, source.centre)
    low = (source.centre[0] - 8, source.centre[1] - 6, 1)
    hu, padding = posed_hu(source, pose, [(start, start + 12) for start in low])
    assert padding is None
    # An angle turns x towards y: written as complex numbers.
    z, y, x = np.indices(hu.shape)
    centre = complex(*source.centre)
    place = (
        ((x + low[0]) + 1j * (y + low[1]) - centre) * np.exp(1j * np.radians(degrees)) + centre + complex(*shift[:2])
    )
    points = np.stack([place.real, place.imag, z + low[2] + shift[2]], axis=-1)
    assert np.abs(hu - (points @ gradient + 5100.0)).max() <= 0.5 + 1e-3


def test_a_turned_tumour_is_the_tumour_turned() -> None:
    """A box of 24 x 12 mm, turned by 30 degrees, ends where its corners lie."""
    scan = make_scan(ramp(), Z, spacing=(0.5, 0.5), rows=140, columns=150)
    box = lambda p: (np.abs(p[..., 0]) <= 12) & (np.abs(p[..., 1]) <= 6) & (np.abs(p[..., 2] - 6) <= 7)  # noqa: E731
    source = read_source(place_mask(make_mask(box, planes_of(scan)), scan.ct), scan.read_slice)
    assert source.centre == (0, 0)
    straight, _ = posed_mask(source, GridPose(0.0, (0.0, 0.0, 0.0), source.centre))
    turned_mask, low = posed_mask(source, GridPose(30.0, (0.0, 0.0, 0.0), source.centre))
    _, y, x = np.nonzero(turned_mask)
    # The grid turns by 30 degrees, so on it the box lies turned by -30.
    widest = 12 * np.cos(np.radians(30)) + 6 * np.sin(np.radians(30))
    assert abs((x + low[0]).max() - widest) <= 1
    assert np.count_nonzero(turned_mask) == pytest.approx(np.count_nonzero(straight), rel=0.02)
    upper = (x + low[0])[(y + low[1]) == (y + low[1]).max()]
    assert upper.mean() < -3, "its upper corner lies to the left on the turned grid"


def test_the_slices_are_read_once_however_often_the_grid_is_placed() -> None:
    scan = make_scan(noise, Z)
    source = source_of(scan)
    read = list(scan.read)
    assert len(read) == len(set(read))
    for perturbation in (Perturbation(rotation_degrees=5.0), Perturbation(noise=True), Perturbation(volume_share=0.5)):
        perturbed_volume(source, perturbation)
    assert scan.read == read


def test_a_box_beyond_what_was_read_is_an_error_and_no_invention() -> None:
    source = source_of(make_scan(noise, np.arange(80) * 2.5))
    pose = GridPose(0.0, (0.0, 0.0, 0.0), source.centre)
    top = scan_along(source, pose)[1]
    with pytest.raises(ValueError, match="beyond the slices"):
        posed_hu(source, pose, [(0, 4), (0, 4), (top - 1, top)])
