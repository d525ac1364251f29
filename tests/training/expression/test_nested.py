"""Nested cross-validation: planted truth is found, and noise that a selection outside the folds would flatter is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.drawn_cohorts import drawn_cohort
from training.expression.nested import nested_cross_validation


def test_noise_stays_noise_and_every_seed_is_told(tmp_path: Path) -> None:
    """1316 features of noise on 80 patients: selected on all of them the best would tell the classes apart."""
    found = nested_cross_validation(drawn_cohort(tmp_path / "noise", 80, signal=0.0), 2, seed=3)
    assert 0.3 < found.mean < 0.65
    assert found.lowest <= found.mean <= found.highest
    assert found.lowest < found.highest
    values = [area.value for area in found.areas]
    assert found.standard_deviation == pytest.approx(np.std(values, ddof=1))
    assert (found.n, found.n_positive) == (80, 32)


def test_a_planted_effect_is_found(tmp_path: Path) -> None:
    found = nested_cross_validation(drawn_cohort(tmp_path / "effect", 80, signal=1.0), 1)
    assert found.mean > 0.9
    assert np.isnan(found.standard_deviation)


def test_a_class_too_small_for_the_folds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labels need at least 10 of each class, got 8 positive"):
        nested_cross_validation(drawn_cohort(tmp_path / "few", 20), 1)
