"""What a source cannot take holds nothing up that comes after it; it is told once, and tried again where that can help."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.clock import utc_now
from gateway.objects.in_flight import InFlight
from gateway.objects.reception import StoreLimits
from gateway.objects.store import ObjectStore
from gateway.receive.drop_folder_source import DroppedFiles
from gateway.receive.orthanc import OrthancChanges
from gateway.receive.passed_over import passed_over_in_words
from gateway.receive.settings import FolderSource, OrthancSource
from tests.gateway.made_objects import made_object
from tests.gateway.peers.web_server import Asked, Said, web_server


@pytest.mark.parametrize("excess", [100, 3 * 2**20], ids=["a-little", "far"])
def test_an_object_that_is_too_large_is_passed_over_and_the_changes_of_orthanc_go_on(
    database: Engine, in_flight: InFlight, tmp_path: Path, caplog: pytest.LogCaptureFixture, excess: int
) -> None:
    small = [made_object(f"1.2.3.{number}") for number in range(3)]
    limit = len(small[0]) + 1000
    large = made_object("1.2.3.9") + bytes(1000 + excess)
    bodies = {"a0": small[0], "b1": large, "a2": small[1], "a3": small[2]}

    def answer(asked: Asked) -> Said:
        if asked.path.startswith("/changes"):
            since = int(asked.path.partition("since=")[2].partition("&")[0] or len(bodies) - 1)  # or ``?last``
            changes = [
                {"ChangeType": "NewInstance", "ID": name, "Seq": number}
                for number, name in enumerate(bodies, 1)
                if number > since
            ]
            return Said(body=json.dumps({"Last": len(bodies), "Done": True, "Changes": changes}).encode())
        if asked.path.endswith("SopClassUid"):
            return Said(body=b"1.2.840.10008.5.1.4.1.1.2")
        return Said(body=bodies[asked.path.split("/")[2]])

    limits = StoreLimits(max_object_bytes=limit, reserve_bytes=0)
    with web_server(answer) as server, ObjectStore(tmp_path / "small", database, limits) as store:
        url = f"http://127.0.0.1:{server.port}"
        changes = OrthancChanges(OrthancSource(name="o", url=url, from_now=False), store, in_flight)
        changes.look()
        assert {one.sop_instance_uid for one in store.index.every_object()} == {"1.2.3.0", "1.2.3.1", "1.2.3.2"}
        changes.look()
    (line,) = passed_over_in_words(database, utc_now())
    assert line.startswith("source o: 1 passed over, the last at ")
    assert "storage.max_object_bytes" in line
    (told,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert "storage.max_object_bytes; raise it" in told


def test_a_file_that_cannot_be_opened_is_told_once_tried_again_later_and_holds_no_other_up(
    database: Engine,
    store: ObjectStore,
    in_flight: InFlight,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    drop, seconds, closed = tmp_path / "drop", [0.0], {"b_secret.dcm"}
    drop.mkdir()
    for number, name in enumerate(("a.dcm", "b_secret.dcm", "c.dcm")):
        (drop / name).write_bytes(made_object(f"1.2.3.{number}"))
        os.utime(drop / name, (time.time() - 60, time.time() - 60))
    opened = Path.open

    def refused(path: Path, *arguments: Any) -> object:
        """Refuse as the kernel does, also where the tests' user may read everything."""
        if path.name in closed:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", refused)
    settings = FolderSource(name="drop", folder=drop, settle_seconds=1)
    dropped = DroppedFiles(settings, store, in_flight, clock=lambda: seconds[0])
    for _ in range(5):
        dropped.look()
    assert [path.name for path in drop.iterdir()] == ["b_secret.dcm"]
    assert store.index.count() == 2
    (told,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert "Permission denied" in told
    assert "secret" not in told
    (line,) = passed_over_in_words(database, utc_now())
    assert line.startswith("source drop: 1 passed over")
    closed.clear()
    dropped.look()
    assert store.index.count() == 2, "it is not yet time"
    seconds[0] += 61
    dropped.look()
    dropped.look()
    assert store.index.count() == 3
    assert list(drop.iterdir()) == []
    assert list(passed_over_in_words(database, utc_now())) == []


def test_a_folder_within_that_cannot_be_read_holds_no_file_up(
    database: Engine, store: ObjectStore, in_flight: InFlight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = tmp_path / "drop"
    for name in ("closed/1.dcm", "open/2.dcm"):
        (drop / name).parent.mkdir(parents=True)
        (drop / name).write_bytes(made_object(f"1.2.3.{name[-5]}"))
        os.utime(drop / name, (time.time() - 60, time.time() - 60))
    scanned = os.scandir

    def refused(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scanned(path)

    monkeypatch.setattr(os, "scandir", refused)
    dropped = DroppedFiles(FolderSource(name="drop", folder=drop, settle_seconds=1), store, in_flight)
    for _ in range(2):
        dropped.look()
    assert [one.sop_instance_uid for one in store.index.every_object()] == ["1.2.3.2"]
    assert len(list(passed_over_in_words(database, utc_now()))) == 1
