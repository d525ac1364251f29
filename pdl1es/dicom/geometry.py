"""Where slices lie: planes from Image Position and Orientation (Patient), stacks from planes (PS3.3 C.7.6.2)."""

from __future__ import annotations

from dataclasses import dataclass


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
