"""Settings of the sources: who may send, over which connections, how much, and how long a silence is borne."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.peers.settings import AbsoluteFolder, AETitle, ClientTls, PeerName, Seconds, is_loopback_host


def _address_range(text: str) -> str:
    network = ip_network(text, strict=False)
    address = ip_interface(text).ip
    # 10.1.2.3/8 may be meant for one machine, and would let in 16 million.
    if address != network.network_address:
        raise ValueError(f"{text} is no range: {network} is the range, and {address} the one address")
    return text


AddressRange = Annotated[str, AfterValidator(_address_range)]
"""An address or a range of addresses, IPv4 or IPv6, such as ``10.1.0.0/16``."""
LOOPBACK_RANGES = ("127.0.0.0/8", "::1/128")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerTls(_Section):
    """DICOM TLS of a port, mutual: a sender without a certificate that these authorities signed is refused. TLS 1.2 or 1.3."""

    certificate: Path = Field(description="the gateway's certificate, PEM, with its chain")
    key: Path = Field(description="its private key, PEM, without a pass phrase")
    ca_file: Path = Field(description="certificates that senders' are checked with, PEM")


class AllowedSender(_Section):
    """One application entity that may send."""

    ae_title: AETitle = Field(description="its AE title (calling)")
    addresses: tuple[AddressRange, ...] = Field(
        default=LOOPBACK_RANGES, min_length=1, description="from where: addresses or ranges"
    )


class AssociationLimits(_Section):
    """How much a sender may ask of a port."""

    associations: int = Field(
        default=32, ge=1, le=1024, description="associations at once; a further one is told to come back"
    )
    connections: int = Field(
        default=128,
        ge=1,
        le=4096,
        description="connections at once; of those without an association the oldest gives way to a further one",
    )
    pdu_bytes: int = Field(
        default=131_072, ge=4096, le=4 * 2**20, description="largest P-DATA PDU that is taken, bytes"
    )
    handshake_seconds: Seconds = Field(
        default=10.0, description="from the connection to the request for an association, TLS handshake included, s"
    )
    idle_seconds: Seconds = Field(default=60.0, description="longest silence within an association, s")
    total_seconds: Seconds = Field(default=14_400.0, description="longest time of one association, s")
    object_seconds: Seconds = Field(default=600.0, description="longest time for one object, s")


class DimseSource(_Section):
    """A port on which the gateway takes C-STORE and C-ECHO. By default only this machine may send."""

    kind: Literal["dimse"] = "dimse"
    name: PeerName = Field(description="how the rest of the file and the logs call it")
    ae_title: AETitle = Field(default="PDL1ES", description="the gateway's AE title (called); any other is refused")
    bind: str = Field(default="127.0.0.1", description="address that it listens on")
    port: int = Field(default=11112, ge=0, le=65535, description="port that it listens on; 0 for any that is free")
    senders: tuple[AllowedSender, ...] = Field(
        default=(), description="who may send; where it is empty, every AE title from this machine alone"
    )
    tls: ServerTls | None = Field(default=None, description="DICOM TLS; absent: none")
    limits: AssociationLimits = Field(default_factory=AssociationLimits, description="how much a sender may ask")


class OrthancSource(_Section):
    """An Orthanc that the site has: what is stored there is fetched by its REST interface, in the order of its changes."""

    kind: Literal["orthanc"] = "orthanc"
    name: PeerName = Field(description="how the rest of the file and the logs call it")
    url: str = Field(description="root of its REST interface, such as https://orthanc.example:8042")
    user: str | None = Field(default=None, description="user name")
    password_file: Path | None = Field(default=None, description="file that holds the password alone")
    tls: ClientTls = Field(default_factory=ClientTls, description="for https")
    poll_seconds: Seconds = Field(default=2.0, description="between two looks at the changes, s")
    response_seconds: Seconds = Field(default=60.0, description="longest silence of Orthanc, s")
    from_now: bool = Field(
        default=True, description="pass over what was stored there before the first start; false: fetch all of it"
    )

    @model_validator(mode="after")
    def _address_is_one(self) -> OrthancSource:
        faults = []
        parts = urlsplit(self.url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.username
            or parts.query
            or parts.fragment
        ):
            faults.append("url: http://HOST:PORT or https://HOST:PORT, without user, query or fragment")
        if (self.user is None) != (self.password_file is None):
            faults.append("user and password_file belong together: give both, or none")
        secret = self.user is not None or self.password_file is not None
        if secret and parts.scheme == "http" and not is_loopback_host(parts.hostname or ""):
            faults.append("a password is not sent without TLS: use https")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class FolderSource(_Section):
    """A folder into which files are dropped: they are stored, and removed from it."""

    kind: Literal["folder"] = "folder"
    name: PeerName = Field(description="how the rest of the file and the logs call it")
    folder: AbsoluteFolder = Field(description="the folder; files in folders within it are taken too")
    settle_seconds: Seconds = Field(default=5.0, description="a file is taken when it did not change for so long, s")
    poll_seconds: Seconds = Field(default=2.0, description="between two looks at the folder, s")


Source = Annotated[DimseSource | OrthancSource | FolderSource, Field(discriminator="kind")]
