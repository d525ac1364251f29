"""Content of a training run's folder, and the record of the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict

from pdl1es.atomic import write_atomically
from pdl1es.model.training_reach import TrainingReach
from training.errors import UsageError
from training.fit import read_fitted
from training.network import FusionNetwork
from training.preprocessing import FittedPreprocessing
from training.train.config import LAYERS, PARTS, ModelName, TrainingConfig
from training.train.stages import first_process

RUN_FILE: Final = "run.json"
DIVISION_FILE: Final = "division.parquet"
FITTED_FILE: Final = "fitted.npz"
REACH_FILE: Final = "reach.json"
"""How far the training patients lie; absent where they are too few to tell."""
NETWORKS: Final = "networks"
REDIVISIONS: Final = "redivisions"
WEIGHTS_FILE: Final = "weights.pt"
NETWORK_FILE: Final = "network.json"
PREDICTIONS_FILE: Final = "predictions.parquet"
SUMMARY_FILE: Final = "summary.json"


class TrainingError(UsageError):
    """A run cannot start or continue; the message says what to do."""


class TrainingRunRecord(BaseModel):
    """``run.json``: configuration and cohort of the run that a folder holds.

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


def units(out: Path, config: TrainingConfig) -> Iterator[Unit]:
    """Yield the networks of a run in the order in which they are trained: quick ones first.

    Parameters
    ----------
    out
        Folder of the run.
    config
        What is trained.

    Yields
    ------
    Unit
    """
    quick_first = sorted(config.models, key=lambda name: PARTS[name].deep)
    for name in quick_first:
        yield Unit(name, 0, out / NETWORKS / name)
    for number in range(1, config.redivisions + 1):
        for name in sorted(config.redivided_models, key=lambda name: PARTS[name].deep):
            yield Unit(name, number, out / REDIVISIONS / str(number) / NETWORKS / name)


def read_run(out: Path) -> tuple[TrainingRunRecord, FittedPreprocessing, dict[str, Any]]:
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
    record = TrainingRunRecord.model_validate_json((out / RUN_FILE).read_bytes())
    summary = json.loads((out / SUMMARY_FILE).read_text(encoding="utf-8"))
    return record, read_fitted(out / FITTED_FILE), summary


def read_reach(out: Path) -> TrainingReach | None:
    """Read how far a run's training patients lie; None where it does not say."""
    path = out / REACH_FILE
    return TrainingReach.model_validate_json(path.read_bytes()) if path.is_file() else None


def load_network(folder: Path, fitted: FittedPreprocessing, name: ModelName, config: TrainingConfig) -> FusionNetwork:
    """Return a trained network of a run.

    Parameters
    ----------
    folder
        Of the network.
    fitted
        What comes before it.
    name
        Of the model.
    config
        Window and layers.

    Returns
    -------
    FusionNetwork
    """
    network = FusionNetwork(fitted, PARTS[name], config.window_hu, LAYERS[config.layers])
    network.load_state_dict(torch.load(folder / WEIGHTS_FILE, map_location="cpu", weights_only=True))
    return network.eval()


def claim(out: Path, record: TrainingRunRecord) -> None:
    """Write the run's record, or refuse a folder of another run.

    Parameters
    ----------
    out
        Folder of the run.
    record
        Configuration and cohort of the run.

    Raises
    ------
    TrainingError
        The folder holds another run.
    """
    path = out / RUN_FILE
    if not path.is_file():
        if first_process():
            write_atomically(path, (record.model_dump_json(indent=1) + "\n").encode("utf-8"))
        return
    there = TrainingRunRecord.model_validate_json(path.read_bytes())
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
