"""How many workers run, and when one is replaced."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class WorkerSettings(BaseModel):
    """Section ``workers`` of ``gateway.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    count: Annotated[int, Field(ge=1, le=64)] = Field(default=1, description="studies that are scored at once")
    deadline_seconds: Annotated[float, Field(gt=0, le=86400)] = Field(
        default=900.0,
        description="time that one study may take, s; then its worker is killed and the study tried again",
    )
    start_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=120.0, description="time that a worker may take to load, s"
    )
    recycle_studies: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=500, description="studies after which a worker is replaced by a new one"
    )
    recycle_mib: Annotated[int, Field(ge=256, le=1_048_576)] = Field(
        default=3072, description="resident memory above which a worker is replaced after its study, MiB"
    )
