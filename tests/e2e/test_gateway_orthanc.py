"""A real Orthanc as a source of the gateway: what is stored there is fetched once, from where it stopped."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from sqlalchemy import Engine

import gateway.objects.tables
import gateway.receive.orthanc  # noqa: F401 - their tables are made
from gateway.clock import utc_now
from gateway.database import create_tables, open_database
from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.peers.failures import PeerError, PeerFailure
from gateway.receive.orthanc import OrthancChanges
from gateway.receive.settings import OrthancSource
from gateway.records import StudyKey
from tests.e2e.pacs import Pacs
from tests.gateway.made_objects import made_object
from tests.ports import LOOPBACK, free_port

pytestmark = [pytest.mark.xdist_group("pacs")]
PET = "1.2.840.10008.5.1.4.1.1.128"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(made)
    yield made
    made.dispose()


@pytest.fixture
def store(tmp_path: Path, engine: Engine) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "objects", engine) as made:
        yield made


def upload(pacs: Pacs, data: bytes) -> None:
    request = urllib.request.Request(f"http://{LOOPBACK}:{pacs.http_port}/instances", data=data, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["Status"] in ("Success", "AlreadyStored")


def source(pacs: Pacs, *, from_now: bool = False) -> OrthancSource:
    return OrthancSource(name="orthanc", url=f"http://{LOOPBACK}:{pacs.http_port}", from_now=from_now)


def look_until_done(changes: OrthancChanges) -> None:
    while changes.look():
        pass


def test_what_is_stored_there_is_fetched_byte_for_byte_once_and_from_where_it_stopped(
    pacs: Pacs, store: ObjectStore, engine: Engine
) -> None:
    in_flight = InFlight(engine)
    look_until_done(OrthancChanges(source(pacs), store, in_flight))
    before = store.index.count()
    for number in range(130):  # more than a page of changes
        upload(pacs, made_object(f"1.2.840.99.{number}", study="1.2.840.99"))
    upload(pacs, made_object("1.2.840.99.500", study="1.2.840.99", sop_class=PET))
    changes = OrthancChanges(source(pacs), store, in_flight)
    assert changes.look()  # there is another page
    assert in_flight.count(StudyKey("1.2.840.99"), utc_now()) == 1
    look_until_done(OrthancChanges(source(pacs), store, in_flight))  # as after a restart
    assert in_flight.count(StudyKey("1.2.840.99"), utc_now()) == 0
    fetched = store.objects_of(StudyKey("1.2.840.99"))
    assert {stored.sop_instance_uid for stored in fetched} == {f"1.2.840.99.{number}" for number in range(130)}
    assert store.index.count() == before + 130
    for stored in fetched[:5]:
        there = pydicom.dcmread(io.BytesIO(pacs.file(stored.sop_instance_uid)))
        assert pydicom.dcmread(store.path_of(stored)) == there
    assert {stored.source for stored in fetched} == {"orthanc"}


def test_what_was_there_before_the_first_start_is_passed_over_where_so_set(
    pacs: Pacs, store: ObjectStore, engine: Engine
) -> None:
    upload(pacs, made_object("1.2.840.98.1", study="1.2.840.98"))
    changes = OrthancChanges(source(pacs, from_now=True), store, InFlight(engine))
    look_until_done(changes)
    assert store.index.count() == 0
    upload(pacs, made_object("1.2.840.98.2", study="1.2.840.98"))
    look_until_done(changes)
    assert [stored.sop_instance_uid for stored in store.objects_of(StudyKey("1.2.840.98"))] == ["1.2.840.98.2"]


def test_an_orthanc_that_is_down_is_told_and_nothing_is_lost(pacs: Pacs, store: ObjectStore, engine: Engine) -> None:
    down = OrthancSource(name="orthanc", url=f"http://{LOOPBACK}:{free_port()}", from_now=False)
    with pytest.raises(PeerError) as raised:
        OrthancChanges(down, store, InFlight(engine)).look()
    assert raised.value.failure is PeerFailure.UNREACHABLE
