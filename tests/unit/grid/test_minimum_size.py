"""The smallest tumour that is measured: 64 mm3 and 5 mm."""

import numpy as np
import pytest

from pdl1es.grid.minimum_size import shortfall


def box(*sides):
    mask = np.zeros((40, 40, 40), dtype=bool)
    mask[tuple(slice(7, 7 + side) for side in sides)] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (box(3, 3, 7), "the tumour has 63 mm3 on the 1 mm grid"),
        (box(4, 4, 4), None),  # corner to corner 5.2 mm, although no side has 5
        (box(2, 1, 32), None),
        (box(0, 0, 0), "the tumour has 0 mm3 on the 1 mm grid"),
    ],
)
def test_volume_and_diameter_decide(mask, found):
    assert shortfall(mask) == found


def test_a_round_tumour_of_64_mm3_may_be_too_short(monkeypatch):
    monkeypatch.setattr("pdl1es.grid.minimum_size.MIN_TUMOUR_DIAMETER_MM", 5.5)
    assert shortfall(box(4, 4, 4)) == "the tumour's longest diameter is 5.2 mm"
