"""Pretrains the DenseNet on patients without labels, and leaves weights that ``train --pretrained`` takes."""

from __future__ import annotations

import hashlib
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pdl1es.atomic import require_writable, write_atomically
from pdl1es.method import PATCH_SLICES
from pdl1es.method_digest import method_digest
from training.cohort.prepared import PRETRAIN, PreparedCohort
from training.errors import UsageError
from training.pretrain.config import PretrainingConfig
from training.pretrain.network import LOSS, ComponentNetwork, PretrainingBatch, PretrainingModule
from training.pretrain.targets import RimComponents, fit_components
from training.progress import Count
from training.train.augmentation import Augmentation
from training.train.config import LAYERS, Hardware
from training.train.data import EpochSampler, as_it_is
from training.train.division import TRAIN, VALIDATION, DivisionError, check_images, divide
from training.train.stages import device_name, first_process, precision_of, quiet

WEIGHTS_FILE: Final = "pretrained.pt"
PRETRAINING_FILE: Final = "pretraining.json"
REQUEST_FILE: Final = "request.json"
LAST: Final = "last"
_STATISTICS_BATCH: Final = 64


class PretrainingError(UsageError):
    """A pretraining cannot start or continue; the message says what to do."""


class PretrainingRequest(BaseModel):
    """``request.json``: what a folder's pretraining was asked for.

    Attributes
    ----------
    config
        Settings.
    images
        Digest of the patches and rim features that it learns from.
    patients
        How many.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[1] = 1
    config: PretrainingConfig
    images: str
    patients: int


@dataclass(frozen=True, slots=True, eq=False)
class PretrainingPatients:
    """Who is learnt from and who is kept apart, as positions in the cohort.

    Attributes
    ----------
    learnt
        Patients of the split ``pretrain`` and of the training cohort.
    kept_apart
        Validation patients, on whom it is told how well the components are seen; nothing is chosen by them.
    """

    learnt: NDArray[np.intp]
    kept_apart: NDArray[np.intp]


def pretraining_patients(prepared: PreparedCohort, seed: int) -> PretrainingPatients:
    """Choose whose images may be looked at.

    Parameters
    ----------
    prepared
        The cohort.
    seed
        Of the division where the table names none: that of the training to come, so that no test patient is looked at.

    Returns
    -------
    PretrainingPatients
        Test, immunotherapy and further cases are never among them.

    Raises
    ------
    PretrainingError
        The patients cannot be divided.
    """
    split = prepared.cases["split"].to_numpy(dtype=object)
    if np.isnan(prepared.labels[split != PRETRAIN]).all():
        division = split
    else:
        try:
            division = divide(prepared.cases, seed)
            check_images(prepared.patches, prepared.case_ids, [division], scans=prepared.scans)
        except DivisionError as error:
            raise PretrainingError(f"the patients cannot be divided: {error}") from error
    learnt = (split == PRETRAIN) | (division == TRAIN)
    return PretrainingPatients(np.flatnonzero(learnt), np.flatnonzero(division == VALIDATION))


def pretrain(
    prepared: PreparedCohort,
    out: Path,
    config: PretrainingConfig,
    *,
    hardware: Hardware | None = None,
    progress: Count = lambda done, total: None,
) -> dict[str, Any]:
    """Let the DenseNet learn the rim's components, without any label; a second call continues a stopped pretraining.

    Parameters
    ----------
    prepared
        As `cohort prepare` left it, with rim features.
    out
        Folder for the weights and ``pretraining.json``.
    config
        Settings.
    hardware
        Where.
    progress
        Called with passes done and in all.

    Returns
    -------
    dict
        What ``pretraining.json`` holds: settings, patients, how well each component is seen on patients kept apart
        (Pearson's r of the mean of their three slices), time and throughput.

    Raises
    ------
    PretrainingError
        The folder holds another pretraining, or the cohort cannot be learnt from.

    Notes
    -----
    Each pass shows one random slice of every patient. The running statistics of the normalisations are computed anew at
    the end, as plain means over unchanged patches: those of the training lag behind the weights and hold augmented
    patches.
    """
    hardware = hardware or Hardware()
    if prepared.rim is None:
        raise PretrainingError("the cohort was prepared without rim features: run `pdl1es cohort prepare` again")
    require_writable(out)
    patients = pretraining_patients(prepared, config.seed)
    learnt = prepared.subset(patients.learnt)
    rim = prepared.rim[patients.learnt]
    try:
        components = fit_components(rim, config.components)
    except ValueError as error:
        raise PretrainingError(f"{error}: give more patients the split `{PRETRAIN}`") from error
    _claim(out, PretrainingRequest(config=config, images=_digest(learnt.patches, rim), patients=len(learnt)))
    if (out / PRETRAINING_FILE).is_file() and (out / WEIGHTS_FILE).is_file():
        return dict(json.loads((out / PRETRAINING_FILE).read_bytes()))
    network, cost = _learn(learnt.patches, components.targets(rim), config, hardware, out, progress)
    renew_statistics(network, learnt.patches, config.seed)
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stub lacks it
    weights = {f"densenet.{name}": value for name, value in network.densenet.state_dict().items()}
    # `train` leaves the head aside; with it the components that a patch shows can be computed again.
    weights |= {f"head.{name}": value for name, value in network.head.state_dict().items()}
    content = io.BytesIO()
    torch.save(weights, content)
    apart = prepared.subset(patients.kept_apart)
    document = {
        "schema_version": 1,
        "config": config.model_dump(mode="json"),
        "patients": {PRETRAIN: int((learnt.cases["split"] == PRETRAIN).sum()), "all": len(learnt)},
        "explained": [float(share) for share in components.explained],
        "seen": _seen(network, apart, prepared.rim[patients.kept_apart], components),
        "kept_apart": len(apart),
        **cost,
    }
    if first_process():
        write_atomically(out / WEIGHTS_FILE, content.getvalue())
        write_atomically(out / PRETRAINING_FILE, (json.dumps(document, indent=1) + "\n").encode("utf-8"))
        (out / f"{LAST}.ckpt").unlink(missing_ok=True)
    return document


class OneSliceEach(Dataset[PretrainingBatch]):
    """One random slice of every patient in each pass; keys are ``pass * patients + patient``.

    Parameters
    ----------
    patches
        int16 whole HU, shape (n, 3, 112, 112).
    targets
        float32, shape (n, components).
    seed
        Of slices and augmentation.
    """

    def __init__(self, patches: NDArray[np.int16], targets: NDArray[np.float32], seed: int) -> None:
        self.patches = patches
        self.targets = torch.from_numpy(targets)
        self.seed = seed
        self._augmentation = Augmentation(seed, noise_hu=0.0, transposed=True)

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, key: int) -> PretrainingBatch:
        return self.__getitems__([key])

    def __getitems__(self, keys: list[int]) -> PretrainingBatch:
        """Return a batch."""
        passes, patients = np.divmod(np.asarray(keys, dtype=np.int64), len(self))
        slices = [
            np.random.default_rng([self.seed, 8, int(number), int(patient)]).integers(PATCH_SLICES)
            for number, patient in zip(passes, patients, strict=True)
        ]
        chosen = torch.from_numpy(self.patches[patients, slices].astype(np.float32)).unsqueeze(1)
        changed = self._augmentation(chosen, passes.tolist(), patients.tolist())
        return PretrainingBatch(changed, self.targets[torch.from_numpy(patients)])


def _learn(
    patches: NDArray[np.int16],
    targets: NDArray[np.float32],
    config: PretrainingConfig,
    hardware: Hardware,
    out: Path,
    progress: Count,
) -> tuple[ComponentNetwork, dict[str, Any]]:
    """Train, or continue after the last whole pass; return the network and what it cost."""
    if hardware.threads is not None:
        torch.set_num_threads(hardware.threads)
    state = int(np.random.SeedSequence([config.seed, 9]).generate_state(1)[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(state)
        network = ComponentNetwork(targets.shape[1], config.window_hu, LAYERS[config.layers])
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    passes = -(-config.patches // len(patches))
    with quiet():
        recorder = _PassRecorder(passes, progress)
        trainer = lightning.Trainer(
            accelerator=hardware.accelerator,
            devices=1,
            precision=precision_of(hardware, deep=True),
            max_epochs=passes,
            callbacks=[
                recorder,
                ModelCheckpoint(out, LAST, save_on_train_epoch_end=True, enable_version_counter=False),
            ],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            deterministic="warn",
            default_root_dir=out,
        )
        samples = OneSliceEach(patches, targets, config.seed)
        loader: DataLoader[PretrainingBatch] = DataLoader(
            samples,
            # A batch of one patient has no statistics; the last ones of a pass are left to the next.
            batch_size=min(config.batch_size, len(samples)),
            drop_last=True,
            sampler=EpochSampler(len(samples), config.seed),
            collate_fn=as_it_is,
            num_workers=hardware.workers or 0,
        )
        module = PretrainingModule(network, config, passes * len(loader), compiled=hardware.compiled)
        last = out / f"{LAST}.ckpt"
        trainer.fit(module, loader, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    shown = passes * len(loader) * min(config.batch_size, len(samples))
    cost = {
        "passes": passes,
        "patches": shown,
        "loss": [record["loss"] for record in recorder.passes],
        "seconds": recorder.seconds,
        "patches_per_second": shown / recorder.seconds if recorder.seconds else 0.0,
        "precision": str(trainer.precision),
        "device": device_name(trainer),
    }
    return network.cpu(), cost


class _PassRecorder(Callback):
    """Keep each pass's loss and time; they survive a stop."""

    def __init__(self, count: int, progress: Count) -> None:
        self.count, self.progress = count, progress
        self.passes: list[dict[str, float]] = []
        self._started = 0.0

    @property
    def seconds(self) -> float:
        """Of all passes."""
        return sum(record["seconds"] for record in self.passes)

    @property
    def state_key(self) -> str:
        return "passes"

    def state_dict(self) -> dict[str, Any]:
        return {"passes": self.passes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.passes = list(state_dict["passes"])

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        loss = float(trainer.callback_metrics[LOSS])
        self.passes.append({"loss": loss, "seconds": time.perf_counter() - self._started})
        self.progress(len(self.passes), self.count)


def renew_statistics(network: ComponentNetwork, patches: NDArray[np.int16], seed: int) -> None:
    """Compute the running statistics of all normalisations anew, over one slice of every patient, unchanged.

    Parameters
    ----------
    network
        On the CPU; left in evaluation mode.
    patches
        int16 whole HU, shape (n, 3, 112, 112).
    seed
        Of the slices and their order.
    """
    normalisations = [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    momenta = [part.momentum for part in normalisations]
    for part in normalisations:
        part.reset_running_stats()
        part.momentum = None  # a plain mean over all batches
    rng = np.random.default_rng([seed, 10])
    order, slices = rng.permutation(len(patches)), rng.integers(PATCH_SLICES, size=len(patches))
    network.train()
    size = min(_STATISTICS_BATCH, len(patches))
    with torch.inference_mode():
        # The last ones are left out where they do not fill a batch: few patches would weigh as much as many.
        for first in range(0, len(patches) - size + 1, size):
            chosen = order[first : first + size]
            network(_network_patches(patches[chosen, slices[chosen]]))
    for part, momentum in zip(normalisations, momenta, strict=True):
        part.momentum = momentum
    network.eval()


def _seen(
    network: ComponentNetwork, apart: PreparedCohort, rim: NDArray[np.float64], components: RimComponents
) -> list[float | None]:
    """Return Pearson's r of each component on patients kept apart; None where they are too few or alike."""
    found: list[float | None] = [None] * len(components.axes)
    if len(apart) < 3:
        return found
    predicted = []
    with torch.inference_mode():
        for patches in apart.patches:
            predicted.append(network(_network_patches(patches)).mean(0).numpy())
    targets, guesses = components.targets(rim).astype(np.float64), np.array(predicted, dtype=np.float64)
    for number in range(len(found)):
        if targets[:, number].std() > 0 and guesses[:, number].std() > 0:
            found[number] = float(np.corrcoef(targets[:, number], guesses[:, number])[0, 1])
    return found


def _network_patches(patches: NDArray[np.int16]) -> Tensor:
    return torch.from_numpy(patches.astype(np.float32)).unsqueeze(1)


def _digest(patches: NDArray[np.int16], rim: NDArray[np.float64]) -> str:
    digest = hashlib.sha256(method_digest().encode("ascii"))
    for array in (patches, rim):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _claim(out: Path, request: PretrainingRequest) -> None:
    """Write the request, or refuse a folder of another one."""
    path = out / REQUEST_FILE
    if not path.is_file():
        if first_process():
            write_atomically(path, (request.model_dump_json(indent=1) + "\n").encode("utf-8"))
        return
    if PretrainingRequest.model_validate_json(path.read_bytes()) != request:
        raise PretrainingError(
            f"{out} holds a pretraining with other settings or patients: choose another folder, or the same options"
        )
