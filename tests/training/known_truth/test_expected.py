"""The expected area is what redrawn labels give on average, without their noise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from training.known_truth.expected import expected_areas, expected_auc
from training.scoring.predictions import Predictions
from training.scoring.scored_cohort import ScoredCohort


def test_of_certain_labels_it_is_scikit_learns_area_ties_included() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(80) < 0.3).astype(float)
    score = np.round(labels + rng.normal(0, 1, 80))
    assert expected_auc(labels, score) == pytest.approx(roc_auc_score(labels, score), abs=1e-12)


def test_it_is_the_mean_over_redrawn_labels() -> None:
    rng = np.random.default_rng(2)
    logit = rng.normal(-0.6, 1.4, 400)
    score = np.round(logit + rng.normal(0, 1.5, 400), 1)
    drawn = [roc_auc_score(rng.random(400) < expit(logit), score) for _ in range(400)]
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert error < 0.002
    assert expected_auc(expit(logit), score) == pytest.approx(np.mean(drawn), abs=4 * error)


def test_no_score_is_expected_to_rank_better_than_the_truth() -> None:
    rng = np.random.default_rng(3)
    probability = expit(rng.normal(-0.6, 1.4, 300))
    best = expected_auc(probability, probability)
    assert all(expected_auc(probability, probability + rng.normal(0, sd, 300)) < best for sd in (0.02, 0.1, 0.5))
    assert expected_auc(probability, -probability) == pytest.approx(1 - best)
    assert expected_auc(probability, np.zeros(300)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("probability", "score", "said"),
    [
        ([0.1, 0.2], [1.0], "shape"),
        ([0.1, 1.2], [1.0, 2.0], "outside 0 to 1"),
        ([0.1, 0.2], [1.0, np.nan], "not finite"),
        ([1.0, 1.0], [1.0, 2.0], "no pair"),
    ],
)
def test_what_has_no_expected_area_is_refused(probability: list[float], score: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        expected_auc(np.array(probability), np.array(score))


def _cohort(**scores: Any) -> ScoredCohort:
    n = len(next(iter(scores.values())))
    cases = pd.DataFrame({"case_id": [f"c{k}" for k in range(n)], "label": 1.0, "split": ["gate"] * (n - 1) + ["test"]})
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in scores.items()}
    predictions = Predictions(tuple(cases["case_id"]), columns)
    scored = SimpleNamespace(cases=cases, predictions=predictions, controls=("shuffled voxels",))
    return scored  # type: ignore[return-value]


def test_all_models_are_compared_on_the_patients_that_all_of_them_scored() -> None:
    truth, other = [0.1, 0.3, 0.6, 0.9, 0.5], [0.2, np.nan, 0.5, 0.4, 0.9]
    areas = expected_areas(_cohort(Bayes=truth, CM=other, **{"shuffled voxels": [np.nan] * 5}), "gate")
    rows = [0, 2, 3]
    assert areas == {
        "Bayes": expected_auc(np.array(truth)[rows], np.array(truth)[rows]),
        "CM": expected_auc(np.array(truth)[rows], np.array(other)[rows]),
    }
    assert expected_areas(_cohort(CM=other), "gate") == {}
    with pytest.raises(ValueError, match="unknown split"):
        expected_areas(_cohort(Bayes=truth), "prognosis")
