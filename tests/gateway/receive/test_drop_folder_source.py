"""A folder as a source: what lies there unchanged is stored, then removed; what is no object is put aside."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gateway.clock import utc_now
from gateway.objects.errors import StoreUnavailableError
from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.receive.drop_folder_source import DroppedFiles
from gateway.receive.settings import FolderSource
from gateway.records import StudyKey
from tests.gateway.made_objects import made_object


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "drop"
    made.mkdir()
    return made


@pytest.fixture
def dropped(folder: Path, store: ObjectStore, in_flight: InFlight) -> DroppedFiles:
    return DroppedFiles(FolderSource(name="drop", folder=folder, settle_seconds=5), store, in_flight)


def drop(path: Path, data: bytes, *, age: float = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_settled_files_are_stored_and_removed_with_their_folders(
    dropped: DroppedFiles, folder: Path, store: ObjectStore
) -> None:
    data = made_object("1.2.3.4", study="1.2")
    drop(folder / "a" / "b" / "image", data)
    dropped.look()
    assert store.index.count() == 0  # seen for the first time
    dropped.look()
    (stored,) = store.objects_of(StudyKey("1.2"))
    assert store.path_of(stored).read_bytes() == data
    assert stored.source == "drop"
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_file_that_grows_or_is_hidden_or_a_link_is_left_alone(
    dropped: DroppedFiles, folder: Path, store: ObjectStore, tmp_path: Path
) -> None:
    whole = made_object("1.2.3.4")
    growing = drop(folder / "growing.dcm", whole[:500])
    drop(folder / ".copying.dcm", whole)
    (folder / "link.dcm").symlink_to(drop(tmp_path / "elsewhere.dcm", whole))
    dropped.look()
    for length in (700, 900, 1100):
        drop(growing, whole[:length])
        drop(folder / "fresh.dcm", whole, age=1)
        dropped.look()
    assert store.index.count() == 0
    assert len(list(folder.iterdir())) == 4


def test_what_is_no_dicom_object_is_put_aside_once(dropped: DroppedFiles, folder: Path, store: ObjectStore) -> None:
    drop(folder / "notes.txt", b"not DICOM")
    for _ in range(3):
        dropped.look()
    (aside,) = (folder / "rejected").iterdir()
    assert aside.name.endswith("-notes.txt")
    assert aside.read_bytes() == b"not DICOM"


def test_nothing_is_removed_while_the_store_takes_nothing(
    dropped: DroppedFiles, folder: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(folder / "1.dcm", made_object("1.2.3.4"))
    dropped.look()
    monkeypatch.setattr(store.space, "free_bytes", lambda: 0)
    with pytest.raises(StoreUnavailableError):
        dropped.look()
    assert (folder / "1.dcm").exists()
    monkeypatch.undo()
    dropped.look()
    dropped.look()
    assert store.index.count() == 1


def test_its_studies_are_in_flight_while_other_files_are_still_being_copied(
    dropped: DroppedFiles, folder: Path, in_flight: InFlight
) -> None:
    drop(folder / "1.dcm", made_object("1.2.3.4", study="1.2"))
    dropped.look()
    copying = drop(folder / "2.dcm", made_object("1.2.3.5", study="1.2")[:400], age=0)
    dropped.look()
    assert in_flight.count(StudyKey("1.2"), utc_now()) == 1
    copying.unlink()
    dropped.look()
    assert in_flight.count(StudyKey("1.2"), utc_now()) == 0
