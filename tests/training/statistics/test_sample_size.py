"""Sample sizes: the worked examples of the packages and papers that the formulas come from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit
from scipy.stats import norm
from typer.testing import CliRunner

from training.commands.cli import app
from training.statistics.sample_size import cox_snell_r2_of, development_size, development_size_of_survival
from training.statistics.validation_sample_size import logits_of_area, normal_logits, validation_size


def test_a_binary_outcome_needs_what_the_vignette_of_pmsampsize_says() -> None:
    """Prevalence 0.174, 24 parameters, R2 0.288: 623, 662 and 221, hence 662."""
    found = development_size(0.174, 24, 0.288)
    assert (found.for_shrinkage, found.for_optimism, found.for_risk, found.n) == (623, 662, 221, 662)
    assert found.events_per_parameter == pytest.approx(4.8, abs=0.005)


def test_a_time_to_an_event_needs_what_the_vignette_of_pmsampsize_says() -> None:
    """R2 0.051, 30 parameters, rate 0.065, time 2, follow-up 2.07: 5143 and 1039, hence 5143 with 23.07 events each."""
    found = development_size_of_survival(0.065, 2, 2.07, 30, 0.051)
    assert (found.for_shrinkage, found.for_optimism, found.n) == (5143, 1039, 5143)
    assert found.events_per_parameter == pytest.approx(23.07, abs=0.005)
    assert found.risk == pytest.approx((0.122, 0.113, 0.130), abs=0.0005)


def test_a_validation_needs_what_the_example_of_pmvalsampsize_says() -> None:
    """Riley 2021: prevalence 0.018, C 0.8, logits N(-5, 2.5), O/E within a width of 1: 905, about 4544 by simulation, 4252."""
    found = validation_size(0.018, 0.8, normal_logits(-5, 2.5), observed_to_expected_width=1)
    assert found.for_observed_to_expected == pytest.approx(905, abs=1)  # they step the error by 0.0001
    assert found.for_slope == pytest.approx(4544, rel=0.005)
    assert found.for_auc == 4252
    assert found.for_net_benefit is None


def test_net_benefit_needs_what_its_formula_says() -> None:
    """By hand: threshold 0.5 at prevalence 0.5 has weight 1; variance 0.25/0.5 + 0.25/0.5 + 0.25/0.25 = 2."""
    found = validation_size(0.5, 0.75, [-1, 1, 2], net_benefit=(0.5, 0.5, 0.5))
    assert found.for_net_benefit == math.ceil(2 / (0.2 / 2 / norm.ppf(0.975)) ** 2)


@pytest.mark.parametrize(("area", "prevalence"), [(0.75, 0.3), (0.85, 0.1)])
def test_r2_of_an_area_is_that_of_a_simulated_cohort(area: float, prevalence: float) -> None:
    """As Riley, Van Calster and Collins find it: normal predictors in either class, and a logistic model of them."""
    rng = np.random.default_rng(0)
    label = rng.random(100_000) < prevalence
    predictor = rng.normal(size=label.size) + math.sqrt(2) * norm.ppf(area) * label
    fit = sm.GLM(label.astype(float), sm.add_constant(predictor), family=sm.families.Binomial()).fit()
    simulated = 1 - math.exp((fit.deviance - fit.null_deviance) / label.size)
    assert cox_snell_r2_of(area, prevalence) == pytest.approx(simulated, rel=0.03)


def test_log_odds_of_an_area_are_calibrated_and_have_it() -> None:
    logits = logits_of_area(0.75, 0.3)
    assert expit(logits).mean() == pytest.approx(0.3, abs=0.002)
    cases, controls = logits[:6000], logits[6000:]
    assert (cases[:, None] > controls[::20]).mean() == pytest.approx(0.75, abs=0.002)


def test_what_no_cohort_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"R2 must lie between 0 and 0\.603 here, got 0\.7"):
        development_size(0.174, 24, 0.7)
    with pytest.raises(ValueError, match=r"area must lie between 0\.5 and 1"):
        cox_snell_r2_of(0.5, 0.3)
    with pytest.raises(ValueError, match="all log-odds are the same"):
        validation_size(0.3, 0.7, [0.1, 0.1])


@pytest.mark.parametrize(
    ("prevalence", "auc", "code", "said"),
    [
        ("1e-9", "0.7", 2, "cannot be validated in a cohort"),
        ("0.001", "0.7", 0, "take enough patients for 100"),
    ],
)
def test_the_command_says_in_words_where_the_numbers_are_out_of_reach_or_small(
    prevalence: str, auc: str, code: int, said: str
) -> None:
    result = CliRunner().invoke(app, ["sample-size", "--prevalence", prevalence, "--auc", auc])
    assert result.exit_code == code
    assert said in " ".join(result.output.split())
