"""Synthetic tables of patients, so that evaluation is tested without a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import expit

from pdl1es.clinical import TREATMENTS
from training.scoring.predictions import Predictions


def draw_cohort(
    sizes: Mapping[str, int] | Mapping[None, int] | Mapping[str | None, int],
    seed: int = 0,
    log_hazard_ratio: float = 0.9,
) -> tuple[pd.DataFrame, Predictions]:
    """Draw patients: latent factors for image and clinic, the label from both, progression from the score."""
    rng = np.random.default_rng(seed)
    n = sum(sizes.values())
    split = np.repeat(np.array(list(sizes), dtype=object), list(sizes.values()))
    deep, radiomic, age = rng.normal(size=(3, n))
    sex, family = rng.integers(0, 2, n).astype(float), (rng.random(n) < 0.15).astype(float)
    smoking = rng.choice((0.0, 1.0, 2.0), n, p=(0.5, 0.4, 0.1))
    truth = -0.7 + 0.9 * deep + 0.7 * radiomic + 0.3 * age
    label = (rng.random(n) < expit(truth)).astype(float)
    score = expit(truth + 0.2 * rng.normal(size=n))
    hazard = np.exp(log_hazard_ratio * (score > np.median(score)) + 0.02 * 10 * age)
    time = rng.exponential(250 / hazard)
    end = rng.uniform(150, 700, n)
    immune = split == "prognosis" if "prognosis" in sizes else np.ones(n, dtype=bool)
    missing = rng.random((3, n)) < 0.04
    cases = pd.DataFrame(
        {
            "case_id": [f"case-{k:04d}" for k in range(n)],
            "split": split,
            "label": label,
            "age": np.where(missing[0], np.nan, np.rint(59 + 10 * age)),
            "sex": sex,
            "smoking": np.where(missing[1], np.nan, smoking),
            "smoking_graded": np.ones(n, dtype=bool),
            "family_history": np.where(missing[2], np.nan, family),
            "pfs_days": np.where(immune, np.ceil(np.minimum(time, end)), np.nan),
            "progressed": np.where(immune, (time <= end).astype(float), np.nan),
            "treatment": np.where(rng.random(n) < 0.54, *TREATMENTS[:2]),
            "manufacturer": rng.choice(["SIEMENS", "GE MEDICAL SYSTEMS", "Philips"], n),
            "slice_thickness_mm": rng.choice([1.0, 2.0, 5.0], n),
            "tube_current_ma": rng.normal(290, 60, n).round(),
            "volume_ml": np.exp(rng.normal(3, 1, n)),
        }
    )
    probability = {
        "CM": expit(-0.7 + 0.3 * age),
        "PD-L1ES": score,
        "RM": expit(-0.7 + 0.7 * radiomic),
        "DLM": expit(-0.7 + 0.9 * deep),
    }
    return cases, Predictions(tuple(cases["case_id"]), probability)


def imputed(cases: pd.DataFrame) -> np.ndarray:
    """Stand in for the model's imputation: the means."""
    columns = cases[["age", "sex", "smoking", "family_history"]]
    return columns.fillna(columns.mean()).to_numpy(dtype=np.float64)
