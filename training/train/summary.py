"""The summary of a run: each network's numbers, and all of them in one document."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pdl1es.atomic import write_atomically
from training.cohort.prepared import PreparedCohort, parquet_bytes
from training.controls.repeated_features import RepeatedFeatures
from training.fit import imputation_difference, select_features
from training.preprocessing import FittedPreprocessing
from training.scoring.predictions import judged
from training.statistics.discrimination import auc
from training.train.config import TrainingConfig
from training.train.division import DIVIDED, Division, fitted_on
from training.train.filters import filter_document, filters_of
from training.train.label_free import FittedLayer
from training.train.run_folder import NETWORK_FILE, PREDICTIONS_FILE, REDIVISIONS, Unit, units
from training.train.stages import TrainedNetwork, first_process


def summarise(
    prepared: PreparedCohort,
    divisions: dict[int, Division],
    fitted: FittedPreprocessing,
    out: Path,
    config: TrainingConfig,
    untrained: dict[str, str],
    repeats: RepeatedFeatures | None = None,
) -> dict[str, Any]:
    """Gather the networks' predictions in one table per division, and everything else in one document.

    Parameters
    ----------
    prepared
        The cohort.
    divisions
        Who is where, by number of the re-division.
    fitted
        On the first division's training patients.
    out
        Folder of the run.
    config
        What was trained.
    untrained
        Models that could not be trained, with the reason.
    repeats
        Features measured again, or None.

    Returns
    -------
    dict[str, Any]
        The whole run, ready for JSON.
    """
    training = prepared.subset(fitted_on(divisions[0], config))
    filters = filters_of(config, repeats, training)
    selection = select_features(
        training.radiomics, training.labels, alpha=config.alpha, correction=config.correction, filters=filters
    )
    filtered = filter_document(config, filters, selection, repeats)
    networks: dict[int, dict[str, Any]] = {number: {} for number in divisions}
    tables: dict[int, list[pd.DataFrame]] = {number: [] for number in divisions}
    for unit in units(out, config):
        if unit.name in untrained or not first_process():
            continue
        table = pd.read_parquet(unit.folder / PREDICTIONS_FILE)
        document = json.loads((unit.folder / NETWORK_FILE).read_text(encoding="utf-8"))
        networks[unit.number][unit.name] = {**document, "auc": areas(table)}
        tables[unit.number].append(table)
    for number, parts in tables.items():
        if parts:
            folder = out if number == 0 else out / REDIVISIONS / str(number)
            write_atomically(folder / PREDICTIONS_FILE, parquet_bytes(pd.concat(parts, ignore_index=True)))
    counts = {
        str(name): {
            "patients": int((divisions[0] == name).sum()),
            "high": int(prepared.labels[divisions[0] == name].sum()),
        }
        for name in DIVIDED
    }
    return {
        "schema_version": 1,
        "counts": counts,
        "fitted": {
            "selected_features": len(fitted.selected),
            "tested_features": int(np.isfinite(selection.p_values).sum()),
            "constant_features": len(selection.constant),
            "incomplete_features": len(selection.incomplete),
            "alpha": config.alpha,
            "correction": config.correction,
            **({"filters": filtered} if filtered else {}),
            "smoker_grade": fitted.smoker_grade,
            "profiles": len(fitted.profiles.counts),
            "patients_in_profiles": int(fitted.profiles.counts.sum()),
            "imputation_difference_from_exact": [
                asdict(difference)
                for difference in imputation_difference(training.clinical, training.smoking_graded, fitted)
            ],
        },
        "networks": networks[0],
        "redivisions": {str(number): networks[number] for number in networks if number},
        "not_trained": untrained,
        "versions": {
            name: version(name).partition("+")[0] for name in ("torch", "monai", "lightning", "numpy", "scipy")
        },
    }


def network_document(
    trained: TrainedNetwork, difference: float, seconds: float, config: TrainingConfig
) -> dict[str, Any]:
    """Return ``network.json``: the result of a network's training.

    Parameters
    ----------
    trained
        What its stages came to.
    difference
        Largest difference of onnxruntime from torch.
    seconds
        Of the last call.
    config
        What was asked for.

    Returns
    -------
    dict[str, Any]
        Ready for JSON.
    """
    history = trained.history
    spent = sum(record.seconds for record in history)
    stages = [
        {
            "learning_rate": stage.learning_rate,
            "epochs": sum(record.stage == number for record in history),
            "epochs_planned": stage.epochs,
            "best_validation_auc": max(record.validation_auc for record in history if record.stage == number),
        }
        for number, stage in enumerate(config.stages, start=1)
    ]
    return {
        "validation_auc": trained.validation_auc,
        "best_stage": trained.best_stage,
        "best_epoch": trained.best_epoch,
        "epochs": len(history),
        "epochs_planned": config.epochs,
        "stages": stages,
        "history": [asdict(record) for record in history],
        "precision": trained.precision,
        "device": trained.device,
        "training_seconds": spent,
        "seconds_in_the_last_call": seconds,
        "patches_per_second": sum(record.patches for record in history) / spent if spent else 0.0,
        "waiting_for_data": sum(record.waiting * record.seconds for record in history) / spent if spent else 0.0,
        "torch_against_onnxruntime": difference,
    }


def layer_document(
    unit: Unit, found: FittedLayer, labels: NDArray[np.float64], difference: float, seconds: float
) -> dict[str, Any]:
    """Return ``network.json`` of a network whose linear layer alone was fitted.

    Parameters
    ----------
    unit
        Which network.
    found
        What its fit came to.
    labels
        Of the patients that it was fitted on, shape (n,).
    difference
        Largest difference of onnxruntime from torch.
    seconds
        Of the call.

    Returns
    -------
    dict[str, Any]
        Ready for JSON.
    """
    return {
        "recipe": "label-free",
        "strengths": found.chosen.strengths,
        "deviance": found.chosen.deviance,
        "tried": [{**strengths, "deviance": deviance} for strengths, deviance in found.chosen.tried],
        "out_of_fold_auc": auc(labels, found.out_of_fold).value,
        "precision": "32-true",
        "device": f"cpu, {torch.get_num_threads()} threads",
        "seconds_in_the_last_call": seconds,
        "torch_against_onnxruntime": difference,
    }


def layer_sentence(unit: Unit, document: dict[str, Any]) -> str:
    """Return the result of a linear layer's fit as a sentence.

    Parameters
    ----------
    unit
        Which network.
    document
        As of `layer_document`.

    Returns
    -------
    str
    """
    return (
        f"{unit.title}: ridge strengths {strengths_in_words(document)}; deviance {document['deviance']:.4f} and AUC "
        f"{document['out_of_fold_auc']:.3f} out of fold; {document['seconds_in_the_last_call']:.0f} s"
    )


def strengths_in_words(document: dict[str, Any]) -> str:
    """Return the strengths of ``network.json``, as ``deep 3, radiomic 0.1``.

    Parameters
    ----------
    document
        As of `layer_document`.

    Returns
    -------
    str
    """
    return ", ".join(f"{name} {value:g}" for name, value in document["strengths"].items())


def sentence(unit: Unit, trained: TrainedNetwork, document: dict[str, Any]) -> str:
    """Return the result of a network's training as a sentence.

    Parameters
    ----------
    unit
        Which network.
    trained
        What its stages came to.
    document
        As of `network_document`.

    Returns
    -------
    str
    """
    return (
        f"{unit.title}: {document['epochs']} of {document['epochs_planned']} epochs in "
        f"{document['training_seconds']:.0f} s on {trained.device} ({trained.precision}), "
        f"{document['patches_per_second']:.0f} patches/s, {100 * document['waiting_for_data']:.1f} % of it waiting for "
        f"data; best: stage {trained.best_stage}, epoch {trained.best_epoch}, validation AUC {trained.validation_auc:.3f}"
    )


def areas(scored: pd.DataFrame) -> dict[str, dict[str, float | int]]:
    """Return the AUC with its 95 % interval in every split that holds both classes twice, out-of-fold where it can."""
    found: dict[str, dict[str, float | int]] = {}
    scored = judged(scored)
    usable = scored[scored["label"].notna() & scored["logit"].notna() & scored["split"].notna()]
    for name, rows in usable.groupby("split"):
        if rows["label"].value_counts().reindex([0.0, 1.0], fill_value=0).min() >= 2:
            area = auc(rows["label"], rows["logit"])
            found[str(name)] = {"value": area.value, "lower": area.lower, "upper": area.upper, "patients": len(rows)}
    return found
