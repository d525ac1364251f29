"""Settings as they are handed down to the gateway's processes: the validated ones, whatever stands in the file by then."""

from __future__ import annotations

import hashlib
import os
from typing import IO

from gateway.settings.file import GatewaySettings


class OtherConfigurationError(ValueError):
    """What came is not the configuration that was handed down."""


def configuration_digest(settings: GatewaySettings) -> str:
    """Return the SHA-256 of a configuration, defaults among it: comments and the order of keys change nothing."""
    return hashlib.sha256(_text(settings)).hexdigest()


def read_handed_down(stream: IO[bytes], digest: str) -> GatewaySettings:
    """Read the configuration that a process is given.

    Parameters
    ----------
    stream
        From which it comes.
    digest
        Its `configuration_digest`.

    Returns
    -------
    GatewaySettings

    Raises
    ------
    OtherConfigurationError
        It is another one.
    """
    text = stream.read()
    if hashlib.sha256(text).hexdigest() != digest:
        raise OtherConfigurationError("it is not the configuration that the gateway was started with")
    return GatewaySettings.model_validate_json(text)


class HandedDown:
    """A configuration that any number of processes are given, in memory: it may hold a password and lies in no file.

    Parameters
    ----------
    settings
        Validated.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self.digest = configuration_digest(settings)
        self._descriptor = os.memfd_create("gateway-settings", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(self._descriptor), "wb") as file:
            file.write(_text(settings))

    def opened(self) -> IO[bytes]:
        """Return a stream of its own for a process, at the beginning."""
        return open(f"/proc/self/fd/{self._descriptor}", "rb")  # noqa: PTH123 - Path would resolve the link

    def close(self) -> None:
        """Nobody is given it any more."""
        os.close(self._descriptor)


def _text(settings: GatewaySettings) -> bytes:
    return settings.model_dump_json().encode("utf-8")
