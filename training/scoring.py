"""Scores of a prepared cohort by an exported model: the chain's own class, one patient after another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdl1es.clinical import VARIABLES, ClinicalData, ClinicalValue
from pdl1es.errors import Refusal
from pdl1es.model import FusionModel
from training.cohort.prepared import PreparedCohort

COLUMNS: Final = (
    "case_id",
    "split",
    "label",
    "model",
    "logit",
    "probability",
    "slice_scores",
    "deep",
    "radiomic",
    "clinical",
    *(f"imputed_{name}" for name in VARIABLES),
    "clinical_risk",
    "fusion_risk",
    "refusal",
)
"""Of the scored cohort: ``deep``, ``radiomic`` and ``clinical`` are the parts' totals in log-odds; ``refusal`` is the
code of a patient without a score, else None."""
SOURCE: Final = "cohort"


def score_cohort(
    model_folder: Path | FusionModel,
    prepared: PreparedCohort,
    *,
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 2,
) -> pd.DataFrame:
    """Score every case of a cohort.

    Parameters
    ----------
    model_folder
        Folder of any exported ``model.onnx``, or the loaded model.
    prepared
        Any prepared cohort.
    name
        For the column ``model``; the model's own by default.
    progress
        Is told how many of how many cases are done.
    workers
        Patients scored at once, each on one thread. The file takes one patient's slices with that patient's features,
        so that patients cannot share a batch.

    Returns
    -------
    pandas.DataFrame
        The columns of `COLUMNS`, in the order of the cases; NaN where the model refuses a case, with the refusal's code.

    Raises
    ------
    Refusal
        MODEL_UNFIT: as `FusionModel.load`.
    """
    model = model_folder if isinstance(model_folder, FusionModel) else FusionModel.load(model_folder, threads=1)
    clinical = [
        clinical_data(row, bool(graded)) for row, graded in zip(prepared.clinical, prepared.smoking_graded, strict=True)
    ]

    def score(row: int) -> dict[str, object]:
        return score_case(model, prepared.patches[row], prepared.radiomics[row], clinical[row])

    scored = []
    with ThreadPoolExecutor(workers) as pool:
        for done, result in enumerate(pool.map(score, range(len(prepared))), start=1):
            scored.append(result)
            if progress is not None:
                progress(done, len(prepared))
    table = pd.DataFrame(
        scored, columns=[column for column in COLUMNS if column not in ("case_id", "split", "label", "model")]
    )
    table.insert(0, "case_id", prepared.cases["case_id"].to_numpy())
    table.insert(1, "split", prepared.cases["split"].to_numpy())
    table.insert(2, "label", prepared.labels)
    table.insert(3, "model", name or model.metadata.name)
    return table[list(COLUMNS)]


def score_case(
    model: FusionModel, patches: NDArray[np.int16], radiomics: NDArray[np.float64], clinical: ClinicalData
) -> dict[str, object]:
    """Score one case; its cells of the table, without case_id, split, label and model.

    Parameters
    ----------
    model
        Loaded.
    patches
        int16 whole HU, shape (3, 112, 112).
    radiomics
        float64, shape (1316,).
    clinical
        As the chain reads it.
    """
    try:
        prediction = model.predict(patches.astype(np.float32), radiomics, clinical)
    except Refusal as refusal:
        return {
            **dict.fromkeys(COLUMNS[4:], np.nan),
            "slice_scores": None,
            "refusal": refusal.code.name,
        }
    return {
        "logit": prediction.logit,
        "probability": prediction.pdl1es,
        "slice_scores": [float(score) for score in prediction.slice_scores],
        "deep": prediction.deep,
        "radiomic": prediction.radiomic_total,
        "clinical": prediction.clinical_total,
        **{f"imputed_{name}": float(value) for name, value in zip(VARIABLES, prediction.imputed_clinical, strict=True)},
        "clinical_risk": np.nan if prediction.clinical_risk is None else prediction.clinical_risk,
        "fusion_risk": np.nan if prediction.fusion_risk is None else prediction.fusion_risk,
        "refusal": None,
    }


def clinical_data(codes: NDArray[np.float64], smoking_graded: bool = True) -> ClinicalData:
    """Return a row of the cohort's codes (4,) as the chain's clinical data; NaN is missing."""
    age, sex, smoking, family_history = (
        ClinicalValue(None if np.isnan(code) else float(code), SOURCE, graded=smoking_graded or variable != "smoking")
        for variable, code in zip(VARIABLES, codes, strict=True)
    )
    return ClinicalData(age, sex, smoking, family_history)
