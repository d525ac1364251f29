"""The estimate of a tumour's memory refuses what would not fit, and lets the largest tumour and metal pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.limits import ScanLimits
from pdl1es.features.memory import estimated_bytes

ALLOWED = ScanLimits().memory_bytes


def distance_within(side: int) -> NDArray[np.floating[Any]]:
    """Distance of each voxel of a cube from its middle."""
    z, y, x = np.ogrid[:side, :side, :side]
    middle = (side - 1) / 2
    distance: NDArray[np.floating[Any]] = np.sqrt((z - middle) ** 2 + (y - middle) ** 2 + (x - middle) ** 2)
    return distance


def noise(highest: int, shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Values from -1024 HU to the highest."""
    return np.random.default_rng(0).integers(-1024, highest + 1, shape).astype(np.int16)


def test_the_largest_plausible_tumour_passes_and_one_of_all_16_bit_values_does_not() -> None:
    distance = distance_within(148)
    mask = distance <= 62
    assert estimated_bytes(noise(3071, mask.shape), mask) < ALLOWED / 3
    assert estimated_bytes(noise(32767, mask.shape), mask) > 7.1 * 2**30  # measured: more than that


def test_metal_in_a_tumour_passes_because_few_of_its_grey_levels_are_present() -> None:
    distance = distance_within(64)
    hu = noise(200, distance.shape)
    hu[distance <= 3] = 31000
    assert estimated_bytes(hu, distance <= 20) < ALLOWED
