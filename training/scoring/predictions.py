"""Scores of the same patients by several models, checked before they are trusted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from training.errors import UsageError

SIGNATURE: Final = "PD-L1ES"
COMPARATORS: Final = ("DLM", "RM", "CM")
"""The paper's: deep features, radiomics, clinical variables alone."""
PARTS: Final = ("deep", "radiomic", "clinical")
"""Of PD-L1ES: a score's logit is their sum and the bias."""
VOLUME: Final = "volume"
"""Name of the model that uses the tumour's volume only."""
CLINICAL_LOGISTIC: Final = "Clinical logistic"
LASSO: Final = "LASSO on radiomics"
BOOSTING: Final = "Boosting on radiomics"
BASELINES: Final = (CLINICAL_LOGISTIC, LASSO, BOOSTING)
"""Fitted by the evaluation itself (`training.expression.baselines`), beside the paper's comparators."""
BAYES: Final = "Bayes"
"""Name of the score that uses a synthetic cohort's truth; no model can do better."""
OUT_OF_FOLD: Final = "out_of_fold"
"""Column of predictions; `judged`."""
_SMALLEST: Final = 1e-12


class PredictionsError(UsageError):
    """A table does not hold predictions; the message names the column and no patient."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Scores of the same patients by several models.

    Attributes
    ----------
    case_ids
        Pseudonyms, in the order of every column below.
    probability
        By model, float64, shape (N,); NaN where a model has no score of a patient (a control that could not be made).
    """

    case_ids: tuple[str, ...]
    probability: dict[str, NDArray[np.float64]]

    @property
    def models(self) -> tuple[str, ...]:
        """PD-L1ES first, then the paper's comparators and the baselines, then the others in the order of the table."""
        known = [name for name in (SIGNATURE, *COMPARATORS, *BASELINES) if name in self.probability]
        return (*known, *(name for name in self.probability if name not in known))

    def logit(self, model: str) -> NDArray[np.float64]:
        """Return a model's scores as log-odds, shape (N,)."""
        return logit(np.clip(self.probability[model], _SMALLEST, 1 - _SMALLEST))

    def aligned(self, case_ids: Iterable[str]) -> Predictions:
        """Return the same scores for other patients, in their order; NaN for those without any.

        Raises
        ------
        PredictionsError
            None of them has a score.
        """
        wanted = [str(case) for case in case_ids]
        place = {case: row for row, case in enumerate(self.case_ids)}
        rows = np.array([place.get(case, -1) for case in wanted])
        if len(rows) and (rows < 0).all():
            raise PredictionsError("the predictions are of none of the cohort's patients")
        columns = {name: np.where(rows >= 0, values[rows], np.nan) for name, values in self.probability.items()}
        return Predictions(tuple(wanted), columns)

    def adding(self, model: str, probability: NDArray[np.float64]) -> Predictions:
        """Return the predictions with one more model, float64, shape (N,).

        Parameters
        ----------
        model
            Its name.
        probability
            float64, shape (N,).

        Returns
        -------
        Predictions

        Raises
        ------
        PredictionsError
            There are not as many scores as patients.
        """
        if probability.shape != (len(self.case_ids),):
            raise PredictionsError(f"{model} has {probability.shape} scores of {len(self.case_ids)} patients")
        return Predictions(self.case_ids, {**self.probability, model: probability.astype(np.float64)})


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """Return predictions by which a model may be judged.

    Parameters
    ----------
    table
        Of predictions. A run of the recipe ``label-free`` has a column ``out_of_fold``: the probability of each patient
        that was fitted on, by a layer that was fitted without them.

    Returns
    -------
    pd.DataFrame
        The same, with these as ``probability`` and ``logit``.
    """
    if OUT_OF_FOLD not in table or table[OUT_OF_FOLD].isna().all():
        return table
    apart = table[OUT_OF_FOLD].to_numpy(dtype=np.float64)
    held = ~np.isnan(apart)
    found = table.copy()
    found["probability"] = np.where(held, apart, table["probability"].to_numpy(dtype=np.float64))
    clipped = np.clip(np.where(held, apart, 0.5), _SMALLEST, 1 - _SMALLEST)
    found["logit"] = np.where(held, logit(clipped), table["logit"].to_numpy(dtype=np.float64))
    return found


def predictions_of(table: pd.DataFrame) -> Predictions:
    """Turn a long table into scores by model.

    Parameters
    ----------
    table
        Columns ``case_id``, ``model``, and ``logit`` or ``probability`` or both; others are not looked at.

    Raises
    ------
    PredictionsError
        A column is missing, a patient has two scores of one model, or a probability lies outside 0 to 1.
    """
    for column in ("case_id", "model"):
        if column not in table:
            raise PredictionsError(f"the predictions have no column {column!r}")
    if "probability" in table:
        values = table["probability"].to_numpy(dtype=np.float64)
    elif "logit" in table:
        values = expit(table["logit"].to_numpy(dtype=np.float64))
    else:
        raise PredictionsError("the predictions have neither a column 'probability' nor a column 'logit'")
    known = values[~np.isnan(values)]
    if known.size and (known.min() < 0 or known.max() > 1):
        raise PredictionsError(f"a probability is {known.min():g} or {known.max():g}, outside 0 to 1")
    twice = table.duplicated(["case_id", "model"])
    if twice.any():
        raise PredictionsError(f"{int(twice.sum())} rows repeat a patient and model")
    cases = tuple(dict.fromkeys(table["case_id"].astype(str)))
    place = {case: row for row, case in enumerate(cases)}
    rows = table["case_id"].astype(str).map(place).to_numpy()
    columns: dict[str, NDArray[np.float64]] = {}
    for model in dict.fromkeys(table["model"].astype(str)):
        chosen = (table["model"].astype(str) == model).to_numpy()
        scores = np.full(len(cases), np.nan)
        scores[rows[chosen]] = values[chosen]
        columns[model] = scores
    if not columns:
        raise PredictionsError("the predictions have no row")
    return Predictions(cases, columns)
