"""Cox's model: R's coxph and cox.zph give the same numbers, Efron's ties included."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines.datasets import load_rossi
from statsmodels.duration.hazard_regression import PHReg

from training.statistics.cox import cox, cox_calibration
from training.statistics.cox_model import NoFiniteEstimate
from training.statistics.cox_refit import CoxRefit
from training.statistics.hazards_check import proportional_hazards

NAMES = ("sex", "age", "ph.ecog")


def test_coefficients_errors_and_intervals_are_those_of_r(lung_with_ecog: pd.DataFrame) -> None:
    """R 4.2.2, survival 3.5-3: coxph(Surv(time, status) ~ sex + age + ph.ecog, data = lung), Efron's ties."""
    model = cox(lung_with_ecog["time"], lung_with_ecog["status"], {n: lung_with_ecog[n] for n in NAMES})
    ours = [[t.coefficient, t.standard_error, t.statistic, t.p_value] for t in model.terms]
    assert ours[0] == pytest.approx([-0.5526123957036, 0.1677390537873, -3.29448, 0.00098605], rel=1e-5)
    assert [row[0] for row in ours] == pytest.approx([-0.5526123957036, 0.0110667645601, 0.4637284753704], rel=1e-6)
    assert [row[1] for row in ours] == pytest.approx([0.1677390537873, 0.0092674110137, 0.1135772661620], rel=1e-6)
    assert [row[3] for row in ours] == pytest.approx([0.00098605, 0.23241568, 4.4471e-05], rel=1e-5)
    ratio = model.term("ph.ecog").hazard_ratio
    limits = [1.58999119005, 1.272675177774, 1.986423581288]
    assert [ratio.value, ratio.lower, ratio.upper] == pytest.approx(limits, rel=1e-6)
    assert (model.n, model.n_events) == (227, 164)


def test_the_three_joint_tests_are_those_of_r(lung_with_ecog: pd.DataFrame) -> None:
    model = cox(lung_with_ecog["time"], lung_with_ecog["status"], {n: lung_with_ecog[n] for n in NAMES})
    tests = (model.likelihood_ratio_test, model.wald_test, model.score_test)
    assert [t.p_value for t in tests] == pytest.approx([1.0828177e-06, 1.4281652e-06, 1.0832092e-06], rel=1e-6)
    assert model.log_likelihood == pytest.approx(-729.2301213749, rel=1e-10)


def test_efrons_coefficients_are_not_breslows(lung_with_ecog: pd.DataFrame) -> None:
    """R with ties = "breslow" gives 0.46294704 for performance status; Efron's 0.46372848 is ours."""
    table = lung_with_ecog
    ours = cox(table["time"], table["status"], {n: table[n] for n in NAMES}).term("ph.ecog").coefficient
    assert abs(ours - 0.46372847537) < 1e-8 < abs(ours - 0.46294704059)


def test_a_second_trial_with_many_ties_agrees_with_r(veteran: pd.DataFrame) -> None:
    """R 4.2.2, survival 3.5-3: coxph(Surv(time, status) ~ trt + karno + age, data = veteran)."""
    model = cox(veteran["time"], veteran["status"], {n: veteran[n] for n in ("trt", "karno", "age")})
    r = [0.18954644192337841, -0.03444389683874910, -0.00386441787397458]
    assert model.coefficients == pytest.approx(r, rel=1e-8)
    errors = [0.18553066502305923, 0.00523241490055477, 0.00918738465815066]
    assert [t.standard_error for t in model.terms] == pytest.approx(errors, rel=1e-8)
    statistics = [model.likelihood_ratio_test.statistic, model.score_test.statistic]
    assert statistics == pytest.approx([43.1421497604560, 46.8358780341288], rel=1e-9)


def test_model_with_cell_types_agrees_with_the_shared_reference(veteran: pd.DataFrame, reference: Path) -> None:
    text = (reference / "survival_reference.txt").read_text()
    block = text[text.index("trt + celltype + karno") :]
    printed = dict(re.findall(r"^(\w+) +(-?\d+\.\d+) +\d+\.\d+ +\d+\.\d+$", block, flags=re.MULTILINE))
    cells = {f"celltype{c}": (veteran["celltype"] == c).astype(float) for c in ("smallcell", "adeno", "large")}
    model = cox(
        veteran["time"],
        veteran["status"],
        {"trt": veteran["trt"], **cells, "karno": veteran["karno"], "age": veteran["age"]},
    )
    assert set(printed) == set(model.names)
    for term in model.terms:
        assert term.coefficient == pytest.approx(float(printed[term.name]), rel=1e-6)


def test_statsmodels_finds_the_same_on_a_third_data_set() -> None:
    table = load_rossi()
    names = ["fin", "age", "prio"]
    theirs = PHReg(table["week"], table[names], status=table["arrest"], ties="efron").fit()
    model = cox(table["week"], table["arrest"], {n: table[n] for n in names})
    assert model.coefficients == pytest.approx(theirs.params, rel=1e-5)
    assert [t.standard_error for t in model.terms] == pytest.approx(theirs.bse, rel=1e-5)


def test_a_coefficient_near_0_is_as_exact_as_the_others() -> None:
    """Against Newton's method until its steps end; 0.0014 beside -0.15 was 1e-5 off at lifelines' own tolerance."""
    rng = np.random.default_rng(23)
    x, time, event = rng.normal(size=(120, 2)), rng.exponential(size=120), rng.random(120) < 0.7
    model = cox(time, event, {"effect": x[:, 0], "none": x[:, 1]})
    centred = x - x.mean(axis=0)
    predictor = CoxRefit(time, event).linear_predictor(x)
    expected = np.linalg.lstsq(centred, predictor - predictor.mean(), rcond=None)[0]
    assert abs(expected[1]) < 0.002
    assert model.coefficients == pytest.approx(expected, rel=1e-9)


def test_linear_predictor_is_centred_at_the_cohorts_means(lung_with_ecog: pd.DataFrame) -> None:
    columns = {n: lung_with_ecog[n].to_numpy() for n in NAMES}
    model = cox(lung_with_ecog["time"], lung_with_ecog["status"], columns)
    assert model.linear_predictor(columns).mean() == pytest.approx(0, abs=1e-12)
    at_means = {n: [c.mean()] for n, c in columns.items()}
    assert model.linear_predictor(at_means)[0] == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match=r"needs the covariate ph\.ecog"):
        model.linear_predictor({"sex": [1], "age": [60]})


def test_check_of_proportional_hazards_is_that_of_r(lung_with_ecog: pd.DataFrame) -> None:
    """R 4.2.2, survival 3.5-3: cox.zph(coxph(Surv(time, status) ~ sex + age + ph.ecog, data = lung))."""
    table = lung_with_ecog
    found = proportional_hazards(table["time"], table["status"], {n: table[n] for n in NAMES})
    ours = [*(t.statistic for t in found.by_term.values()), found.overall.statistic]
    assert ours == pytest.approx([2.30543722740, 0.18798767365, 2.05424877405, 4.46365758876], rel=1e-6)
    assert found.overall.p_value == pytest.approx(0.21555, rel=1e-4)


@pytest.mark.parametrize(
    ("transform", "r"),
    [
        ("km", [0.28354692647, 12.00295744976, 2.09951762451, 19.10166478625]),
        ("identity", [1.11380318627, 4.65453349556, 0.97244508136, 10.18914338467]),
        ("rank", [0.27801690253, 12.64040697384, 2.04143475415, 19.74965396776]),
    ],
)
def test_check_of_proportional_hazards_is_rs_on_every_time_scale(
    veteran: pd.DataFrame, transform: str, r: list[float]
) -> None:
    """R 4.2.2, survival 3.5-3: cox.zph(coxph(Surv(time, status) ~ trt + karno + age, data = veteran), transform)."""
    columns = {n: veteran[n] for n in ("trt", "karno", "age")}
    found = proportional_hazards(veteran["time"], veteran["status"], columns, transform)  # type: ignore[arg-type]  # a literal
    ours = [*(t.statistic for t in found.by_term.values()), found.overall.statistic]
    assert ours == pytest.approx(r, rel=1e-8)


def test_a_true_hazard_ratio_lies_in_about_19_of_20_intervals() -> None:
    truth, covered = 2.5, []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        upper = rng.random(94) < 0.5
        time = rng.exponential(300 / truth**upper)
        limit = rng.uniform(100, 900, size=94)
        ratio = cox(np.minimum(time, limit), time <= limit, {"upper": upper}).terms[0].hazard_ratio
        covered.append(ratio.lower <= truth <= ratio.upper)
    assert 0.90 <= np.mean(covered) <= 0.99


def test_order_of_patients_and_units_do_not_matter(lung_with_ecog: pd.DataFrame) -> None:
    table = lung_with_ecog
    shuffled = table.sample(frac=1, random_state=1)
    one = cox(table["time"], table["status"], {"age": table["age"]}).terms[0]
    two = cox(shuffled["time"] / 30, shuffled["status"], {"age": shuffled["age"] * 12}).terms[0]
    assert two.coefficient * 12 == pytest.approx(one.coefficient, rel=1e-8)
    assert two.p_value == pytest.approx(one.p_value, rel=1e-8)


def test_a_group_without_events_has_no_finite_hazard_ratio() -> None:
    time, event, group = [5, 6, 7, 8, 9, 10], [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0]
    with pytest.raises(NoFiniteEstimate, match="no finite hazard ratio of group"):
        cox(time, event, {"group": group})


def test_a_covariate_that_orders_all_events_has_no_finite_hazard_ratio() -> None:
    with pytest.raises(NoFiniteEstimate, match="score"):
        cox([1, 2, 3, 4, 5, 6], [1] * 6, {"score": [6, 5, 4, 3, 2, 1]})


def test_two_events_in_a_small_group_still_have_one() -> None:
    model = cox([5, 6, 7, 8, 9, 10], [1, 0, 1, 0, 1, 0], {"group": [0, 1, 1, 1, 0, 0]})
    assert np.isfinite(model.terms[0].coefficient)


@pytest.mark.parametrize(
    ("event", "covariates", "message"),
    [
        ([0, 0, 0, 0], {"x": [1, 2, 3, 5]}, "nobody had one"),
        ([1, 0, 1, 1], {}, "needs a covariate"),
        ([1, 0, 1, 1], {"x": [2, 2, 2, 2]}, "x is the same for every patient"),
        ([1, 0, 1, 1], {"x": [1, 2, 3, np.nan]}, "x has 1 values that are missing"),
        ([1, 0, 1, 1], {"x": [1, 2, 3, 5], "y": [2, 4, 6, 10]}, "x, y determine another"),
    ],
)
def test_unfit_input_is_refused(event: list[int], covariates: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cox([4, 3, 2, 1], event, covariates)


def test_the_unit_of_a_covariate_changes_nothing_but_its_coefficient() -> None:
    """Scores that differ in the fourth decimal only have a hazard ratio like any others."""
    rng = np.random.default_rng(5)
    time, event, score = rng.exponential(100, 60), rng.random(60) < 0.7, rng.normal(size=60)
    age = rng.normal(60, 10, 60)
    whole = cox(time, event, {"score": score, "age": age})
    tiny = cox(time, event, {"score": 0.5 + 1e-5 * score, "age": age})
    for name, unit in (("score", 1e-5), ("age", 1.0)):
        assert tiny.term(name).coefficient * unit == pytest.approx(whole.term(name).coefficient, rel=1e-6)
        assert tiny.term(name).p_value == pytest.approx(whole.term(name).p_value, rel=1e-6)


def test_a_model_fitted_anew_for_a_shuffle_is_the_model_of_shuffled_patients(lung_with_ecog: pd.DataFrame) -> None:
    """Ties in time included; and where the likelihood has no maximum there is an order all the same."""
    time, status = lung_with_ecog["time"].to_numpy(), lung_with_ecog["status"].to_numpy()
    columns = lung_with_ecog[list(NAMES)].to_numpy(dtype=np.float64)
    tied = np.ceil(time / 60)
    for times in (time, tied):
        fit = CoxRefit(times, status)
        for seed in range(3):
            shuffled = columns[np.random.default_rng(seed).permutation(time.size)]
            expected = cox(times, status, dict(zip(NAMES, shuffled.T, strict=True)))
            x = shuffled - shuffled.mean(axis=0)
            assert fit.linear_predictor(shuffled) == pytest.approx(x @ expected.coefficients, abs=1e-7)
    perfect = CoxRefit([1, 2, 3, 4], [1, 1, 1, 0]).linear_predictor(np.array([[4.0], [3.0], [2.0], [1.0]]))
    assert (np.diff(perfect) < 0).all()


def test_the_slope_of_a_linear_predictor_is_1_on_its_own_patients_and_the_inverse_of_its_spread(
    lung_with_ecog: pd.DataFrame,
) -> None:
    time, status = lung_with_ecog["time"], lung_with_ecog["status"]
    columns = {name: lung_with_ecog[name] for name in NAMES}
    predictor = cox(time, status, columns).linear_predictor(columns)
    own = cox_calibration(time, status, predictor)
    assert own.slope.value == pytest.approx(1, abs=1e-8)
    assert own.p_value == pytest.approx(1, abs=1e-6)
    spread = cox_calibration(time, status, 2 * predictor + 7)
    assert spread.slope.value == pytest.approx(0.5, abs=1e-8)
    assert spread.slope.upper == pytest.approx(own.slope.upper / 2)
    assert spread.statistic == pytest.approx(-0.5 / spread.model.terms[0].standard_error)
    assert (own.model.n, own.model.n_events) == (227, int(status.sum()))
