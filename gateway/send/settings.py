"""The section ``send`` of ``gateway.yaml``: destinations, and the rules which outputs go where."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.peers.settings import AbsoluteFolder, AETitle, DicomNode, PeerName, Seconds, WebService
from gateway.send.breaker import BreakerRules
from gateway.send.retry import RetrySchedule
from gateway.send.rules import Address, SendRule


class _Destination(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PeerName = Field(description="by which rules and commands call it")
    retry: RetrySchedule = Field(default_factory=RetrySchedule, description="when a failed delivery is tried again")
    breaker: BreakerRules = Field(default_factory=BreakerRules, description="when it counts as down")
    reconcile: bool = Field(
        default=False,
        description="ask the archive (`fetch.archives`) before each sending for the study's Patient ID and Accession Number, and "
        "file the result under them where they have changed; a page (`pdf`) has them printed and stays behind then",
    )


class CommitmentRules(BaseModel):
    """Storage commitment (PS3.4 annex J): the peer says that it keeps the objects, before a result counts as delivered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ask: bool = Field(default=True, description="ask for it where the peer offers it")
    ae_title: AETitle | None = Field(default=None, description="of the node that commits, where it is another")
    host: str | None = Field(default=None, description="its host, where it is another")
    port: int | None = Field(default=None, ge=1, le=65535, description="its port, where it is another")
    same_association_seconds: float = Field(
        default=3.0, ge=0, le=600, description="wait for the answer on the same association before it is released, s"
    )
    answer_seconds: Seconds = Field(
        default=600.0,
        description="wait for the answer on a new association, s; then the peer is asked by C-FIND, whatever `query` says",
    )


class DicomDestination(_Destination):
    """A DICOM node that results are sent to by C-STORE."""

    kind: Literal["dicom"]
    node: DicomNode = Field(description="where it is")
    commitment: CommitmentRules = Field(default_factory=CommitmentRules, description="storage commitment")
    query: bool = Field(
        default=False,
        description="ask by C-FIND (Study Root, image level) whether it has the objects, where it offers no storage commitment",
    )


class WebDestination(_Destination):
    """A DICOMweb server that results are sent to by STOW-RS."""

    kind: Literal["stow"]
    service: WebService = Field(description="where it is")
    query: bool = Field(default=True, description="ask by QIDO-RS whether it has the objects")


class FolderDestination(_Destination):
    """A folder that each result is put into as a folder of its own."""

    kind: Literal["folder"]
    path: AbsoluteFolder = Field(description="the folder; made where it is missing")
    file_mode: Annotated[str, StringConstraints(pattern=r"^06[046][046]$")] = Field(
        default="0640", description="mode of the files, of which the umask takes away; they hold the patient's identity"
    )

    @property
    def mode(self) -> int:
        """The mode of a file."""
        return int(self.file_mode, 8)

    @property
    def folder_mode(self) -> int:
        """The mode of a result's folder: whoever may read a file may enter it."""
        return self.mode | 0o100 | (self.mode & 0o044) >> 2


DestinationSettings = Annotated[DicomDestination | WebDestination | FolderDestination, Field(discriminator="kind")]


class SendSettings(BaseModel):
    """Where results go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    destinations: tuple[DestinationSettings, ...] = Field(default=(), description="each place that results can go to")
    rules: tuple[SendRule, ...] = Field(default=(), description="which outputs go where; all that fit apply")

    def addresses(self) -> dict[str, Address]:
        """Return what the rules need to know of each destination, by its name."""
        return {destination.name: _address(destination) for destination in self.destinations}


def _address(destination: DicomDestination | WebDestination | FolderDestination) -> Address:
    # A folder may be a share of the network that other machines read.
    if isinstance(destination, DicomDestination):
        return Address(destination.node.ae_title, takes_any=False, is_loopback=destination.node.is_loopback)
    if isinstance(destination, WebDestination):
        return Address("", takes_any=False, is_loopback=destination.service.is_loopback)
    return Address("", takes_any=True, is_loopback=False)
