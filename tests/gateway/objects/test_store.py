"""The object store: what it says is stored is on disk byte for byte, once, and is found again after a crash."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from sqlalchemy import Engine, text

from gateway.clock import utc_now
from gateway.objects.errors import NotStorableError, StoreUnavailableError, TooLargeError
from gateway.objects.outcome import Conflict, Duplicate, PutOutcome, Stored
from gateway.objects.reception import ObjectOrigin, StoreLimits
from gateway.objects.store import ObjectStore
from gateway.records import StudyKey
from pdl1es.dicom.study import scan_study
from tests.gateway.made_objects import made_object

ORIGIN = ObjectOrigin("pacs", "dimse", "SENDER")


def put(store: ObjectStore, data: bytes, origin: ObjectOrigin = ORIGIN) -> PutOutcome:
    return store.put(io.BytesIO(data), origin)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.dcm") if path.is_file())


def test_a_stored_object_is_the_senders_file_byte_for_byte(store: ObjectStore) -> None:
    data = made_object("1.2.3.4", study="1.2", series="1.2.9")
    outcome = put(store, data)
    assert isinstance(outcome, Stored)
    assert store.path_of(outcome.object).read_bytes() == data
    (found,) = store.objects_of(StudyKey("1.2"))
    assert found == outcome.object
    assert (found.sop_instance_uid, found.series_instance_uid, found.calling_ae_title) == ("1.2.3.4", "1.2.9", "SENDER")
    assert found.size == len(data)


def test_the_digest_is_that_of_the_data_set_alone(store: ObjectStore) -> None:
    data = made_object("1.2.3.4")
    meta = pydicom.dcmread(io.BytesIO(data)).file_meta
    start = 132 + 12 + meta.FileMetaInformationGroupLength
    outcome = put(store, data)
    assert outcome.object.sha256 == hashlib.sha256(data[start:]).hexdigest()


def test_a_study_folder_is_read_by_the_chain(store: ObjectStore) -> None:
    for number in range(3):
        put(store, made_object(f"1.2.3.{number}", study="1.2"))
    assert len(scan_study(store.folder / "studies" / "1.2").instances) == 3


def test_the_same_bytes_again_are_one_object(store: ObjectStore) -> None:
    data = made_object("1.2.3.4")
    first, second = put(store, data), put(store, data)
    assert isinstance(second, Duplicate)
    assert second.object == first.object
    assert len(files(store.folder)) == 1


def test_another_file_meta_information_makes_no_other_object(store: ObjectStore) -> None:
    """Each sender writes its own; the object is its data set."""
    first = made_object("1.2.3.4")
    other = pydicom.dcmread(io.BytesIO(first))
    other.file_meta.SourceApplicationEntityTitle = "OTHER"
    buffer = io.BytesIO()
    other.save_as(buffer)
    put(store, first)
    assert isinstance(put(store, buffer.getvalue()), Duplicate)


def test_other_bytes_under_one_uid_are_kept_aside_and_the_first_stays(store: ObjectStore) -> None:
    first, other = made_object("1.2.3.4", study="1.2"), made_object("1.2.3.4", study="1.2", pixels=512)
    stored = put(store, first)
    for outcome in (put(store, other), put(store, other)):
        assert isinstance(outcome, Conflict)
        assert outcome.object == stored.object
        aside = outcome.aside
        assert (store.folder / aside).read_bytes() == other
    assert store.path_of(stored.object).read_bytes() == first
    assert store.index.conflicts_of(StudyKey("1.2")) == (aside,)
    assert len(files(store.folder)) == 2
    assert [path.name for path in files(store.folder / "studies")] == [stored.object.path.name]


@pytest.mark.parametrize("transfer_syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_every_encoding_is_stored_as_it_came(store: ObjectStore, transfer_syntax: str) -> None:
    data = made_object("1.2.3.4", transfer_syntax=transfer_syntax)
    outcome = put(store, data)
    assert outcome.object.transfer_syntax_uid == transfer_syntax
    assert store.path_of(outcome.object).read_bytes() == data


def test_uids_behind_a_long_sequence_of_undefined_length_are_found(store: ObjectStore) -> None:
    reference = pydicom.Dataset()
    reference.ReferencedSOPInstanceUID = "1.2.3.5"
    reference.is_undefined_length_sequence_item = True
    data = pydicom.dcmread(io.BytesIO(made_object("1.2.3.4", study="1.2")))
    data.ReferencedImageSequence = [reference] * 5000
    data["ReferencedImageSequence"].is_undefined_length = True
    buffer = io.BytesIO()
    data.save_as(buffer)
    assert put(store, buffer.getvalue()).object.study_instance_uid == "1.2"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no DICOM at all",
        made_object("1.2.3.4")[:300],
        made_object("1.2.3.4", study=""),
        made_object("1.2.3.4", study=".."),
        made_object("1.2.3.4", study="../../etc"),
        made_object("1.2.3.4", series="1.2/3"),
        made_object("1.2..3"),
    ],
    ids=["empty", "text", "cut off", "no study", "the folder above", "a path as study", "a path as series", "no UID"],
)
def test_what_is_no_object_of_a_study_is_refused_and_leaves_nothing(store: ObjectStore, data: bytes) -> None:
    with pytest.raises(NotStorableError):
        put(store, data)
    assert [path for path in store.folder.rglob("*") if path.is_file() and path.name != ".lock"] == []
    assert store.index.count() == 0


def test_an_object_and_a_study_have_a_largest_size(tmp_path: Path, database: Engine) -> None:
    limits = StoreLimits(max_object_bytes=4096, max_objects_of_study=3)
    with ObjectStore(tmp_path / "objects", database, limits) as store:
        with pytest.raises(TooLargeError):
            put(store, made_object(pixels=8192))
        for number in range(3):
            put(store, made_object(f"1.2.{number}", study="1.9"))
        with pytest.raises(TooLargeError):
            put(store, made_object("1.2.3", study="1.9"))
        assert isinstance(put(store, made_object("1.2.4", study="1.10")), Stored)


def test_nothing_is_taken_while_the_disk_is_nearly_full(
    store: ObjectStore, tmp_path: Path, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 1000
    monkeypatch.setattr(store.space, "_reserve", 1000)
    monkeypatch.setattr(store.space, "free_bytes", lambda: free)
    put(store, made_object())
    free = 999
    with pytest.raises(StoreUnavailableError, match="full"):
        put(store, made_object())
    free = 1050  # room enough only when a tenth more is free
    with pytest.raises(StoreUnavailableError, match="full"):
        put(store, made_object())
    free = 1100
    assert isinstance(put(store, made_object()), Stored)


LIMITED = """
import io, resource, sys
from pathlib import Path
from gateway.database import create_tables, open_database
from gateway.objects.store import ObjectStore
from gateway.objects.reception import ObjectOrigin
from gateway.objects.errors import StoreUnavailableError
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.dont_write_bytecode = True
engine = open_database("sqlite:///" + sys.argv[1] + "/gateway.sqlite"); create_tables(engine)
store = ObjectStore(Path(sys.argv[1]) / "objects", engine)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.put(io.BytesIO(Path(sys.argv[2]).read_bytes()), ObjectOrigin("pacs", "dimse"))
except StoreUnavailableError as error:
    print(error.reason, sorted(p.name for p in store.folder.rglob("*") if p.is_file()))
"""


def test_a_write_error_is_told_and_leaves_nothing_half_written(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "large.dcm").write_bytes(made_object(pixels=400_000))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), str(tmp_path / "large.dcm")],
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "the disk is full ['.lock']"


def test_a_database_that_is_gone_stops_the_taking_and_its_return_resumes_it(store: ObjectStore) -> None:
    with store.index.engine.begin() as connection:
        connection.execute(text("ALTER TABLE objects RENAME TO gone"))
    data = made_object("1.2.3.4")
    with pytest.raises(StoreUnavailableError, match="database"):
        put(store, data)
    with store.index.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO objects"))
    outcome = put(store, data)
    assert isinstance(outcome, Stored)
    assert store.path_of(outcome.object).read_bytes() == data


def test_many_threads_store_every_object_once(store: ObjectStore) -> None:
    """Each object comes three times, from eight threads, among them two that claim one UID."""
    made = [made_object(f"1.2.3.{number}", study=f"1.2.{number % 3}") for number in range(40)]
    made.append(made_object("1.2.3.0", study="1.2.0", pixels=512))
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda data: put(store, data), made * 3))
    kinds = Counter(type(outcome).__name__ for outcome in outcomes)
    assert kinds == {"Stored": 40, "Duplicate": 80, "Conflict": 3}
    assert store.index.count() == 40
    for study in store.index.studies():
        for found in store.objects_of(study):
            assert store.path_of(found).read_bytes() in made
    assert list(store.missing_files()) == []
    assert sum(row.revision for row in store.index.due(utc_now())) == 40


def test_an_object_that_comes_again_never_replaces_the_file_that_is_safe(store: ObjectStore) -> None:
    """A replaced file would be lost by a power cut before the new one is synced."""
    first = put(store, made_object("1.2.3.1"))
    inode = store.path_of(first.object).stat().st_ino
    put(store, made_object("1.2.3.1"))
    assert store.path_of(first.object).stat().st_ino == inode


def test_a_purged_study_leaves_no_file_and_no_row(store: ObjectStore) -> None:
    put(store, made_object("1.2.3.4", study="1.2"))
    put(store, made_object("1.2.3.4", study="1.2", pixels=512))
    kept = put(store, made_object("1.2.3.5", study="1.3"))
    assert store.purge(StudyKey("1.2")) == 1
    assert store.index.studies() == (StudyKey("1.3"),)
    assert files(store.folder) == [store.path_of(kept.object)]
    assert isinstance(put(store, made_object("1.2.3.4", study="1.2")), Stored)


def test_a_runs_folder_keeps_what_was_there_when_it_was_made(store: ObjectStore, tmp_path: Path) -> None:
    data = made_object("1.2.3.4", study="1.2")
    put(store, data)
    store.link_into(tmp_path / "run", store.objects_of(StudyKey("1.2")))
    put(store, made_object("1.2.3.5", study="1.2"))
    store.purge(StudyKey("1.2"))
    assert [path.read_bytes() for path in files(tmp_path / "run")] == [data]


def test_a_study_is_due_until_its_newest_revision_was_judged(store: ObjectStore) -> None:
    study = StudyKey("1.2")
    put(store, made_object("1.2.3.4", study="1.2"))
    (row,) = store.index.due(utc_now())
    assert (row.study, row.revision, row.judged_revision) == (study, 1, 0)
    put(store, made_object("1.2.3.5", study="1.2"))
    store.index.judged(study, row.revision, None)  # of what was there before
    (again,) = store.index.due(row.last_received_at)
    assert again.revision == 2
    store.index.judged(study, again.revision, None)
    assert store.index.due(again.last_received_at) == ()


def test_a_study_does_not_wait_for_a_clock_that_stepped_back(store: ObjectStore) -> None:
    put(store, made_object("1.2.3.1", study="1.2"))
    (row,) = store.index.due(utc_now())
    store.index.longest_wait = timedelta(minutes=10)
    store.index.judged(row.study, row.revision, utc_now() + timedelta(minutes=5))
    assert store.index.due(utc_now()) == ()
    assert [one.study for one in store.index.due(utc_now() - timedelta(hours=1))] == [row.study]


def test_a_studys_limit_holds_over_all_processes_that_receive_and_over_a_restart(
    tmp_path: Path, database: Engine
) -> None:
    """Two stores on one folder and one database are what two receivers have."""
    limits, study = StoreLimits(max_objects_of_study=5), StudyKey("1.9")

    def tried(store: ObjectStore, number: int) -> PutOutcome | TooLargeError:
        try:
            return put(store, made_object(f"1.2.{number}", study="1.9"))
        except TooLargeError as error:
            return error

    with ObjectStore(tmp_path / "objects", database, limits) as one, ThreadPoolExecutor(8) as threads:
        with ObjectStore(tmp_path / "objects", database, limits) as other:
            outcomes = list(threads.map(lambda number: tried((one, other)[number % 2], number), range(12)))
        assert Counter(type(outcome) for outcome in outcomes) == {Stored: 5, TooLargeError: 7}
        kept = one.objects_of(study)
        assert files(tmp_path / "objects") == sorted(one.path_of(stored) for stored in kept)
        row = one.index.study_row(study)
        assert row is not None
        assert row.revision == 5, "what is refused makes no study due"
    with ObjectStore(tmp_path / "objects", database, limits) as again:
        assert isinstance(tried(again, 99), TooLargeError)
        number = int(kept[0].sop_instance_uid.rpartition(".")[2])
        assert isinstance(tried(again, number), Duplicate), "what is safe is said to be safe"
        again.purge(study)
        assert isinstance(tried(again, 99), Stored)


def test_of_objects_that_come_together_the_limit_refuses_only_those_beyond_it(tmp_path: Path, database: Engine) -> None:
    with ObjectStore(tmp_path / "objects", database, StoreLimits(max_objects_of_study=2)) as store:
        objects = [put(store, made_object(f"1.2.{number}", study=f"1.{number}")).object for number in range(4)]
        for stored in objects:
            store.index.forget(stored.study)
        together = [replace(stored, study_instance_uid="1.9") for stored in objects[:3]] + objects[3:]
        assert not store.index.add(together, (), 2)
        assert set(store.index.add_each(together, (), 2).values()) == {*together[:2], together[3]}
        assert store.index.count() == 3


def test_what_was_acknowledged_under_a_higher_limit_is_taken_in_again(tmp_path: Path, database: Engine) -> None:
    with ObjectStore(tmp_path / "objects", database) as store:
        for number in range(3):
            put(store, made_object(f"1.2.{number}", study="1.9"))
        kept = store.objects_of(StudyKey("1.9"))
        store.index.forget(StudyKey("1.9"))
    with ObjectStore(tmp_path / "objects", database, StoreLimits(max_objects_of_study=1)) as store:
        for stored in kept:
            assert isinstance(store.take_in(stored), Stored)
        assert store.objects_of(StudyKey("1.9")) == kept
