"""The section ``fetch`` of ``gateway.yaml``: archives, and the sources whose studies they complete."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.peers.settings import AETitle, DicomNode, PeerName, Seconds, WebService


class FetchLimits(BaseModel):
    """How much of an archive's answer is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_object_bytes: int = Field(default=4 * 2**30, ge=2**10, description="size of one object, bytes")
    max_objects_of_series: int = Field(default=20_000, ge=1, description="objects of one series")
    max_series_bytes: int = Field(default=16 * 2**30, ge=2**10, description="size of one series, bytes")
    max_reports: int = Field(default=50, ge=1, description="structured reports of a study that are looked at")


class _Archive(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PeerName = Field(description="by which the logs call it")
    sources: tuple[str, ...] = Field(
        default=(), description="names of the sources whose studies it completes; absent: all of them"
    )
    limits: FetchLimits = Field(default_factory=FetchLimits, description="how much of its answers is taken")


class WebArchive(_Archive):
    """An archive that answers QIDO-RS and WADO-RS."""

    kind: Literal["dicomweb"]
    service: WebService = Field(description="where it is")


class DicomArchive(_Archive):
    """An archive that answers C-FIND, and C-MOVE or C-GET (Study Root)."""

    kind: Literal["dicom"]
    node: DicomNode = Field(description="where it is")
    move_to: AETitle | None = Field(
        default=None,
        description="AE title of the gateway's receiver, to which the archive sends by C-MOVE; absent: it is asked by C-GET",
    )
    arrival_seconds: Seconds = Field(
        default=60.0, description="wait until reports that were moved have arrived at the receiver, s"
    )


ArchiveSettings = Annotated[WebArchive | DicomArchive, Field(discriminator="kind")]


class FetchSettings(BaseModel):
    """What is fetched, and where from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    archives: tuple[ArchiveSettings, ...] = Field(default=(), description="the first that has a study completes it")
    after_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=5.0,
        description="wait after a study's last arrival before something is fetched: it may still be coming, s",
    )
    again_seconds: Seconds = Field(
        default=60.0,
        description="wait before the archive is asked again, after a failure or where it had only a part, s",
    )
    attempts: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="tries to fetch what a study lacks, after each arrival; an archive that is down is asked until it answers",
    )
    earlier_reports: bool = Field(
        default=True, description="fetch this software's earlier reports of a study, so that a new report names them"
    )
