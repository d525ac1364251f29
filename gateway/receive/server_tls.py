"""DICOM TLS of a port (PS3.15 B.9 to B.11: TLS 1.2 or later, both sides with certificates)."""

from __future__ import annotations

import ssl

from gateway.receive.settings import ServerTls


def server_context(settings: ServerTls) -> ssl.SSLContext:
    """Return how the gateway takes connections: TLS 1.2 or 1.3, and a certificate from the sender.

    Raises
    ------
    OSError
        A file cannot be read, or holds no certificate or key (`ssl.SSLError` is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A key with a pass phrase would make OpenSSL ask for it on the terminal and wait.
    context.load_cert_chain(settings.certificate, settings.key, password=lambda: "")
    context.load_verify_locations(settings.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context
