"""Scores a prepared cohort by exported models, with the chain's own class."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdl1es.atomic import write_atomically
from pdl1es.clinical import VARIABLES, ClinicalData, ClinicalValue
from pdl1es.errors import Refusal
from pdl1es.model.fusion import FusionModel
from training.cohort.prepared import PreparedCohort, cohort_digest, parquet_bytes
from training.progress import Count, Progress
from training.scoring.predictions import PARTS, SIGNATURE, PredictionsError

COLUMNS: Final = (
    "case_id",
    "split",
    "label",
    "model",
    "logit",
    "probability",
    "slice_scores",
    *PARTS,
    *(f"imputed_{name}" for name in VARIABLES),
    "clinical_risk",
    "fusion_risk",
    "refusal",
)
"""Of the scored cohort: the parts are totals in log-odds; ``refusal`` is the code of a patient without a score, else None."""
SOURCE: Final = "cohort"
KEPT_TOGETHER: Final = 32
"""Patients per file, so that an interrupted run loses less than a minute's work."""
AT_ONCE: Final = 2
"""Patients scored at once, each on one thread. The file takes one patient's slices with that patient's features, so that
patients cannot share a batch."""
_OF_THE_MODEL: Final = tuple(name for name in COLUMNS if name not in ("case_id", "split", "label", "model"))


def score_cohort(
    model_folder: Path | FusionModel,
    prepared: PreparedCohort,
    *,
    name: str | None = None,
    progress: Count | None = None,
    kept: Path | None = None,
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
        Called with the number of cases done and in all.
    kept
        Folder in which the scores are kept while they are made; scores that are there already are reused. It belongs to
        one model and cohort.

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
        decoded_clinical(row, bool(graded))
        for row, graded in zip(prepared.clinical, prepared.smoking_graded, strict=True)
    ]

    def score(row: int) -> dict[str, object]:
        return score_case(model, prepared.patches[row], prepared.radiomics[row], clinical[row])

    ids = list(prepared.case_ids)
    scored: list[dict[str, object]] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for start in range(0, len(prepared), KEPT_TOGETHER):
            rows = range(start, min(start + KEPT_TOGETHER, len(prepared)))
            file = None if kept is None else kept / f"{start:06d}.parquet"
            part = None if file is None else _read_part(file, ids[rows.start : rows.stop])
            if part is None:
                part = []
                for cells in pool.map(score, rows):
                    part.append(cells)
                    if progress is not None:
                        progress(start + len(part), len(prepared))
                if file is not None:
                    write_atomically(file, parquet_bytes(_part(part, ids[rows.start : rows.stop])))
            elif progress is not None:
                progress(rows.stop, len(prepared))
            scored += part
    table = pd.DataFrame(scored, columns=list(_OF_THE_MODEL))
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

    Returns
    -------
    dict[str, object]
    """
    try:
        prediction = model.predict(patches.astype(np.float32), radiomics, clinical)
    except Refusal as refusal:
        return {
            **dict.fromkeys(_OF_THE_MODEL, np.nan),
            "slice_scores": None,
            "refusal": refusal.code.name,
        }
    return {
        "logit": prediction.logit,
        "probability": prediction.score,
        "slice_scores": [float(score) for score in prediction.slice_scores],
        "deep": prediction.deep,
        "radiomic": prediction.radiomic_total,
        "clinical": prediction.clinical_total,
        **{f"imputed_{name}": float(value) for name, value in zip(VARIABLES, prediction.imputed_clinical, strict=True)},
        "clinical_risk": np.nan if prediction.clinical_risk is None else prediction.clinical_risk,
        "fusion_risk": np.nan if prediction.fusion_risk is None else prediction.fusion_risk,
        "refusal": None,
    }


def _part(cells: list[dict[str, object]], case_ids: list[str]) -> pd.DataFrame:
    part = pd.DataFrame(cells, columns=list(_OF_THE_MODEL))
    part.insert(0, "case_id", case_ids)
    return part


def _read_part(file: Path, case_ids: list[str]) -> list[dict[str, object]] | None:
    """Return the scores of an earlier call; None where there are none of these patients by this version."""
    if not file.is_file():
        return None
    part = pd.read_parquet(file)
    if tuple(part.columns) != ("case_id", *_OF_THE_MODEL) or list(part["case_id"]) != case_ids:
        return None
    cells: list[dict[str, object]] = part[list(_OF_THE_MODEL)].to_dict("records")
    for row in cells:
        slices = row["slice_scores"]
        row["slice_scores"] = None if slices is None else [float(score) for score in slices]  # type: ignore[attr-defined]
    return cells


def decoded_clinical(codes: NDArray[np.float64], smoking_graded: bool = True) -> ClinicalData:
    """Return a row of the cohort's codes (4,) as the chain's clinical data; NaN is missing.

    Parameters
    ----------
    codes
        float64, shape (4,); NaN is missing.
    smoking_graded
        False for a smoker of unknown grade.

    Returns
    -------
    ClinicalData
    """
    age, sex, smoking, family_history = (
        ClinicalValue(None if np.isnan(code) else float(code), SOURCE, graded=smoking_graded or variable != "smoking")
        for variable, code in zip(VARIABLES, codes, strict=True)
    )
    return ClinicalData(age, sex, smoking, family_history)


SCORES: Final = "scores"


def score_models(
    prepared: PreparedCohort,
    models: Mapping[str, Path | FusionModel],
    controls: Mapping[str, PreparedCohort] | None = None,
    progress: Progress | None = None,
    kept: Path | None = None,
) -> pd.DataFrame:
    """Score a cohort by several exported models, and its controls by PD-L1ES.

    Parameters
    ----------
    prepared
        The cohort.
    models
        Folder of ``model.onnx``, or the model, by name; one is called PD-L1ES.
    controls
        Further prepared cohorts by name: the same patients with disturbed inputs.
    progress
        Called with the number of patients scored and in all.
    kept
        Folder in which scores are kept by model and cohort; a second call reuses them.

    Returns
    -------
    DataFrame
        As `score_cohort`; the models' rows follow one another.

    Raises
    ------
    PredictionsError
        No model is called PD-L1ES.
    Refusal
        MODEL_UNFIT: a file is no model of this version's method.
    """
    if SIGNATURE not in models:
        raise PredictionsError(f"one of the models has to be called {SIGNATURE!r}, got {', '.join(models) or 'none'}")

    def told(name: str) -> Count | None:
        return None if progress is None else lambda done, of: progress(f"scoring by {name}", done, of)

    loaded = {
        name: model if isinstance(model, FusionModel) else FusionModel.load(model, threads=1)
        for name, model in models.items()
    }
    wanted = [(name, model, prepared) for name, model in loaded.items()]
    wanted += [(name, loaded[SIGNATURE], control) for name, control in (controls or {}).items()]
    tables = [
        score_cohort(model, cohort, name=name, progress=told(name), kept=_place(kept, model, cohort))
        for name, model, cohort in wanted
    ]
    return pd.concat(tables, ignore_index=True)


def _place(kept: Path | None, model: FusionModel, prepared: PreparedCohort) -> Path | None:
    """Return the folder of a model's scores of a cohort; its name depends on both, so that none are mixed up."""
    return None if kept is None else kept / f"{model.sha256[:16]}-{cohort_digest(prepared)[:16]}"
