"""What is lost where: each loss is planted, and found in its place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from training.known_truth.shortfall import FACTOR_OF, Shortfall, measure_shortfall, shortfalls
from training.statistics.estimability import NotEstimable


def cohort(noise: dict[str, float], weights: dict[str, float] | None = None, n: int = 4000) -> Shortfall:
    """Draw patients whose parts see their factors through noise, and are added with weights."""
    rng = np.random.default_rng(7)
    factors = {name: rng.standard_normal(n) for name in ("border", "inner", "clinical")}
    logit = 0.8 * sum(factors.values()) - 0.7
    truth = pd.DataFrame({**factors, "bayes_logit": logit})
    parts = pd.DataFrame({"label": (rng.random(n) < expit(logit)).astype(float)})
    for part, factor in FACTOR_OF.items():
        seen = factors[factor] + noise.get(part, 0.0) * rng.standard_normal(n)
        parts[part] = (weights or {}).get(part, 0.8) * seen
    return measure_shortfall(parts, truth)


def test_parts_that_know_everything_lose_nothing() -> None:
    found = cohort({})
    assert found.as_added.value == pytest.approx(found.bayes.value, abs=1e-12)
    assert found.best_added.value == pytest.approx(found.bayes.value, abs=1e-12)
    assert all(found.correlation[part][factor] == pytest.approx(1) for part, factor in FACTOR_OF.items())


@pytest.mark.parametrize("part", list(FACTOR_OF))
def test_what_a_part_does_not_see_is_found_in_that_part(part: str) -> None:
    found = cohort({part: 2.0})
    assert found.best_added.value < found.bayes.value - 0.02
    assert found.knowing[part].value == pytest.approx(found.bayes.value, abs=1e-12)
    assert all(
        area.value == pytest.approx(found.best_added.value, abs=5e-3)
        for name, area in found.knowing.items()
        if name != part
    )
    assert found.correlation[part][FACTOR_OF[part]] == pytest.approx(1 / np.sqrt(5), abs=0.03)


def test_parts_that_are_added_badly_lose_in_the_sum_and_in_no_part() -> None:
    found = cohort({}, {"deep": 8.0})
    assert found.as_added.value < found.bayes.value - 0.05
    assert found.best_added.value == pytest.approx(found.bayes.value, abs=1e-12)


def test_patients_without_score_or_label_are_left_out_and_groups_named() -> None:
    rng = np.random.default_rng(3)
    truth = pd.DataFrame(rng.standard_normal((60, 3)), columns=["border", "inner", "clinical"])
    truth["bayes_logit"] = truth.sum(axis=1)
    parts = pd.DataFrame(rng.standard_normal((60, 3)), columns=list(FACTOR_OF)).assign(label=[0.0, 1.0] * 30)
    parts.loc[0, "deep"] = np.nan
    parts.loc[1, "label"] = np.nan
    rows = np.arange(60)
    found = shortfalls(parts, truth, {"Training": rows < 40, "Test": rows >= 58, "Gate": rows > 60})
    assert set(found) == {"Training", "Test"}
    assert isinstance(found["Training"], Shortfall)
    assert found["Training"].n == 38
    assert isinstance(found["Test"], NotEstimable)


def test_a_part_that_says_nothing_and_a_missing_value_are_refused() -> None:
    with pytest.raises(ValueError, match="deep is constant"):
        cohort({}, {"deep": 0.0})
    truth = pd.DataFrame({"border": [0.0, 1], "inner": [0.0, 1], "clinical": [0.0, 1], "bayes_logit": [0.0, 1]})
    parts = pd.DataFrame({"label": [0.0, 1], "deep": [0.0, np.nan], "radiomic": [0.0, 1], "clinical": [0.0, 1]})
    with pytest.raises(ValueError, match="not known of every patient"):
        measure_shortfall(parts, truth)
    with pytest.raises(ValueError, match="2 patients, and the truth of 1"):
        measure_shortfall(parts, truth.iloc[:1])
