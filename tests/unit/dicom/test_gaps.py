"""Where slices are missing in a stack, and where that matters."""

from __future__ import annotations

import pytest

from pdl1es.dicom.gaps import refuse_gaps, slice_gaps
from pdl1es.dicom.stack import ct_series
from pdl1es.errors import Refusal, RefusalCode
from tests.unit.dicom.synthetic_ct import ct_instance, ct_stack


@pytest.mark.parametrize("missing", [1, 2, 3, 9, 17, 18])
def test_one_missing_slice_is_a_gap_wherever_it_is(missing: int) -> None:
    series = ct_series(i for n, i in enumerate(ct_stack()) if n != missing)
    assert [(gap.low, gap.high, gap.usual) for gap in slice_gaps(series)] == [(3 * missing - 3, 3 * missing + 3, 3)]


def test_several_missing_slices_are_one_gap() -> None:
    series = ct_series(i for n, i in enumerate(ct_stack()) if not 6 <= n <= 11)
    assert [(gap.low, gap.high) for gap in slice_gaps(series)] == [(15.0, 36.0)]


def test_every_second_slice_missing_over_a_stretch_is_told_by_the_instance_numbers() -> None:
    stack = [ct_instance(float(z), InstanceNumber=z // 3) for z in range(0, 90, 3)]
    lost = {9, 11, 13, 15, 17, 19}
    series = ct_series(i for n, i in enumerate(stack) if n not in lost)
    assert {gap.low for gap in slice_gaps(series)} == {3.0 * (n - 1) for n in lost}


def test_numbers_that_always_step_by_two_tell_nothing() -> None:
    """Two reconstructions numbered in turn, each sent as a series, in blocks of 4 and of 7 mm."""
    zs = [4.0 * n for n in range(14)] + [53.1 + 7.0 * n for n in range(14)]
    series = ct_series(ct_instance(z, InstanceNumber=2 * n) for n, z in enumerate(zs))
    assert slice_gaps(series) == ()


def test_a_scan_in_two_blocks_of_different_steps_is_whole() -> None:
    """4 mm, then 7 mm, with an overlap where the blocks meet: as a scanner wrote it, nothing is missing."""
    zs = [4.0 * n for n in range(14)] + [53.1 + 7.0 * n for n in range(14)]
    assert slice_gaps(ct_series(ct_stack(zs))) == ()


def test_a_gap_is_refused_only_where_the_tumour_needs_the_slices() -> None:
    series = ct_series(i for n, i in enumerate(ct_stack()) if n != 9)
    refuse_gaps(series, 0.0, 24.0)
    refuse_gaps(series, 30.0, 57.0)
    with pytest.raises(Refusal) as caught:
        refuse_gaps(series, 20.0, 24.5)
    assert caught.value.code is RefusalCode.MISSING_SLICES
    assert "24.00 and 30.00 mm" in caught.value.found


def test_four_hundred_more_slices_change_nothing_about_a_gap() -> None:
    short = ct_series(i for n, i in enumerate(ct_stack()) if n != 9)
    long = ct_series((*(i for n, i in enumerate(ct_stack()) if n != 9), *ct_stack([60 + z for z in range(400)])))
    assert [(g.low, g.high) for g in slice_gaps(long)] == [(g.low, g.high) for g in slice_gaps(short)]
