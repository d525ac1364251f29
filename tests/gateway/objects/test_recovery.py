"""What crashes, failing disks and lost databases leave in the object store: what a sender was told is safe is there."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete
from sqlalchemy.exc import OperationalError

from gateway.database import open_database
from gateway.objects.errors import StoreUnavailableError
from gateway.objects.outcome import Duplicate, PutOutcome, Stored
from gateway.objects.recovery import Recovered, recover_objects
from gateway.objects.store import ObjectStore
from gateway.objects.tables import OBJECTS
from gateway.records import SourceKind, StudyKey
from tests.gateway.made_objects import made_object
from tests.gateway.objects.test_store import files, put

KILLED = """
import io, os, sys, threading
from pathlib import Path
from gateway.database import create_tables, open_database
from gateway.objects.store import ObjectStore
from gateway.objects.reception import ObjectOrigin
from tests.gateway.made_objects import made_object
engine = open_database("sqlite:///" + sys.argv[1] + "/gateway.sqlite"); create_tables(engine)
store = ObjectStore(Path(sys.argv[1]) / "objects", engine)
def work(thread):
    for number in range(10_000):
        data = made_object(f"1.2.{thread}.{number}", study=f"1.2.{number % 5}")
        store.put(io.BytesIO(data), ObjectOrigin("pacs", "dimse"))
        os.write(1, f"{thread}.{number}\\n".encode())
for thread in range(4):
    threading.Thread(target=work, args=(thread,)).start()
"""


@pytest.mark.parametrize("after", [1, 40, 150])
def test_after_a_kill_every_acknowledged_object_is_there_and_nothing_else(
    tmp_path: Path, repository: Path, after: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(after)]
        process.kill()
        told += process.stdout.read().splitlines(keepends=True)
    acknowledged = [tuple(map(int, line.split("."))) for line in told if line.endswith("\n")]
    engine_url = f"sqlite:///{tmp_path / 'gateway.sqlite'}"
    with ObjectStore(tmp_path / "objects", open_database(engine_url)) as store:
        unknown = recover_objects(store).unknown
        for thread, number in acknowledged:
            (found,) = [
                each
                for each in store.objects_of(StudyKey(f"1.2.{number % 5}"))
                if each.sop_instance_uid == f"1.2.{thread}.{number}"
            ]
            assert store.path_of(found).read_bytes() == made_object(f"1.2.{thread}.{number}", study=f"1.2.{number % 5}")
        assert list(store.missing_files()) == []
        assert len(files(store.folder)) == store.index.count() + unknown
        assert {path.parent.name for path in files(store.folder)} <= {f"1.2.{number}" for number in range(5)}


def test_what_a_power_cut_interrupted_is_removed_and_what_was_told_stays(store: ObjectStore) -> None:
    kept = put(store, made_object("1.2.3.1", study="1.2"))
    cut, gone = put(store, made_object("1.2.3.2", study="1.2")), put(store, made_object("1.2.3.3", study="1.2"))
    os.truncate(store.path_of(cut.object), 700)
    store.path_of(gone.object).unlink()
    without_row = store.path_of(kept.object).with_name("1.2.3.4.0123.dcm")
    without_row.write_bytes(b"half")
    assert recover_objects(store) == Recovered(removed=3, taken_in=0, unknown=0)
    assert store.objects_of(StudyKey("1.2")) == (kept.object,)
    assert files(store.folder) == [store.path_of(kept.object)]
    assert isinstance(put(store, made_object("1.2.3.2", study="1.2")), Stored)


def test_a_database_that_was_lost_takes_no_object_with_it(store: ObjectStore, database: Engine) -> None:
    """An empty or an older database does not know what senders were told is safe."""
    kept = put(store, made_object("1.2.3.1", study="1.2"))
    with database.begin() as connection:
        connection.execute(delete(OBJECTS))
    two: list[tuple[str, SourceKind]] = [("pacs", "dimse"), ("ct", "dimse")]
    assert recover_objects(store, two) == Recovered(removed=0, taken_in=0, unknown=1), "whence it came is not known"
    assert files(store.folder) == [store.path_of(kept.object)]
    assert recover_objects(store, [("pacs", "dimse")]) == Recovered(removed=0, taken_in=1, unknown=0)
    (again,) = store.objects_of(StudyKey("1.2"))
    assert replace(again, received_at=kept.object.received_at, calling_ae_title="SENDER") == kept.object
    assert isinstance(put(store, made_object("1.2.3.1", study="1.2")), Duplicate)
    assert recover_objects(store) == Recovered(removed=0, taken_in=0, unknown=0)


def test_a_whole_file_that_a_crash_left_without_a_row_is_judged_with_its_study(
    store: ObjectStore, database: Engine
) -> None:
    first, second = put(store, made_object("1.2.3.1", study="1.2")), put(store, made_object("1.2.3.2", study="1.2"))
    with database.begin() as connection:
        connection.execute(delete(OBJECTS).where(OBJECTS.c.sop_instance_uid == "1.2.3.2"))
    before = store.index.study_row(StudyKey("1.2"))
    assert recover_objects(store) == Recovered(removed=0, taken_in=1, unknown=0)
    assert [one.sop_instance_uid for one in store.objects_of(StudyKey("1.2"))] == ["1.2.3.1", "1.2.3.2"]
    (found,) = [one for one in store.objects_of(StudyKey("1.2")) if one.sop_instance_uid == "1.2.3.2"]
    assert replace(found, received_at=second.object.received_at) == second.object
    after = store.index.study_row(StudyKey("1.2"))
    assert before is not None
    assert after is not None
    assert after.revision == before.revision + 1, "it is due"
    assert found.source == first.object.source


def test_what_a_failing_disk_did_not_take_is_not_acknowledged_to_a_resend_and_then_taken_back(
    store: ObjectStore, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender gives up waiting and sends again, before the first reception learns that its bytes were not written (EIO)."""
    data, synchronise = made_object("1.2.3.1", study="1.2"), os.fsync
    resent: list[Future[PutOutcome]] = []
    with ObjectStore(store.folder, database) as other, ThreadPoolExecutor(1) as thread:

        def fails(descriptor: int) -> None:
            if stat.S_ISREG(os.fstat(descriptor).st_mode) and not resent:
                resent.append(thread.submit(put, other, data))
                wait(resent, timeout=0.5)  # it waits for this reception, or is through by then
                raise OSError(errno.EIO, "Input/output error")
            synchronise(descriptor)

        monkeypatch.setattr(os, "fsync", fails)
        with pytest.raises(StoreUnavailableError):
            put(store, data)
        outcome = resent[0].result()
    assert isinstance(outcome, (Stored, Duplicate))
    (kept,) = store.objects_of(StudyKey("1.2"))
    assert store.path_of(kept).read_bytes() == data


def test_a_file_that_no_row_vouches_for_is_replaced_by_what_comes_again(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its bytes are on the disk cannot be found out: an error of an fsync is told once."""
    data = made_object("1.2.3.1", study="1.2")

    def locked(*_arguments: Any) -> Any:
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))

    with monkeypatch.context() as patch:
        patch.setattr(store.index, "add", locked)
        with pytest.raises(StoreUnavailableError):
            put(store, data)
    (left,) = files(store.folder)
    inode = left.stat().st_ino
    assert isinstance(put(store, data), Stored)
    assert left.stat().st_ino != inode
    assert left.read_bytes() == data
    assert [path.name for path in store.folder.glob("incoming/*/[!.]*")] == []


def test_an_object_that_comes_again_while_its_study_is_removed_stays(
    store: ObjectStore, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, forget = made_object("1.2.3.1", study="1.2"), store.index.forget
    put(store, data)
    with ObjectStore(store.folder, database) as other:

        def forgotten(study: StudyKey) -> Any:
            found = forget(study)
            assert isinstance(put(other, data), Stored)
            return found

        monkeypatch.setattr(store.index, "forget", forgotten)
        store.purge(StudyKey("1.2"))
    (kept,) = store.objects_of(StudyKey("1.2"))
    assert store.path_of(kept).read_bytes() == data


def test_an_object_that_the_database_refused_once_is_safe_when_it_was_taken_the_second_time(
    store: ObjectStore, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first reception may learn of its failure only after the sender has sent the object again on another association."""
    data, commit = made_object("1.2.3.1", study="1.2"), store.index.add
    resent: list[Future[PutOutcome]] = []
    with ObjectStore(store.folder, database) as other, ThreadPoolExecutor(1) as thread:

        def locked(*_arguments: Any) -> Any:
            monkeypatch.setattr(store.index, "add", commit)
            resent.append(thread.submit(put, other, data))
            wait(resent, timeout=0.5)  # it waits for this reception, or is through by then
            raise OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))

        monkeypatch.setattr(store.index, "add", locked)
        with pytest.raises(StoreUnavailableError):
            put(store, data)
        outcome = resent[0].result()
    (kept,) = store.objects_of(StudyKey("1.2"))
    assert outcome == Stored(kept)
    assert store.path_of(kept).read_bytes() == data


def test_a_process_that_starts_anew_alone_removes_what_its_predecessor_half_received(
    store: ObjectStore, database: Engine
) -> None:
    left = store.folder / "incoming" / "1-killed"
    left.mkdir()
    (left / ".lock").touch()
    (left / "0123").write_bytes(b"half")
    with store.begin() as reception, ObjectStore(store.folder, database):
        reception.write(b"half")
        assert not left.exists()
        assert [path.read_bytes() for path in store.folder.glob("incoming/*/[!.]*")] == [b"half"]


def test_recovery_leaves_alone_what_a_living_process_receives(store: ObjectStore, database: Engine) -> None:
    with store.begin() as reception:
        reception.write(b"half")
        with ObjectStore(store.folder, database) as other:
            assert recover_objects(other) == Recovered(removed=0, taken_in=0, unknown=0)
        reception.write_meta(b"")
        assert reception.size == 4
