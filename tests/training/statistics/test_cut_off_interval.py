"""Intervals of cut-offs: against a bootstrap that fits and searches with other functions."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from lifelines.statistics import logrank_test

from training.statistics.cut_off_interval import (
    median_interval,
    refitted_risk,
    scores_as_they_are,
    searched_cut_off_interval,
)
from training.statistics.resampling import resampled_rows
from training.statistics.xtile import search_cut_off


def _naive_cut_off(time: np.ndarray, event: np.ndarray, score: np.ndarray, share: float) -> float:
    """Try every cut-off with lifelines' log-rank test."""
    values = np.unique(score)
    fewest = max(1, int(np.ceil(share * score.size)))
    tried = {}
    for low, high in itertools.pairwise(values):
        upper = score > low
        if fewest <= upper.sum() <= score.size - fewest:
            test = logrank_test(time[upper], time[~upper], event[upper], event[~upper])
            tried[(low + high) / 2] = test.test_statistic
    return max(tried, key=lambda cut: (round(tried[cut], 9), -cut))


def test_the_interval_is_that_of_a_search_on_every_resample_by_lifelines(lung: pd.DataFrame) -> None:
    part = lung.iloc[:60]
    time, event, age = (part[name].to_numpy(dtype=float) for name in ("time", "status", "age"))
    found = searched_cut_off_interval(62.5, time, event, scores_as_they_are(age), n_resamples=12, seed=4)
    naive = [_naive_cut_off(time[rows], event[rows], age[rows], 0.1) for rows in resampled_rows(60, 12, 4)]
    assert (found.lower, found.upper) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])))
    assert found.value == 62.5


def test_a_clear_step_has_a_narrow_interval_and_no_step_a_wide_one() -> None:
    rng = np.random.default_rng(2)
    score = rng.random(150)
    time = rng.exponential(np.where(score > 0.6, 20, 300))
    event = np.ones(150)
    clear, none = (
        searched_cut_off_interval(0.6, when, event, scores_as_they_are(score), n_resamples=200)
        for when in (time, rng.permutation(time))
    )
    search = search_cut_off(time, event, score, n_permutations=1)
    assert clear.lower <= search.cut_off <= clear.upper
    assert clear.upper - clear.lower < 0.2
    assert none.upper - none.lower > 0.4


def test_a_model_is_fitted_anew_on_each_resample(lung: pd.DataFrame) -> None:
    time, event, age, sex = (lung[name].to_numpy(dtype=float) for name in ("time", "status", "age", "sex"))
    rows = next(resampled_rows(time.size, 1, 7))
    scores = refitted_risk(time, event, np.column_stack([age, sex]))(rows)
    table = pd.DataFrame({"time": time[rows], "event": event[rows], "age": age[rows], "sex": sex[rows]})
    model = CoxPHFitter().fit(table, "time", "event", fit_options={"precision": 1e-12})
    expected = np.log(model.predict_partial_hazard(table).to_numpy())
    assert np.ptp(scores - expected) < 1e-6


def test_the_medians_interval_holds_the_order_statistics_of_the_binomial() -> None:
    """The exact interval of a median of 99 values is from the 40th to the 60th."""
    found = median_interval(np.arange(1.0, 100.0), n_resamples=2000)
    assert found.value == 50.0
    assert found.lower == pytest.approx(40, abs=1.5)
    assert found.upper == pytest.approx(60, abs=1.5)


def test_few_events_leave_a_reason_in_place_of_an_interval() -> None:
    with pytest.raises(ValueError, match="bootstrap samples hold no estimate"):
        searched_cut_off_interval(1.5, [1, 2, 3], [1, 0, 0], scores_as_they_are([1, 2, 3]), n_resamples=50)
