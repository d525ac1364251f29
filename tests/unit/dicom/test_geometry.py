"""Planes in the patient's coordinates: what is refused, and that storage changes nothing."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.valuerep import format_number_as_ds

from pdl1es.dicom.geometry import (
    QUANTUM_MM,
    SlicePlane,
    angle_degrees,
    canonical_axes,
    canonical_plane_coordinates,
    create_slice_plane,
    lies_across,
    normal_vector,
    position_along,
    quantise,
    stack_axes,
    to_canonical,
)
from pdl1es.errors import Refusal, RefusalCode

ROWS, COLUMNS = 5, 7
UID = "1.2.3.4.5"


def plane_of(**changes: Any) -> SlicePlane:
    values: dict[str, Any] = {
        "position": ["-125.5", "-163.019", "-838"],
        "orientation": [1, 0, 0, 0, 1, 0],
        "pixel_spacing": [0.9766, 0.9766],
        "rows": ROWS,
        "columns": COLUMNS,
        "uid": UID,
    }
    return create_slice_plane(**{**values, **changes})


def stored_otherwise(
    corner: tuple[str, str, str], step_x: str, step_y: str, transposed: bool, flip_x: bool, flip_y: bool
) -> tuple[SlicePlane, np.ndarray]:
    """Return one axial image of 5 x 7 pixels as another device may store it, its corner computed exactly."""
    x, y, z = (Decimal(text) for text in corner)
    x += (COLUMNS - 1) * Decimal(step_x) if flip_x else 0
    y += (ROWS - 1) * Decimal(step_y) if flip_y else 0
    along_x, along_y = [-1 if flip_x else 1, 0, 0], [0, -1 if flip_y else 1, 0]
    pixels = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    plane = create_slice_plane(
        position=[str(x), str(y), str(z)],
        orientation=along_y + along_x if transposed else along_x + along_y,
        pixel_spacing=[step_x, step_y] if transposed else [step_y, step_x],
        rows=COLUMNS if transposed else ROWS,
        columns=ROWS if transposed else COLUMNS,
        uid=UID,
    )
    return plane, pixels.T if transposed else pixels


@pytest.mark.parametrize(
    ("corner", "step_x", "step_y"),
    [
        (("-250", "-163.019", "-838"), "0.9766", "0.9766"),
        # seven decimals, odd last digits: their sums lie on the ties of a decimal rounding to 1e-6
        (("-125.0000001", "-123.5404569", "5.8360586"), "0.4882811", "0.4882813"),
        (("-174.39450073242", "-79.625503540039", "76.5999984741211"), "0.97699999809265", "0.97699999809265"),
    ],
)
def test_one_image_has_the_same_coordinates_and_pixels_however_it_is_stored(
    corner: tuple[str, str, str], step_x: str, step_y: str
) -> None:
    """Mirrored, turned and transposed storage: the same bytes of axes, coordinates and canonical pixels."""
    seen = set()
    for transposed, flip_x, flip_y in itertools.product((False, True), repeat=3):
        plane, pixels = stored_otherwise(corner, step_x, step_y, transposed, flip_x, flip_y)
        axes = canonical_axes(plane)
        x, y, z = canonical_plane_coordinates(plane, axes)
        canonical = to_canonical(pixels, plane, axes)
        assert canonical.shape == (ROWS, COLUMNS) == (len(y), len(x))
        seen.add((axes.tobytes(), x.tobytes(), y.tobytes(), z, canonical.tobytes()))
    assert len(seen) == 1


def test_a_tilted_image_has_the_same_coordinates_when_its_rows_are_stored_from_the_other_end() -> None:
    """Written as decimal strings of 16 characters, where a minus sign costs a digit."""
    up, forth = math.sin(math.radians(17.3)), math.cos(math.radians(17.3))
    seen = set()
    for flipped in (False, True):
        sign, rows = (-1, 511) if flipped else (1, 0)
        corner = [-123.5404569, -98.7654321 + rows * 0.7031251 * forth, -838.1234567 + rows * 0.7031251 * up]
        plane = plane_of(
            position=[format_number_as_ds(value) for value in corner],
            orientation=[format_number_as_ds(float(value)) for value in (1, 0, 0, 0, sign * forth, sign * up)],
            pixel_spacing=["0.7031251", "0.4882812"],
            rows=512,
        )
        axes = canonical_axes(plane)
        x, y, z = canonical_plane_coordinates(plane, axes)
        seen.add((x.tobytes(), y.tobytes(), z))
        assert axes[1] == pytest.approx([0.0, forth, up], abs=1e-13)
    assert len(seen) == 1


def test_coordinates_are_those_of_the_standard_and_ascend() -> None:
    """PS3.3 equation C.7.6.2.1-1: column i lies at the position plus i times the spacing between columns."""
    x, y, z = canonical_plane_coordinates(plane_of(pixel_spacing=[2.0, 0.5]), np.eye(3))
    assert x == pytest.approx([-125.5 + 0.5 * i for i in range(COLUMNS)], abs=1e-6)
    assert y == pytest.approx([-163.019 + 2.0 * j for j in range(ROWS)], abs=1e-6)
    assert z == -838.0


def test_a_tilted_plane_lies_at_its_distance_along_its_own_normal() -> None:
    """A real header (GE, tilt 18.5 degrees): 4.22 mm of table are 4.00 mm between planes."""
    tilted = {"orientation": [1, 0, 0, 0, 0.9483237, -0.3173047]}
    first = plane_of(position=[-125, -123.5404569, 5.8360586], **tilted)
    second = plane_of(position=[-125, -123.5404569, 10.0560586], **tilted)
    normal = canonical_axes(first)[2]
    assert position_along(second, normal) - position_along(first, normal) == pytest.approx(4.00193, abs=1e-4)
    assert angle_degrees(normal, np.array([0.0, 0.0, 1.0])) == pytest.approx(18.5, abs=1e-3)


def test_the_canonical_axes_of_a_sagittal_and_a_coronal_image_are_the_patients() -> None:
    assert canonical_axes(plane_of(orientation=[0, 1, 0, 0, 0, -1])) == pytest.approx(np.eye(3))
    assert canonical_axes(plane_of(orientation=[1, 0, 0, 0, 0, -1])) == pytest.approx(np.eye(3))


def test_a_stack_is_laid_out_along_its_normal_and_an_axial_one_along_the_canonical_axes() -> None:
    coronal = plane_of(orientation=[1, 0, 0, 0, 0, -1])
    assert stack_axes(coronal) == pytest.approx(np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]]))
    assert lies_across(coronal, stack_axes(coronal))
    assert np.array_equal(stack_axes(plane_of()), canonical_axes(plane_of()))


def test_the_normal_is_the_cross_product_of_row_and_column_direction() -> None:
    assert normal_vector(plane_of()).tolist() == [0.0, 0.0, 1.0]
    assert normal_vector(plane_of(orientation=[0, 1, 0, 1, 0, 0])).tolist() == [0.0, 0.0, -1.0]


def test_a_plane_that_is_not_across_the_axes_has_no_coordinates_on_them() -> None:
    sagittal = plane_of(orientation=[0, 1, 0, 0, 0, -1])
    assert not lies_across(sagittal, np.eye(3))
    with pytest.raises(ValueError, match="across"):
        canonical_plane_coordinates(sagittal, np.eye(3))
    with pytest.raises(ValueError, match="across"):
        to_canonical(np.zeros((ROWS, COLUMNS)), sagittal, np.eye(3))


def test_pixels_of_another_size_than_the_plane_are_an_error() -> None:
    with pytest.raises(ValueError, match="shape"):
        to_canonical(np.zeros((COLUMNS, ROWS)), plane_of(), np.eye(3))


def test_directions_of_nearly_unit_length_are_normalised() -> None:
    plane = plane_of(orientation=[0.9999, 0, 0, 0, 1.0001, 0])
    assert plane.row_direction == (1.0, 0.0, 0.0)
    assert plane.column_direction == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("change", "tag"),
    [
        ({"position": None}, "ImagePositionPatient (0020,0032)"),
        ({"position": []}, "ImagePositionPatient (0020,0032)"),
        ({"orientation": None}, "ImageOrientationPatient (0020,0037)"),
        ({"pixel_spacing": ""}, "PixelSpacing (0028,0030)"),
        ({"rows": None}, "Rows (0028,0010)"),
        ({"columns": None}, "Columns (0028,0011)"),
    ],
)
def test_an_image_without_a_place_is_refused_with_tag_and_uid(change: dict[str, Any], tag: str) -> None:
    with pytest.raises(Refusal) as caught:
        plane_of(**change)
    assert (caught.value.code, caught.value.tag, caught.value.uid) == (RefusalCode.GEOMETRY_MISSING, tag, UID)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ({"position": [1, 2]}, "1\\2"),
        ({"position": [1, 2, float("nan")]}, "1\\2\\nan"),
        ({"position": [1, 2, 1e9]}, "1\\2\\1e+09"),
        ({"position": ["Doe^Jane", "0", "0"]}, "not a number"),
        ({"orientation": [1, 0, 0, 0, 2, 0]}, "1\\0\\0\\0\\2\\0"),
        ({"orientation": [1, 0, 0, 1, 0, 0]}, "1\\0\\0\\1\\0\\0"),
        ({"orientation": [0, 0, 0, 0, 0, 0]}, "0\\0\\0\\0\\0\\0"),
        ({"pixel_spacing": [0.5, 0]}, "0.5\\0"),
        ({"pixel_spacing": [-0.5, 0.5]}, "-0.5\\0.5"),
        ({"pixel_spacing": 0.5}, "0.5"),
        ({"rows": 0}, "0"),
    ],
)
def test_impossible_geometry_is_refused_with_its_value(change: dict[str, Any], value: str) -> None:
    """A value that is no number is not repeated: it can be anything, a name included."""
    with pytest.raises(Refusal) as caught:
        plane_of(**change)
    assert (caught.value.code, caught.value.value) == (RefusalCode.GEOMETRY_INCONSISTENT, value)


@given(st.integers(-(10**10), 10**10))
def test_rounding_moves_a_coordinate_by_less_than_a_nanometre(ten_millionths: int) -> None:
    value = ten_millionths / 1e7
    assert abs(float(quantise(value)) - value) <= QUANTUM_MM / 2


@given(st.integers(-(10**10), 10**10), st.sampled_from([-1e-13, 1e-13]))
def test_a_coordinate_of_seven_decimals_is_never_on_a_tie(ten_millionths: int, noise: float) -> None:
    """The noise of a sum's last bits changes no rounded coordinate."""
    value = ten_millionths / 1e7
    assert float(quantise(value)) == float(quantise(value + noise))


def test_small_angles_are_exact() -> None:
    tilted = np.array([0.0, np.sin(1e-6), np.cos(1e-6)])
    assert angle_degrees(tilted, np.array([0.0, 0.0, 1.0])) == pytest.approx(np.degrees(1e-6), rel=1e-6)
    assert angle_degrees(-tilted, np.array([0.0, 0.0, 1.0])) == pytest.approx(np.degrees(1e-6), rel=1e-6)
