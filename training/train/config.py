"""Configuration of a training run: one frozen model, which is stored with the run."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from pdl1es.model.metadata import Recipe
from training.errors import UsageError, validation_reasons
from training.fit import ALPHA, SMALLEST_ICC, Correction, Preference
from training.network import CM, DEFAULT_WINDOW_HU, DENSENET121, DLM, PDL1ES, RM, SMALL, Layers, Parts

Checked = TypeVar("Checked", bound=BaseModel)
ModelName = Literal["PD-L1ES", "DLM", "RM", "CM"]
PARTS: Final[dict[ModelName, Parts]] = {"PD-L1ES": PDL1ES, "DLM": DLM, "RM": RM, "CM": CM}
"""The signature and the paper's comparators."""
Augmentation = Literal["off", "modest"]
Precision = Literal["auto", "32-true", "bf16-mixed"]
Strengths = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
LAYERS: Final[dict[str, Layers]] = {"densenet121": DENSENET121, "small": SMALL}


class ConfigurationError(UsageError):
    """A configuration does not follow its schema; the message names the field."""


class Stage(BaseModel):
    """One learning rate.

    Attributes
    ----------
    learning_rate
        Adam's, in the whole network.
    epochs
        At most; early stopping may end it sooner.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    learning_rate: float = Field(gt=0)
    epochs: int = Field(ge=1)


LABEL_FREE_ALPHA: Final = 0.1
"""False discovery rate of the selection in the recipe ``label-free``, where the configuration names none."""
PAPER_STAGES: Final = tuple(Stage(learning_rate=rate, epochs=20) for rate in (1e-4, 1e-5, 1e-6))
"""Paper, Methods."""


class Hardware(BaseModel):
    """Where a run is computed. It changes at most the last bits of the result.

    Attributes
    ----------
    accelerator, devices, nodes, strategy
        Lightning's own options.
    precision
        ``auto``: bf16 where the processor multiplies in it (an accelerator, AMX, or AVX512-BF16), else float32.
    threads
        Of the processor for each process; None: all cores, divided by ``side_by_side``. On cores that others use too,
        one thread is quicker than two, because each small step waits for the slower thread.
    compiled
        Compile the network with torch.compile.
    workers
        Processes that prepare batches; None: none without augmentation, else a few.
    side_by_side
        Networks that are trained at the same time, each in a process of its own, on one device each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    accelerator: str = "auto"
    devices: str = "auto"
    nodes: int = Field(default=1, ge=1)
    strategy: str = "auto"
    precision: Precision = "auto"
    threads: int | None = Field(default=None, ge=1)
    compiled: bool = False
    workers: int | None = Field(default=None, ge=0)
    side_by_side: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _one_device_each(self) -> Hardware:
        if self.side_by_side > 1 and (self.devices not in ("auto", "1") or self.nodes > 1 or self.strategy != "auto"):
            raise ValueError(
                "networks side by side have one device each: devices 1, nodes 1 and no strategy, or one network at a time"
            )
        return self

    def of_each(self) -> Hardware:
        """Return the hardware of one of the networks that are trained side by side."""
        if self.side_by_side == 1:
            return self
        cores = len(os.sched_getaffinity(0))
        threads = self.threads or max(cores // self.side_by_side, 1)
        return self.model_copy(update={"side_by_side": 1, "devices": "1", "threads": threads})


class FeatureFilters(BaseModel):
    """Filters of the feature selection beyond the paper's test; by default none.

    Attributes
    ----------
    stability
        SHA-256 of the features measured again (`training.controls.repeated_features`), or None.
    smallest_icc
        Which the lower limit of the ICC's 95 % interval has to reach.
    largest_correlation
        Absolute Spearman correlation that two selected features may have, or None.
    prefer
        Which of correlated features is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    stability: str | None = None
    smallest_icc: float = Field(default=SMALLEST_ICC, ge=0, lt=1)
    largest_correlation: float | None = Field(default=None, gt=0, lt=1)
    prefer: Preference = "associated"

    @model_validator(mode="after")
    def _known_stability(self) -> FeatureFilters:
        if self.prefer == "stable" and self.largest_correlation is None:
            raise ValueError("prefer says which of correlated features is kept: set largest_correlation too")
        return self


class TrainingConfig(BaseModel):
    """Everything that changes what is trained.

    Attributes
    ----------
    recipe
        ``paper``: every weight is trained on the labels. ``label-free``: the DenseNet stays as it was pretrained, and only
        the linear layer is fitted, by logistic regression with a ridge strength for each part; ``stages``,
        ``batch_size``, ``patience``, ``augmentation``, ``linear_rate_factor`` and ``weight_decay`` have no effect.
    seed
        Of division, initial weights, order of the samples and augmentation.
    stages
        Learning rates, one after the other; each starts from the best weights so far.
    batch_size
        Patches a step, over all devices together.
    patience
        Epochs without a better validation AUC after which a stage ends.
    augmentation
        Of the training patches.
    linear_rate_factor
        Learning rate of the last, linear layer over the network's. 1: the paper's one rate.
    weight_decay
        Adam's.
    alpha, correction
        Of the feature selection.
    window_hu
        HU window of the patches.
    layers
        ``densenet121``, or ``small`` for tests of the mechanics.
    models
        Which are trained on the first division.
    redivisions
        How often validation and test are drawn anew (paper: 2).
    redivided_models
        Which are trained again on each of them (paper: PD-L1ES).
    pretrained
        SHA-256 of the file of weights that the DenseNet starts from (ImageNet's, or of ``pdl1es pretrain``), or None.
    deep_strengths, radiomic_strengths, clinical_strengths
        Ridge strengths that ``label-free`` tries; all combinations are.
    folds
        In which ``label-free`` chooses among them.
    filters
        Of the feature selection, in both recipes. A run without any leaves them out of its record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    recipe: Recipe = "paper"
    seed: int = Field(default=0, ge=0)
    stages: tuple[Stage, ...] = Field(default=PAPER_STAGES, min_length=1)
    batch_size: int = Field(default=32, ge=2)
    patience: int = Field(default=8, ge=1)
    augmentation: Augmentation = "modest"
    linear_rate_factor: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    alpha: float = Field(default=ALPHA, gt=0, lt=1)
    correction: Correction = "none"
    window_hu: tuple[float, float] = DEFAULT_WINDOW_HU
    layers: Literal["densenet121", "small"] = "densenet121"
    models: tuple[ModelName, ...] = Field(default=("PD-L1ES", "DLM", "RM", "CM"), min_length=1)
    redivisions: int = Field(default=2, ge=0)
    redivided_models: tuple[ModelName, ...] = ("PD-L1ES",)
    pretrained: str | None = None
    deep_strengths: Strengths = (1.0, 3.0, 10.0, 30.0)
    radiomic_strengths: Strengths = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    clinical_strengths: Strengths = (0.003, 0.01, 0.1)
    folds: int = Field(default=5, ge=2, le=100)
    filters: FeatureFilters = FeatureFilters()

    @model_validator(mode="before")
    @classmethod
    def _selection_of_the_recipe(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("recipe") == "label-free":
            # A ridge bears features that tell little, and pays for those that tell nothing.
            return {"alpha": LABEL_FREE_ALPHA, "correction": "benjamini-hochberg", **given}
        return given

    @model_serializer(mode="wrap")
    def _without_idle_filters(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = written(self)
        if self.filters == FeatureFilters():
            document.pop("filters", None)
        return document

    @field_validator("window_hu")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not (math.isfinite(value[0]) and math.isfinite(value[1]) and value[0] < value[1]):
            raise ValueError(f"the window must rise, got {value}")
        return value

    @property
    def epochs(self) -> int:
        """Epochs of one network if no stage ends early."""
        return sum(stage.epochs for stage in self.stages)

    def differences(self, other: TrainingConfig) -> dict[str, tuple[Any, Any]]:
        """Return the fields that differ, with both values."""
        mine, theirs = self.model_dump(mode="json"), other.model_dump(mode="json")
        names = (*mine, *(name for name in theirs if name not in mine))
        return {name: (mine.get(name), theirs.get(name)) for name in names if mine.get(name) != theirs.get(name)}


def read_configuration(
    path: Path | None,
    given: Mapping[str, object] | None = None,
    *,
    epochs: int | None = None,
    filters: Mapping[str, object] | None = None,
) -> TrainingConfig:
    """Merge a file, if given, with the command line's options, which win.

    Parameters
    ----------
    path
        JSON with any fields of `TrainingConfig`, or None for the defaults.
    given
        Fields by name.
    epochs
        Of each stage, or None to leave them.
    filters
        Fields of `FeatureFilters` by name.

    Returns
    -------
    TrainingConfig

    Raises
    ------
    ConfigurationError
        The file is not JSON, or a field is unknown or out of range.
    """
    config = read_merged(TrainingConfig, path, given, "the training's configuration")
    if filters:
        there = config.filters.model_dump()
        checked = _validated(FeatureFilters, {**there, **filters}, "the training's configuration, filters")
        config = config.model_copy(update={"filters": checked})
    if epochs is None:
        return config
    return config.model_copy(
        update={"stages": tuple(stage.model_copy(update={"epochs": epochs}) for stage in config.stages)}
    )


def read_hardware(**given: object) -> Hardware:
    """Check the options for the hardware.

    Raises
    ------
    ConfigurationError
        A value is out of range.
    """
    return _validated(Hardware, given, "the hardware")


def read_merged(model: type[Checked], path: Path | None, given: Mapping[str, object] | None, what: str) -> Checked:
    """Merge a JSON file, if given, with options, which win; then check them.

    Parameters
    ----------
    model
        The fields that there are.
    path
        JSON with any of them, or None.
    given
        Options by field.
    what
        Of the messages.

    Returns
    -------
    BaseModel
        Of the model's type.

    Raises
    ------
    ConfigurationError
        The file is not JSON, or a field is unknown or out of range.
    """
    document: dict[str, Any] = {}
    if path is not None:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path} is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise ConfigurationError(f"{path} holds no JSON object")
    return _validated(model, {**document, **(given or {})}, what)


def _validated(model: type[Checked], document: Mapping[str, object], what: str) -> Checked:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(f"{what}: {validation_reasons(error)}") from error
