"""A port with TLS under attack: who has no valid certificate gets nothing, and who begins a handshake and stops harms nobody."""

from __future__ import annotations

import ssl
import warnings
from contextlib import ExitStack

import pytest

from gateway.objects.store import ObjectStore
from tests.gateway.made_objects import made_object
from tests.gateway.receive.certificates import Certificates
from tests.gateway.receive.conftest import Listen
from tests.gateway.receive.conversations import connected, read_all
from tests.gateway.receive.senders import associated, send, sender_context, tls_settings
from tests.waiting import PATIENCE_S, until

ATTACKERS = 200


def client_hello(context: ssl.SSLContext) -> bytes:
    """The first message of a handshake."""
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="127.0.0.1").do_handshake()
    return out.read()


@pytest.mark.parametrize("name", [None, "stranger", "impostor", "expired", "purpose"])
def test_a_sender_without_a_valid_certificate_is_refused_and_counted(
    listen: Listen, certificates: Certificates, name: str | None
) -> None:
    listener = listen(tls=tls_settings(certificates))
    with associated(listener, tls=sender_context(certificates, name)) as association:
        assert not association.is_established
    until(lambda: listener.outcomes["failed_handshakes"] == 1)
    with associated(listener, tls=sender_context(certificates, "client")) as association:
        assert association.is_established


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_a_sender_with_a_version_of_tls_before_1_2_is_refused(
    listen: Listen, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = sender_context(certificates, "client")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    listener = listen(tls=tls_settings(certificates))
    with connected(listener) as connection, pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        context.wrap_socket(connection, server_hostname="127.0.0.1")
    until(lambda: listener.outcomes["failed_handshakes"] == 1)


def test_a_sender_without_tls_is_refused(listen: Listen, certificates: Certificates) -> None:
    with associated(listen(tls=tls_settings(certificates), limits={"handshake_seconds": 0.3})) as association:
        assert not association.is_established


def test_clients_that_stop_within_the_handshake_keep_no_sender_out(
    listen: Listen, store: ObjectStore, certificates: Certificates
) -> None:
    """More of them than connections are allowed, and each would be waited for longer than the sender waits."""
    listener = listen(tls=tls_settings(certificates), limits={"handshake_seconds": 10 * PATIENCE_S})
    hello = client_hello(sender_context(certificates, "client"))
    beginnings = (b"", hello[:3], hello[: len(hello) // 2], hello)
    with ExitStack() as stack:
        for number in range(ATTACKERS):
            attacker = stack.enter_context(connected(listener))
            attacker.sendall(beginnings[number % len(beginnings)])
            if number == ATTACKERS // 2:
                early = stack.enter_context(associated(listener, tls=sender_context(certificates, "client")))
        with associated(listener, tls=sender_context(certificates, "client")) as late:
            for number, association in enumerate((early, late)):
                assert send(association, made_object(f"1.2.3.{number}")) == 0
    assert store.index.count() == 2
    until(lambda: listener.connections == 0)


def test_a_client_that_is_slow_within_the_handshake_is_hung_up_on(listen: Listen, certificates: Certificates) -> None:
    """The time is that of the whole handshake, not of each silence in it."""
    listener = listen(tls=tls_settings(certificates), limits={"handshake_seconds": 0.5})
    hello = client_hello(sender_context(certificates, "client"))
    sent = 0
    with connected(listener) as connection:
        connection.settimeout(0.05)
        for sent in range(len(hello)):  # at this pace it would take more than ten seconds
            try:
                connection.sendall(hello[sent : sent + 1])
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    assert 0 < sent < len(hello) - 1
    until(lambda: listener.connections == 0)


def test_a_stop_waits_for_no_handshake(listen: Listen, certificates: Certificates) -> None:
    listener = listen(tls=tls_settings(certificates), limits={"handshake_seconds": 3600})
    with connected(listener) as silent:
        until(lambda: listener.connections == 1)
        silent.sendall(client_hello(sender_context(certificates, "client"))[:9])
        listener.stop()
        assert read_all(silent) == b""
    assert listener.connections == 0
