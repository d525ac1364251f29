"""Patients with follow-up from a cohort's table, without images and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdl1es.model.imputation import build_profiles
from training.cohort.prepared import case_table
from training.cohort.table import CohortRow
from training.fit import coded_clinical, impute_all, smoker_grade
from training.progression.followed import FollowedCohort, followed_cohort


def followed_table(rows: Sequence[CohortRow]) -> FollowedCohort:
    """Take the patients with follow-up from a cohort's table.

    Parameters
    ----------
    rows
        Patients; no image is looked at.

    Returns
    -------
    FollowedCohort
        Without a score. Missing clinical values are imputed from these patients by the paper's rule; a variable that is
        missing for everybody stays NaN.

    Raises
    ------
    ValueError
        No patient has follow-up.
    """
    cases = case_table([_case(row) for row in rows])
    clinical = cases[["age", "sex", "smoking", "family_history"]].to_numpy(dtype=np.float64)
    coded = coded_clinical(clinical, cases["smoking_graded"].to_numpy(dtype=np.bool_), smoker_grade(clinical))
    return followed_cohort(cases, None, _imputed(coded))


def _case(row: CohortRow) -> dict[str, Any]:
    return {
        "case_id": row.id,
        # no model was trained on these patients
        "split": "prognosis" if row.split == "prognosis" else None,
        "label": row.high_expression,
        **row.clinical_codes(),
        "pfs_days": row.pfs_days,
        "progressed": row.progressed,
        "event_cause": row.event_cause,
        "treatment": row.treatment,
    }


def _imputed(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill gaps, shape (N, 4), by k-nearest neighbours among the patients; a variable that everybody lacks adds no distance."""
    nobody = np.isnan(coded).all(axis=0)
    held = np.where(nobody, 0.0, coded)
    # no model file stores these profiles, so rare ones need no protection
    filled = impute_all(held, build_profiles(held, min_count=1))
    return np.where(nobody, np.nan, filled)
