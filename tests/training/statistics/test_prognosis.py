"""The prognostic analyses: each says what its parts say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from training.statistics.arrays import Estimate
from training.statistics.concordance import Concordance
from training.statistics.cox import cox
from training.statistics.estimability import NotEstimable
from training.statistics.hazards_check import ProportionalHazards
from training.statistics.prognosis import (
    compare_groups,
    compare_in_subgroups,
    fit_fusion_model,
    fit_risk_model,
)
from training.statistics.survival import LogRank
from training.statistics.xtile import search_cut_off


def test_groups_have_rs_hazard_ratio_medians_and_log_rank(lung: pd.DataFrame) -> None:
    """R 4.2.2, survival 3.5-3, lung by sex: HR 0.588 (0.424 to 0.816), 426 against 270 days, C-index 0.579 (se 0.021)."""
    found = compare_groups(lung["time"], lung["status"], lung["sex"] == 2)
    assert isinstance(found.hazard_ratio, Estimate)
    assert isinstance(found.log_rank, LogRank)
    assert isinstance(found.concordance, Concordance)
    assert isinstance(found.proportional_hazards, ProportionalHazards)
    ratio = found.hazard_ratio
    r = [0.588002818564, 0.423717830354, 0.815984813171]
    assert [ratio.value, ratio.lower, ratio.upper] == pytest.approx(r, rel=1e-6)
    assert (found.upper.median.value, found.lower.median.value) == (426, 270)
    assert found.log_rank.test.p_value == pytest.approx(0.00131116452, rel=1e-8)
    assert 1 - found.concordance.c_index.value == pytest.approx(0.579, abs=5e-4)
    assert found.proportional_hazards.overall.statistic == pytest.approx(2.863235149, rel=1e-8)


def test_a_group_without_events_keeps_its_curve_and_has_no_hazard_ratio() -> None:
    found = compare_groups([5, 6, 7, 8], [1, 1, 0, 0], [1, 1, 0, 0])
    assert isinstance(found.hazard_ratio, NotEstimable)
    assert "no finite hazard ratio" in found.hazard_ratio.reason
    assert isinstance(found.log_rank, LogRank)
    assert found.lower.n_events == 0


def test_events_at_one_time_have_a_hazard_ratio_and_no_check_of_its_constancy() -> None:
    found = compare_groups([5, 5, 6, 7, 8, 9], [1, 1, 0, 0, 0, 0], [1, 0, 1, 0, 1, 0])
    assert isinstance(found.hazard_ratio, Estimate)
    assert isinstance(found.proportional_hazards, NotEstimable)


def test_one_time_that_compares_the_groups_leaves_everything_but_the_check_of_proportional_hazards() -> None:
    """At the later event one patient is left, whose share of the hazard no model can tell from another's."""
    found = compare_groups([1, 1, 1, 2], [1, 1, 1, 1], [0, 0, 1, 1])
    assert isinstance(found.hazard_ratio, Estimate)
    assert isinstance(found.log_rank, LogRank)
    assert isinstance(found.concordance, Concordance)
    assert found.upper.median.value == 1.5
    assert isinstance(found.proportional_hazards, NotEstimable)
    assert "change with time" in found.proportional_hazards.reason


def test_no_follow_up_of_four_patients_ends_a_comparison() -> None:
    follow_ups = itertools.product(
        itertools.combinations_with_replacement((1, 2), 4), itertools.product((0, 1), repeat=4)
    )
    for time, event in follow_ups:
        for upper in ([0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0], [0, 1, 1, 1]):
            found = compare_groups(time, event, upper)
            assert found.lower.n + found.upper.n == 4
            check = found.proportional_hazards
            assert isinstance(check, NotEstimable) or math.isfinite(check.overall.statistic)


def test_a_cohort_without_events_has_curves_only() -> None:
    found = compare_groups([5, 6], [0, 0], [1, 0])
    for missing in (found.log_rank, found.model, found.concordance, found.proportional_hazards):
        assert isinstance(missing, NotEstimable)


def test_everybody_on_one_side_is_refused() -> None:
    with pytest.raises(ValueError, match="all 2 patients are in the upper group"):
        compare_groups([5, 6], [1, 0], [1, 1])


def test_interaction_is_rs_likelihood_ratio_test(lung: pd.DataFrame) -> None:
    """R: anova of coxph with sex + (ph.ecog > 0) and with their product: chi-square 0.12083, P 0.72814.

    The one patient of unknown status counts as unknown here, as R drops the row.
    """
    levels = [None if np.isnan(e) else "bed" if e > 0 else "up" for e in lung["ph.ecog"]]
    found = compare_in_subgroups(lung["time"], lung["status"], lung["sex"] == 2, levels)
    assert found.unknown == 1
    assert found.interaction is not None
    assert [found.interaction.statistic, found.interaction.p_value] == pytest.approx([0.12083, 0.72814], abs=1e-5)
    assert list(found.groups) == ["bed", "up"]
    up = lung[lung["ph.ecog"] == 0]
    assert found.groups["up"] is not None
    assert found.groups["up"].model.coefficients == pytest.approx(  # type: ignore[union-attr]  # asserted above
        cox(up["time"], up["status"], {"upper": up["sex"] == 2}).coefficients
    )


def test_a_subgroup_on_one_side_is_reported_empty() -> None:
    found = compare_in_subgroups([1, 2, 3, 4], [1, 1, 1, 0], [1, 0, 1, 1], ["a", "a", "b", "b"])
    assert found.groups["b"] is None
    assert found.interaction is None


def test_fusion_of_signature_and_clinical_model_finds_both_effects() -> None:
    rng = np.random.default_rng(14)
    n = 600
    signature, age, sex = rng.random(n), rng.normal(size=n), (rng.random(n) < 0.6).astype(float)
    time = rng.exponential(300 * np.exp(-(1.5 * (signature - 0.5) + 0.5 * age)))
    event = time < 1500
    clinical = fit_risk_model(time, event, {"age": age, "sex": sex}, n_permutations=50)
    fusion = fit_fusion_model(time, event, signature, clinical, {"age": age, "sex": sex}, n_permutations=50)
    term = fusion.model.term("pdl1es").hazard_ratio
    assert term.lower < np.exp(1.5) < term.upper
    own = fusion.model.term("clinical_risk").hazard_ratio
    assert own.lower < np.exp(1) < own.upper
    assert fusion.concordance.c_index.value > clinical.concordance.c_index.value
    assert fusion.risk.mean() == pytest.approx(0, abs=1e-12)
    assert isinstance(fusion.groups.hazard_ratio, Estimate)
    assert fusion.groups.hazard_ratio.lower > 1
    assert fusion.groups.upper.n == fusion.search.n_upper


def test_a_fitted_models_p_is_corrected_for_the_fit_as_well_as_for_the_search() -> None:
    """Nothing is related to progression: P below 0.05 in about 1 of 20 cohorts, and in many more without the refit.

    Up to 6 of 40 is what a level of 0.05 gives with a probability of 0.996. P is 0.05 where none of 19 shuffles is as good.
    """
    corrected = uncorrected = fused = 0
    for seed in range(40):
        rng = np.random.default_rng([seed, 15])
        clinical = {name: rng.normal(size=60) for name in ("age", "sex", "smoking", "family_history")}
        signature, time, event = rng.random(60), rng.exponential(size=60), rng.random(60) < 0.7
        model = fit_risk_model(time, event, clinical, n_permutations=19, seed=seed)
        fusion = fit_fusion_model(time, event, signature, model, clinical, n_permutations=19, seed=seed)
        corrected += model.search.p_permutation <= 0.05
        fused += fusion.search.p_permutation <= 0.05
        uncorrected += search_cut_off(time, event, model.risk, n_permutations=19, seed=seed).p_permutation <= 0.05
        assert model.search.refitted
    assert corrected <= 6
    assert fused <= 6
    assert uncorrected >= 8


def test_a_signature_of_other_patients_is_refused(lung: pd.DataFrame) -> None:
    clinical = fit_risk_model(lung["time"], lung["status"], {"age": lung["age"]}, n_permutations=5)
    with pytest.raises(ValueError, match="signature has 3 values where the other columns have 228"):
        fit_fusion_model(lung["time"], lung["status"], [0.1, 0.2, 0.3], clinical, {"age": lung["age"]})
