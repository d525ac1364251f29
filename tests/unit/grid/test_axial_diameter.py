"""The longest axial diameter and its perpendicular, against shapes whose diameters a ruler gives."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pdl1es.grid.axial_diameter import axial_diameters


def drawn(picture: str) -> NDArray[np.bool_]:
    """A slice drawn by hand: # is tumour."""
    return np.array([[letter == "#" for letter in row] for row in picture.split()])[None]


def ellipse(long: float, short: float, degrees: float) -> NDArray[np.bool_]:
    """A slice with an ellipse of these half axes, turned."""
    y, x = np.indices((101, 101)) - 50
    turn = np.radians(degrees)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return ((u / long) ** 2 + (v / short) ** 2 <= 1)[None]


@pytest.mark.parametrize(
    ("picture", "longest", "perpendicular"),
    [
        ("#", 0.0, 0.0),
        ("####", 3.0, 0.0),
        ("..#.. ..#.. ##### ..#.. ..#..", 4.0, 4.0),
        ("..#.... ####### ..#....", 6.0, 2.0),
        # A square's diagonals.
        ("#### #### #### ####", 3 * 2**0.5, 3 * 2**0.5),
        # A slanting band: from corner to corner, and one voxel down, one back across it.
        ("###... .###.. ..###. ...###", 34**0.5, 8 / 34**0.5),
        # Two parts that do not touch: each is measured alone.
        ("###....... .......... .....#####", 4.0, 0.0),
        # A cavity is crossed: 3 down, 2 back lies opposite along a 3-4-5 triangle's long side.
        ("##### #...# #...# #####", 5.0, 3.6),
    ],
)
def test_shapes_drawn_by_hand_measure_what_a_ruler_gives(picture: str, longest: float, perpendicular: float) -> None:
    found = axial_diameters(drawn(picture))
    assert found.longest_mm == pytest.approx(longest, abs=1e-12)
    assert found.perpendicular_mm == pytest.approx(perpendicular, abs=1e-12)


@pytest.mark.parametrize("degrees", [0, 17, 30, 45, 77, 90, 133])
def test_an_ellipse_has_its_axes_however_it_is_turned(degrees: float) -> None:
    found = axial_diameters(ellipse(40, 20, degrees))
    assert found.longest_mm == pytest.approx(80, abs=1.5)
    assert found.perpendicular_mm == pytest.approx(40, abs=1.5)


def test_the_slice_with_the_longest_diameter_is_taken_and_not_the_largest_one() -> None:
    mask = np.zeros((4, 30, 30), np.bool_)
    mask[1, 5:15, 5:15] = True  # the largest area
    mask[2, 5, 2:28] = True  # the longest line
    found = axial_diameters(mask)
    assert (found.slice_index, found.longest_mm, found.perpendicular_mm) == (2, 25.0, 0.0)


def test_it_never_exceeds_the_diameter_in_space() -> None:
    mask = np.zeros((9, 9, 9), np.bool_)
    mask[np.arange(9), np.arange(9), 4] = True  # a line that leaves every slice at once
    assert axial_diameters(mask).longest_mm == 0.0


def test_an_empty_mask_has_no_diameter() -> None:
    with pytest.raises(ValueError, match="empty"):
        axial_diameters(np.zeros((2, 3, 4), np.bool_))
