"""Senders for tests: pynetdicom's, with TLS and without."""

from __future__ import annotations

import io
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pydicom
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
)
from pynetdicom import AE
from pynetdicom.association import Association

from gateway.receive.listener import DimseListener
from gateway.receive.settings import ServerTls
from tests.gateway.receive.certificates import Certificates
from tests.waiting import PATIENCE_S, until

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, JPEG2000Lossless)


@contextmanager
def associated(
    listener: DimseListener,
    *,
    calling: str = "SENDER",
    called: str = "PDL1ES",
    tls: ssl.SSLContext | None = None,
    pdu_bytes: int = 16382,
) -> Iterator[Association]:
    """An association of pynetdicom's, whether or not it was established."""
    entity = AE(ae_title=calling)
    for sop_class in (
        CTImageStorage,
        SegmentationStorage,
        RTStructureSetStorage,
        PositronEmissionTomographyImageStorage,
    ):
        for syntax in SYNTAXES:
            entity.add_requested_context(sop_class, syntax)
    entity.add_requested_context("1.2.840.10008.1.1")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = PATIENCE_S
    association = entity.associate(
        "127.0.0.1", listener.port, ae_title=called, max_pdu=pdu_bytes, tls_args=(tls, "127.0.0.1") if tls else None
    )
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def send(association: Association, data: bytes) -> int:
    """Send a file as it is, and return the status."""
    return int(association.send_c_store(pydicom.dcmread(io.BytesIO(data))).Status)


def await_rejection(association: Association) -> None:
    """Wait until pynetdicom has noted the rejection: its `associate` may return before."""
    until(lambda: bool(association.is_rejected))


def data_set(data: bytes) -> bytes:
    """A file's bytes behind its File Meta Information."""
    return data[132 + 12 + pydicom.dcmread(io.BytesIO(data)).file_meta.FileMetaInformationGroupLength :]


def tls_settings(certificates: Certificates) -> ServerTls:
    return ServerTls(
        certificate=certificates.certificate("server"),
        key=certificates.key("server"),
        ca_file=certificates.certificate("ca"),
    )


def sender_context(certificates: Certificates, name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.certificate("ca")))
    if name is not None:
        context.load_cert_chain(certificates.certificate(name), certificates.key(name))
    return context
