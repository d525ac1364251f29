"""``gateway.yaml`` as a validated model; every mistake is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.arrival.settings import ArrivalRules
from gateway.fetch.settings import FetchSettings
from gateway.health.settings import WebSettings
from gateway.objects.store import StoreLimits
from gateway.peers.settings import AbsoluteFolder
from gateway.receive.settings import Source
from gateway.retention.rules import RetentionRules
from gateway.send.settings import SendSettings
from gateway.settings.names import faults_between_sections
from gateway.worker.settings import WorkerSettings
from gateway.workflow.settings import ApplicationChoice, ClinicalTableRules, RunRules
from pdl1es.settings_file import faults_of_file, read_settings_mapping, settings_error, without_empty_keys


class StorageSettings(BaseModel):
    """How much is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    max_object_bytes: Annotated[int, Field(ge=2**20)] = Field(default=4 * 2**30, description="size of one object")
    max_objects_of_study: Annotated[int, Field(ge=1)] = Field(default=50_000, description="objects of one study")
    reserve_bytes: Annotated[int, Field(ge=0)] = Field(
        default=2 * 2**30, description="room that is left free on the disk; below it nothing is received"
    )

    @property
    def limits(self) -> StoreLimits:
        """As the object store takes them."""
        return StoreLimits(self.max_object_bytes, self.max_objects_of_study, self.reserve_bytes)


class GatewaySettings(BaseModel):
    """The whole of ``gateway.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    folder: AbsoluteFolder = Field(
        description="where objects, results, databases and the log's key lie; on a local disk"
    )
    database: str | None = Field(
        default=None,
        description="SQLAlchemy's URL of the gateway's database, as postgresql+psycopg://USER@HOST/NAME; a SQLite file in "
        "`folder` where it is left out",
    )
    workflow_database: str | None = Field(
        default=None, description="the same for the workflows' own database, which DBOS keeps"
    )
    allow_demonstration: bool = Field(
        default=False,
        description="whether reports of a model that was not trained on patients may leave this machine",
    )
    application: ApplicationChoice = Field(default_factory=ApplicationChoice, description="what scores the studies")
    sources: Annotated[tuple[Source, ...], Field(min_length=1)] = Field(description="from where studies come")
    receivers: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1,
        description="processes that receive; they share the ports. More than one does not pay with two cores and SQLite",
    )
    arrival: ArrivalRules = Field(
        default_factory=ArrivalRules, description="when a study is whole, and when it is given up"
    )
    storage: StorageSettings = Field(default_factory=StorageSettings, description="how much is stored")
    workers: WorkerSettings = Field(default_factory=WorkerSettings, description="processes that score")
    runs: RunRules = Field(default_factory=RunRules, description="tries, and what comes first")
    clinical: ClinicalTableRules = Field(
        default_factory=ClinicalTableRules, description="the hospital's clinical table"
    )
    fetch: FetchSettings = Field(
        default_factory=FetchSettings, description="what is fetched for a study, and where from"
    )
    send: SendSettings = Field(default_factory=SendSettings, description="where results go")
    retention: RetentionRules = Field(default_factory=RetentionRules, description="how long studies are kept")
    web: WebSettings = Field(default_factory=WebSettings, description="health and metrics")
    stop_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=120, description="how long running studies may take to finish when the gateway is stopped, s"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="least that is logged")

    @model_validator(mode="before")
    @classmethod
    def _empty_keys_are_left_out(cls, given: Any) -> Any:
        return without_empty_keys(given, cls)

    @property
    def database_url(self) -> str:
        """Of the gateway's database."""
        return self.database or f"sqlite:///{self.folder.absolute() / 'gateway.sqlite'}"

    @property
    def workflow_database_url(self) -> str:
        """Of DBOS's system database."""
        return self.workflow_database or f"sqlite:///{self.folder.absolute() / 'workflow.sqlite'}"


def load_gateway_settings(file: Path) -> GatewaySettings:
    """Read and validate ``gateway.yaml``.

    Parameters
    ----------
    file
        The file.

    Returns
    -------
    GatewaySettings

    Raises
    ------
    pdl1es.settings_file.SettingsError
        It is missing, not YAML, or holds a key or value that is not allowed: every fault at once.
    """
    return validated_gateway(read_settings_mapping(file), str(file))


def validated_gateway(document: Mapping[Any, Any], where: str) -> GatewaySettings:
    """Validate the content of ``gateway.yaml``.

    Parameters
    ----------
    document
        Its sections.
    where
        How the file is called in a message.

    Returns
    -------
    GatewaySettings

    Raises
    ------
    pdl1es.settings_file.SettingsError
        Every fault at once.
    """
    between = faults_between_sections(document)
    try:
        settings = GatewaySettings.model_validate(document)
    except ValidationError as error:
        raise settings_error(error, GatewaySettings, where, between) from error
    if between:
        raise faults_of_file([f"  {one}" for one in between], where)
    return settings
