"""Multiple imputation: Rubin's rules as R's mice has them, and a planted truth that complete patients hide."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.training.statistics.r_values import RValues
from training.statistics.cox import cox
from training.statistics.multiple_imputation import impute_repeatedly, pool, pooled_cox

ESTIMATES, ERRORS = (0.31, 0.28, 0.45, 0.33, 0.39), (0.12, 0.11, 0.13, 0.12, 0.125)


@pytest.mark.parametrize(("name", "freedom"), [("pool Inf", math.inf), ("pool 40", 40.0)])
def test_rubins_rules_are_those_of_r(r: RValues, name: str, freedom: float) -> None:
    found = pool("x", ESTIMATES, ERRORS, freedom)
    ours = [found.coefficient, found.standard_error, found.degrees_of_freedom, found.missing_information]
    assert ours == pytest.approx(r[name], rel=1e-9)


def test_without_a_gap_it_is_coxs_model() -> None:
    rng = np.random.default_rng(1)
    time, event, x = rng.exponential(size=80), rng.random(80) < 0.7, rng.normal(size=80)
    found = pooled_cox(time, event, {}, {"x": x}, n_imputations=3)
    plain = cox(time, event, {"x": x}).terms[0]
    term = found.terms[0]
    assert [term.coefficient, term.standard_error] == pytest.approx([plain.coefficient, plain.standard_error])
    assert term.missing_information == pytest.approx(0, abs=1e-12)
    assert found.n_incomplete == 0


def test_values_that_were_there_stay_and_gaps_get_values_of_other_patients() -> None:
    rng = np.random.default_rng(2)
    table = np.column_stack([rng.normal(60, 10, 90).round(), rng.integers(0, 3, 90).astype(float)])
    table[rng.random(table.shape) < 0.2] = np.nan
    completed = impute_repeatedly(table, rng.normal(size=(90, 1)), n_imputations=4, seed=7)
    again = impute_repeatedly(table, rng.normal(size=(90, 1)) * 0 + 1, n_imputations=1, seed=7)
    for filled in [*completed, *again]:
        assert np.array_equal(filled[~np.isnan(table)], table[~np.isnan(table)])
        assert np.isin(filled[:, 1], (0, 1, 2)).all()
        assert np.isin(filled[:, 0], table[:, 0]).all()
    assert not np.array_equal(completed[0], completed[1])
    assert np.array_equal(impute_repeatedly(table, np.ones((90, 1)), n_imputations=1, seed=7)[0], again[0])


def test_it_finds_the_effect_that_complete_patients_get_wrong() -> None:
    """The confounder is missing mostly of patients with an early event: complete patients show a wrong effect of x."""
    rng = np.random.default_rng(3)
    pooled, complete, n = [], [], 500
    for _ in range(5):
        confounder = rng.normal(size=n)
        x = confounder + rng.normal(size=n)
        time = rng.exponential(np.exp(-(0.4 * x + 0.5 * confounder)))
        end = rng.exponential(2.0, n)
        seen, event = np.minimum(time, end), time <= end
        gap = rng.random(n) < np.where(event & (seen < 0.3), 0.8, 0.0)
        held = np.where(gap, np.nan, confounder)
        found = pooled_cox(seen, event, {"x": x}, {"confounder": held}, n_imputations=3)
        pooled.append([term.coefficient for term in found.terms])
        kept = cox(seen[~gap], event[~gap], {"x": x[~gap], "confounder": confounder[~gap]})
        complete.append(list(kept.coefficients))
    truth = np.array([0.4, 0.5])
    assert np.abs(np.mean(pooled, axis=0) - truth).max() < 0.03
    assert np.abs(np.mean(complete, axis=0) - truth).min() > 0.04


def test_a_variable_that_nobody_has_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than two values"):
        impute_repeatedly(np.full((5, 1), np.nan), np.ones((5, 1)))
