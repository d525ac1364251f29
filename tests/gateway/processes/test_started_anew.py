"""A process that the supervisor starts anew runs by the settings of the gateway's start, though no file has them any more."""

from __future__ import annotations

import time
from pathlib import Path

from gateway.database import create_tables, open_database
from gateway.health.heartbeat import ProcessNote, read_processes
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
