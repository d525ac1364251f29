"""Settings of a peer: where it is, how the gateway proves who it is, and how long it waits."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator


def _ae_title(text: str) -> str:
    if not re.fullmatch(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?", text):
        raise ValueError("1 to 16 printable ASCII characters, no backslash, no space at either end")
    return text


def _peer_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", text):
        raise ValueError("1 to 32 of the characters a-z, 0-9, _ and -, the first a letter or a digit")
    return text


def _absolute(folder: Path) -> Path:
    if not folder.is_absolute():
        raise ValueError("begin it with /: a relative folder is another one wherever the gateway is started")
    return folder


AETitle = Annotated[str, AfterValidator(_ae_title)]
"""PS3.5 6.2, VR AE: 1 to 16 characters, no backslash, no space at either end."""
PeerName = Annotated[str, AfterValidator(_peer_name)]
"""The name by which the rest of ``gateway.yaml`` calls it."""
AbsoluteFolder = Annotated[Path, AfterValidator(_absolute)]
"""A folder, from the root on."""
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClientTls(_Section):
    """How the gateway proves who it is, and whom it trusts, on connections that it opens. TLS 1.2 or 1.3."""

    ca_file: Path | None = Field(
        default=None, description="certificates that the peer's is checked with, PEM; the system's where it is absent"
    )
    certificate: Path | None = Field(default=None, description="the gateway's certificate, PEM, with its chain")
    key: Path | None = Field(default=None, description="its private key, PEM, without a pass phrase")
    host_name: str | None = Field(
        default=None, description="the name in the peer's certificate, where it is not the host that is connected to"
    )

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> ClientTls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both, or none")
        return self


class DicomNode(_Section):
    """A DICOM application entity that the gateway opens associations with."""

    ae_title: AETitle = Field(description="the peer's AE title (called)")
    host: str = Field(min_length=1, max_length=255, description="its address or host name")
    port: int = Field(ge=1, le=65535, description="its port")
    calling_ae_title: AETitle = Field(default="PDL1ES", description="the gateway's AE title towards this peer")
    tls: ClientTls | None = Field(default=None, description="DICOM TLS; absent: none")
    connect_seconds: Seconds = Field(default=10.0, description="wait for connection and TLS handshake, s")
    response_seconds: Seconds = Field(default=60.0, description="wait for each answer, s")
    total_seconds: Seconds = Field(default=600.0, description="longest time of one association, s")

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback_host(self.host)


class WebService(_Section):
    """A DICOMweb server that the gateway sends requests to."""

    url: str = Field(description="root of the services, such as https://pacs.example/dicom-web")
    bearer_token_file: Path | None = Field(
        default=None, description="file that holds the token alone; read for each request, so that it may be renewed"
    )
    tls: ClientTls = Field(default_factory=ClientTls, description="for https, with a client certificate for mutual TLS")
    connect_seconds: Seconds = Field(default=10.0, description="wait for connection and TLS handshake, s")
    response_seconds: Seconds = Field(default=60.0, description="longest silence of the server, s")
    total_seconds: Seconds = Field(default=600.0, description="longest time of one answer, s")

    @field_validator("url")
    @classmethod
    def _is_root_of_a_service(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address starts with https:// or http:// and names a host")
        if parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError(
                "the address holds neither a query nor a user: credentials go into bearer_token_file or tls"
            )
        return value.rstrip("/")

    @model_validator(mode="after")
    def _keeps_the_token_secret(self) -> WebService:
        if self.bearer_token_file is not None and self.url.startswith("http:") and not self.is_loopback:
            raise ValueError("a token is not sent without TLS: use https")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback_host(urlsplit(self.url).hostname or "")


def is_loopback_host(host: str) -> bool:
    """Return whether a host is this machine by its very name or address; other names are not looked up."""
    if host.lower() in ("localhost", "ip6-localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
