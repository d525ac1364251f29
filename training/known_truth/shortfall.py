"""Finds where a model loses area under the curve against a synthetic cohort's truth: in its parts, or in their weights.

PD-L1ES is a sum of three parts, and a synthetic cohort's logit a sum of three factors, each visible to one part only.
So it can be measured how well each part reflects its factor, and which area the score would reach if one part did so
perfectly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.statistics.discrimination import Auc, auc
from training.statistics.estimability import NotEstimable, estimated

FACTOR_OF: Final = {"deep": "border", "radiomic": "inner", "clinical": "clinical"}
"""The factor that each part can reflect."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """How well the parts of the score reflect the factors, in a group of patients.

    Attributes
    ----------
    n
        Patients.
    correlation
        Pearson's, of each part with each factor.
    as_added
        Area of the score as it is.
    best_added
        Of the same three parts with the weights that come nearest to the Bayes logit of these patients (least squares):
        what lies between is lost in the weights.
    knowing
        Of the best sum in which one part is replaced by its factor, by part: what is gained is lost in that part.
    bayes
        Of the score that knows the truth.
    """

    n: int
    correlation: Mapping[str, Mapping[str, float]]
    as_added: Auc
    best_added: Auc
    knowing: Mapping[str, Auc]
    bayes: Auc


def measure_shortfall(parts: pd.DataFrame, truth: pd.DataFrame) -> Shortfall:
    """Compare the parts of scores with the factors that the labels were drawn from.

    Parameters
    ----------
    parts
        Columns deep, radiomic, clinical (log-odds) and label, one row per patient; as `training.scoring.cohort_scores`
        leaves them.
    truth
        Columns border, inner, clinical and bayes_logit, the same patients in the same order; as ``truth.csv`` has them.

    Returns
    -------
    Shortfall

    Raises
    ------
    ValueError
        The tables differ in length, a value is missing, a part is constant, or a class has fewer than two patients.
    """
    if len(parts) != len(truth):
        raise ValueError(f"parts of {len(parts)} patients, and the truth of {len(truth)}")
    columns = {part: parts[part].to_numpy(dtype=np.float64) for part in FACTOR_OF}
    factors = {factor: truth[factor].to_numpy(dtype=np.float64) for factor in FACTOR_OF.values()}
    bayes, labels = truth["bayes_logit"].to_numpy(dtype=np.float64), parts["label"].to_numpy(dtype=np.float64)
    for name, column in {**columns, **factors, "bayes_logit": bayes}.items():
        if not np.isfinite(column).all() or np.ptp(column) == 0:
            raise ValueError(f"{name} is constant or not known of every patient")
    knowing = {
        part: auc(labels, _nearest(bayes, {**columns, part: factors[factor]})) for part, factor in FACTOR_OF.items()
    }
    return Shortfall(
        n=len(parts),
        correlation={
            part: {factor: float(np.corrcoef(column, values)[0, 1]) for factor, values in factors.items()}
            for part, column in columns.items()
        },
        as_added=auc(labels, sum(columns.values())),
        best_added=auc(labels, _nearest(bayes, columns)),
        knowing=knowing,
        bayes=auc(labels, bayes),
    )


def shortfalls(
    parts: pd.DataFrame, truth: pd.DataFrame, cohorts: Mapping[str, NDArray[np.bool_]]
) -> dict[str, Shortfall | NotEstimable]:
    """Measure the shortfall of several groups of patients; patients without a score or a label are left out.

    Parameters
    ----------
    parts, truth
        As of `measure_shortfall`; NaN where a patient has no score or no label.
    cohorts
        Which patients, shape (N,), by name; empty groups are left out.

    Returns
    -------
    dict[str, Shortfall or NotEstimable]
        By the groups' names.
    """
    factors = truth[list(FACTOR_OF.values())].to_numpy(dtype=np.float64)
    usable = parts.notna().all(axis=1).to_numpy() & np.isfinite(factors).all(axis=1)
    return {
        name: estimated(measure_shortfall, parts[which & usable], truth[which & usable])
        for name, which in cohorts.items()
        if (which & usable).any()
    }


def _nearest(target: Floats, columns: Mapping[str, Floats]) -> Floats:
    """Return the linear combination of the columns that comes nearest to the target."""
    design = np.column_stack([np.ones(len(target)), *columns.values()])
    fitted: Floats = design @ np.linalg.lstsq(design, target, rcond=None)[0]
    return fitted
