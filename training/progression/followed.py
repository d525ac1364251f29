"""Patients with follow-up, and their scores and variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdl1es.clinical import VARIABLES


@dataclass(frozen=True, slots=True)
class ModelRisk:
    """An exported Cox model's values for patients that it was not fitted on.

    Attributes
    ----------
    linear_predictor
        float64, shape (N,); NaN where the model gives no value for a patient.
    cut_off
        The model's own.
    above, below
        The model's names of its groups.
    """

    linear_predictor: NDArray[np.float64]
    cut_off: float
    above: str = "above the cut-off"
    below: str = "not above the cut-off"


@dataclass(frozen=True, slots=True)
class FollowedCohort:
    """Patients with follow-up; every column has shape (N,).

    Attributes
    ----------
    time, event
        Days to progression or censoring, and whether it was progression.
    score
        PD-L1ES; None where no model has scored the patients, as in a table without images.
    clinical
        The four variables on the raw scale, imputed, shape (N, 4).
    known
        Which of them were measured, shape (N, 4): curves by a variable show these alone.
    ungraded
        Smokers of unknown grade, shape (N,): `clinical` holds a code for them that tells no grade; nobody where None.
    treatment
        None where it is not known.
    expression
        Measured PD-L1, 1 high, 0 low, NaN where it is not known.
    cause
        Of each event, ``progression`` or ``death``, and None of a censored patient or where it is not known; empty where
        the cohort gives none.
    left_out
        Number of patients who are left out, by reason.
    model_risks
        By name (`clinical`, `fusion`), where an exported model holds Cox models.
    """

    time: NDArray[np.float64]
    event: NDArray[np.float64]
    score: NDArray[np.float64] | None
    clinical: NDArray[np.float64]
    known: NDArray[np.bool_]
    treatment: tuple[str | None, ...]
    expression: NDArray[np.float64]
    ungraded: NDArray[np.bool_] | None = None
    cause: tuple[str | None, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    model_risks: Mapping[str, ModelRisk] = field(default_factory=dict)


def followed_cohort(
    cases: pd.DataFrame,
    score: NDArray[np.float64] | None,
    imputed: NDArray[np.float64],
    model_risks: Mapping[str, ModelRisk] | None = None,
) -> FollowedCohort:
    """Take the patients with follow-up from a cohort.

    Parameters
    ----------
    cases
        As ``cases.parquet``, N rows. Where a row's split is 'prognosis' those rows, else all that did not train or
        validate the model: its score knows their label, so that their cut-offs and hazard ratios would flatter it.
    score
        PD-L1ES, float64, shape (N,), NaN where a patient was not scored; None where there is no score at all.
    imputed
        float64, shape (N, 4): the clinical variables as the model imputes them.
    model_risks
        By name (`clinical`, `fusion`) an exported model's Cox models on these N patients.

    Returns
    -------
    FollowedCohort

    Raises
    ------
    ValueError
        No patient is left who has follow-up and, where there is a score, a score.
    """
    time = cases["pfs_days"].to_numpy(dtype=np.float64, na_value=np.nan)
    event = cases["progressed"].to_numpy(dtype=np.float64, na_value=np.nan)
    split = cases["split"].astype(object).to_numpy() if "split" in cases else np.full(len(cases), None, dtype=object)
    fitted_on = (split == "train") | (split == "validation")
    complete = np.isfinite(time) & np.isfinite(event)
    cohort = split == "prognosis" if (split == "prognosis").any() else np.isfinite(time) & ~fitted_on
    followed = cohort & complete
    kept = followed if score is None else followed & np.isfinite(score)
    if not kept.any():
        raise ValueError(_nobody(followed, complete & fitted_on))
    known = ~np.isnan(cases[list(VARIABLES)].to_numpy(dtype=np.float64, na_value=np.nan))
    ungraded = np.zeros(len(cases), dtype=np.bool_)
    if "smoking_graded" in cases:
        # a smoker of unknown grade counts as a smoker
        ungraded = cases["smoking_graded"].eq(False).to_numpy(dtype=bool, na_value=False)
        known[:, VARIABLES.index("smoking")] |= ungraded
    treatment = _texts(cases["treatment"])
    cause = _texts(cases["event_cause"]) if "event_cause" in cases and cases["event_cause"].notna().any() else None
    return FollowedCohort(
        time=time[kept],
        event=event[kept],
        score=None if score is None else score[kept],
        clinical=imputed[kept],
        known=known[kept],
        ungraded=ungraded[kept],
        treatment=tuple(treatment[k] for k in np.flatnonzero(kept)),
        expression=cases["label"].to_numpy(dtype=np.float64, na_value=np.nan)[kept],
        cause=() if cause is None else tuple(cause[k] for k in np.flatnonzero(kept)),
        left_out={
            "in the training or validation split": int((complete & fitted_on).sum()),
            "without follow-up": int((cohort & ~followed).sum()),
            "without a score": int((followed & ~kept).sum()),
        },
        model_risks={
            name: replace(risk, linear_predictor=risk.linear_predictor[kept])
            for name, risk in (model_risks or {}).items()
        },
    )


def _texts(column: pd.Series) -> list[str | None]:
    return [None if pd.isna(value) or not str(value) else str(value) for value in column]


def _nobody(followed: NDArray[np.bool_], fitted_on: NDArray[np.bool_]) -> str:
    if followed.any():
        return "none of the patients with follow-up has a score"
    if fitted_on.any():
        return (
            f"all {int(fitted_on.sum())} patients with follow-up trained or validated the model: name those who "
            "are to be analysed in the column split as prognosis, and train without them"
        )
    return "no patient has follow-up: give pfs_days and progressed"


def part_of(cohort: FollowedCohort, rows: NDArray[np.bool_]) -> FollowedCohort:
    """Return some of the patients.

    Parameters
    ----------
    cohort
        All patients.
    rows
        Which of them, shape (N,).

    Returns
    -------
    FollowedCohort
    """
    return FollowedCohort(
        time=cohort.time[rows],
        event=cohort.event[rows],
        score=None if cohort.score is None else cohort.score[rows],
        clinical=cohort.clinical[rows],
        known=cohort.known[rows],
        ungraded=None if cohort.ungraded is None else cohort.ungraded[rows],
        treatment=tuple(cohort.treatment[k] for k in np.flatnonzero(rows)),
        expression=cohort.expression[rows],
        cause=tuple(cohort.cause[k] for k in np.flatnonzero(rows)) if cohort.cause else (),
    )
