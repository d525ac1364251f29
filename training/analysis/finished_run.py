"""Reads what the analyses need of a finished training run: scores, network, re-divisions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pdl1es.model.folder import MODEL_FILE
from pdl1es.model.fusion import FusionModel
from training.cohort.prepared import PreparedCohort, cohort_digest
from training.controls.repeated_features import read_repeated_features
from training.export import model_digest
from training.expression.results import SPLITS
from training.network import FusionNetwork
from training.progress import Progress
from training.scoring.cohort_scores import score_models
from training.scoring.predictions import SIGNATURE
from training.train.filters import filters_in_words, with_repeats
from training.train.label_free import deep_features
from training.train.nested import NestedRecipe
from training.train.run_folder import NETWORKS, PREDICTIONS_FILE, REDIVISIONS, TrainingError, load_network, read_run
from training.train.summary import areas


def require_trained_on(run: Path, prepared: PreparedCohort) -> None:
    """Refuse a cohort that a run did not score.

    Pseudonyms are not compared: two cohorts may number their patients in the same way.

    Parameters
    ----------
    run
        Folder of a training run.
    prepared
        The cohort that its scores are wanted of.

    Raises
    ------
    TrainingError
        The folder holds no finished run, or one on another cohort.
    """
    record, _, _ = read_run(run)
    if record.cohort != cohort_digest(prepared):
        raise TrainingError(
            f"the run in {run} was trained on another cohort than this one, or on this one before it changed: give the "
            "cohort that it was trained on, or `pdl1es export` the run and give the exported file by --model"
        )


def run_predictions(
    run: Path,
    controls: Mapping[str, PreparedCohort] | None = None,
    progress: Progress | None = None,
    kept: Path | None = None,
) -> pd.DataFrame:
    """Return the predictions that a training run left, and PD-L1ES's of disturbed inputs; ``kept`` as `score_models`.

    Parameters
    ----------
    run
        Folder of a training run.
    controls
        Further prepared cohorts by name: the same patients with disturbed inputs.
    progress
        Called with the number of patients scored and in all.
    kept
        As of `score_models`.

    Returns
    -------
    DataFrame
        The table of `score_cohort`; the models' rows follow one another.

    Raises
    ------
    TrainingError
        The folder holds no finished run.
    """
    read_run(run)
    table = pd.read_parquet(run / PREDICTIONS_FILE)
    if not controls:
        return table
    signature = FusionModel.load(run / NETWORKS / SIGNATURE, threads=1)
    parts = [table]
    for name, control in controls.items():
        scores = score_models(control, {SIGNATURE: signature}, progress=progress, kept=kept)
        parts.append(scores.assign(model=name))
    # a column that a part leaves empty would decide the type of the others' values
    filled = pd.concat([part.dropna(axis="columns", how="all") for part in parts], ignore_index=True)
    return filled.reindex(columns=list(dict.fromkeys(name for part in parts for name in part.columns)))


def run_digest(run: Path) -> str | None:
    """Return the `model_digest` of the file that a run scores by, or None where it did not train PD-L1ES."""
    folder = run / NETWORKS / SIGNATURE
    return model_digest(folder) if (folder / MODEL_FILE).is_file() else None


def run_provenance(run: Path) -> dict[str, str]:
    """Return what a report says of a run beside its digest: how features were filtered, and which models it did not train.

    Raises
    ------
    TrainingError
        The folder holds no finished run.
    """
    summary = read_run(run)[2]
    found = {}
    if words := filters_in_words(summary["fitted"].get("filters", {})):
        found["Features that were selected"] = words
    if summary["not_trained"]:
        found["Not trained"] = "; ".join(f"{name}: {reason}" for name, reason in summary["not_trained"].items())
    return found


def redivision_areas(run: Path) -> tuple[dict[str, float], ...]:
    """Return PD-L1ES's area by cohort in each random re-division of a run; without those that were not trained."""
    found = []
    for path in sorted((run / REDIVISIONS).glob(f"*/{PREDICTIONS_FILE}")):
        table = pd.read_parquet(path)
        measured = areas(table[table["model"] == SIGNATURE])
        found.append({SPLITS[name]: float(area["value"]) for name, area in measured.items() if name in SPLITS})
    return tuple(found)


def run_network(run: Path) -> FusionNetwork:
    """Return a run's PD-L1ES network, for Grad-CAM.

    Raises
    ------
    TrainingError
        The folder holds no finished run.
    """
    record, fitted, _ = read_run(run)
    return load_network(run / NETWORKS / SIGNATURE, fitted, "PD-L1ES", record.config)


def nested_recipe(run: Path, cohort: PreparedCohort, stability: Path | None = None) -> NestedRecipe:
    """Return what nested cross-validation fits anew of a run's recipe.

    Parameters
    ----------
    run
        Folder of a training run.
    cohort
        That it was trained on.
    stability
        Folder of the features measured again that the run's selection was filtered by.

    Returns
    -------
    NestedRecipe
        With the features of the run's network where it saw no label (``label-free``). A network that was trained on labels
        has seen those of every fold.

    Raises
    ------
    TrainingError
        The folder holds no finished run, or the run needs other features measured again than those given.
    RepeatedFeaturesError
        These cannot be used.
    """
    record, _, summary = read_run(run)
    repeats = None if stability is None else read_repeated_features(stability, cohort)
    # The run's record names the features by their digest: others are refused.
    with_repeats(record.config, repeats)
    if repeats is not None and record.config.filters.stability is None:
        raise TrainingError("the run's selection was not filtered by stability: leave --stability out")
    trained = summary["networks"].get(SIGNATURE)
    if trained is None or record.config.recipe == "paper":
        seconds = None if trained is None else float(trained["training_seconds"])
        return NestedRecipe(record.config, repeats=repeats, network_seconds=seconds)
    return NestedRecipe(record.config, deep_features(run_network(run), cohort.patches), repeats)
