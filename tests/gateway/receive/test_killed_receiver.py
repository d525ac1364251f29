"""A receiver that is killed: every object of which a sender was told that it is stored is there, byte for byte, after a restart."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from gateway.database import open_database
from gateway.objects.recovery import recover_objects
from gateway.objects.store import ObjectStore
from gateway.records import StudyKey
from tests.gateway.made_objects import made_object
from tests.gateway.receive.senders import data_set
from tests.waiting import PATIENCE_S

RECEIVER = """
import sys, threading
from pathlib import Path
import gateway.objects.tables
from gateway.database import create_tables, open_database
from gateway.objects.in_flight import InFlight
from gateway.objects.recovery import recover_objects
from gateway.objects.store import ObjectStore
from gateway.receive.listener import DimseListener
from gateway.receive.settings import DimseSource
folder = Path(sys.argv[1])
engine = open_database(f"sqlite:///{folder / 'gateway.sqlite'}")
create_tables(engine)
store = ObjectStore(folder / "objects", engine)
recover_objects(store)
listener = DimseListener(DimseSource(name="pacs", port=0), store, InFlight(engine))
listener.start()
print(listener.port, flush=True)
threading.Event().wait()
"""


@contextmanager
def receiver(folder: Path, repository: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    with subprocess.Popen(
        [sys.executable, "-c", RECEIVER, str(folder)],
        env={**os.environ, "PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def send_until_it_ends(port: int, objects: dict[str, bytes], told: set[str]) -> None:
    """Send objects over one association, and note those of which success was said."""
    entity = AE(ae_title="SENDER")
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = PATIENCE_S
    association = entity.associate("127.0.0.1", port, ae_title="PDL1ES")
    for uid, data in objects.items():
        if not association.is_established:
            return
        try:
            status = association.send_c_store(pydicom.dcmread(io.BytesIO(data)))
        except (RuntimeError, ValueError):  # the association ended meanwhile
            return
        if "Status" in status and status.Status == 0:
            told.add(uid)
    association.abort()


@pytest.mark.parametrize("seed", range(2))
def test_what_senders_were_told_is_there_after_kills(tmp_path: Path, repository: Path, seed: int) -> None:
    chance = random.Random(seed)
    objects = {
        f"1.2.{seed}.{n}": made_object(f"1.2.{seed}.{n}", study=f"1.2.{n % 3}", pixels=65_536) for n in range(90)
    }
    told: set[str] = set()
    for _ in range(2):
        with receiver(tmp_path, repository) as (process, port):
            left = [uid for uid in objects if uid not in told]
            senders = [
                threading.Thread(
                    target=send_until_it_ends, args=(port, {uid: objects[uid] for uid in left[part::3]}, told)
                )
                for part in range(3)
            ]
            for sender in senders:
                sender.start()
            enough = len(told) + chance.randint(1, 20)
            while len(told) < enough and any(sender.is_alive() for sender in senders):
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.02))
            process.kill()
            for sender in senders:
                sender.join()
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    with ObjectStore(tmp_path / "objects", engine) as store:
        unknown = recover_objects(store).unknown
        there = {
            stored.sop_instance_uid: store.path_of(stored).read_bytes()
            for number in range(3)
            for stored in store.objects_of(StudyKey(f"1.2.{number}"))
        }
        assert len(told) >= 2
        assert told <= there.keys()
        assert all(data_set(data) == data_set(objects[uid]) for uid, data in there.items())
        assert len(list((tmp_path / "objects" / "studies").rglob("*.dcm"))) == len(there) + unknown
        assert [
            path for path in (tmp_path / "objects" / "incoming").rglob("*") if path.is_file() and path.name != ".lock"
        ] == []
    engine.dispose()
