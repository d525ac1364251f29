"""A receiver that is killed: every object of which a sender was told that it is stored is there, byte for byte, after a restart."""

from __future__ import annotations

import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import pytest

from gateway.database import open_database
from gateway.objects.recovery import recover_objects
from gateway.objects.store import ObjectStore
from gateway.records import StudyKey
from tests.gateway.made_objects import made_object
from tests.gateway.receive.conversations import p_data, request_pdu, store_request
from tests.gateway.receive.senders import data_set
from tests.ports import LOOPBACK
from tests.waiting import PATIENCE_S

SUCCESS: Final = bytes.fromhex("00000009020000000000")
"""Status (0000,0900) of 0x0000 in a command set."""

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


def read_pdu(stream: BinaryIO) -> bytes:
    """The next PDU; nothing where the receiver has ended."""
    head = stream.read(6)
    if len(head) < 6:
        return b""
    (length,) = struct.unpack(">L", head[2:])
    body = stream.read(length)
    return head + body if len(body) == length else b""


def send_until_it_ends(port: int, objects: dict[str, bytes], told: set[str]) -> None:
    """Send objects over one association, and note those of which success was said.

    PDU by PDU: pynetdicom waits for an answer to its time-out's end though the connection has broken.
    """
    with (
        suppress(OSError),
        socket.create_connection((LOOPBACK, port), PATIENCE_S) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(request_pdu())
        read_pdu(stream)
        for uid, data in objects.items():
            command = p_data(store_request(uid), command=True, last=True)
            connection.sendall(command + p_data(data_set(data), command=False, last=True))
            answer = read_pdu(stream)
            if not answer:
                return
            if SUCCESS in answer:
                told.add(uid)


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
