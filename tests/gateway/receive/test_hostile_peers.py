"""Peers that are silent, hang up, or send what is no DICOM: they get nothing, and nobody else waits for them."""

from __future__ import annotations

import struct
import time
from contextlib import ExitStack

import pytest

from gateway.objects.store import ObjectStore
from tests.gateway.made_objects import made_object
from tests.gateway.receive.certificates import Certificates
from tests.gateway.receive.conftest import Listen
from tests.gateway.receive.conversations import (
    connected,
    conversation,
    mutate_conversations,
    p_data,
    pdus,
    read_all,
    request_pdu,
    store_request,
)
from tests.gateway.receive.senders import associated, send, sender_context, tls_settings
from tests.waiting import PATIENCE_S, until

ABORT = b"\x07"


def test_the_conversation_of_these_tests_is_one(listen: Listen, store: ObjectStore) -> None:
    with connected(listen()) as connection:
        connection.sendall(b"".join(conversation()))
        assert [pdu[0] for pdu in pdus(read_all(connection))] == [2, 4, 6]
    assert store.index.count() == 1


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "TLS"])
def test_silent_clients_harm_nobody(listen: Listen, certificates: Certificates, with_tls: bool) -> None:
    """In pynetdicom 3.0.4 one client that connects to a port with TLS and is silent blocks the whole server."""
    settings = {"tls": tls_settings(certificates)} if with_tls else {}
    listener = listen(limits={"handshake_seconds": PATIENCE_S}, **settings)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connected(listener))
        until(lambda: listener.connections == 20)
        context = sender_context(certificates, "client") if with_tls else None
        with associated(listener, tls=context) as association:
            assert send(association, made_object()) == 0


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "TLS"])
def test_silent_clients_are_hung_up_on(listen: Listen, certificates: Certificates, with_tls: bool) -> None:
    settings = {"tls": tls_settings(certificates)} if with_tls else {}
    listener = listen(limits={"handshake_seconds": 0.2}, **settings)
    with ExitStack() as stack:
        for client in [stack.enter_context(connected(listener)) for _ in range(20)]:
            assert read_all(client)[:1] in (b"", ABORT)
        until(lambda: listener.connections == 0)


def test_the_connection_that_was_silent_for_the_longest_time_gives_way_at_the_limit(listen: Listen) -> None:
    listener = listen(limits={"connections": 3, "handshake_seconds": PATIENCE_S})
    with connected(listener) as first, connected(listener), connected(listener):
        until(lambda: listener.connections == 3)
        with associated(listener) as association:
            assert association.is_established
            assert read_all(first) == b""
            assert listener.connections == 3


def test_connections_beyond_the_limit_are_closed_where_all_others_are_associations(listen: Listen) -> None:
    listener = listen(limits={"connections": 2})
    with associated(listener), associated(listener):
        with connected(listener) as third:
            assert read_all(third) == b""
        assert listener.associations == 2
    until(lambda: listener.connections == 0)
    with associated(listener) as association:
        assert association.is_established


def test_probes_that_connect_and_hang_up_cost_nothing(listen: Listen) -> None:
    listener = listen()
    for _ in range(200):
        with connected(listener):
            pass
    until(lambda: listener.connections == 0)
    with associated(listener) as association:
        assert association.send_c_echo().Status == 0


def test_a_sender_that_falls_silent_within_an_object_is_ended_and_leaves_nothing(
    listen: Listen, store: ObjectStore
) -> None:
    listener = listen(limits={"idle_seconds": 0.2})
    with connected(listener) as connection:
        connection.sendall(b"".join(conversation()[:3]))
        assert [pdu[0] for pdu in pdus(read_all(connection))] == [2, 7]
    until(lambda: listener.connections == 0)
    assert [path for path in store.folder.rglob("*") if path.is_file() and path.name != ".lock"] == []


def test_a_sender_that_trickles_is_ended_when_the_objects_time_is_up(listen: Listen, store: ObjectStore) -> None:
    listener = listen(limits={"object_seconds": 0.5})
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


@pytest.mark.parametrize("seed", range(4))
def test_mutated_conversations_end_and_the_gateway_goes_on(listen: Listen, store: ObjectStore, seed: int) -> None:
    """No thread dies of an error that nobody foresaw, no connection stays, memory does not grow. The peer says when it has no more to say."""
    listener = listen()
    found = mutate_conversations(listener, 120, seed)
    assert found.unforeseen == ()
    assert found.grown_kib < 64 * 1024
    with associated(listener) as association:
        assert send(association, made_object("1.9.9")) == 0
    assert list(store.missing_files()) == []
