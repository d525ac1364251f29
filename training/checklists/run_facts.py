"""What a training run knows of itself that a checklist asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training.errors import UsageError

SPLITS: Final = ("train", "validation", "test")


class NoRunError(UsageError):
    """A folder holds neither a finished training run nor an exported model of one."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Facts of one run.

    Attributes
    ----------
    training_data
        ``synthetic`` or ``patients``.
    patients, high
        Numbers by split: patients, and those with high expression.
    config
        ``run.json``'s configuration.
    tested_features, selected_features
        Features that the selection tested, and those that stayed.
    trained
        Models trained beside one another, such as PD-L1ES and CM.
    """

    training_data: str
    patients: Mapping[str, int]
    high: Mapping[str, int]
    config: Mapping[str, Any]
    tested_features: int
    selected_features: int
    trained: tuple[str, ...]

    @property
    def filters(self) -> Mapping[str, Any]:
        """Filters of the feature selection that are on; a run without any does not name them."""
        found: Mapping[str, Any] = self.config.get("filters") or {}
        return found

    @property
    def smaller_class(self) -> int:
        """Training patients of the smaller class."""
        return min(self.high["train"], self.patients["train"] - self.high["train"])


def read_run_facts(folder: Path) -> RunFacts:
    """Read the facts of a finished run, or of a model that was exported from one.

    Parameters
    ----------
    folder
        With ``run.json`` and ``summary.json`` of `pdl1es train`, or with ``metadata.json`` of `pdl1es export`.

    Returns
    -------
    RunFacts

    Raises
    ------
    NoRunError
        The folder holds neither, or they are not whole.
    """
    try:
        if (folder / "run.json").is_file():
            record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
            return _facts(record["training_data"], {**summary, "config": record["config"]})
        model = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))["pdl1es"]
        return _facts(model["training_data"], model["training"])
    except (OSError, ValueError, KeyError) as error:
        raise NoRunError(
            f"{folder} holds no finished training run and no model exported from one ({type(error).__name__}: {error}): "
            "give the folder of `pdl1es train` after it has ended, or that of `pdl1es export`"
        ) from error


def _facts(training_data: str, summary: Mapping[str, Any]) -> RunFacts:
    counts, fitted = summary["counts"], summary["fitted"]
    return RunFacts(
        training_data=training_data,
        patients={split: int(counts[split]["patients"]) for split in SPLITS},
        high={split: int(counts[split]["high"]) for split in SPLITS},
        config=summary["config"],
        tested_features=int(fitted["tested_features"]),
        selected_features=int(fitted["selected_features"]),
        trained=tuple(summary["networks"]),
    )
