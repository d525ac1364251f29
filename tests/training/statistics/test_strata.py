"""Strata: each level on its own, and small ones said to be small."""

from __future__ import annotations

import numpy as np
import pytest

from training.statistics.discrimination import auc
from training.statistics.strata import stratify, stratify_by_cut


def test_each_stratum_is_scored_on_its_own_patients() -> None:
    rng = np.random.default_rng(9)
    labels = rng.random(200) < 0.4
    scores = rng.normal(labels * 0.8)
    maker = np.where(rng.random(200) < 0.5, "GE", "Siemens")
    found = stratify("manufacturer", labels, scores, list(maker))
    assert [s.level for s in found.strata] == ["GE", "Siemens"]
    assert found.strata[0].auc == auc(labels[maker == "GE"], scores[maker == "GE"])
    assert sum(s.n for s in found.strata) == 200


def test_heterogeneity_of_two_strata_is_the_square_of_delongs_statistic() -> None:
    rng = np.random.default_rng(10)
    labels = rng.random(120) < 0.5
    scores = rng.normal(labels * 0.8)
    half = np.arange(120) < 60
    found = stratify("half", labels, scores, np.where(half, "a", "b").tolist())
    one, two = auc(labels[half], scores[half]), auc(labels[~half], scores[~half])
    d = (one.value - two.value) / np.sqrt(one.variance + two.variance)
    assert found.heterogeneity is not None
    assert found.heterogeneity.statistic == pytest.approx(d**2)
    assert found.heterogeneity.degrees_of_freedom == 1


def test_unknown_values_are_counted_and_left_out_and_small_strata_have_no_area() -> None:
    found = stratify("maker", [0, 1, 0, 1, 1], [0.1, 0.9, 0.4, 0.3, 0.5], ["a", "a", "a", "a", None])
    assert (found.unknown, found.strata[0].n, found.heterogeneity) == (1, 4, None)
    small = stratify("maker", [0, 1, 0, 1, 1], [0.1, 0.9, 0.4, 0.3, 0.5], ["a", "a", "b", "b", "b"])
    assert [s.auc for s in small.strata] == [None, None]


def test_a_cut_at_5_mm_puts_5_mm_with_the_thick_slices() -> None:
    found = stratify_by_cut("slice thickness", [0, 1, 0, 1], [0.1, 0.9, 0.4, 0.3], [5.0, 1.0, 5.0, 3.0], 5.0, "mm")
    assert [(s.level, s.n) for s in found.strata] == [("< 5 mm", 2), (">= 5 mm", 2)]


def test_without_a_cut_the_median_of_the_known_values_is_taken() -> None:
    found = stratify_by_cut("tube current", [0, 1, 0, 1], [0.1, 0.9, 0.4, 0.3], [100, 290, np.nan, 400], unit="mA")
    assert [(s.level, s.n) for s in found.strata] == [("< 290 mA", 1), (">= 290 mA", 2)]
    assert found.unknown == 1


def test_a_variable_that_nobody_has_is_refused() -> None:
    with pytest.raises(ValueError, match="known of no patient"):
        stratify_by_cut("tube current", [0, 1], [0.1, 0.9], [np.nan, np.nan])
    with pytest.raises(ValueError, match="1 values where the labels have 2"):
        stratify("maker", [0, 1], [0.1, 0.9], ["a"])
