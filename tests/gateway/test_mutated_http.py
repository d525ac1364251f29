"""Mutated requests and answers by HTTP: an end as it should be or a coded failure, no hang, bounded memory."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import gateway.health.heartbeat  # noqa: F401 - its table is among those that are made
from gateway.database import create_tables, open_database
from gateway.health.readiness import Expected
from gateway.processes.web import BriefConnection
from tests.gateway.http_fuzzer import fuzz_answers, fuzz_requests, served_pages
from tests.waiting import PATIENCE_S

MOST_KIB = 32 * 1024


def test_mutated_requests_to_the_gateways_own_addresses(tmp_path: Path) -> None:
    found = fuzz_requests(150, 0, tmp_path)
    assert found.faults == []
    assert sum(found.ends.values()) == 150
    assert found.grown_kib < MOST_KIB


def test_mutated_answers_of_dicomweb_servers_and_of_orthanc(tmp_path: Path) -> None:
    found = fuzz_answers(210, 0, tmp_path)
    assert found.faults == []
    assert sum(found.ends.values()) == 210
    assert found.grown_kib < MOST_KIB


def test_half_a_request_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By uvicorn alone as many of them as there may be connections shut the addresses for everybody."""
    monkeypatch.setattr(BriefConnection, "longest_seconds", 0.3)
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(engine)
    with served_pages(engine, Expected(("executor",), tmp_path, 0, ())) as port:
        connections = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in range(70)]
        for connection in connections:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: gate")
        for connection in connections:
            while connection.recv(4096):  # it ends: the gateway closes
                pass
            connection.close()
        monkeypatch.undo()
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: gateway\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    engine.dispose()
