"""A cohort put together with its scores, ready to be analysed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from pdl1es.clinical import VARIABLES
from training.cohort.prepared import PreparedCohort
from training.scoring.predictions import (
    BAYES,
    OUT_OF_FOLD,
    PARTS,
    SIGNATURE,
    VOLUME,
    Predictions,
    PredictionsError,
    judged,
    predictions_of,
)
from training.scoring.scanner_differences import ScannerDifferences
from training.scoring.volume import volume_alone
from training.statistics.estimability import NotEstimable, estimated

COX_MODELS: Final = ("clinical", "fusion")
"""That an exported file may hold; its outputs are ``clinical_risk`` and ``fusion_risk``."""
TRUTH_TABLE: Final = "truth.csv"


@dataclass(frozen=True, slots=True)
class BaselineFit:
    """How a baseline was fitted.

    Attributes
    ----------
    n
        Patients that it was fitted on.
    features
        Variables that it uses.
    chosen
        What inner cross-validation chose, by name; empty where there was nothing to choose.
    """

    n: int
    features: int
    chosen: dict[str, float]


@dataclass(frozen=True, slots=True)
class ScoredCohort:
    """A cohort with its scores; row i of everything is the same patient.

    Attributes
    ----------
    cases
        ``cases.parquet`` with the division that was trained on.
    predictions
        PD-L1ES, the comparators, controls, volume alone, and the Bayes score where the truth is known.
    imputed
        float64, shape (N, 4): clinical variables as the model imputes them.
    controls
        Which of the models are PD-L1ES on disturbed inputs.
    synthetic
        Whether the patients are phantoms.
    risks
        float64, shape (N,), of each Cox model that the file holds (`clinical`, `fusion`): its linear predictor, NaN
        where a patient was refused.
    parts
        Columns deep, radiomic and clinical of PD-L1ES in log-odds, and label; None where the predictions lack them.
    truth
        Columns of ``truth.csv``, or None where the truth is not known.
    cross_fitted
        Whether the scores of the training and validation patients are out-of-fold: by models fitted without them.
    baselines
        What was chosen for each baseline whose scores were added, or why there is none; empty where none was asked for.
    scanners
        How far features differ between scanners; None where it was not looked at.
    """

    cases: pd.DataFrame
    predictions: Predictions
    imputed: NDArray[np.float64]
    controls: tuple[str, ...]
    synthetic: bool
    risks: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    parts: pd.DataFrame | None = None
    truth: pd.DataFrame | None = None
    cross_fitted: bool = False
    baselines: Mapping[str, BaselineFit | NotEstimable] = field(default_factory=dict)
    scanners: ScannerDifferences | NotEstimable | None = None

    @property
    def signature(self) -> NDArray[np.float64]:
        """PD-L1ES, shape (N,); NaN where a patient was refused."""
        return self.predictions.probability[SIGNATURE]

    @property
    def true_logit(self) -> NDArray[np.float64] | None:
        """Of the Bayes score, float64, shape (N,); None where the truth is not known."""
        return None if self.truth is None else self.truth["bayes_logit"].to_numpy(dtype=np.float64)


def scored_cohort(prepared: PreparedCohort, table: pd.DataFrame, controls: tuple[str, ...] = ()) -> ScoredCohort:
    """Put a cohort and its predictions together.

    Parameters
    ----------
    prepared
        The cohort; where ``truth.csv`` lies in its folder, the Bayes score is added.
    table
        Predictions as `score_models` or a training run leaves them. Where they name the division that was trained on,
        it counts: the cohort's own may be empty.
    controls
        Which models are PD-L1ES on disturbed inputs.

    Returns
    -------
    ScoredCohort

    Raises
    ------
    PredictionsError
        The table holds no predictions, or no PD-L1ES of these patients.
    """
    cases = prepared.cases.copy()
    cross_fitted = OUT_OF_FOLD in table and bool(table[OUT_OF_FOLD].notna().any())
    table = judged(table)
    own = table[table["model"] == SIGNATURE].drop_duplicates("case_id").set_index("case_id") if len(table) else table
    if "split" in own and own["split"].notna().any():
        cases["split"] = own["split"].reindex(cases["case_id"]).to_numpy(dtype=object)
    predictions = predictions_of(table).aligned(cases["case_id"])
    if SIGNATURE not in predictions.probability:
        raise PredictionsError(f"the predictions hold no model {SIGNATURE!r}, only {', '.join(predictions.models)}")
    columns = [f"imputed_{name}" for name in VARIABLES]
    missing = [column for column in columns if column not in own]
    if missing:
        raise PredictionsError(f"the predictions have no column {missing[0]!r}: score the cohort with this version")
    imputed = own[columns].reindex(cases["case_id"]).to_numpy(dtype=np.float64)
    alone = estimated(volume_alone, cases)
    if not isinstance(alone, NotEstimable):
        predictions = predictions.adding(VOLUME, alone)
    truth = _truth(prepared)
    if truth is not None:
        predictions = predictions.adding(BAYES, expit(truth["bayes_logit"].to_numpy(dtype=np.float64)))
    risks = {
        name: own[f"{name}_risk"].reindex(cases["case_id"]).to_numpy(dtype=np.float64)
        for name in COX_MODELS
        if f"{name}_risk" in own and own[f"{name}_risk"].notna().any()
    }
    parts = None
    if set(PARTS) <= set(own.columns):
        parts = own[list(PARTS)].reindex(cases["case_id"]).assign(label=cases["label"].to_numpy())
    return ScoredCohort(
        cases,
        predictions,
        imputed,
        controls,
        prepared.synthetic,
        risks,
        parts=parts,
        truth=truth,
        cross_fitted=cross_fitted,
    )


def _truth(prepared: PreparedCohort) -> pd.DataFrame | None:
    """Return ``truth.csv`` in the order of the cases, or None where there is none."""
    if prepared.folder is None or not (prepared.folder / TRUTH_TABLE).is_file():
        return None
    truth = pd.read_csv(prepared.folder / TRUTH_TABLE)
    return truth.set_index("case_id").reindex(prepared.cases["case_id"])
