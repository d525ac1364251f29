"""What is asked before the gateway starts: folders, certificates, secrets, databases, ports. Every fault is told at once.

Nothing is made or changed: no folder, no table, no association. Whether a destination answers is for ``send-test``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from gateway.peers.failures import PeerError
from gateway.peers.settings import ClientTls
from gateway.peers.tls import client_context
from gateway.processes.executor import LOCK_FILE
from gateway.processes.supervisor import SERVE_LOCK
from gateway.receive.server_tls import server_context
from gateway.receive.settings import DimseSource, FolderSource, OrthancSource, ServerTls
from gateway.send.settings import FolderDestination
from gateway.settings.file import GatewaySettings
from gateway.settings.names import faults_between_sections
from gateway.steer.check_databases import existing_folder, faults_of_databases, may_write
from gateway.workflow.clinical_table import read_clinical_table
from gateway.workflow.settings import ApplicationChoice
from pdl1es.clinical import MAX_CLINICAL_FILE_BYTES, ClinicalFileError
from pdl1es.errors import Refusal
from pdl1es.model.folder import model_folder_of
from pdl1es.model.fusion import FusionModel
from pdl1es.regular_file import read_regular_file
from pdl1es.settings import Settings, load_settings
from pdl1es.settings_file import SettingsError

_FILE_BYTES: Final = 65_536


def loaded_application(document: Mapping[Any, Any]) -> tuple[Settings | None, FusionModel | None, list[str]]:
    """Load ``app.yaml`` and the model that a ``gateway.yaml`` names, whatever else is wrong in it.

    Parameters
    ----------
    document
        Content of ``gateway.yaml``.

    Returns
    -------
    Settings or None
        None where they cannot be read.
    FusionModel or None
        None where it cannot be loaded.
    list of str
        What is wrong with either.
    """

    try:
        choice = ApplicationChoice.model_validate(document.get("application") or {})
    except ValidationError:
        return None, None, []  # told with the other keys
    faults: list[str] = []
    application, model = None, None
    try:
        application = load_settings(choice.config_file)
    except SettingsError as error:
        faults.append(f"application.config: {error}")
    try:
        model = FusionModel.load(
            model_folder_of(choice.model_folder), threads=1 if application is None else application.model.threads
        )
    except Refusal as refusal:
        faults.append(f"application.model: {refusal}")
    return application, model, faults


def faults_of_place(settings: GatewaySettings) -> list[str]:
    """Return what is wrong with the files, folders, databases and ports that the settings name.

    Parameters
    ----------
    settings
        ``gateway.yaml``, without a fault in itself.

    Returns
    -------
    list of str
        As seen by the user who asks: it should be the gateway's.
    """
    return [
        *_faults_of_folders(settings),
        *_faults_of_files(settings),
        *faults_of_databases(settings),
        *_faults_of_ports(settings),
    ]


def faults_of_sound_part(document: Mapping[Any, Any]) -> list[str]:
    """Return what is wrong with what the sound sections of a ``gateway.yaml`` name, where others have faults.

    Parameters
    ----------
    document
        Content of ``gateway.yaml``.

    Returns
    -------
    list of str
        Nothing where ``folder`` or ``sources`` has a fault.
    """
    between = {fault.split()[0] for fault in faults_between_sections(document)}
    faulty = between & {"database", "workflow_database"}  # a URL that is none cannot be asked
    try:
        GatewaySettings.model_validate(document)
    except ValidationError as error:
        faulty |= {str(fault["loc"][0]) if fault["loc"] else "" for fault in error.errors(include_url=False)}
    if faulty & {"", "folder", "sources"}:
        return []
    sound = {key: document[key] for key in document if str(key) not in faulty}
    try:
        settings = GatewaySettings.model_validate(sound)
    except ValidationError:
        return []  # told with the others
    # A section that was left out has its defaults there, and what is wrong with those is no mistake of the file.
    return [fault for fault in faults_of_place(settings) if fault.partition(":")[0].partition(".")[0] not in faulty]


def _faults_of_folders(settings: GatewaySettings) -> Iterator[str]:
    yield from _not_writable("folder", settings.folder)
    room = existing_folder(settings.folder)
    status = os.statvfs(room)
    free = status.f_bavail * status.f_frsize
    if free < settings.storage.reserve_bytes:
        yield (
            f"storage.reserve_bytes: {free / 2**30:.1f} GiB are free at {room}, and below "
            f"{settings.storage.reserve_bytes / 2**30:.1f} GiB nothing is received"
        )
    for number, source in enumerate(settings.sources):
        if isinstance(source, FolderSource):
            key = f"sources.{number}.folder"
            if not source.folder.is_dir():
                yield f"{key}: {source.folder} is not there or cannot be entered"
            else:
                yield from _not_writable(key, source.folder)  # what was taken is removed from it
    for number, destination in enumerate(settings.send.destinations):
        if isinstance(destination, FolderDestination):
            yield from _not_writable(f"send.destinations.{number}.path", destination.path)


def _not_writable(key: str, folder: Path) -> Iterator[str]:
    there = existing_folder(folder)
    if not there.is_dir():
        yield f"{key}: {there} is no folder"
    elif not may_write(there):
        what = "cannot be written to" if there == folder.absolute() else f"cannot be made: {there} cannot be written to"
        yield f"{key}: {folder} {what} by user {os.geteuid()}"


def _faults_of_files(settings: GatewaySettings) -> Iterator[str]:
    for number, source in enumerate(settings.sources):
        key = f"sources.{number}"
        if isinstance(source, DimseSource) and source.tls is not None:
            yield from _faults_of_port_tls(f"{key}.tls", source.tls)
        if isinstance(source, OrthancSource):
            yield from _faults_of_client_tls(f"{key}.tls", source.tls)
            yield from _faults_of_secret(f"{key}.password_file", source.password_file)
    for section, places in (
        ("send.destinations", settings.send.destinations),
        ("fetch.archives", settings.fetch.archives),
    ):
        for number, place in enumerate(places):
            key = f"{section}.{number}"
            if place.kind == "dicom" and place.node.tls is not None:
                yield from _faults_of_client_tls(f"{key}.node.tls", place.node.tls)
            if place.kind in ("stow", "dicomweb"):
                yield from _faults_of_client_tls(f"{key}.service.tls", place.service.tls)
                yield from _faults_of_secret(f"{key}.service.bearer_token_file", place.service.bearer_token_file)
    yield from _faults_of_clinical_table(settings.clinical.file)


def _faults_of_port_tls(key: str, tls: ServerTls) -> Iterator[str]:

    missing = [*_unreadable(key, certificate=tls.certificate, key=tls.key, ca_file=tls.ca_file)]
    yield from missing
    if not missing:
        try:
            server_context(tls)
        except (OSError, ValueError) as error:
            yield f"{key}: {_of_openssl(error)}"


def _faults_of_client_tls(key: str, tls: ClientTls) -> Iterator[str]:

    missing = [*_unreadable(key, certificate=tls.certificate, key=tls.key, ca_file=tls.ca_file)]
    yield from missing
    if not missing:
        try:
            client_context(tls)
        except PeerError as error:
            yield f"{key}: {error.found}"


def _unreadable(section: str, **files: Path | None) -> Iterator[str]:
    for key, file in files.items():
        if file is not None and (reason := _cannot_be_read(file)):
            yield f"{section}.{key}: {file}: {reason}"


def _cannot_be_read(file: Path) -> str:

    try:
        read_regular_file(file, _FILE_BYTES)
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _of_openssl(error: Exception) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else str(error)
    return f"certificate and key cannot be used ({reason})"


def _faults_of_secret(key: str, file: Path | None) -> Iterator[str]:
    if file is None:
        return
    if reason := _cannot_be_read(file):
        yield f"{key}: {file}: {reason}"
    elif not file.read_bytes().strip():
        yield f"{key}: {file} is empty"


def _faults_of_clinical_table(file: Path | None) -> Iterator[str]:

    if file is None:
        return
    try:
        faults: Iterable[str] = read_clinical_table(read_regular_file(file, MAX_CLINICAL_FILE_BYTES)).faults()
    except FileNotFoundError:
        # A hospital may drop its first table later.
        faults = [] if file.parent.is_dir() else [f"{file.parent} is not there"]
    except OSError as error:
        faults = [f"{file}: {error.strerror}"]
    except ClinicalFileError as error:
        faults = [str(error)]
    for fault in faults:
        yield f"clinical.file: {fault}"


def notes_of_place(settings: GatewaySettings) -> list[str]:
    """Return what is no mistake and yet may be one: a clinical table that is not there yet.

    Parameters
    ----------
    settings
        ``gateway.yaml``.

    Returns
    -------
    list of str
    """
    file = settings.clinical.file
    if file is None or file.exists():
        return []
    return [
        f"clinical.file: {file} is not there yet; until it is, studies have the clinical data of their headers alone"
    ]


def _faults_of_ports(settings: GatewaySettings) -> Iterator[str]:
    wanted = [
        (f"sources.{number}", source.bind, source.port)
        for number, source in enumerate(settings.sources)
        if isinstance(source, DimseSource)
    ]
    runs = is_running(settings.folder)
    for key, bind, port in (*wanted, ("web", settings.web.bind, settings.web.port)):
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((bind, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE and runs:
                    continue  # by the gateway itself
                yield f"{key}: {bind} port {port} cannot be listened on: {error.strerror or type(error).__name__}"


def is_running(folder: Path) -> bool:
    """Tell whether a gateway runs in a folder, or starts or ends there: it holds a lock."""
    return any(_is_locked(folder / name) for name in (SERVE_LOCK, LOCK_FILE))


def _is_locked(file: Path) -> bool:
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
