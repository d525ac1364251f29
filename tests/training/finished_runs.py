"""A finished training run, and what the tests that train have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.cohort.prepared import PreparedCohort
from training.export import model_digest
from training.release.cut_offs import ModelCutOffs
from training.train.config import Hardware, Stage, TrainingConfig
from training.train.run import train
from training.train.run_folder import NETWORKS

CPU = Hardware(accelerator="cpu", devices="1", precision="32-true", workers=0, threads=1)
QUICK = TrainingConfig(
    seed=3,
    stages=(Stage(learning_rate=3e-3, epochs=2), Stage(learning_rate=3e-4, epochs=1)),
    layers="small",
    augmentation="off",
    redivisions=1,
)


@dataclass(frozen=True)
class Run:
    """A run in a folder, its cohort, and what it says of itself."""

    folder: Path
    cohort: PreparedCohort
    summary: dict[str, Any]

    def own(self, **parts: Any) -> ModelCutOffs:
        """Cut-offs as the prognosis finds them with this run's scores."""
        return ModelCutOffs(model=model_digest(self.folder / NETWORKS / "PD-L1ES"), **parts)


def trained_run(cohort: PreparedCohort, folder: Path) -> Run:
    """Train every model and one re-division.

    Some of the patients are for prognosis, two smoke at an unknown grade, and one has no label.
    """
    cases = cohort.cases.copy()
    cases.loc[cases.index[110:], "split"] = "prognosis"
    cases.loc[[4, 111], "smoking"] = np.nan
    cases.loc[[4, 111], "smoking_graded"] = False
    cases.loc[115, "label"] = np.nan
    given = replace(cohort, cases=cases)
    return Run(folder, given, train(given, folder, QUICK, hardware=CPU))
