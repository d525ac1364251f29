"""Peers that are silent, hang up, or send what is no DICOM: they get nothing, and nobody else waits for them."""

from __future__ import annotations

import random
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

from gateway.objects.store import ObjectStore
from gateway.receive.commands import Command, response
from gateway.receive.listener import DimseListener
from tests.gateway.made_objects import made_object
from tests.gateway.receive.certificates import Certificates
from tests.gateway.receive.conftest import Listen
from tests.gateway.receive.test_dimse import associated, await_true, send, sender_context, tls_settings


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
    with socket.create_connection(("127.0.0.1", listener.port), 20) as made:
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


def test_the_conversation_of_these_tests_is_one(listen: Listen, store: ObjectStore) -> None:
    with connected(listen()) as connection:
        connection.sendall(b"".join(conversation()))
        assert [pdu[0] for pdu in pdus(read_all(connection))] == [2, 4, 6]
    assert store.index.count() == 1


def pdus(data: bytes) -> list[bytes]:
    found = []
    while data:
        (length,) = struct.unpack(">L", data[2:6])
        found.append(data[: 6 + length])
        data = data[6 + length :]
    return found


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "TLS"])
def test_silent_clients_harm_nobody(listen: Listen, certificates: Certificates, with_tls: bool) -> None:
    """In pynetdicom 3.0.4 one client that connects to a port with TLS and is silent blocks the whole server."""
    settings = {"tls": tls_settings(certificates)} if with_tls else {}
    listener = listen(limits={"handshake_seconds": 2}, **settings)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connected(listener))
        await_true(lambda: listener.connections == 20)
        context = sender_context(certificates, "client") if with_tls else None
        with associated(listener, tls=context) as association:
            assert send(association, made_object()) == 0
        await_true(lambda: listener.connections == 0)  # though they are silent still


def test_connections_beyond_the_limit_are_closed_and_senders_come_in_again_when_those_are_gone(listen: Listen) -> None:
    listener = listen(limits={"connections": 3, "handshake_seconds": 1})
    with connected(listener), connected(listener), connected(listener):
        await_true(lambda: listener.connections == 3)
        with connected(listener) as fourth:
            assert read_all(fourth) == b""
        await_true(lambda: listener.connections == 0)
        with associated(listener) as association:
            assert association.is_established


def test_probes_that_connect_and_hang_up_cost_nothing(listen: Listen) -> None:
    listener = listen()
    for _ in range(200):
        with connected(listener):
            pass
    await_true(lambda: listener.connections == 0)
    with associated(listener) as association:
        assert association.send_c_echo().Status == 0


def test_a_sender_that_falls_silent_within_an_object_is_ended_and_leaves_nothing(
    listen: Listen, store: ObjectStore
) -> None:
    listener = listen(limits={"idle_seconds": 0.5})
    with connected(listener) as connection:
        connection.sendall(b"".join(conversation()[:3]))
        assert [pdu[0] for pdu in pdus(read_all(connection))] == [2, 7]
    await_true(lambda: listener.connections == 0)
    assert [path for path in store.folder.rglob("*") if path.is_file() and path.name != ".lock"] == []


def test_a_sender_that_trickles_is_ended_when_the_objects_time_is_up(listen: Listen, store: ObjectStore) -> None:
    listener = listen(limits={"object_seconds": 1})
    with connected(listener) as connection:
        connection.sendall(b"".join(conversation()[:2]))
        connection.recv(65536)
        last = conversation()[2]  # of 3000 bytes: at this pace it would take more than two minutes
        sent = 0
        try:
            for at in range(len(last)):
                connection.sendall(last[at : at + 1])
                sent += 1
                time.sleep(0.05)
        except OSError:
            pass  # the gateway hung up
    assert 0 < sent < len(last)
    assert store.index.count() == 0


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ([b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n"], [7]),
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)], [7]),
        ([struct.pack(">BBL", 1, 0, 0xFFFFFFFF)], [7]),
        ([struct.pack(">BBL", 1, 0, 10) + bytes(10)], [7]),
        ([struct.pack(">BBL", 4, 0, 6) + bytes(6)], [7]),
        ([request_pdu(), struct.pack(">BBL", 4, 0, 0xFFFFFFF0)], [2, 7]),
        ([request_pdu(), request_pdu()], [2, 7]),
        ([request_pdu(), p_data(b"", command=False, last=True)], [2, 7]),
        ([request_pdu(), p_data(bytes(20), command=True, last=True)], [2, 7]),
        ([request_pdu(), p_data(store_request("1.2"), command=True, last=True, context=9)], [2, 7]),
        ([request_pdu(), *[p_data(bytes(16000), command=True, last=False)] * 3], [2, 7]),
        ([request_pdu(), struct.pack(">BBLLBB", 4, 0, 6, 1, 1, 3)], [2, 7]),
        ([request_pdu(), *conversation()[1:3], struct.pack(">BBL", 5, 0, 4) + bytes(4)], [2, 7]),
        ([request_pdu(), struct.pack(">BBL", 7, 0, 4) + bytes(4)], [2]),
    ],
    ids=[
        "HTTP", "TLS on a plain port", "4 GiB request", "empty request", "data before a request", "4 GiB of data", "two requests",
        "data before a command", "no command", "unknown context", "endless command", "empty value", "release within an object",
        "abort",
    ],
)  # fmt: skip
def test_what_is_no_dicom_is_aborted(
    listen: Listen, store: ObjectStore, sent: list[bytes], answered: list[int]
) -> None:
    listener = listen()
    with connected(listener) as connection:
        try:
            for data in sent:
                connection.sendall(data)
        except OSError:
            pass  # it closed before everything was sent
        assert [pdu[0] for pdu in pdus(read_all(connection))] in (answered, answered[:-1])
    with associated(listener) as association:
        assert send(association, made_object("1.2.3.4")) == 0
    assert store.index.count() == 1


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


@pytest.mark.parametrize("seed", range(4))
def test_mutated_conversations_end_and_the_gateway_goes_on(listen: Listen, store: ObjectStore, seed: int) -> None:
    """No thread dies of an error that nobody foresaw, no connection stays, memory does not grow."""
    failed: list[threading.ExceptHookArgs] = []
    before = threading.excepthook
    threading.excepthook = failed.append
    listener = listen(limits={"idle_seconds": 0.2, "handshake_seconds": 0.2})
    chance = random.Random(seed)
    try:
        peak = 0
        for number in range(120):
            if number == 20:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with connected(listener) as connection:
                whole = conversation(f"1.2.{seed}.{number}")
                broken = chance.randrange(len(whole))
                try:
                    for at, data in enumerate(whole):
                        connection.sendall(mutated(data, chance) if at == broken else data)
                    connection.shutdown(socket.SHUT_WR)
                    read_all(connection)
                except OSError:
                    pass  # the gateway hung up first
        await_true(lambda: listener.connections == 0)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 64 * 1024  # KiB
        with associated(listener) as association:
            assert send(association, made_object("1.9.9")) == 0
    finally:
        threading.excepthook = before
    assert failed == []
    assert list(store.missing_files()) == []
