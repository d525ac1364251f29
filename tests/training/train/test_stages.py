"""One network through its learning rates: resumed, repeated, stopped early, and always with the best weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from training.cohort.prepared import PreparedCohort
from training.fit import fit_preprocessing
from training.network import FusionNetwork
from training.preprocessing import FittedPreprocessing
from training.train.config import Hardware, ModelName, Stage, TrainingConfig
from training.train.data import NetworkInputs, WholePatients
from training.train.module import patient_logits
from training.train.progress import EpochRecord, Silent
from training.train.run import initial_network, network_inputs
from training.train.stages import STAGE_FILE, TrainedNetwork, train_network

CPU = Hardware(accelerator="cpu", devices="1", precision="32-true", workers=0)


class Stopped(Exception):
    """Stands for a power cut."""


class StopAt(Silent):
    """Stop in the middle of an epoch, or after an epoch before its checkpoint is written."""

    def __init__(self, epochs: int, *, within: bool) -> None:
        self.left, self.within = epochs, within

    def batch(self, network: str, share: float) -> None:
        if self.within and self.left == 0:
            raise Stopped

    def epoch(self, network: str, record: EpochRecord) -> None:
        if not self.within and self.left == 0:
            raise Stopped
        self.left -= 1


@pytest.fixture(scope="module")
def cohort(cohort: PreparedCohort) -> PreparedCohort:
    """60 patients are enough here."""
    return cohort.subset(np.arange(60))


@pytest.fixture(scope="module")
def fitted(cohort: PreparedCohort) -> FittedPreprocessing:
    return fit_preprocessing(cohort.clinical, cohort.radiomics, cohort.labels)


def trained(
    cohort: PreparedCohort,
    fitted: FittedPreprocessing,
    config: TrainingConfig,
    folder: Path,
    *,
    name: ModelName = "PD-L1ES",
    hardware: Hardware = CPU,
    observer: Silent | None = None,
) -> tuple[FusionNetwork, TrainedNetwork, NetworkInputs]:
    network = initial_network(fitted, name, config)
    inputs = network_inputs(network, cohort, fitted.smoker_grade)
    rows = np.arange(len(cohort))
    validation = inputs.of(rows[rows % 4 == 0])
    result = train_network(
        network, inputs.of(rows[rows % 4 > 0]), validation, config, folder, hardware=hardware, observer=observer
    )
    return network, result, validation


def same(one: FusionNetwork, other: FusionNetwork) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def scores(history: tuple[EpochRecord, ...]) -> list[tuple[float, float]]:
    return [(record.loss, record.validation_auc) for record in history]


@pytest.fixture(scope="module")
def config() -> TrainingConfig:
    return TrainingConfig(
        seed=3, stages=(Stage(learning_rate=3e-3, epochs=2), Stage(learning_rate=3e-4, epochs=2)), layers="small"
    )


@pytest.fixture(scope="module")
def whole(
    cohort: PreparedCohort,
    fitted: FittedPreprocessing,
    config: TrainingConfig,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[FusionNetwork, TrainedNetwork]:
    """An uninterrupted run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network, result, _ = trained(cohort, fitted, config, tmp_path_factory.mktemp("whole"))
    torch.set_num_threads(threads)
    return network, result


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    whole: tuple[FusionNetwork, TrainedNetwork],
    cohort: PreparedCohort,
    fitted: FittedPreprocessing,
    config: TrainingConfig,
    tmp_path: Path,
) -> None:
    again, result, _ = trained(cohort, fitted, config, tmp_path / "again")
    assert same(again, whole[0])
    assert scores(result.history) == scores(whole[1].history)
    other, _, _ = trained(cohort, fitted, config.model_copy(update={"seed": 4}), tmp_path / "other")
    assert not same(other, whole[0])


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_a_stopped_run_goes_on_to_the_same_weights(
    epochs: int,
    within: bool,
    whole: tuple[FusionNetwork, TrainedNetwork],
    cohort: PreparedCohort,
    fitted: FittedPreprocessing,
    config: TrainingConfig,
    tmp_path: Path,
) -> None:
    with pytest.raises(Stopped):
        trained(cohort, fitted, config, tmp_path, observer=StopAt(epochs, within=within))
    network, result, _ = trained(cohort, fitted, config, tmp_path)
    assert same(network, whole[0])
    assert scores(result.history) == scores(whole[1].history)


def test_only_what_was_not_done_is_done_again(
    cohort: PreparedCohort, fitted: FittedPreprocessing, config: TrainingConfig, tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        trained(cohort, fitted, config, tmp_path, observer=StopAt(3, within=True))

    class Counting(Silent):
        epochs = 0

        def epoch(self, network: str, record: EpochRecord) -> None:
            self.epochs += 1

    counting = Counting()
    trained(cohort, fitted, config, tmp_path, observer=counting)
    assert counting.epochs == 1
    trained(cohort, fitted, config, tmp_path, observer=counting)
    assert counting.epochs == 1


def test_a_stage_that_had_ended_before_the_stop_trains_no_further(
    whole: tuple[FusionNetwork, TrainedNetwork],
    cohort: PreparedCohort,
    fitted: FittedPreprocessing,
    config: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped after the last checkpoint of a stage, before the stage's record was written."""

    def cut(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr("training.train.stages.write_atomically", cut)
        with pytest.raises(Stopped):
            trained(cohort, fitted, config, tmp_path)
    network, result, _ = trained(cohort, fitted, config, tmp_path)
    assert same(network, whole[0])
    assert len(result.history) == 4


def test_the_weights_are_those_of_the_best_validation_auc_over_patients(
    cohort: PreparedCohort, fitted: FittedPreprocessing, config: TrainingConfig, tmp_path: Path
) -> None:
    network, result, validation = trained(cohort, fitted, config, tmp_path, name="RM")
    with torch.inference_mode():
        logits = patient_logits(network, WholePatients(validation, False).__getitems__(range(len(validation))))
    assert roc_auc_score(validation.labels, logits) == pytest.approx(result.validation_auc, abs=1e-12)
    assert result.validation_auc == max(record.validation_auc for record in result.history)


def test_a_rate_that_spoils_the_network_hands_on_the_best_weights_before_it(
    cohort: PreparedCohort, fitted: FittedPreprocessing, tmp_path: Path
) -> None:
    stages = (
        Stage(learning_rate=3e-3, epochs=2),
        Stage(learning_rate=1e3, epochs=2),
        Stage(learning_rate=1e-9, epochs=1),
    )
    config = TrainingConfig(seed=1, stages=stages, layers="small")
    _, result, _ = trained(cohort, fitted, config, tmp_path)
    good, _, kept = (
        max(record.validation_auc for record in result.history if record.stage == stage) for stage in (1, 2, 3)
    )
    assert result.best_stage == 1
    assert kept == pytest.approx(good, abs=0.05)


def test_a_stage_ends_after_its_patience(cohort: PreparedCohort, fitted: FittedPreprocessing, tmp_path: Path) -> None:
    """A rate that shakes the weights: soon no epoch is better than the best."""
    config = TrainingConfig(stages=(Stage(learning_rate=1.0, epochs=60),), patience=3)
    _, result, _ = trained(cohort, fitted, config, tmp_path, name="CM")
    assert len(result.history) == result.best_epoch + 3 < 60


def test_every_epoch_leaves_its_throughput(whole: tuple[FusionNetwork, TrainedNetwork]) -> None:
    for record in whole[1].history:
        assert record.patches == 45 * 3
        assert record.patches_per_second > 1
        assert 0 <= record.waiting < 1


def test_it_trains_in_bf16_and_validates_in_full_precision(
    cohort: PreparedCohort, fitted: FittedPreprocessing, tmp_path: Path
) -> None:
    config = TrainingConfig(seed=3, stages=(Stage(learning_rate=3e-3, epochs=1),), layers="small", augmentation="off")
    hardware = CPU.model_copy(update={"precision": "bf16-mixed"})
    network, result, validation = trained(cohort, fitted, config, tmp_path, hardware=hardware)
    assert result.precision == "bf16-mixed"
    with torch.inference_mode():
        logits = patient_logits(network, WholePatients(validation).__getitems__(range(len(validation))))
    assert logits.dtype == torch.float32
    assert roc_auc_score(validation.labels, logits) == pytest.approx(result.validation_auc, abs=0.011)
    stage = json.loads((tmp_path / "stage-1" / STAGE_FILE).read_text())
    assert stage["precision"] == "bf16-mixed"
