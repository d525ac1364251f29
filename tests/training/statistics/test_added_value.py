"""What a score adds: R's likelihood ratios, and planted truths for the shuffles and for optimism."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from tests.training.statistics.r_values import RValues
from training.statistics import resampling
from training.statistics.added_value import added_to_cox, added_to_logistic, logistic_coefficients
from training.statistics.resampling import OptimismBootstrap, cox_optimism, logistic_optimism, optimism_bootstrap

QUICK = {"n_permutations": 99, "n_resamples": 30}


def test_likelihood_ratios_are_those_of_r(lung_with_ecog: pd.DataFrame, r: RValues) -> None:
    table = lung_with_ecog
    clinical = table[["age", "sex"]].to_numpy(dtype=float)
    of_time = added_to_cox(table["time"], table["status"], clinical, table["ph.ecog"], **QUICK)
    of_label = added_to_logistic(table["status"], clinical, table["ph.ecog"], **QUICK)
    assert of_time.likelihood_ratio.statistic == pytest.approx(r["cox lr"][0], rel=1e-8)
    assert of_label.likelihood_ratio.statistic == pytest.approx(r["logistic lr"][0], rel=1e-8)
    everything = table[["age", "sex", "ph.ecog"]].to_numpy(dtype=float)
    coefficients = logistic_coefficients(everything, table["status"].to_numpy() == 1)
    assert coefficients == pytest.approx(r["logistic coefficients"], rel=1e-7)


def test_optimism_is_that_of_a_bootstrap_in_r(
    lung_with_ecog: pd.DataFrame, r: RValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the 20 resamples that the script of R draws by a formula."""
    k = np.arange(len(lung_with_ecog), dtype=np.int64)
    draws = [(k**2 * 7 + k * b * 13 + b * b * 5) % k.size for b in range(1, 21)]
    monkeypatch.setattr(resampling, "resampled_rows", lambda n, n_resamples, seed: iter(draws))
    columns = lung_with_ecog[["age", "sex", "ph.ecog"]].to_numpy(dtype=float)
    found = cox_optimism(lung_with_ecog["time"], lung_with_ecog["status"], columns, n_resamples=20)
    optimism = [found.measures["c_index"].optimism, 0 + found.measures["slope"].optimism]
    assert optimism == pytest.approx(r["cox optimism"], rel=1e-6)


def _patients(n: int, seed: int, own: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    clinical = rng.normal(size=(n, 3))
    score = clinical[:, 0] + rng.normal(size=n)
    truth = clinical[:, 0] + own * (score - clinical[:, 0])
    return clinical, score, rng.random(n) < expit(truth)


def test_a_score_that_repeats_the_clinic_adds_nothing_and_one_that_knows_more_does() -> None:
    """Alone either tells the label; only beside the clinical variables is the difference seen."""
    clinical, score, label = _patients(400, 1, own=0.0)
    repeated = added_to_logistic(label, clinical, score, **QUICK)
    assert repeated.permutation_p > 0.05 < repeated.likelihood_ratio.p_value
    assert repeated.share_of_information > 0.95
    clinical, score, label = _patients(400, 1, own=0.8)
    more = added_to_logistic(label, clinical, score, **QUICK)
    assert more.permutation_p == 0.01
    assert more.share_of_information < 0.8
    assert isinstance(more.both, OptimismBootstrap)
    assert isinstance(more.clinical, OptimismBootstrap)
    assert more.both.measures["auc"].corrected.value > more.clinical.measures["auc"].corrected.value + 0.03


def test_the_shuffles_hold_their_level_though_the_score_follows_the_clinic() -> None:
    """Without any own information P is below 0.1 in about a tenth of 100 cohorts of 40 patients."""
    below = 0
    for seed in range(100):
        clinical, score, label = _patients(40, 1000 + seed, own=0.0)
        try:
            found = added_to_logistic(label, clinical[:, :1], score, n_permutations=19, n_resamples=1)
        except ValueError:
            continue
        below += found.permutation_p <= 0.1
    assert 3 <= below <= 19


def test_a_score_that_the_clinic_determines_is_refused() -> None:
    clinical, _, label = _patients(60, 2, own=0.5)
    with pytest.raises(ValueError, match="the clinical variables determine the score"):
        added_to_logistic(label, clinical, 2 * clinical[:, 1] - 1, **QUICK)
    with pytest.raises(ValueError, match="separate the classes"):
        added_to_logistic([0] * 30 + [1] * 30, clinical[:, :1] * 0.01 + 1, np.arange(60.0) ** 2, **QUICK)


def test_corrected_for_optimism_noise_is_noise() -> None:
    """Fifteen variables of noise on 80 patients: the apparent area is far above one half, the corrected one is not."""
    rng = np.random.default_rng(4)
    covariates, label = rng.normal(size=(80, 15)), rng.random(80) < 0.5
    found = logistic_optimism(label, logistic_coefficients, covariates, n_resamples=100).measures
    assert found["auc"].apparent > 0.7
    assert abs(found["auc"].corrected.value - 0.5) < 0.12
    assert found["slope"].apparent == pytest.approx(1)
    assert found["slope"].corrected.value < 0.5


def test_resamples_without_an_estimate_are_counted_and_too_many_end_it() -> None:
    def measure(fitted: NDArray[np.intp], measured: NDArray[np.intp]) -> dict[str, float]:
        if fitted.size == 20 and np.unique(fitted).size < limit:
            raise ValueError("no estimate")
        return {"share": float(measured.mean()) + np.unique(fitted).size}

    limit = 10
    found = optimism_bootstrap(20, measure, n_resamples=50, seed=1)
    assert (found.n_resamples, found.n_failed) == (50, sum(np.unique(rows).size < 10 for rows in _rows(50)))
    limit = 19
    with pytest.raises(ValueError, match="of 50 bootstrap samples hold no estimate"):
        optimism_bootstrap(20, measure, n_resamples=50, seed=1)


def _rows(n_resamples: int) -> list[NDArray[np.intp]]:
    return list(resampling.resampled_rows(20, n_resamples, 1))
