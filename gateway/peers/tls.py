"""TLS of connections that the gateway opens (PS3.15 B.9 to B.12: TLS 1.2 or 1.3, the peer's certificate always checked)."""

from __future__ import annotations

import socket
import ssl

from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.settings import ClientTls


def client_context(tls: ClientTls) -> ssl.SSLContext:
    """Return the context of connections to a peer.

    Parameters
    ----------
    tls
        The peer's settings.

    Returns
    -------
    ssl.SSLContext
        It checks the peer's certificate and host name, and shows the gateway's own where there is one.

    Raises
    ------
    PeerError
        ``TLS_FAILED``: a file is missing or holds no certificate or key.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.certificate is not None and tls.key is not None:
            # A key with a pass phrase would make OpenSSL ask for it on the terminal and wait.
            context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise PeerError(PeerFailure.TLS_FAILED, f"certificate or key cannot be loaded ({_reason(error)})") from error
    return context


def handshake_failure(host: str, port: int, tls: ClientTls, seconds: float) -> PeerError:
    """Find out why no connection with TLS could be opened: pynetdicom says it to its log alone.

    Parameters
    ----------
    host, port
        Of the peer.
    tls
        Its settings.
    seconds
        How long to wait.

    Returns
    -------
    PeerError
        ``TLS_FAILED`` with OpenSSL's reason, or ``UNREACHABLE``.
    """
    context = client_context(tls)
    where = f"{host} port {port}"
    try:
        with (
            socket.create_connection((host, port), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname=tls.host_name or host),
        ):
            return PeerError(PeerFailure.UNREACHABLE, f"{where} answered only when it was asked again")
    except ssl.SSLError as error:
        return PeerError(PeerFailure.TLS_FAILED, f"{where}: {_reason(error)}")
    except TimeoutError:
        return PeerError(PeerFailure.TIMEOUT, f"{where}: no TLS handshake within {seconds:g} s")
    except OSError as error:
        return PeerError(PeerFailure.UNREACHABLE, f"{where}: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS error"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__
