"""Certificates for tests, made by openssl: an authority, the gateway's, a sender's, and one that the authority did not sign."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificates:
    """Files in one folder."""

    folder: Path

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"


def make_certificates(folder: Path) -> Certificates:
    """``ca``, and signed by it ``server`` (127.0.0.1), ``client``, ``purpose`` (for servers alone) and ``expired``.

    ``stranger`` is signed by itself, ``impostor`` by another authority of the same name.
    """
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here")
    made = Certificates(folder)

    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    key: list[str | Path] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    for name, common in (("ca", "ca"), ("stranger", "stranger"), ("ca of another", "ca")):
        openssl(
            "req", "-x509", *key, "-keyout", made.key(name), "-out", made.certificate(name), "-subj", f"/CN={common}"
        )
    for name, authority in (("server", "ca"), ("client", "ca"), ("purpose", "ca"), ("impostor", "ca of another")):
        signed: list[str | Path] = ["-CA", made.certificate(authority), "-CAkey", made.key(authority)]
        signed += ["-addext", "subjectAltName=IP:127.0.0.1"]
        if name == "purpose":
            signed += ["-addext", "extendedKeyUsage=serverAuth"]
        openssl(
            "req", "-x509", *key, *signed, "-keyout", made.key(name), "-out", made.certificate(name), "-subj", f"/CN={name}"
        )  # fmt: skip
    request = folder / "expired.csr"
    openssl("req", "-new", *key[:-2], "-keyout", made.key("expired"), "-out", request, "-subj", "/CN=expired")
    openssl(
        "x509", "-req", "-in", request, "-CA", made.certificate("ca"), "-CAkey", made.key("ca"), "-CAcreateserial", "-days", "-1",
        "-out", made.certificate("expired"),
    )  # fmt: skip
    return made
