"""X-tile: the best split is found, and its P pays for the search."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from training.statistics.arrays import Estimate, Test
from training.statistics.hazards_check import proportional_hazards
from training.statistics.survival import log_rank
from training.statistics.xtile import held_out_cut_off, lausen_p, miller_siegmund_p, search_cut_off


def test_every_split_has_its_log_rank_statistic(lung: pd.DataFrame) -> None:
    """R 4.2.2, survival 3.5-3: survdiff(Surv(time, status) ~ I(age > c), data = lung) for some c."""
    found = search_cut_off(lung["time"], lung["status"], lung["age"], n_permutations=10)
    by_cut = dict(zip(found.cut_offs, found.statistics, strict=True))
    r = {55.5: 0.6520452694299, 64.5: 3.6712452732472, 70.5: 4.6403685551595, 72.5: 3.0200194075727}
    assert {c: by_cut[c] for c in r} == pytest.approx(r, rel=1e-9)
    assert found.cut_off == 70.5
    assert found.statistic == pytest.approx(4.6403685551595, rel=1e-9)
    theirs = log_rank(lung["time"], lung["status"], (lung["age"] > found.cut_off).to_numpy())
    assert theirs.test.p_value == pytest.approx(found.p_uncorrected)
    assert found.upper_is_worse
    assert (found.n_lower, found.n_upper) == ((lung["age"] <= 70).sum(), (lung["age"] > 70).sum())


def test_every_split_of_cohorts_with_many_ties_has_its_log_rank_statistic() -> None:
    """Against lifelines' log-rank test, on 20 random cohorts with follow-up in whole months."""
    compared = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        time, event, score = rng.integers(0, 12, 40), rng.random(40) < 0.6, np.round(rng.random(40), 1)
        found = search_cut_off(time, event, score, n_permutations=1)
        for cut, statistic in zip(found.cut_offs, found.statistics, strict=True):
            assert statistic == pytest.approx(log_rank(time, event, score > cut).test.statistic, abs=1e-9)
            compared += 1
    assert compared > 100


def test_a_large_cohort_has_the_same_statistics_and_needs_no_table_of_patients_by_event_times() -> None:
    """Against lifelines' log-rank test at nine cut-offs; 3,000 patients by 2,000 event times alone are 48 MB."""
    rng = np.random.default_rng(5)
    time, event, score = rng.exponential(300, 3000), rng.random(3000) < 0.7, rng.random(3000)
    tracemalloc.start()
    found = search_cut_off(time, event, score, n_permutations=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6
    for k in range(0, found.cut_offs.size, found.cut_offs.size // 8):
        expected = log_rank(time, event, score > found.cut_offs[k]).test.statistic
        assert found.statistics[k] == pytest.approx(expected, rel=1e-9)


def test_patients_who_all_progress_on_one_day_show_nothing() -> None:
    found = search_cut_off([30] * 6, [1] * 6, [1, 2, 3, 4, 5, 6], n_permutations=20)
    assert (found.statistic, found.standardised, found.p_permutation, found.p_lausen) == (0, 0, 1, 1)


def test_corrected_p_is_that_of_maxstat(lung: pd.DataFrame) -> None:
    """R 4.2.2, maxstat 0.7-25: maxstat.test of age, LogRank, Lau94, times made distinct by row number x 1e-4 days."""
    time = lung["time"].to_numpy() + np.arange(1, 229) * 1e-4
    found = search_cut_off(time, lung["status"], lung["age"], n_permutations=3000)
    assert found.standardised == pytest.approx(2.0125342381651, rel=1e-10)
    assert found.p_lausen == pytest.approx(0.42813785029209, rel=1e-10)
    assert found.p_uncorrected < 0.05 < found.p_permutation < found.p_lausen


def test_approximations_are_those_of_maxstat() -> None:
    """R 4.2.2, maxstat 0.7-25, veteran by karno: M = 4.618061591, Lau94 1.91627060285e-05, Lau92 0.000188561660264."""
    assert miller_siegmund_p(4.618061591, 0.1, 0.9) == pytest.approx(0.000188561660264, rel=1e-7)
    assert miller_siegmund_p(0.5, 0.1, 0.9) == 1
    assert lausen_p(2.0, 94, [40]) == pytest.approx(0.0455, abs=1e-4)  # one split alone needs no correction


def test_p_after_the_search_is_uniform_where_nothing_is_there() -> None:
    """The uncorrected P calls far more than 1 in 20 random scores significant, the permutation P does not."""
    naive, corrected = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = search_cut_off(
            rng.exponential(size=60), rng.random(60) < 0.8, rng.random(60), n_permutations=99, seed=seed
        )
        naive.append(found.p_uncorrected < 0.05)
        corrected.append(found.p_permutation <= 0.05)
    assert np.mean(naive) > 0.2
    assert 0.01 <= np.mean(corrected) <= 0.10


def test_a_true_cut_off_is_found_and_holds_on_the_other_half() -> None:
    rng = np.random.default_rng(11)
    score = rng.random(300)
    time = rng.exponential(np.where(score > 0.66, 100.0, 400.0))
    found = held_out_cut_off(time, time < 900, score, n_permutations=200)
    assert found.search.cut_off == pytest.approx(0.66, abs=0.05)
    assert found.search.p_permutation == pytest.approx(1 / 201)
    assert isinstance(found.test, Test)
    assert found.test.p_value < 0.001
    assert isinstance(found.hazard_ratio, Estimate)
    assert found.hazard_ratio.lower < 4 < found.hazard_ratio.upper
    rest = ~found.first_half
    upper = score[rest] > found.search.cut_off
    assert found.proportional_hazards == proportional_hazards(time[rest], time[rest] < 900, {"upper": upper})
    assert found.n_events == (time[rest] < 900).sum()


def test_halves_share_follow_up_and_events() -> None:
    rng = np.random.default_rng(12)
    time, event, score = rng.exponential(size=101), rng.random(101) < 0.6, rng.random(101)
    found = held_out_cut_off(time, event, score, n_permutations=20, seed=5)
    half = found.first_half
    assert abs(int(event[half].sum()) - int(event[~half].sum())) <= 1
    assert (found.search.n_events, found.n_events) == (event[half].sum(), event[~half].sum())
    assert abs(int(half.sum()) - int((~half).sum())) <= 2
    assert np.median(time[half]) == pytest.approx(np.median(time[~half]), rel=0.15)


def test_the_same_seed_gives_the_same_p_and_every_shuffle_is_reported(lung: pd.DataFrame) -> None:
    seen: list[tuple[int, int]] = []
    one, two = (
        search_cut_off(
            lung["time"], lung["status"], lung["age"], n_permutations=50, seed=3, progress=lambda *x: seen.append(x)
        ).p_permutation
        for _ in range(2)
    )
    assert one == two
    assert seen[49] == (50, 50)


def test_equal_scores_never_part() -> None:
    found = search_cut_off([1, 2, 3, 4, 5, 6], [1] * 6, [0.2, 0.2, 0.2, 0.9, 0.9, 0.9], n_permutations=10)
    assert found.cut_offs.tolist() == [0.55]


@pytest.mark.parametrize(
    ("event", "score", "message"),
    [
        ([1, 1, 1, 1], [0.5] * 4, "no cut-off of the score leaves 1"),
        ([0, 0, 0, 0], [1, 2, 3, 4], "nobody had one"),
        ([1, 1, 1, 1], [1, 2, 3, np.nan], "missing"),
    ],
)
def test_unfit_input_is_refused(event: list[int], score: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search_cut_off([1, 2, 3, 4], event, score)
