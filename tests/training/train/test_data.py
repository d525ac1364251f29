"""Samples, their order and their augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.train.augmentation import Augmentation
from training.train.data import (
    EpochSampler,
    NetworkInputs,
    TrainingBatch,
    TrainingSamples,
    WholePatients,
    training_loader,
)


@pytest.fixture(scope="module")
def inputs() -> NetworkInputs:
    rng = np.random.default_rng(0)
    patches = rng.integers(-1000, 400, (10, 3, 112, 112)).astype(np.int16)
    return NetworkInputs(
        patches, torch.arange(20.0).reshape(10, 2), torch.arange(40.0).reshape(10, 4), torch.arange(10) % 2
    )


def test_every_slice_of_every_patient_is_one_sample_with_its_patients_values(inputs: NetworkInputs) -> None:
    samples = TrainingSamples(inputs, None)
    assert len(samples) == 30
    batch = samples.__getitems__([14, 30 + 14])
    assert torch.equal(batch.patches[0, 0], torch.from_numpy(inputs.patches[4, 2].astype(np.float32)))
    assert torch.equal(batch.patches[0], batch.patches[1])
    assert batch.radiomic_z.tolist() == [[8.0, 9.0]] * 2
    assert batch.labels.tolist() == [0, 0]


def test_an_epoch_holds_every_sample_once_and_no_two_have_the_same_order() -> None:
    sampler = EpochSampler(30, seed=1, first_epoch=20)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs, samples = np.divmod(list(sampler), 30)
        assert (epochs == 20 + epoch).all()
        assert sorted(samples) == list(range(30))
        orders.append(samples.tolist())
    assert orders[0] != orders[1] != orders[2]


def test_devices_share_an_epoch_evenly() -> None:
    shares = [list(EpochSampler(31, seed=1, rank=rank, world_size=4)) for rank in range(4)]
    assert [len(share) for share in shares] == [8] * 4
    assert {key for share in shares for key in share} == set(range(31))


def test_validation_sees_whole_patients_in_order(inputs: NetworkInputs) -> None:
    batch = WholePatients(inputs).__getitems__([3, 5])
    assert torch.equal(batch.patches[:, 0], torch.from_numpy(inputs.patches[[3, 5]].reshape(6, 112, 112)).float())
    assert batch.clinical_z[:, 0].tolist() == [12.0] * 3 + [20.0] * 3
    assert batch.labels.tolist() == [1, 1]


def test_neither_batch_nor_worker_changes_what_is_drawn_for_a_sample(inputs: NetworkInputs) -> None:
    samples = TrainingSamples(inputs, Augmentation(seed=4))
    alone, among = samples[37].patches[0], samples.__getitems__([3, 37, 50]).patches[1]
    assert torch.allclose(alone, among, atol=1e-3)
    sampler = EpochSampler(30, seed=0)
    by_workers: list[list[TrainingBatch]] = []
    for workers in (0, 2):
        loader = training_loader(samples, sampler, 8, workers, pinned=False)
        by_workers.append(list(loader))
    for one, other in zip(*by_workers, strict=True):
        assert torch.equal(one.patches, other.patches)
        assert torch.equal(one.labels, other.labels)


def test_another_epoch_draws_another_change(inputs: NetworkInputs) -> None:
    samples = TrainingSamples(inputs, Augmentation(seed=4))
    assert not torch.allclose(samples[7].patches, samples[37].patches, atol=1.0)


def test_augmentation_is_modest() -> None:
    """A centred disc of 30 pixels' radius stays within a few pixels and percents, and its HU within 40 of what they were."""
    yy, xx = np.mgrid[:112, :112] - 55.5
    disc = np.where(np.hypot(xx, yy) < 30, 40.0, -800.0).astype(np.float32)
    patches = torch.from_numpy(np.broadcast_to(disc, (50, 1, 112, 112)).copy())
    changed = Augmentation(0)(patches, [0] * 50, range(50))
    inside = (changed > -380).float()
    area = inside.sum((1, 2, 3)) / float((disc > 0).sum())
    assert 0.8 < float(area.min()) <= float(area.max()) < 1.25
    centre = (inside * torch.from_numpy(xx).float()).sum((1, 2, 3)) / inside.sum((1, 2, 3))
    assert 2 < float(centre.abs().max()) < 7
    middle = changed[:, 0, 50:62, 50:62].mean((1, 2)) - 40
    assert 3 < float(middle.abs().max()) < 15


def test_augmentation_flips_both_ways() -> None:
    ramp = torch.arange(112.0).repeat(112, 1)
    patches = torch.stack([ramp, ramp.T]).repeat(20, 1, 1).unsqueeze(1)
    changed = Augmentation(1)(patches, [0] * 40, range(40))
    across = (changed[::2, 0, :, 90] - changed[::2, 0, :, 20]).mean(1)
    down = (changed[1::2, 0, 90] - changed[1::2, 0, 20]).mean(1)
    for slope in (across, down):
        assert 4 <= int((slope < -30).sum()) <= 16
        assert int((slope < -30).sum()) + int((slope > 30).sum()) == 20
