"""Settings of a pretraining: one frozen model, which is stored beside the weights."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from training.network import DEFAULT_WINDOW_HU


class PretrainingConfig(BaseModel):
    """Everything that changes the weights.

    Attributes
    ----------
    seed
        Of the division, the initial weights, the slices, their order and the augmentation.
    patches
        Shown in all; rounded up to whole passes over the patients, each of which shows one slice of everyone.
    batch_size
        Patches a step.
    components
        Principal components of the rim's features that are predicted.
    learning_rate, later_rate
        Adam's in the first third; and from there on, falling to 0 along a cosine.
    head_rate_factor
        Learning rate of the layer that predicts the components, over the network's.
    window_hu
        Of the patches.
    layers
        ``densenet121``, or ``small`` for tests of the mechanics.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    seed: int = Field(default=0, ge=0)
    patches: int = Field(default=90_000, ge=1)
    batch_size: int = Field(default=16, ge=2)
    components: int = Field(default=24, ge=1, le=200)
    learning_rate: float = Field(default=1e-3, gt=0)
    later_rate: float = Field(default=7e-4, gt=0)
    head_rate_factor: float = Field(default=3.0, gt=0)
    window_hu: tuple[float, float] = DEFAULT_WINDOW_HU
    layers: Literal["densenet121", "small"] = "densenet121"

    @field_validator("window_hu")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not (math.isfinite(value[0]) and math.isfinite(value[1]) and value[0] < value[1]):
            raise ValueError(f"the window must rise, got {value}")
        return value

    def rate(self, share: float) -> float:
        """Return the learning rate after this share (0 to 1) of all steps."""
        if share < 1 / 3:
            return self.learning_rate
        return self.later_rate * 0.5 * (1 + math.cos(math.pi * (min(share, 1.0) - 1 / 3) * 1.5))
