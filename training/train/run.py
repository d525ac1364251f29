"""A whole training run: divide, fit, train the signature and its comparators, score the cohort, leave it in a folder."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict

from pdl1es.atomic import require_writable, write_atomically
from pdl1es.method import method_digest
from pdl1es.model.fusion import MODEL_FILE, CutOff, ModelMetadata
from training.cohort.prepared import PreparedCohort, parquet_bytes
from training.export import export_model, model_metadata
from training.fit import (
    coded_clinical,
    fit_preprocessing,
    imputation_difference,
    read_fitted,
    select_features,
    write_fitted,
)
from training.network import FusionNetwork
from training.preprocessing import FittedPreprocessing
from training.scoring import score_cohort
from training.statistics.discrimination import auc
from training.train.config import LAYERS, PARTS, Hardware, ModelName, TrainingConfig
from training.train.data import NetworkInputs
from training.train.division import DIVIDED, TRAIN, VALIDATION, Division, divide, redivide
from training.train.pretrained import file_digest, load_pretrained
from training.train.progress import Observer, Silent
from training.train.side_by_side import run_side_by_side
from training.train.stages import TrainedNetwork, first_process, quiet, train_network

RUN_FILE: Final = "run.json"
DIVISION_FILE: Final = "division.parquet"
FITTED_FILE: Final = "fitted.npz"
NETWORKS: Final = "networks"
REDIVISIONS: Final = "redivisions"
WEIGHTS_FILE: Final = "weights.pt"
NETWORK_FILE: Final = "network.json"
PREDICTIONS_FILE: Final = "predictions.parquet"
SUMMARY_FILE: Final = "summary.json"
NO_CUT_OFF: Final = CutOff(
    value=0.5, method="none: a file of a training run, before its export", above="upper half", below="lower half"
)


class TrainingError(ValueError):
    """A run cannot start or go on; the message says what to do."""


class RunRecord(BaseModel):
    """``run.json``: what a folder's run is a run of; a folder holds one run only.

    Attributes
    ----------
    config
        What was asked for.
    cohort
        Digest of the prepared cohort that was trained on.
    cases
        Its number of cases.
    training_data
        ``synthetic`` where the cohort has a known truth.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[1] = 1
    config: TrainingConfig
    cohort: str
    cases: int
    training_data: Literal["synthetic", "patients"]


@dataclass(frozen=True, slots=True)
class Unit:
    """One network to train.

    Attributes
    ----------
    name
        Of the model.
    number
        0 for the first division, then the re-division's.
    folder
        Its own.
    """

    name: ModelName
    number: int
    folder: Path

    @property
    def title(self) -> str:
        """For people."""
        return self.name if self.number == 0 else f"{self.name}, re-division {self.number}"

    @property
    def whole(self) -> bool:
        """Whether it was trained before: the record is written last."""
        return (self.folder / NETWORK_FILE).is_file() and (self.folder / PREDICTIONS_FILE).is_file()


def train(
    prepared: PreparedCohort,
    out: Path,
    config: TrainingConfig,
    *,
    hardware: Hardware | None = None,
    pretrained: Path | None = None,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Train everything that the paper trains; called again on the same folder, it goes on where it stopped.

    Parameters
    ----------
    prepared
        As `cohort prepare` left it.
    out
        Folder of the run: ``predictions.parquet`` (every case of the cohort by every model), ``redivisions/N`` with the
        same, ``summary.json``, and for every network its weights and an ONNX file that is scored with.
    config
        What to train.
    hardware
        Where.
    pretrained
        File of ImageNet weights; its digest becomes part of the configuration. A configuration that names one needs it.
    observer
        Is told of every epoch.

    Returns
    -------
    dict
        What ``summary.json`` holds.

    Raises
    ------
    TrainingError
        The folder holds another run, or the cohort cannot be trained on.
    DivisionError
        The patients cannot be divided.
    PretrainedError
        The file of weights does not fit.
    """
    hardware, observer = hardware or Hardware(), observer or Silent()
    config = _with_pretrained(config, pretrained)
    require_writable(out)
    _claim(out, _record(prepared, config))
    first = divide(prepared.cases, config.seed)
    divisions = {0: first} | {
        number: redivide(prepared.cases, first, config.seed, number) for number in range(1, config.redivisions + 1)
    }
    fitted = fit_on_training(prepared, first, config)
    if first_process():
        write_fitted(out / FITTED_FILE, fitted)
        columns = {f"division_{number}": division for number, division in divisions.items()}
        table = pd.DataFrame({"case_id": prepared.cases["case_id"], **columns})
        write_atomically(out / DIVISION_FILE, parquet_bytes(table))
    untrained: dict[str, str] = {}
    tasks = {}
    for unit in units(out, config):
        if unit.name == "RM" and not fitted.selected:
            untrained["RM"] = "no feature was selected, so there is nothing to train on"
            observer.say(f"RM is not trained: {untrained['RM']}")
        elif not unit.whole:
            tasks[unit.title] = UnitTraining(
                unit, prepared, divisions[unit.number], fitted, config, hardware.of_each(), pretrained
            )
    if hardware.side_by_side > 1:
        run_side_by_side(tasks, hardware.side_by_side, observer)
    else:
        for task in tasks.values():
            task(observer)
    summary = _summarise(prepared, divisions, fitted, out, config, untrained)
    if first_process():
        write_atomically(out / SUMMARY_FILE, (json.dumps(summary, indent=1, sort_keys=True) + "\n").encode("utf-8"))
    return summary


def units(out: Path, config: TrainingConfig) -> Iterator[Unit]:
    """Yield the networks of a run in the order in which they are trained: quick ones first."""
    quick_first = sorted(config.models, key=lambda name: PARTS[name].deep)
    for name in quick_first:
        yield Unit(name, 0, out / NETWORKS / name)
    for number in range(1, config.redivisions + 1):
        for name in sorted(config.redivided_models, key=lambda name: PARTS[name].deep):
            yield Unit(name, number, out / REDIVISIONS / str(number) / NETWORKS / name)


def fit_on_training(prepared: PreparedCohort, division: Division, config: TrainingConfig) -> FittedPreprocessing:
    """Fit what comes before the network on the training patients alone."""
    training = prepared.subset(division == TRAIN)
    try:
        return fit_preprocessing(
            training.clinical,
            training.radiomics,
            training.labels,
            training.smoking_graded,
            alpha=config.alpha,
            correction=config.correction,
        )
    except ValueError as error:
        raise TrainingError(f"the training patients cannot be fitted: {error}") from error


def network_inputs(network: FusionNetwork, prepared: PreparedCohort, grade: float) -> NetworkInputs:
    """Return labelled patients as the network takes them."""
    coded = coded_clinical(prepared.clinical, prepared.smoking_graded, grade)
    with torch.inference_mode():
        radiomic, clinical = network.preprocess(torch.from_numpy(prepared.radiomics), torch.from_numpy(coded))
    # Out of inference mode, since the training needs their gradients' graph.
    return NetworkInputs(
        prepared.patches,
        radiomic.float().clone(),
        clinical.float().clone(),
        torch.from_numpy(prepared.labels).to(torch.int64),
    )


def initial_network(
    fitted: FittedPreprocessing,
    name: ModelName,
    config: TrainingConfig,
    number: int = 0,
    pretrained: Path | None = None,
) -> FusionNetwork:
    """Return a network with the initial weights that seed, model and re-division decide; its linear layer's are zero.

    The paper's rates move a weight by at most about 0.14 (1,420 steps of 1e-4): as much as the random numbers that a
    linear layer of few inputs would start from. Measured on drawn patients, CM then stayed at an AUC of 0.49 to 0.54
    where 0.60 to 0.65 could be attained, and reached these from zero.
    """
    index = list(PARTS).index(name)
    state = np.random.SeedSequence([config.seed, 5, number, index]).generate_state(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(state[0]))
        network = FusionNetwork(fitted, PARTS[name], config.window_hu, LAYERS[config.layers])
    torch.nn.init.zeros_(network.classifier.weight)
    torch.nn.init.zeros_(network.classifier.bias)
    if pretrained is not None and network.parts.deep:
        load_pretrained(network, pretrained)
    return network


def load_network(folder: Path, fitted: FittedPreprocessing, name: ModelName, config: TrainingConfig) -> FusionNetwork:
    """Return a trained network of a run."""
    network = FusionNetwork(fitted, PARTS[name], config.window_hu, LAYERS[config.layers])
    network.load_state_dict(torch.load(folder / WEIGHTS_FILE, map_location="cpu", weights_only=True))
    return network.eval()


def read_run(out: Path) -> tuple[RunRecord, FittedPreprocessing, dict[str, Any]]:
    """Read a finished run: its record, what was fitted, its summary.

    Raises
    ------
    TrainingError
        The folder holds no run, or one that did not end.
    """
    for name in (RUN_FILE, FITTED_FILE, SUMMARY_FILE):
        if not (out / name).is_file():
            raise TrainingError(
                f"{out} holds no finished training run ({name} is missing): run `pdl1es train` to its end"
            )
    record = RunRecord.model_validate_json((out / RUN_FILE).read_bytes())
    summary = json.loads((out / SUMMARY_FILE).read_text(encoding="utf-8"))
    return record, read_fitted(out / FITTED_FILE), summary


@dataclass(frozen=True, slots=True)
class UnitTraining:
    """One network's training, its export and its scores, as a task that any process can do.

    Attributes
    ----------
    unit
        Which network, and its folder.
    prepared, division, fitted
        The cohort, who is where, and what was fitted on the training patients.
    config, hardware, pretrained
        As of `train`.
    """

    unit: Unit
    prepared: PreparedCohort
    division: Division
    fitted: FittedPreprocessing
    config: TrainingConfig
    hardware: Hardware
    pretrained: Path | None

    def __call__(self, observer: Observer) -> None:
        """Do it, or go on with it."""
        unit, prepared, fitted, config = self.unit, self.prepared, self.fitted, self.config
        started = time.perf_counter()
        network = initial_network(fitted, unit.name, config, unit.number, self.pretrained)
        training, validation = prepared.subset(self.division == TRAIN), prepared.subset(self.division == VALIDATION)
        trained = train_network(
            network,
            network_inputs(network, training, fitted.smoker_grade),
            network_inputs(network, validation, fitted.smoker_grade),
            config,
            unit.folder,
            hardware=self.hardware,
            # another order of the samples for each re-division, the same for all models of one division
            seed=int(np.random.SeedSequence([config.seed, 6, unit.number]).generate_state(1)[0]),
            name=unit.title,
            observer=observer,
        )
        if not first_process():
            return
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stub lacks it
        weights = io.BytesIO()
        torch.save(network.state_dict(), weights)
        write_atomically(unit.folder / WEIGHTS_FILE, weights.getvalue())
        metadata = _working_metadata(network, fitted, unit)
        with quiet():
            difference = export_model(network, fitted, metadata, unit.folder / MODEL_FILE, cases=10)
        scored = score_cohort(
            unit.folder,
            prepared,
            name=unit.name,
            progress=lambda done, cases: observer.scored(unit.title, done, cases),
        )
        scored["split"] = self.division
        write_atomically(unit.folder / PREDICTIONS_FILE, parquet_bytes(scored))
        document = _network_document(trained, difference, time.perf_counter() - started, config)
        write_atomically(unit.folder / NETWORK_FILE, (json.dumps(document, indent=1) + "\n").encode("utf-8"))
        observer.say(_sentence(unit, trained, document))


def _working_metadata(network: FusionNetwork, fitted: FittedPreprocessing, unit: Unit) -> ModelMetadata:
    return model_metadata(
        network,
        fitted,
        name=unit.name,
        version="0",
        training_data="untrained",
        trained_on="a training run's working file, before its export",
        intended_use="scoring the cohort of its own training run",
        limitations=("A working file of a training run: it has no cut-off.",),
        expression_cut_off=NO_CUT_OFF,
        progression_cut_off=NO_CUT_OFF,
        calibrated=False,
    )


def _network_document(
    trained: TrainedNetwork, difference: float, seconds: float, config: TrainingConfig
) -> dict[str, Any]:
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


def _sentence(unit: Unit, trained: TrainedNetwork, document: dict[str, Any]) -> str:
    return (
        f"{unit.title}: {document['epochs']} of {document['epochs_planned']} epochs in "
        f"{document['training_seconds']:.0f} s on {trained.device} ({trained.precision}), "
        f"{document['patches_per_second']:.0f} patches/s, {100 * document['waiting_for_data']:.1f} % of it waiting for "
        f"data; best: stage {trained.best_stage}, epoch {trained.best_epoch}, validation AUC {trained.validation_auc:.3f}"
    )


def _record(prepared: PreparedCohort, config: TrainingConfig) -> RunRecord:
    return RunRecord(
        config=config,
        cohort=cohort_digest(prepared),
        cases=len(prepared),
        training_data="synthetic" if prepared.manifest.get("truth") else "patients",
    )


def cohort_digest(prepared: PreparedCohort) -> str:
    """Return the SHA-256 of everything in a cohort that training looks at."""
    digest = hashlib.sha256(method_digest().encode("ascii"))
    for column in ("case_id", "split"):
        digest.update("\n".join(str(value) for value in prepared.cases[column]).encode("utf-8"))
    for array in (prepared.labels, prepared.clinical, prepared.smoking_graded, prepared.radiomics, prepared.patches):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _with_pretrained(config: TrainingConfig, file: Path | None) -> TrainingConfig:
    digest = None if file is None else file_digest(file)
    if config.pretrained not in (None, digest):
        given = "none was given" if digest is None else f"the given one has {digest}"
        raise TrainingError(
            f"the configuration starts from ImageNet weights with SHA-256 {config.pretrained}, and {given}: "
            "choose that file with --pretrained"
        )
    return config.model_copy(update={"pretrained": digest})


def _claim(out: Path, record: RunRecord) -> None:
    """Write the run's record, or refuse a folder of another run."""
    path = out / RUN_FILE
    if not path.is_file():
        if first_process():
            write_atomically(path, (record.model_dump_json(indent=1) + "\n").encode("utf-8"))
        return
    there = RunRecord.model_validate_json(path.read_bytes())
    if there == record:
        return
    if there.cohort != record.cohort:
        raise TrainingError(
            f"{out} holds a run on another cohort, or on this one before it changed: choose another folder"
        )
    changes = ", ".join(
        f"{name} {old} -> {new}" for name, (old, new) in there.config.differences(record.config).items()
    )
    raise TrainingError(
        f"{out} holds a run with another configuration ({changes}): choose another folder, or the same options"
    )


def _summarise(
    prepared: PreparedCohort,
    divisions: dict[int, Division],
    fitted: FittedPreprocessing,
    out: Path,
    config: TrainingConfig,
    untrained: dict[str, str],
) -> dict[str, Any]:
    """Gather the networks' predictions in one table each division, and everything else in one document."""
    training = prepared.subset(divisions[0] == TRAIN)
    selection = select_features(training.radiomics, training.labels, alpha=config.alpha, correction=config.correction)
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


def areas(scored: pd.DataFrame) -> dict[str, dict[str, float | int]]:
    """Return the AUC with its 95 % interval (DeLong) in every split that holds both classes twice."""
    found: dict[str, dict[str, float | int]] = {}
    usable = scored[scored["label"].notna() & scored["logit"].notna() & scored["split"].notna()]
    for name, rows in usable.groupby("split"):
        if rows["label"].value_counts().reindex([0.0, 1.0], fill_value=0).min() >= 2:
            area = auc(rows["label"], rows["logit"])
            found[str(name)] = {"value": area.value, "lower": area.lower, "upper": area.upper, "patients": len(rows)}
    return found
