"""A whole training run: divide, fit, train the signature and its comparators, score the cohort, leave it in a folder."""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch

from pdl1es.atomic import require_writable, write_atomically
from pdl1es.model.folder import MODEL_FILE
from pdl1es.model.metadata import CutOff, ModelMetadata
from training.cohort.identity import in_words
from training.cohort.prepared import PreparedCohort, cohort_digest, parquet_bytes
from training.cohort.scan import not_compared
from training.controls.repeated_features import RepeatedFeatures, read_repeated_features
from training.export import export_model, model_metadata
from training.fit import coded_clinical, write_fitted
from training.network import FusionNetwork
from training.preprocessing import FittedPreprocessing
from training.scoring.cohort_scores import score_cohort
from training.scoring.predictions import OUT_OF_FOLD
from training.train.config import LAYERS, PARTS, Hardware, ModelName, TrainingConfig
from training.train.data import NetworkInputs
from training.train.division import TRAIN, VALIDATION, Division, check_images, divide, fitted_on, kept_apart, redivide
from training.train.filters import with_repeats
from training.train.fitting import fit_on_training, reach_of_training
from training.train.label_free import fit_linear_layer
from training.train.pretrained import file_digest, load_pretrained, require_weights
from training.train.progress import Observer, Silent
from training.train.run_folder import (
    DIVISION_FILE,
    FITTED_FILE,
    NETWORK_FILE,
    PREDICTIONS_FILE,
    REACH_FILE,
    SUMMARY_FILE,
    WEIGHTS_FILE,
    TrainingError,
    TrainingRunRecord,
    Unit,
    claim,
    units,
)
from training.train.side_by_side import run_side_by_side
from training.train.stages import first_process, quiet, train_network
from training.train.summary import layer_document, layer_sentence, network_document, sentence, summarise

NO_CUT_OFF: Final = CutOff(
    value=0.5, method="none: a file of a training run, before its export", above="upper half", below="lower half"
)


def train(
    prepared: PreparedCohort,
    out: Path,
    config: TrainingConfig,
    *,
    hardware: Hardware | None = None,
    pretrained: Path | None = None,
    stability: Path | None = None,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Train everything that the paper trains; a second call on the same folder continues a stopped run.

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
        File of weights (`training.train.pretrained`); its digest becomes part of the configuration. A configuration that
        names one needs it, and so does the recipe ``label-free``.
    stability
        Folder of features measured again (`training.controls.repeated_features`); their digest becomes part of the
        configuration.
    observer
        Called for every epoch.

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
    RepeatedFeaturesError
        The features measured again cannot be used.
    """
    hardware, observer = hardware or Hardware(), observer or Silent()
    prepared = prepared.without_pretraining()
    repeats = None if stability is None else read_repeated_features(stability, prepared)
    config = with_repeats(_with_pretrained(config, pretrained), repeats)
    require_writable(out)
    if pretrained is not None:
        require_weights(pretrained, LAYERS[config.layers])
    claim(out, _record(prepared, config))
    first = divide(prepared.cases, config.seed)
    divisions = {0: first} | {
        number: redivide(prepared.cases, first, config.seed, number) for number in range(1, config.redivisions + 1)
    }
    apart = [kept_apart(division, config) for division in divisions.values()]
    alike = check_images(prepared.patches, prepared.case_ids, apart, scans=prepared.scans)
    if alike and first_process():
        observer.say(
            f"{len(alike)} pairs of patients in two splits or folds look alike; look whether they are one patient: "
            f"{in_words(alike, prepared.case_ids)}"
        )
    if (unchecked := not_compared(prepared.scans)) and first_process():
        observer.say(unchecked)
    fitted = fit_on_training(prepared, first, config, repeats)
    if first_process():
        write_fitted(out / FITTED_FILE, fitted)
        if (reach := reach_of_training(prepared, first, fitted, config)) is not None:
            write_atomically(out / REACH_FILE, (reach.model_dump_json() + "\n").encode("utf-8"))
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
            division = divisions[unit.number]
            # Validation patients who are fitted on differ between the re-divisions.
            own = (
                fitted
                if unit.number == 0 or config.recipe == "paper"
                else fit_on_training(prepared, division, config, repeats)
            )
            tasks[unit.title] = UnitTraining(
                unit, prepared, division, own, config, hardware.of_each(), pretrained, repeats
            )
    if hardware.side_by_side > 1:
        run_side_by_side(tasks, hardware.side_by_side, observer)
    else:
        for task in tasks.values():
            task(observer)
    summary = summarise(prepared, divisions, fitted, out, config, untrained, repeats)
    if first_process():
        write_atomically(out / SUMMARY_FILE, (json.dumps(summary, indent=1, sort_keys=True) + "\n").encode("utf-8"))
    return summary


def network_inputs(network: FusionNetwork, prepared: PreparedCohort, grade: float) -> NetworkInputs:
    """Return labelled patients as the network takes them.

    Parameters
    ----------
    network
        Whose fitted parts are used.
    prepared
        Labelled patients.
    grade
        Code of a smoker of unknown grade.

    Returns
    -------
    NetworkInputs
    """
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

    Parameters
    ----------
    fitted
        What comes before the network.
    name
        Of the model.
    config
        Seed, window and layers.
    number
        Of the re-division; 0 for the first division.
    pretrained
        File of ImageNet weights.

    Returns
    -------
    FusionNetwork
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
    repeats
        Features measured again, or None.
    """

    unit: Unit
    prepared: PreparedCohort
    division: Division
    fitted: FittedPreprocessing
    config: TrainingConfig
    hardware: Hardware
    pretrained: Path | None
    repeats: RepeatedFeatures | None = None

    def __call__(self, observer: Observer) -> None:
        """Train the network, or continue."""
        unit, prepared, fitted, config = self.unit, self.prepared, self.fitted, self.config
        started = time.perf_counter()
        network = initial_network(fitted, unit.name, config, unit.number, self.pretrained)
        if config.recipe == "label-free":
            self._fit_layer(network, started, observer)
            return
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
        difference, scored = self._scored(network, observer)
        write_atomically(unit.folder / PREDICTIONS_FILE, parquet_bytes(scored))
        document = network_document(trained, difference, time.perf_counter() - started, config)
        write_atomically(unit.folder / NETWORK_FILE, (json.dumps(document, indent=1) + "\n").encode("utf-8"))
        observer.say(sentence(unit, trained, document))

    def _fit_layer(self, network: FusionNetwork, started: float, observer: Observer) -> None:
        """Fit the linear layer alone; a stopped fit begins anew."""
        if not first_process():
            return
        chosen = fitted_on(self.division, self.config)
        patients = self.prepared.subset(chosen)
        seed = int(np.random.SeedSequence([self.config.seed, 12, self.unit.number]).generate_state(1)[0])
        found = fit_linear_layer(network, patients, self.fitted, self.config, seed, repeats=self.repeats)
        difference, scored = self._scored(network, observer)
        scored[OUT_OF_FOLD] = np.nan
        scored.loc[chosen, OUT_OF_FOLD] = found.out_of_fold
        write_atomically(self.unit.folder / PREDICTIONS_FILE, parquet_bytes(scored))
        document = layer_document(self.unit, found, patients.labels, difference, time.perf_counter() - started)
        write_atomically(self.unit.folder / NETWORK_FILE, (json.dumps(document, indent=1) + "\n").encode("utf-8"))
        observer.say(layer_sentence(self.unit, document))

    def _scored(self, network: FusionNetwork, observer: Observer) -> tuple[float, pd.DataFrame]:
        """Write weights and ONNX file, and score the cohort; return onnxruntime's difference from torch, and the scores."""
        unit = self.unit
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stub lacks it
        weights = io.BytesIO()
        torch.save(network.state_dict(), weights)
        write_atomically(unit.folder / WEIGHTS_FILE, weights.getvalue())
        metadata = _working_metadata(network, self.fitted, unit)
        with quiet():
            difference = export_model(network, self.fitted, metadata, unit.folder / MODEL_FILE, cases=10)
        scored = score_cohort(
            unit.folder,
            self.prepared,
            name=unit.name,
            progress=lambda done, cases: observer.scored(unit.title, done, cases),
        )
        scored["split"] = self.division
        return difference, scored


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


def _record(prepared: PreparedCohort, config: TrainingConfig) -> TrainingRunRecord:
    return TrainingRunRecord(
        config=config,
        cohort=cohort_digest(prepared),
        cases=len(prepared),
        training_data="synthetic" if prepared.synthetic else "patients",
    )


def _with_pretrained(config: TrainingConfig, file: Path | None) -> TrainingConfig:
    digest = None if file is None else file_digest(file)
    if config.pretrained not in (None, digest):
        given = "none was given" if digest is None else f"the given one has {digest}"
        raise TrainingError(
            f"the configuration starts from weights with SHA-256 {config.pretrained}, and {given}: choose that file with "
            "--pretrained"
        )
    if config.recipe == "label-free" and digest is None and any(PARTS[name].deep for name in config.models):
        raise TrainingError(
            "the recipe label-free does not train the network, so that it needs weights: make them with `pdl1es pretrain`, "
            "and give the file with --pretrained"
        )
    return config.model_copy(update={"pretrained": digest})
