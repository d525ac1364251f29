"""How a study is run: which application, how often it is tried, what is urgent, where its clinical data come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from pdl1es.model.folder import DEFAULT_MODELS
from pdl1es.settings import DEFAULT_FILE

_MOST_POWER: Final = 150
URGENT_PRIORITIES: Final = ("STAT", "HIGH")
"""Of Requested Procedure Priority (0040,1003)."""


class ApplicationChoice(BaseModel):
    """Section ``application`` of ``gateway.yaml``: what scores the studies."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    config: Path | None = Field(default=None, description="`app.yaml`; the one that ships where it is left out")
    model: Path | None = Field(
        default=None,
        description="the model's folder, or the folder above it; the demonstration model where it is left out",
    )

    @property
    def config_file(self) -> Path:
        """The file of the settings."""
        return self.config or DEFAULT_FILE

    @property
    def model_folder(self) -> Path:
        """The folder of the model, or the one above it."""
        return self.model or DEFAULT_MODELS


class RunRules(BaseModel):
    """Section ``runs`` of ``gateway.yaml``: what is done where a run fails, and what comes first."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=5, description="tries of a study whose worker crashed or hung; then it is parked with the reason"
    )
    first_wait_seconds: Annotated[float, Field(gt=0, le=86400)] = Field(
        default=5.0, description="wait before the second try, s"
    )
    wait_factor: Annotated[float, Field(ge=1, le=100)] = Field(
        default=4.0, description="by which each wait is longer than the one before"
    )
    longest_wait_seconds: Annotated[float, Field(gt=0, le=604800)] = Field(
        default=600.0, description="longest wait between two tries, s"
    )
    urgent_ae_titles: tuple[str, ...] = Field(
        default=(),
        description="calling AE titles whose studies come first; so do those that a header calls STAT or HIGH",
    )


class ClinicalTableRules(BaseModel):
    """Section ``clinical`` of ``gateway.yaml``: a table that the hospital drops somewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    file: Path | None = Field(
        default=None,
        description="CSV keyed by patient_id or accession_number, as `pdl1es run --clinical FILE` takes it; watched, and none "
        "where it is left out",
    )
    settled_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=2.0, description="how long the file must have stayed as it is before it is read, s"
    )


def wait_before(attempt: int, rules: RunRules) -> float:
    """Return how long a study waits before a further try.

    Parameters
    ----------
    attempt
        Number of the try that comes, 2 or more.
    rules
        Section ``runs``.

    Returns
    -------
    float
        Seconds.
    """
    # A run may wait for an archive for thousands of rounds: the power stays a number.
    power = min(attempt - 2, _MOST_POWER)
    return min(rules.longest_wait_seconds, rules.first_wait_seconds * rules.wait_factor**power)
