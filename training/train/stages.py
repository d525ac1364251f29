"""Training of one network: one learning rate after another, a checkpoint after every epoch, any stop resumes."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from pdl1es.atomic import write_atomically
from training.network import FusionNetwork
from training.train.augmentation import Augmentation
from training.train.config import Hardware, TrainingConfig
from training.train.data import (
    EpochSampler,
    NetworkInputs,
    TrainingBatch,
    TrainingSamples,
    training_loader,
    validation_loader,
)
from training.train.module import LOSS, VALIDATION_AUC, FusionModule
from training.train.progress import EpochRecord, Observer, Silent

LAST: Final = "last"
BEST: Final = "best"
STAGE_FILE: Final = "stage.json"
_EPOCHS: Final = "epochs"
_Chosen = Literal["32-true", "bf16-mixed"]
Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """Result of the stages; the network itself holds the best weights.

    Attributes
    ----------
    validation_auc
        Of the best weights, over patients.
    best_stage, best_epoch
        Where they come from, counted from 1.
    history
        Every epoch, in order.
    precision, device
        What it ran in and on.
    """

    validation_auc: float
    best_stage: int
    best_epoch: int
    history: tuple[EpochRecord, ...]
    precision: str
    device: str


def train_network(
    network: FusionNetwork,
    training: NetworkInputs,
    validation: NetworkInputs,
    config: TrainingConfig,
    folder: Path,
    *,
    hardware: Hardware | None = None,
    seed: int | None = None,
    name: str = "network",
    observer: Observer | None = None,
) -> TrainedNetwork:
    """Train a network in stages (paper, Methods); a call after a stop continues after the last finished epoch.

    Parameters
    ----------
    network
        With its initial weights, which have to be the same when called again. It is left with the best weights, on the
        CPU, in evaluation mode.
    training, validation
        Patients.
    config
        Stages, batch size, patience, augmentation, rates.
    folder
        For the checkpoints of this network alone.
    hardware
        Where to run.
    seed
        Of the order of samples and the augmentation; the configuration's by default.
    name
        For the observer.
    observer
        Called for every epoch.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    RuntimeError
        The trainer ended before an epoch was done.

    Notes
    -----
    Adam starts afresh in each stage. A stage starts from the best weights so far: where it never improves on them, the
    next stage and the result get them unchanged. Of equal AUCs the earliest counts. A stage ends early after
    `TrainingConfig.patience` epochs without a better AUC within the stage.
    """
    hardware = hardware or Hardware()
    observer = observer or Silent()
    seed = config.seed if seed is None else seed
    if hardware.threads is not None:
        torch.set_num_threads(hardware.threads)
    best_weights: Weights | None = None
    best = (-1.0, 0, 0)
    history: list[EpochRecord] = []
    precision, device = "", ""
    chosen = precision_of(hardware, deep=network.parts.deep)
    for number in range(1, len(config.stages) + 1):
        place = folder / f"stage-{number}"
        if best_weights is not None:
            network.load_state_dict(best_weights)
        if not (place / STAGE_FILE).is_file():
            _run_stage(network, training, validation, config, number, place, hardware, chosen, seed, name, observer)
        document = json.loads((place / STAGE_FILE).read_text(encoding="utf-8"))
        records = [EpochRecord(**record) for record in document["history"]]
        device, precision = document["device"], document["precision"]
        history += records
        first = max(records, key=lambda record: (record.validation_auc, -record.epoch))
        if first.validation_auc > best[0]:
            best = (first.validation_auc, number, first.epoch)
            best_weights = _network_weights(place / f"{BEST}.ckpt")
    if best_weights is None:
        raise RuntimeError("no epoch was trained")
    network.cpu().load_state_dict(best_weights)
    network.eval()
    return TrainedNetwork(best[0], best[1], best[2], tuple(history), precision, device)


def _run_stage(
    network: FusionNetwork,
    training: NetworkInputs,
    validation: NetworkInputs,
    config: TrainingConfig,
    number: int,
    place: Path,
    hardware: Hardware,
    precision: _Chosen,
    seed: int,
    name: str,
    observer: Observer,
) -> None:
    """Run or resume one stage, and write its record."""
    stage = config.stages[number - 1]
    epochs_before = sum(earlier.epochs for earlier in config.stages[: number - 1])
    deep = network.parts.deep
    # The convolutions of the processors in question are faster where a pixel's channels lie side by side.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    module = FusionModule(
        network,
        stage.learning_rate,
        linear_rate_factor=config.linear_rate_factor,
        weight_decay=config.weight_decay,
        compiled=hardware.compiled and deep,
    )
    recorder = _Recorder(
        number,
        stage.learning_rate,
        name,
        observer,
        lambda: observer.begin(name, config.epochs, epochs_before + len(recorder.history)),
    )
    stopping = EarlyStopping(
        VALIDATION_AUC, mode="max", patience=config.patience, check_finite=False, check_on_train_epoch_end=True
    )
    # The best checkpoint is listed before the last one, which records everything before it.
    keeping = ModelCheckpoint(
        place,
        BEST,
        monitor=VALIDATION_AUC,
        mode="max",
        save_weights_only=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    lasting = ModelCheckpoint(place, LAST, save_on_train_epoch_end=True, enable_version_counter=False)
    with quiet():
        trainer = lightning.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices if hardware.devices == "auto" else _devices(hardware.devices),
            num_nodes=hardware.nodes,
            strategy=hardware.strategy,
            precision=precision,
            max_epochs=stage.epochs,
            callbacks=[recorder, stopping, keeping, lasting],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            deterministic="warn",
            default_root_dir=place,
        )
        pinned = trainer.strategy.root_device.type == "cuda"
        samples = TrainingSamples(training, Augmentation(seed) if config.augmentation == "modest" else None, deep)
        sampler = EpochSampler(len(samples), seed, epochs_before, trainer.global_rank, trainer.world_size)
        batch_size = max(config.batch_size // trainer.world_size, 1)
        loader = training_loader(samples, sampler, batch_size, hardware.workers, pinned=pinned)
        last = place / f"{LAST}.ckpt"
        if not _has_stopped(last, config.patience, stage.epochs):
            trainer.fit(
                module,
                loader,
                validation_loader(validation, with_patches=deep),
                ckpt_path=str(last) if last.is_file() else None,
                weights_only=True,
            )
        else:
            recorder.load_state_dict(_callback_state(last, _EPOCHS))
    if trainer.interrupted:
        raise KeyboardInterrupt
    if trainer.is_global_zero:
        document = {
            "learning_rate": stage.learning_rate,
            "precision": precision,
            "device": device_name(trainer),
            "history": [asdict(record) for record in recorder.history],
        }
        write_atomically(place / STAGE_FILE, (json.dumps(document, indent=1) + "\n").encode("utf-8"))
        last.unlink(missing_ok=True)
    trainer.strategy.barrier()


class _Recorder(Callback):
    """Time every epoch and, apart from it, the wait for data; the records survive a stop."""

    def __init__(
        self, stage: int, learning_rate: float, network: str, observer: Observer, begin: Callable[[], None]
    ) -> None:
        self.stage, self.learning_rate, self.network = stage, learning_rate, network
        self.observer, self.begin = observer, begin
        self.history: list[EpochRecord] = []
        self._started = self._ended = self._waited = 0.0
        self._patches = 0

    @property
    def state_key(self) -> str:
        return _EPOCHS

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.begin()

    def state_dict(self) -> dict[str, Any]:
        return {"history": [asdict(record) for record in self.history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = [EpochRecord(**record) for record in state_dict["history"]]

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._started = self._ended = time.perf_counter()
        self._waited, self._patches = 0.0, 0

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: TrainingBatch, batch_idx: int
    ) -> None:
        self._waited += time.perf_counter() - self._ended
        self._patches += len(batch.labels)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: TrainingBatch,
        batch_idx: int,
    ) -> None:
        if trainer.is_last_batch and trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self._ended = time.perf_counter()
        self.observer.batch(self.network, (batch_idx + 1) / max(int(trainer.num_training_batches), 1))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        seconds = self._ended - self._started
        record = EpochRecord(
            stage=self.stage,
            epoch=trainer.current_epoch + 1,
            learning_rate=self.learning_rate,
            loss=float(trainer.callback_metrics[LOSS]),
            validation_auc=float(trainer.callback_metrics[VALIDATION_AUC]),
            seconds=seconds,
            patches=self._patches * trainer.world_size,
            waiting=self._waited / seconds if seconds > 0 else 0.0,
        )
        self.history.append(record)
        if trainer.is_global_zero:
            self.observer.epoch(self.network, record)


def precision_of(hardware: Hardware, *, deep: bool) -> _Chosen:
    """Choose bf16 where the processor multiplies in it; without convolutions it would only cost digits.

    Parameters
    ----------
    hardware
        What was asked for.
    deep
        Whether the network has convolutions.

    Returns
    -------
    str
        Lightning's name.
    """
    if not deep:
        return "32-true"
    if hardware.precision != "auto":
        return hardware.precision
    if hardware.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if hardware.accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "32-true"
    # AMX or AVX512-BF16: a step takes half of float32's time with either (benchmarks/results/training-cpu.md).
    return "bf16-mixed" if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported() else "32-true"


def _devices(text: str) -> int | list[int]:
    """Read ``2`` as a number of devices, and ``0,3`` as their indices."""
    return [int(part) for part in text.split(",")] if "," in text else int(text)


def device_name(trainer: lightning.Trainer) -> str:
    """Say what a trainer ran on.

    Parameters
    ----------
    trainer
        After its fit.

    Returns
    -------
    str
        The accelerator's name, or the number of the processor's threads.
    """
    root = trainer.strategy.root_device
    name = (
        torch.cuda.get_device_name(root) if root.type == "cuda" else f"{root.type}, {torch.get_num_threads()} threads"
    )
    return f"{trainer.world_size} x {name}" if trainer.world_size > 1 else name


def _network_weights(path: Path) -> Weights:
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}


def _callback_state(path: Path, key: str) -> dict[str, Any]:
    states: dict[str, dict[str, Any]] = torch.load(path, map_location="cpu", weights_only=True)["callbacks"]
    return next(state for name, state in states.items() if name.startswith(key))


def _has_stopped(last: Path, patience: int, epochs: int) -> bool:
    """Tell whether the stage was over when it was stopped, between its last epoch and its record."""
    if not last.is_file():
        return False
    over = int(_callback_state(last, "EarlyStopping")["wait_count"]) >= patience
    return over or len(_callback_state(last, _EPOCHS)["history"]) >= epochs


def first_process() -> bool:
    """Tell whether this process writes the files."""
    return int(vars(rank_zero_only).get("rank", 0)) == 0


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's and torch's hints to developers; errors are still raised."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for module in (r"lightning\..*", r"torch\..*", r"copyreg"):
            warnings.filterwarnings("ignore", module=module)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
