"""Settings of the arrival: how long a study that is not whole is waited for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ArrivalRules(BaseModel):
    """When a study is taken as whole, and when it is given up.

    A study that is whole by its geometry, and of which nothing is in flight, is run at once. ``quiet_seconds`` is for the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    quiet_seconds: float = Field(
        default=600.0,
        gt=0,
        le=604_800,
        description="a contour whose CT is not whole is waited for so long after the last arrival; then the study is run as it is, or refused, s",
    )
    settle_seconds: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        description="also a whole study waits so long after the last arrival: for senders that open an association for each object, s",
    )
