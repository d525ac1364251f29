"""Concordance: R's concordance gives the same index, error and pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines.utils import concordance_index

from training.statistics.concordance import compare_concordance, concordance
from training.statistics.cox import cox


def test_index_error_and_pairs_are_those_of_r(lung_with_ecog: pd.DataFrame) -> None:
    """R 4.2.2, survival 3.5-3: concordance(coxph(Surv(time, status) ~ sex + age + ph.ecog, data = lung))."""
    columns = {n: lung_with_ecog[n] for n in ("sex", "age", "ph.ecog")}
    time, event = lung_with_ecog["time"], lung_with_ecog["status"]
    found = concordance(time, event, cox(time, event, columns).linear_predictor(columns))
    assert [found.c_index.value, found.standard_error] == pytest.approx([0.637135493, 0.0250679738531], rel=1e-9)
    pairs = (found.concordant, found.discordant, found.tied_risk, found.tied_time, found.tied_both)
    assert pairs == (12544, 7117, 126, 28, 0)


def test_two_scores_of_the_same_patients_have_rs_covariance(veteran: pd.DataFrame) -> None:
    """R 4.2.2, survival 3.5-3: vcov(concordance(m1, m2)) of models with karno and with age alone."""
    found = compare_concordance(veteran["time"], veteran["status"], -veteran["karno"], veteran["age"])
    assert found.first.c_index.value == pytest.approx(0.709279872785, rel=1e-11)
    assert (found.first.tied_risk, found.first.tied_time, found.first.tied_both) == (1141, 34, 5)
    variance = 0.000508895721336302 + 0.000861690600054373 + 2 * 0.000019300671191906
    assert found.statistic == pytest.approx((0.709279872785 - 0.515106769650) / variance**0.5, rel=1e-9)


def test_index_is_that_of_lifelines(lung: pd.DataFrame) -> None:
    ours = concordance(lung["time"], lung["status"], lung["age"]).c_index.value
    assert ours == pytest.approx(concordance_index(lung["time"], -lung["age"], lung["status"]), rel=1e-12)


def test_turning_the_risk_round_turns_the_index_round(lung: pd.DataFrame) -> None:
    one = concordance(lung["time"], lung["status"], lung["age"])
    two = concordance(lung["time"], lung["status"], -lung["age"])
    assert one.c_index.value + two.c_index.value == pytest.approx(1)
    assert one.standard_error == pytest.approx(two.standard_error)


def test_a_constant_risk_has_an_index_of_one_half_and_an_interval() -> None:
    found = concordance([1, 2, 3], [1, 1, 0], [7, 7, 7])
    assert (found.c_index.value, found.standard_error, found.tied_risk) == (0.5, 0.0, 3)
    assert found.c_index.lower < 0.5 < found.c_index.upper


def test_a_perfect_order_has_the_exact_interval_of_its_pairs_without_a_common_patient() -> None:
    """Of k successes in k trials Clopper and Pearson's lower limit is the k-th root of 0.025."""
    for n, pairs in ((3, 1), (4, 2), (11, 5), (40, 20)):
        found = concordance(range(n), [1] * n, [-k for k in range(n)]).c_index
        assert (found.value, found.upper) == (1, 1)
        assert found.lower == pytest.approx(0.025 ** (1 / pairs))
    # the three who progressed on day 5 cannot be compared with each other, only with those censored then or later
    tied = concordance([5, 5, 5, 5, 9], [1, 1, 1, 0, 0], [2, 2, 2, 1, 1]).c_index
    assert tied.lower == pytest.approx(0.025 ** (1 / 2))


def test_the_interval_of_a_few_patients_covers_the_true_index() -> None:
    """Twelve patients, about eight events; the normal interval on the index's own scale covers 87 of 100."""
    rng = np.random.default_rng(9)
    covered = []
    for _ in range(500):
        time, censored = rng.exponential(size=12), rng.exponential(2, size=12)
        found = concordance(np.minimum(time, censored), time <= censored, rng.normal(size=12)).c_index
        covered.append(found.lower <= 0.5 <= found.upper)
        assert 0 <= found.lower <= found.value <= found.upper <= 1
    assert 0.93 <= np.mean(covered) <= 0.985


def test_the_same_risk_on_another_scale_does_not_differ(lung: pd.DataFrame) -> None:
    found = compare_concordance(lung["time"], lung["status"], lung["age"], 3 * lung["age"] + 1)
    assert (found.difference.value, found.p_value) == (0, 1)


def test_follow_up_without_a_comparable_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="no two patients can be compared"):
        concordance([5, 1], [1, 0], [1, 2])
    with pytest.raises(ValueError, match="missing"):
        concordance([5, 1], [1, 0], [1, np.nan])
