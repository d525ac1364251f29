"""Where health and metrics are served."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class WebSettings(BaseModel):
    """Section ``web`` of ``gateway.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    bind: str = Field(default="127.0.0.1", description="address on which health and metrics are served")
    port: int = Field(default=8080, ge=0, le=65535, description="port on which health and metrics are served")
