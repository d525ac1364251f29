"""How far PD-L1ES can be trusted on patients that nothing was chosen on: intervals, added value, fairness, sample size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit

from training.expression.characteristics import levels
from training.expression.results import DevelopmentReach, ScorePerformance
from training.statistics.added_value import AddedValue, added_to_logistic
from training.statistics.arrays import Estimate
from training.statistics.calibration import SMALLEST_PROBABILITY
from training.statistics.classification import classify, youden_cut_off
from training.statistics.discrimination import auc
from training.statistics.estimability import NotEstimable, estimated
from training.statistics.fairness import Fairness, fairness
from training.statistics.resampling import percentile_estimate
from training.statistics.sample_size import cox_snell_r2_of, parameters_allowed
from training.statistics.smooth_calibration import brier_interval, smooth_calibration
from training.statistics.validation_sample_size import ValidationSize, validation_size

AGE_CUT_YEARS: Final = 65.0
NO_CLINICAL_VARIABLES: Final = NotEstimable("the clinical variables were not given")


def score_performance(
    labels: NDArray[np.float64],
    signature: NDArray[np.float64],
    clinical: NDArray[np.float64] | None,
    cut_off: float | NotEstimable,
    *,
    n_resamples: int,
    n_permutations: int,
    seed: int,
) -> ScorePerformance:
    """Measure PD-L1ES in one cohort.

    Parameters
    ----------
    labels
        Shape (N,), 0 and 1.
    signature
        PD-L1ES, shape (N,); NaN where a patient was not scored.
    clinical
        Shape (N, 4), imputed; None where they are not given.
    cut_off
        Of high expression.
    n_resamples, n_permutations, seed
        Of bootstraps and shuffles.

    Returns
    -------
    ScorePerformance
    """
    known = ~np.isnan(signature)
    labels, signature = labels[known], signature[known]
    added: AddedValue | NotEstimable = NO_CLINICAL_VARIABLES
    if clinical is not None and known.any():
        columns = clinical[known]
        columns = columns[:, np.isfinite(columns).all(axis=0) & (np.ptp(columns, axis=0) > 0)]
        if columns.shape[1]:
            added = estimated(
                added_to_logistic,
                labels,
                columns,
                logit(np.clip(signature, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)),
                n_permutations=n_permutations,
                n_resamples=n_resamples,
                seed=seed,
            )
        else:
            added = NotEstimable("no clinical variable differs between these patients")
    return ScorePerformance(
        brier=estimated(brier_interval, labels, signature),
        smooth=estimated(smooth_calibration, labels, signature, n_resamples=n_resamples, seed=seed),
        added=added,
        needed=estimated(_needed, labels, signature, cut_off),
        n=labels.size,
    )


def fairness_of(
    cases: pd.DataFrame, labels: NDArray[np.float64], signature: NDArray[np.float64], cut_off: float | NotEstimable
) -> dict[str, Fairness | NotEstimable]:
    """Compare error rates and calibration by sex, age, smoking and scanner.

    Parameters
    ----------
    cases
        Rows of ``cases.parquet``, N patients.
    labels, signature
        Shape (N,); NaN where a patient was not scored.
    cut_off
        Of high expression.

    Returns
    -------
    dict
        By variable.
    """
    known = ~np.isnan(signature)
    cases, labels, signature = cases[known], labels[known], signature[known]
    age = cases["age"].to_numpy(dtype=np.float64, na_value=np.nan)
    smoking = cases["smoking"].to_numpy(dtype=np.float64, na_value=np.nan)
    smoker = np.where(np.isnan(smoking), np.nan, smoking > 0)
    if "smoking_graded" in cases:
        # a smoker of unknown grade has no code
        smoker[cases["smoking_graded"].eq(False).to_numpy(dtype=bool, na_value=False)] = 1.0
    groups: Mapping[str, tuple[str, list[str | None]]] = {
        "sex": ("Sex", levels(cases["sex"], {0.0: "female", 1.0: "male"})),
        "age": (
            "Age",
            [None if math.isnan(a) else f"{'<' if a < AGE_CUT_YEARS else '>='} {AGE_CUT_YEARS:g} years" for a in age],
        ),
        "smoking": ("Smoking", [None if math.isnan(s) else "ever" if s else "never" for s in smoker]),
        "manufacturer": ("Manufacturer", [None if pd.isna(m) else str(m) for m in cases["manufacturer"]]),
    }
    return {key: estimated(fairness, name, labels, signature, of, cut_off) for key, (name, of) in groups.items()}


def cut_off_interval(
    labels: NDArray[np.float64], signature: NDArray[np.float64], n_resamples: int, seed: int
) -> Estimate:
    """Return Youden's cut-off with its percentile bootstrap interval.

    Parameters
    ----------
    labels, signature
        Of the patients that the cut-off is found on, shape (N,).
    n_resamples, seed
        Of the bootstrap.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        As `youden_cut_off`, or too few resamples have a cut-off.
    """
    found = youden_cut_off(labels, signature).cut_off

    def resampled(rows: NDArray[np.intp]) -> float:
        return youden_cut_off(labels[rows], signature[rows]).cut_off

    return percentile_estimate(found, resampled, labels.size, n_resamples, seed)


def development_reach(n: int, n_positive: int, area: float) -> DevelopmentReach:
    """Return how many candidate parameters a training cohort allows.

    Parameters
    ----------
    n, n_positive
        Training patients.
    area
        That the model has on other patients.

    Returns
    -------
    DevelopmentReach

    Raises
    ------
    ValueError
        The area is not above 0.5, or one class only.
    """
    r2 = cox_snell_r2_of(area, n_positive / n)
    return DevelopmentReach(n, n_positive, area, r2, parameters_allowed(n, n_positive / n, r2))


def _needed(
    labels: NDArray[np.float64], signature: NDArray[np.float64], cut_off: float | NotEstimable
) -> ValidationSize:
    area = auc(labels, signature).value
    logits = logit(np.clip(signature, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))
    benefit = None
    if not isinstance(cut_off, NotEstimable) and 0 < cut_off < 1:
        at = classify(labels, signature, cut_off)
        benefit = (cut_off, at.sensitivity.value, at.specificity.value)
    return validation_size(float(labels.mean()), area, logits, net_benefit=benefit)
