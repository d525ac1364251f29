"""Where slices lie: planes from Image Position and Orientation (Patient), stacks from planes (PS3.3 C.7.6.2)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from pdl1es.errors import Refusal, RefusalCode

POSITION_TAG: Final = "ImagePositionPatient (0020,0032)"
ORIENTATION_TAG: Final = "ImageOrientationPatient (0020,0037)"
SPACING_TAG: Final = "PixelSpacing (0028,0030)"
ROWS_TAG: Final = "Rows (0028,0010)"
COLUMNS_TAG: Final = "Columns (0028,0011)"
PIXEL_MATRIX_TAGS: Final = "Rows (0028,0010), Columns (0028,0011)"

DIRECTION_TOLERANCE: Final = 1e-3
"""Largest accepted error of a direction's length and of the two directions' scalar product, as read from the file."""
PARALLEL_TOLERANCE: Final = 5e-4
"""Largest sine of the angle between directions that count as parallel: 0.25 mm over a field of view of 500 mm."""
QUANTUM_MM: Final = 2.0**-20
"""Step to which coordinates are rounded, just under 1e-6 mm.

The step is binary, because sums and differences of its multiples are exact in float64. A decimal step would not do:
positions and spacings are decimals, so that many would lie half-way between two steps, where the last bit decides. That
bit differs between an image and its mirror image."""
MAX_COORDINATE_MM: Final = 1e6
"""Largest coordinate that is accepted: no scanner is a kilometre long. Beyond 2^33 mm the rounding would lose its meaning."""

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class SlicePlane:
    """One image plane in the patient's LPS coordinates.

    Attributes
    ----------
    position
        Centre of the first pixel, mm (Image Position (Patient)).
    row_direction
        Unit vector along which the column index grows (first triple of Image Orientation (Patient)).
    column_direction
        Unit vector along which the row index grows (second triple).
    row_spacing
        Distance between rows, mm (first value of Pixel Spacing).
    column_spacing
        Distance between columns, mm (second value of Pixel Spacing).
    rows, columns
        Shape of the pixel matrix.
    """

    position: tuple[float, float, float]
    row_direction: tuple[float, float, float]
    column_direction: tuple[float, float, float]
    row_spacing: float
    column_spacing: float
    rows: int
    columns: int


def create_slice_plane(
    *, position: Any, orientation: Any, pixel_spacing: Any, rows: Any, columns: Any, uid: str
) -> SlicePlane:
    """Create a plane from attribute values as they stand in a file, checked.

    Parameters
    ----------
    position, orientation, pixel_spacing, rows, columns
        Values of Image Position (Patient), Image Orientation (Patient), Pixel Spacing, Rows and Columns; None or empty
        where the object lacks them.
    uid
        SOP Instance UID of the object, for the refusal.

    Returns
    -------
    SlicePlane
        With directions of unit length.

    Raises
    ------
    Refusal
        GEOMETRY_MISSING where a value is absent; GEOMETRY_INCONSISTENT where it is not a finite number, has the wrong
        multiplicity, is not positive, or the directions are not perpendicular unit vectors.
    """
    place = _numbers(position, 3, POSITION_TAG, uid)
    if max(abs(value) for value in place) > MAX_COORDINATE_MM:
        raise _inconsistent("the position is no place in a scanner", POSITION_TAG, place, uid)
    cosines = _numbers(orientation, 6, ORIENTATION_TAG, uid)
    spacing = _numbers(pixel_spacing, 2, SPACING_TAG, uid)
    if not all(0.0 < value <= MAX_COORDINATE_MM for value in spacing):
        raise _inconsistent("the pixel spacing is not positive", SPACING_TAG, spacing, uid)
    shape = (_numbers(rows, 1, ROWS_TAG, uid)[0], _numbers(columns, 1, COLUMNS_TAG, uid)[0])
    for size, tag in zip(shape, (ROWS_TAG, COLUMNS_TAG), strict=True):
        if size < 1 or size != int(size):
            raise _inconsistent("the image has no such size", tag, (size,), uid)

    fault, row, column = _unit_directions(struct.pack("<6d", *cosines))
    if fault is not None:
        raise _inconsistent(fault, ORIENTATION_TAG, cosines, uid)
    return SlicePlane(
        position=(place[0], place[1], place[2]),
        row_direction=row,
        column_direction=column,
        row_spacing=spacing[0],
        column_spacing=spacing[1],
        rows=int(shape[0]),
        columns=int(shape[1]),
    )


_Direction = tuple[float, float, float]


@lru_cache(maxsize=256)
def _unit_directions(cosines: bytes) -> tuple[str | None, _Direction, _Direction]:
    """Return what is wrong with the directions of six cosines (float64), and both of unit length.

    Nearly all slices of a study have the same; by their bytes, so that -0.0 is not taken for 0.0.
    """
    values = struct.unpack("<6d", cosines)
    row, column = np.array(values[:3]), np.array(values[3:])
    lengths = (float(np.linalg.norm(row)), float(np.linalg.norm(column)))
    if any(abs(length - 1.0) > DIRECTION_TOLERANCE for length in lengths):
        return "the image's directions are not of unit length", _triple(row), _triple(column)
    row, column = row / lengths[0], column / lengths[1]
    fault = "the image's directions are not perpendicular" if abs(float(row @ column)) > DIRECTION_TOLERANCE else None
    return fault, _triple(row), _triple(column)


def normal_vector(plane: SlicePlane) -> NDArray[np.float64]:
    """Return the plane's unit normal, row direction x column direction, shape (3,)."""
    # Written out, so that a transposed image gives the exact negative: each term is a product of two numbers.
    (a, b, c), (d, e, f) = plane.row_direction, plane.column_direction
    normal = np.array([b * f - c * e, c * d - a * f, a * e - b * d])
    return normal / math.sqrt(float(normal @ normal))


def canonical_axes(plane: SlicePlane) -> NDArray[np.float64]:
    """Return the plane's three directions in canonical order: the ones closest to the patient's left, back and head.

    The three directions (row, column, normal) are assigned to L, P and S so that the sum of their absolute cosines is
    largest, and flipped to ascend. The result does not depend on how the pixels are stored: mirrored and transposed
    images of one plane have axes that are equal to the bit. (Their files may round the cosines differently, because a
    minus sign takes one digit of a decimal string. The axes then differ by as much.) The axes are not rounded, because
    1e-10 of direction would move a far corner more than the rounding of coordinates absorbs.

    Parameters
    ----------
    plane
        The plane.

    Returns
    -------
    numpy.ndarray
        float64, shape (3, 3): the x, y and z axis in LPS, one per row.
    """
    directions = np.array([plane.row_direction, plane.column_direction, normal_vector(plane)])
    order = max(permutations(range(3)), key=lambda order: _closeness(directions[list(order)]))
    axes = directions[list(order)]
    signs = np.where(np.diagonal(axes) < 0.0, -1.0, 1.0)
    # + 0.0 turns -0.0 into 0.0, so that equal axes are equal bytes
    return axes * signs[:, np.newaxis] + 0.0


def stack_axes(plane: SlicePlane) -> NDArray[np.float64]:
    """Return the axes along which a stack of such planes is laid out, the normal last.

    They are the `canonical_axes` in another order: x, y, z for axial planes; x, z, y for coronal ones.
    """
    axes = canonical_axes(plane)
    normal = int(np.argmax(np.abs(axes @ normal_vector(plane))))
    return axes[[i for i in range(3) if i != normal] + [normal]]


def _closeness(axes: NDArray[np.float64]) -> tuple[float, ...]:
    """Rank an assignment of directions to L, P and S: by the sum of the cosines, then by that to L, then to P."""
    cosines = np.round(np.abs(np.diagonal(axes)), 9)
    return (round(float(cosines.sum()), 8), *cosines.tolist())


def lies_across(plane: SlicePlane, axes: NDArray[np.float64]) -> bool:
    """Tell whether a plane is perpendicular to the last axis and its rows and columns run along the first two.

    Parameters
    ----------
    plane
        The plane; its rows may run along either axis, in either direction.
    axes
        From `canonical_axes` or `stack_axes`, shape (3, 3).

    Returns
    -------
    bool
    """
    return _in_plane_order(plane, axes) is not None


def canonical_plane_coordinates(
    plane: SlicePlane, axes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return where the plane's pixel centres lie along canonical axes.

    Parameters
    ----------
    plane
        A plane across ``axes`` (`lies_across`).
    axes
        From `canonical_axes`, shape (3, 3).

    Returns
    -------
    x, y
        float64, mm along the x and y axis from the frame of reference's origin, ascending, one per column and row of
        the array that `to_canonical` returns.
    z
        mm along the z axis.

    Raises
    ------
    ValueError
        The plane does not lie across the axes.

    Notes
    -----
    All are rounded to `QUANTUM_MM`, so that mirrored and transposed images of one plane have equal coordinates.
    """
    transposed, flip_x, flip_y = _require_order(plane, axes)
    columns = (plane.columns, plane.column_spacing)
    rows = (plane.rows, plane.row_spacing)
    (count_x, step_x), (count_y, step_y) = (rows, columns) if transposed else (columns, rows)
    place = np.array(plane.position)
    x = float(place @ axes[0]) + np.arange(count_x) * (-step_x if flip_x else step_x)
    y = float(place @ axes[1]) + np.arange(count_y) * (-step_y if flip_y else step_y)
    return (
        quantise(x[::-1] if flip_x else x),
        quantise(y[::-1] if flip_y else y),
        position_along(plane, axes[2]),
    )


def to_canonical(array: NDArray[_T], plane: SlicePlane, axes: NDArray[np.float64]) -> NDArray[_T]:
    """Return an image of the plane as (y, x) along canonical axes.

    Parameters
    ----------
    array
        Shape (..., rows, columns), as stored.
    plane
        Its plane; it lies across ``axes``.
    axes
        From `canonical_axes`, shape (3, 3).

    Returns
    -------
    numpy.ndarray
        Shape (..., y, x); a view of ``array``.

    Raises
    ------
    ValueError
        The plane does not lie across the axes, or the array's last two axes are not the plane's rows and columns.
    """
    if array.shape[-2:] != (plane.rows, plane.columns):
        raise ValueError(f"the array's shape {array.shape} does not end in {(plane.rows, plane.columns)}")
    transposed, flip_x, flip_y = _require_order(plane, axes)
    oriented = array.swapaxes(-1, -2) if transposed else array
    return oriented[..., :: -1 if flip_y else 1, :: -1 if flip_x else 1]


def position_along(plane: SlicePlane, direction: NDArray[np.float64]) -> float:
    """Return the coordinate of a plane's first pixel.

    Parameters
    ----------
    plane
        The plane.
    direction
        Unit vector, shape (3,).

    Returns
    -------
    float
        Along the direction, mm from the frame of reference's origin, rounded to `QUANTUM_MM`.
    """
    place = float(np.array(plane.position) @ direction)
    if abs(place) <= MAX_COORDINATE_MM * 2:
        # What `quantise` does, without arrays: dividing by a power of two is exact, and round() is rint().
        return round(place / QUANTUM_MM) * QUANTUM_MM + 0.0
    return float(quantise(place))


def quantise(coordinates: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Return coordinates (mm) rounded to `QUANTUM_MM`."""
    return np.rint(np.asarray(coordinates, dtype=np.float64) / QUANTUM_MM) * QUANTUM_MM + 0.0


def angle_degrees(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the angle between two lines.

    Parameters
    ----------
    first, second
        Vectors along the lines, either way, shape (3,).

    Returns
    -------
    float
        0 to 90 degrees. Exact near 0, because it is computed from the sine: near 0 the arccosine is not.
    """
    sine = float(np.linalg.norm(np.cross(first, second)))
    return math.degrees(math.atan2(sine, abs(float(first @ second))))


def _in_plane_order(plane: SlicePlane, axes: NDArray[np.float64]) -> tuple[bool, bool, bool] | None:
    """Return (transposed, x flipped, y flipped), or None where the plane does not lie across the axes."""
    directions = struct.pack("<6d", *plane.row_direction, *plane.column_direction)
    return _order_along(directions, np.ascontiguousarray(axes[:2], np.float64).tobytes())


@lru_cache(maxsize=256)
def _order_along(directions: bytes, axes: bytes) -> tuple[bool, bool, bool] | None:
    """Return what `_in_plane_order` does, of two directions and the first two axes: nearly all slices have the same."""
    row, column = np.frombuffer(directions).reshape(2, 3)
    first, second = np.frombuffer(axes).reshape(2, 3)
    for transposed, along_x, along_y in ((False, row, column), (True, column, row)):
        if _parallel(along_x, first) and _parallel(along_y, second):
            return transposed, float(along_x @ first) < 0.0, float(along_y @ second) < 0.0
    return None


def _require_order(plane: SlicePlane, axes: NDArray[np.float64]) -> tuple[bool, bool, bool]:
    order = _in_plane_order(plane, axes)
    if order is None:
        raise ValueError("the plane does not lie across the axes")
    return order


def _parallel(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    return float(np.linalg.norm(np.cross(first, second))) <= PARALLEL_TOLERANCE


def _numbers(value: Any, count: int, tag: str, uid: str) -> tuple[float, ...]:
    """Return ``count`` finite numbers, or refuse."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Refusal(RefusalCode.GEOMETRY_MISSING, "the image cannot be placed in space", tag=tag, uid=uid)
    items = [value] if isinstance(value, int | float | str) else list(value)
    if not items:
        raise Refusal(RefusalCode.GEOMETRY_MISSING, "the image cannot be placed in space", tag=tag, uid=uid)
    try:
        numbers = tuple(float(item) for item in items)
    except (TypeError, ValueError, OverflowError):
        # the text is not repeated, because a malformed element can hold anything
        raise Refusal(
            RefusalCode.GEOMETRY_INCONSISTENT, "the value is not numeric", tag=tag, value="not a number", uid=uid
        ) from None
    if len(numbers) != count:
        raise _inconsistent(f"{count} values are needed and {len(numbers)} are there", tag, numbers[:6], uid)
    if not all(math.isfinite(number) for number in numbers):
        raise _inconsistent("the value is not finite", tag, numbers, uid)
    return numbers


def _inconsistent(found: str, tag: str, values: tuple[float, ...], uid: str) -> Refusal:
    text = "\\".join(f"{value:g}" for value in values)
    return Refusal(RefusalCode.GEOMETRY_INCONSISTENT, found, tag=tag, value=text, uid=uid)


def _triple(vector: NDArray[np.float64]) -> _Direction:
    return (float(vector[0]), float(vector[1]), float(vector[2]))
