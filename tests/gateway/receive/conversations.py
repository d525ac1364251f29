"""Conversations as bytes: what a sender says PDU by PDU, and mutations of it."""

from __future__ import annotations

import random
import resource
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom.uid import CTImageStorage
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

from gateway.receive.commands import Command, response
from gateway.receive.listener import DimseListener
from tests.gateway.made_objects import made_object
from tests.waiting import PATIENCE_S, until


def request_pdu(calling: str = "SENDER", called: str = "PDL1ES") -> bytes:
    """An A-ASSOCIATE-RQ for CT images and C-ECHO, as pynetdicom writes it."""
    made = A_ASSOCIATE()
    made.application_context_name = "1.2.840.10008.3.1.1.1"
    made.calling_ae_title, made.called_ae_title = calling, called
    contexts = [build_context(CTImageStorage, "1.2.840.10008.1.2.1"), build_context("1.2.840.10008.1.1")]
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    made.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16382
    implementation.implementation_class_uid = "1.2.3"
    made.user_information = [length, implementation]
    return bytes(A_ASSOCIATE_RQ(made).encode())


def store_request(uid: str) -> bytes:
    """The command set of a C-STORE-RQ: a response's with another field."""
    command = response(Command(0x0001, 1, CTImageStorage, uid, True), 0)
    return command.replace(
        b"\x00\x00\x00\x01\x02\x00\x00\x00\x01\x80", b"\x00\x00\x00\x01\x02\x00\x00\x00\x01\x00"
    ).replace(b"\x00\x00\x00\x08\x02\x00\x00\x00\x01\x01", b"\x00\x00\x00\x08\x02\x00\x00\x00\x01\x00")


def p_data(data: bytes, *, command: bool, last: bool, context: int = 1) -> bytes:
    item = struct.pack(">LBB", len(data) + 2, context, (1 if command else 0) | (2 if last else 0)) + data
    return struct.pack(">BBL", 4, 0, len(item)) + item


def conversation(uid: str = "1.2.3.4") -> list[bytes]:
    """The PDUs of a sender that stores one object and releases."""
    data_set = made_object(uid, study="1.2", pixels=4096)
    data_set = data_set[data_set.index(b"\x08\x00\x16\x00UI", 132 + 100) :]
    return [
        request_pdu(),
        p_data(store_request(uid), command=True, last=True),
        p_data(data_set[:3000], command=False, last=False),
        p_data(data_set[3000:], command=False, last=True),
        struct.pack(">BBL", 5, 0, 4) + b"\0\0\0\0",
    ]


@contextmanager
def connected(listener: DimseListener) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", listener.port), PATIENCE_S) as made:
        yield made


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the gateway closes the connection."""
    found = b""
    try:
        while data := connection.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


def pdus(data: bytes) -> list[bytes]:
    found = []
    while data:
        (length,) = struct.unpack(">L", data[2:6])
        found.append(data[: 6 + length])
        data = data[6 + length :]
    return found


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with a few of them changed, removed, repeated or cut off."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(made))
        match chance.randrange(5):
            case 0:
                made[at] = chance.randrange(256)
            case 1:
                del made[at : at + chance.randint(1, 40)]
            case 2:
                made[at:at] = made[at : at + chance.randint(1, 40)]
            case 3:
                made[at : at + 4] = struct.pack(">L", chance.choice([0, 1, 2**16, 2**31, 2**32 - 1]))
            case 4:
                del made[at:]
        made = made or bytearray(b"\0")
    return bytes(made)


@dataclass(frozen=True)
class Mutations:
    """What came of mutated conversations.

    Attributes
    ----------
    unforeseen
        Errors that ended a thread of the gateway.
    grown_kib
        How much the process grew after the first twenty, KiB.
    """

    unforeseen: tuple[str, ...]
    grown_kib: int


def mutate_conversations(listener: DimseListener, count: int, seed: int) -> Mutations:
    """Hold conversations of which one PDU each is mutated, and wait until the gateway has ended all of them."""
    failed: list[str] = []
    before = threading.excepthook
    threading.excepthook = lambda found: failed.append(repr(found.exc_value))
    chance, peak = random.Random(seed), 0
    try:
        for number in range(count):
            if number == 20:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            whole = conversation(f"1.2.{seed}.{number}")
            broken = chance.randrange(len(whole))
            try:
                with connected(listener) as connection:
                    for at, data in enumerate(whole):
                        connection.sendall(mutated(data, chance) if at == broken else data)
                    connection.shutdown(socket.SHUT_WR)
                    read_all(connection)
            except OSError:
                pass  # the gateway hung up first
        until(lambda: listener.connections == 0)
    finally:
        threading.excepthook = before
    return Mutations(tuple(failed), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)
