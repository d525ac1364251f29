"""What is told before the gateway starts: packages, files, folders, databases and ports, all at once, and nothing is made."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sqlite3
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from typer.testing import CliRunner, Result

from gateway.database import SCHEMA, Schema, create_tables, open_database
from gateway.processes.executor import LOCK_FILE, _lock
from gateway.processes.supervisor import SERVE_LOCK
from gateway.settings.file import validated_gateway
from gateway.steer import packages
from gateway.steer.check import faults_of_place
from gateway.steer.cli import app
from tests.gateway.peers.certificates import make_authority
from tests.ports import free_port

NOBODY = 65534


def document(folder: Path, **sections: Any) -> dict[str, Any]:
    """A gateway.yaml without a fault, with other sections."""
    return {
        "folder": str(folder / "gateway"),
        "sources": [{"kind": "dimse", "name": "pacs", "port": free_port()}],
        "storage": {"reserve_bytes": 0},
        "web": {"port": free_port()},
    } | sections


def found(folder: Path, **sections: Any) -> list[str]:
    return faults_of_place(validated_gateway(document(folder, **sections), "gateway.yaml"))


def written(folder: Path, content: dict[str, Any]) -> Path:
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def checked(folder: Path, content: dict[str, Any]) -> Result:
    return CliRunner().invoke(app, ["gateway", "check-config", "--config", str(written(folder, content))])


def test_nothing_is_made_where_all_is_well(tmp_path: Path) -> None:
    destinations = [{"kind": "folder", "name": "out", "path": str(tmp_path / "out" / "deep")}]
    assert checked(tmp_path, document(tmp_path, send={"destinations": destinations})).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.yaml"]


def test_settings_application_and_model_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("outputs: [sr, jpeg]\n")
    application = {"config": str(tmp_path / "app.yaml"), "model": str(tmp_path)}
    done = checked(tmp_path, document(tmp_path, application=application, receivers=0))
    assert done.exit_code == 2
    for fault in ("receivers = 0", "outputs.1 = 'jpeg'", "application.model: MODEL_UNFIT"):
        assert fault in done.stderr
    assert "looked at when these are mended" in done.stderr


def test_what_is_sound_is_looked_at_beside_what_is_not(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        sources = [
            {"kind": "folder", "name": "drop", "folder": str(tmp_path / "none")},
            {"kind": "dimse", "name": "pacs", "port": port},
        ]
        sections: dict[str, Any] = {"sources": sources, "storage": {"reserve_bytes": -1}, "worker": 1}
        sections |= {"database": "no url", "workflow_database": "mysql://host/name"}
        done = checked(tmp_path, document(tmp_path, **sections, send={"rules": [{"to": ["nowhere"]}]}))
    assert done.exit_code == 2
    for fault in (
        "storage.reserve_bytes = -1",
        "worker = 1: there is no such key",
        "send.rules.0.to names nowhere",
        "database is no URL",
        "workflow_database begins with mysql://",
        f"sources.0.folder: {tmp_path / 'none'} is not there",
        f"sources.1: 127.0.0.1 port {port} cannot be listened on",
    ):
        assert fault in done.stderr
    assert "are free at" not in done.stderr  # a section with a fault is not judged by its defaults


def test_every_file_that_cannot_be_used_is_named_with_its_key(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: Debian package openssl")
    made = make_authority(openssl, tmp_path)
    secret = tmp_path / "token"
    secret.write_text("\n")
    good = {"certificate": str(made.server.certificate), "key": str(made.server.key), "ca_file": str(made.ca)}
    node = {"ae_title": "P", "host": "127.0.0.1", "port": 104}
    service = {"url": "https://pacs.example/web", "bearer_token_file": str(secret), "tls": good}
    faults = found(
        tmp_path,
        sources=[
            {"kind": "dimse", "name": "a", "port": free_port(), "tls": good},
            {"kind": "dimse", "name": "b", "port": free_port(), "tls": good | {"key": str(tmp_path / "none.pem")}},
            {"kind": "dimse", "name": "c", "port": free_port(), "tls": good | {"key": str(made.client.key)}},
            {"kind": "orthanc", "name": "d", "url": "https://o", "user": "u", "password_file": str(tmp_path)},
            {"kind": "folder", "name": "e", "folder": str(tmp_path / "drop")},
        ],
        send={
            "destinations": [
                {"kind": "dicom", "name": "pacs", "node": node | {"tls": {"ca_file": str(secret)}}},
                {"kind": "stow", "name": "web", "service": service},
            ]
        },
        fetch={"archives": [{"kind": "dicom", "name": "x", "node": node | {"tls": {"ca_file": "/none.pem"}}}]},
    )
    assert faults == [
        f"sources.4.folder: {tmp_path / 'drop'} is not there or cannot be entered",
        f"sources.1.tls.key: {tmp_path / 'none.pem'}: No such file or directory",
        "sources.2.tls: certificate and key cannot be used (KEY_VALUES_MISMATCH)",
        f"sources.3.password_file: {tmp_path}: it is no regular file",
        "send.destinations.0.node.tls: certificate or key cannot be loaded (NO_CERTIFICATE_OR_CRL_FOUND)",
        f"send.destinations.1.service.bearer_token_file: {secret} is empty",
        "fetch.archives.0.node.tls.ca_file: /none.pem: No such file or directory",
    ]


def test_a_table_that_is_not_there_yet_is_a_warning(tmp_path: Path) -> None:
    content = document(tmp_path, clinical={"file": str(tmp_path / "clinical.csv")})
    said = checked(tmp_path, content)
    assert said.exit_code == 0
    assert f"warning: clinical.file: {tmp_path / 'clinical.csv'} is not there yet" in said.output
    (tmp_path / "clinical.csv").write_text("patient_id,age\n", encoding="utf-8")
    assert "is not there yet" not in checked(tmp_path, content).output


def test_a_table_with_faults_is_told_by_row_and_one_that_is_not_there_yet_is_none(tmp_path: Path) -> None:
    file = tmp_path / "clinical.csv"
    assert found(tmp_path, clinical={"file": str(file)}) == []
    file.write_text("patient_id,age\nA,60\nB,ninety\n")
    (fault,) = found(tmp_path, clinical={"file": str(file)})
    assert fault.startswith("clinical.file: ")
    assert "row 3" in fault
    assert "ninety" not in fault
    assert found(tmp_path, clinical={"file": str(tmp_path / "none" / "a.csv")}) == [
        f"clinical.file: {tmp_path / 'none'} is not there"
    ]


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """The test's effective user is one without rights."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


def test_folders_that_the_user_cannot_write_to_are_told(tmp_path: Path, as_nobody: None) -> None:
    faults = found(Path("/"), send={"destinations": [{"kind": "folder", "name": "out", "path": "/etc/hostname/out"}]})
    assert f"folder: /gateway cannot be made: / cannot be written to by user {os.geteuid()}" in faults
    assert "send.destinations.0.path: /etc/hostname is no folder" in faults
    assert f"database: /gateway/gateway.sqlite cannot be made by user {os.geteuid()}" in faults


def test_too_little_room_is_told(tmp_path: Path) -> None:
    (fault,) = found(tmp_path, storage={"reserve_bytes": 2**60})
    assert fault.startswith("storage.reserve_bytes: ")


def test_databases_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "no.sqlite").write_text("no database, whatever its name says. " * 100)
    port = free_port()
    faults = found(
        tmp_path,
        database=f"postgresql+psycopg://u:secret@127.0.0.1:{port}/x",
        workflow_database=f"sqlite:///{tmp_path / 'no.sqlite'}",
    )
    assert faults[0].startswith("database: connection failed")
    assert faults[1] == f"workflow_database: {tmp_path / 'no.sqlite'}: file is not a database"
    assert "secret" not in "".join(faults)


def test_a_later_versions_database_is_told_and_one_that_the_start_makes_or_brings_forward_is_no_fault(
    tmp_path: Path,
) -> None:
    (tmp_path / "gateway").mkdir()
    file = tmp_path / "gateway" / "gateway.sqlite"
    sqlite3.connect(file).close()
    assert found(tmp_path) == []
    engine = open_database(f"sqlite:///{file}")
    create_tables(engine)
    assert found(tmp_path) == []
    create_tables(engine, Schema(SCHEMA.version + 1, {SCHEMA.version: lambda _: None}))
    before = file.read_bytes()
    (fault,) = found(tmp_path)
    assert fault.startswith("database: DATABASE_NEWER: its schema is version 2")
    assert file.read_bytes() == before
    done = CliRunner().invoke(app, ["gateway", "status", "--config", str(written(tmp_path, document(tmp_path)))])
    assert done.exit_code == 1
    assert "DATABASE_NEWER" in done.stderr


def test_a_port_that_another_program_has_is_told_and_not_one_that_the_gateway_has_itself(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        sources = [{"kind": "dimse", "name": "pacs", "port": taken.getsockname()[1]}]
        (fault,) = found(tmp_path, sources=sources)
        assert fault.startswith("sources.0: 127.0.0.1 port")
        (tmp_path / "gateway").mkdir()
        held = _lock(tmp_path / "gateway")
        assert found(tmp_path, sources=sources) == []
        os.close(held)
        assert (tmp_path / "gateway" / LOCK_FILE).exists()
        assert found(tmp_path, sources=sources) == [fault]


def test_a_gateway_that_starts_is_not_taken_for_another_program(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        web = {"port": taken.getsockname()[1]}
        content = document(tmp_path, web=web)
        assert checked(tmp_path, content).exit_code == 2
        (tmp_path / "gateway").mkdir()
        # What `pdl1es serve` holds from its first moment, before there is an executor.
        with (tmp_path / "gateway" / SERVE_LOCK).open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            done = checked(tmp_path, content)
            assert done.exit_code == 0, done.stderr
            assert "a gateway of this folder is running" in done.stdout


def test_a_folder_of_results_that_the_user_cannot_write_to_is_told(tmp_path: Path, as_nobody: None) -> None:
    closed = tmp_path if os.geteuid() == NOBODY else Path("/etc")  # tmp_path is root's where root runs the tests
    faults = found(Path("/var/tmp"), send={"destinations": [{"kind": "folder", "name": "out", "path": str(closed)}]})
    assert any(fault.startswith(f"send.destinations.0.path: {closed} cannot be") for fault in faults), faults


def test_the_packages_are_those_of_the_extra(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = {Requirement(text).name for text in project["optional-dependencies"]["gateway"]}
    assert set(packages.PACKAGES) == extra
    assert packages.missing_packages() == []


@pytest.mark.parametrize("command", ["serve", "gateway status", "gateway check-config", "gateway send-test"])
def test_without_the_extra_every_command_says_what_to_install(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "PACKAGES", {"pynetdicom": "no_such_module_of_dicom"})
    done = CliRunner().invoke(app, [*command.split(), "--config", str(tmp_path / "none.yaml")])
    assert done.exit_code == 2
    assert "not installed: pynetdicom" in done.stderr
    assert "whl[gateway]" in done.stderr
