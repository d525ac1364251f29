"""What was edited since the gateway's start changes nothing: neither for a process that starts anew nor for the health check."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway.database import create_tables, open_database
from gateway.health import probe
from gateway.health.heartbeat import ProcessNote, read_processes
from gateway.processes import supervisor
from gateway.processes.setup import SETTINGS, WEB, declare_tables
from gateway.processes.supervisor import _Child
from gateway.settings.file import validated_gateway
from gateway.settings.handed_down import HandedDown
from tests.gateway.processes.served import until
from tests.ports import free_port


def test_a_process_that_is_killed_starts_anew_by_the_same_settings(tmp_path: Path) -> None:
    document = {
        "folder": str(tmp_path / "gateway"),
        "sources": [{"kind": "dimse", "name": "pacs", "port": free_port()}],
        "web": {"port": free_port()},
    }
    settings = validated_gateway(document, "a file that is nowhere")
    (tmp_path / "gateway").mkdir()
    declare_tables()
    engine = open_database(settings.database_url)
    create_tables(engine)
    handed_down = HandedDown(settings)
    child = _Child(WEB, handed_down)
    seen: dict[int, ProcessNote] = {}

    def beats(count: int) -> bool:
        child.look(time.monotonic())
        seen.update({note.pid: note for note in read_processes(engine)})
        return len(seen) == count

    try:
        until(lambda: beats(1), 300)
        assert child.process is not None
        child.process.kill()
        until(lambda: beats(2), 300)
    finally:
        child.stop(60)
        handed_down.close()
    assert {note.detail[SETTINGS] for note in seen.values()} == {handed_down.digest}


def test_the_health_check_finds_a_gateway_whose_file_was_broken_since_until_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(supervisor, "log_as_json", lambda *_: None)
    config, port = tmp_path / "gateway.yaml", free_port()
    config.write_text("web: [", encoding="utf-8")
    document = {
        "folder": str(tmp_path / "gateway"),
        "sources": [{"kind": "folder", "name": "in", "folder": str(tmp_path)}],
        "web": {"port": port},
    }
    asked = []

    def runs(_settings: object) -> int:
        asked.append(probe.address_of(config))
        return 0

    monkeypatch.setattr(supervisor, "_serve", runs)
    assert supervisor.serve_gateway(validated_gateway(document, "as it was"), config) == 0
    assert asked == [f"http://127.0.0.1:{port}/health/live"]
    assert list(tmp_path.glob("*.address")) == []
