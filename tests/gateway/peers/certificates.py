"""Certificates for tests, made by OpenSSL's command: an authority, a server, a client, and a stranger that nobody trusts."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """An authority and what it signed, and one that signed itself."""

    ca: Path
    server: Pair
    client: Pair
    stranger: Pair

    def server_context(self) -> ssl.SSLContext:
        """A server's context that wants a client certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server.certificate, self.server.key)
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def make_authority(openssl: str, folder: Path) -> Authority:
    """Make all of them in a folder."""
    ca = _own(openssl, folder, "ca", "basicConstraints=critical,CA:TRUE")
    names = "subjectAltName=DNS:pacs.example,IP:127.0.0.1"
    return Authority(
        ca=ca.certificate,
        server=_signed(openssl, folder, "server", ca, names),
        client=_signed(openssl, folder, "client", ca, "subjectAltName=DNS:gateway.example"),
        stranger=_own(openssl, folder, "stranger", names),
    )


def _own(openssl: str, folder: Path, name: str, extension: str) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    _run(
        openssl,
        "req",
        "-x509",
        *_new(name, pair.key),
        "-days",
        "2",
        "-addext",
        extension,
        "-out",
        str(pair.certificate),
    )
    return pair


def _signed(openssl: str, folder: Path, name: str, ca: Pair, extension: str) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    signer = ["-CA", str(ca.certificate), "-CAkey", str(ca.key)]
    _run(
        openssl, "req", "-x509", *_new(name, pair.key), *signer, "-days", "2", "-addext", extension,
        "-addext", "basicConstraints=CA:FALSE", "-out", str(pair.certificate),
    )  # fmt: skip
    return pair


def _new(name: str, key: Path) -> list[str]:
    return [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        str(key),
        "-subj",
        f"/CN={name}",
    ]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
