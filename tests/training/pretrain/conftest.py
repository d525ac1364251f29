"""What the tests of pretraining share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pdl1es.features.names import FEATURE_NAMES
from tests.training.drawn_cohorts import drawn_cohort
from training.cohort.prepared import PreparedCohort
from training.pretrain.config import PretrainingConfig

CohortMaker = Callable[..., PreparedCohort]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def quick() -> PretrainingConfig:
    """The small network, some passes."""
    return PretrainingConfig(patches=160, batch_size=8, components=3, layers="small", seed=3)


@pytest.fixture
def drawn(tmp_path: Path) -> CohortMaker:
    """Return a maker of cohorts whose rim features follow the patches' brightness, without regard to the label."""

    def draw(n: int = 60, unlabelled: int = 20, folder: str = "prepared") -> PreparedCohort:
        rng = np.random.default_rng(5)
        splits = ["pretrain"] * unlabelled + [None] * (n - unlabelled)

        def changes(row: dict[str, object], index: int) -> None:
            row["split"] = splits[index]
            if splits[index] == "pretrain":
                row["label"] = None

        cohort = drawn_cohort(tmp_path / folder, n, seed=4, signal=0.0, changes=changes)
        brightness = rng.normal(size=n)
        patches = (cohort.patches + (150 * brightness).astype(np.int16)[:, None, None, None]).astype(np.int16)
        rim = 0.3 * rng.normal(size=(n, len(FEATURE_NAMES))) + brightness[:, None]
        return replace(cohort, patches=patches, rim=rim)

    return draw
