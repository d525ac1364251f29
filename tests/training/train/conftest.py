"""What the tests of training networks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from training.train.config import Hardware, Stage, TrainingConfig

CPU = Hardware(accelerator="cpu", devices="1", precision="32-true", workers=0)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small are slower on two threads, by far so where others use the processor too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def quick() -> TrainingConfig:
    """Two stages, three epochs, the small network."""
    return TrainingConfig(
        seed=3,
        stages=(Stage(learning_rate=3e-3, epochs=2), Stage(learning_rate=3e-4, epochs=1)),
        layers="small",
        redivisions=0,
        linear_rate_factor=1.0,
    )
