"""Patches in memory as int16, read as whole batches in an order that depends only on seed and epoch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pdl1es.method import PATCH_SLICES
from training.train.augmentation import Augmentation

VALIDATION_PATIENTS: Final = 32
"""Patients per batch without gradients."""
MAX_WORKERS: Final = 8
T = TypeVar("T")


class TrainingBatch(NamedTuple):
    """Samples of the network.

    ``patches`` float32 HU (N, 1, 112, 112); ``radiomic_z`` float32 (N, n_selected); ``clinical_z`` float32 (N, 4);
    ``labels`` int64 (N,).
    """

    patches: Tensor
    radiomic_z: Tensor
    clinical_z: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class NetworkInputs:
    """Patients as the network takes them; row i of everything is the same patient.

    Attributes
    ----------
    patches
        int16 whole HU, shape (n, 3, 112, 112).
    radiomic_z, clinical_z
        float32, shapes (n, n_selected) and (n, 4): as `FusionNetwork.preprocess` gives them.
    labels
        int64, shape (n,): 0 or 1.
    """

    patches: NDArray[np.int16]
    radiomic_z: Tensor
    clinical_z: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        n = len(self.labels)
        if not len(self.patches) == len(self.radiomic_z) == len(self.clinical_z) == n:
            raise ValueError("patches, features and labels are of different patients")

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, patients: NDArray[np.intp]) -> NetworkInputs:
        """Return some of the patients."""
        rows = torch.from_numpy(np.asarray(patients, dtype=np.int64))
        return replace(
            self,
            patches=self.patches[patients],
            radiomic_z=self.radiomic_z[rows],
            clinical_z=self.clinical_z[rows],
            labels=self.labels[rows],
        )


class TrainingSamples(Dataset[TrainingBatch]):
    """Every slice of every patient is one sample (paper, Methods).

    Its keys are ``epoch * len + sample``: so a worker knows the epoch, on which the augmentation depends.

    Parameters
    ----------
    inputs
        Of the training patients.
    augmentation
        Or None.
    with_patches
        Whether the network looks at them; else they are not copied.
    """

    def __init__(self, inputs: NetworkInputs, augmentation: Augmentation | None, with_patches: bool = True) -> None:
        self.inputs = inputs
        self.augmentation = augmentation
        self.with_patches = with_patches

    def __len__(self) -> int:
        return len(self.inputs) * PATCH_SLICES

    def __getitem__(self, key: int) -> TrainingBatch:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[int]) -> TrainingBatch:
        """Return a batch: one look-up for all of its samples."""
        epochs, samples = np.divmod(np.asarray(keys, dtype=np.int64), len(self))
        patients, slices = np.divmod(samples, PATCH_SLICES)
        if self.with_patches:
            patches = torch.from_numpy(self.inputs.patches[patients, slices].astype(np.float32)).unsqueeze(1)
            if self.augmentation is not None:
                patches = self.augmentation(patches, epochs.tolist(), samples.tolist())
        else:
            patches = torch.zeros(len(samples), 1, 1, 1)
        rows = torch.from_numpy(patients)
        return TrainingBatch(
            patches, self.inputs.radiomic_z[rows], self.inputs.clinical_z[rows], self.inputs.labels[rows]
        )


class EpochSampler(Sampler[int]):
    """Draw the order of an epoch from seed and epoch, and hand every device its share.

    Parameters
    ----------
    samples
        Number of samples.
    seed
        Of the run.
    first_epoch
        Epochs of the stages before, so that no two epochs of a run have the same order.
    rank, world_size
        This device among all; each gets as many samples, so that none waits: the first ones come twice if need be.
    """

    def __init__(self, samples: int, seed: int, first_epoch: int = 0, rank: int = 0, world_size: int = 1) -> None:
        self.samples = samples
        self.seed = seed
        self.first_epoch = first_epoch
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch of the stage comes next; Lightning does, also after a restart."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.samples // self.world_size)

    def __iter__(self) -> Iterator[int]:
        epoch = self.first_epoch + self.epoch
        order = np.random.default_rng([self.seed, 3, epoch]).permutation(self.samples)
        order = np.resize(order, len(self) * self.world_size)
        return iter((epoch * self.samples + order[self.rank :: self.world_size]).tolist())


class WholePatients(Dataset[TrainingBatch]):
    """Every patient with all slices, for validation: N patients are 3 N rows, patient by patient."""

    def __init__(self, inputs: NetworkInputs, with_patches: bool = True) -> None:
        self.inputs = inputs
        self.with_patches = with_patches

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, key: int) -> TrainingBatch:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[int]) -> TrainingBatch:
        """Return a batch of patients; ``labels`` has one value per patient."""
        rows = torch.as_tensor(keys, dtype=torch.int64)
        repeated = rows.repeat_interleave(PATCH_SLICES)
        if self.with_patches:
            hu = self.inputs.patches[rows.numpy()].astype(np.float32)
            patches = torch.from_numpy(hu).flatten(0, 1).unsqueeze(1)
        else:
            patches = torch.zeros(len(repeated), 1, 1, 1)
        return TrainingBatch(
            patches, self.inputs.radiomic_z[repeated], self.inputs.clinical_z[repeated], self.inputs.labels[rows]
        )


def training_loader(
    samples: TrainingSamples, sampler: EpochSampler, batch_size: int, workers: int | None, *, pinned: bool
) -> DataLoader[TrainingBatch]:
    """Return batches of one device for one epoch after another.

    Parameters
    ----------
    samples, sampler
        What, and in which order.
    batch_size
        Of this device.
    workers
        Processes; None chooses: without augmentation a batch is one look-up of a fraction of a millisecond, so none;
        with it, one core fewer than there are, at most 8.
    pinned
        Whether batches are copied to an accelerator.

    Returns
    -------
    DataLoader[TrainingBatch]
    """
    if workers is None:
        cores = len(os.sched_getaffinity(0))
        # No workers where the network is trained on the processor: it has no cores to spare.
        busy = samples.augmentation is not None and samples.with_patches and pinned
        workers = min(max(cores - 1, 0), MAX_WORKERS) if busy else 0
    return DataLoader(
        samples,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=as_it_is,
        pin_memory=pinned,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
    )


def validation_loader(inputs: NetworkInputs, *, with_patches: bool = True) -> DataLoader[TrainingBatch]:
    """Return whole patients, in order; every device sees all of them, so that nothing has to be gathered.

    Parameters
    ----------
    inputs
        Of the validation patients.
    with_patches
        Whether the network has a deep part.

    Returns
    -------
    DataLoader[TrainingBatch]
    """
    return DataLoader(
        WholePatients(inputs, with_patches), batch_size=VALIDATION_PATIENTS, shuffle=False, collate_fn=as_it_is
    )


def as_it_is(batch: T) -> T:
    """Return the result of `__getitems__` unchanged: it is a batch already.

    Parameters
    ----------
    batch
        Of any type.

    Returns
    -------
    T
        The same.
    """
    return batch
