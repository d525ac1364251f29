"""Sending by C-STORE: the file's own bytes, the set whole or not, and a reason wherever it fails."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.filereader import read_file_meta_info
from sqlalchemy import Engine

from gateway.peers.failures import PeerError, PeerFailure
from gateway.records import StoredResult
from gateway.send.c_store import StoreDestination
from gateway.send.commitment import CommitmentBook
from gateway.send.settings import DicomDestination
from tests.gateway.peers.certificates import Authority
from tests.gateway.peers.stand_in import AE_TITLE, stand_in
from tests.gateway.send.dicom_results import SOP_CLASSES, stored_result
from tests.ports import LOOPBACK, free_port
from tests.waiting import PATIENCE_S

SR_AND_PICTURE = [SOP_CLASSES["sr"], SOP_CLASSES["cam"]]


def to(port: int, engine: Engine, *, node: dict[str, Any] | None = None, **settings: Any) -> StoreDestination:
    """A destination at a port of the loopback interface."""
    address = {"ae_title": AE_TITLE, "host": LOOPBACK, "port": port, "response_seconds": PATIENCE_S} | (node or {})
    return StoreDestination(
        DicomDestination.model_validate({"name": "pacs", "kind": "dicom", "node": address} | settings),
        CommitmentBook(engine),
    )


@pytest.fixture
def result(tmp_path: Path) -> StoredResult:
    """A picture and the report that names it."""
    return stored_result(tmp_path / "result", "cam", "sr")


def data_set(path: Path) -> bytes:
    """A file's bytes behind its File Meta Information."""
    with path.open("rb") as file:
        read_file_meta_info(path)
        data = file.read()
    length = pydicom.dcmread(BytesIO(data), specific_tags=[]).file_meta.FileMetaInformationGroupLength
    return data[128 + 4 + 12 + length :]


def test_the_peer_gets_the_data_sets_bytes_as_they_are_in_the_files(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR_AND_PICTURE) as peer:
        receipt = to(peer.port, engine).deliver(result, 1)
    assert peer.stored == {file.sop_instance_uid: data_set(result.folder / file.name) for file in result.files}
    assert [one.sop_instance_uid for one in receipt.objects] == [file.sop_instance_uid for file in result.files]
    assert receipt.notes == ()


def test_the_association_is_tested_before_anything_is_sent(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR_AND_PICTURE) as peer:
        to(peer.port, engine).deliver(result, 1)
        assert peer.echoes == 1
        to(peer.port, engine).test()
        assert peer.echoes == 2


def test_a_set_is_sent_again_with_the_same_bytes(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR_AND_PICTURE) as peer:
        destination = to(peer.port, engine)
        destination.deliver(result, 1)
        first = dict(peer.stored)
        destination.deliver(result, 2)
    assert peer.stored == first
    assert len(peer.order) == 4


@pytest.mark.parametrize(
    ("accepted", "syntax"), [([SOP_CLASSES["sr"]], "1.2.840.10008.1.2.1"), (SR_AND_PICTURE, "1.2.840.10008.1.2")]
)
def test_nothing_is_sent_where_the_peer_would_not_take_all_of_it_untranscoded(
    accepted: list[str], syntax: str, result: StoredResult, engine: Engine
) -> None:
    with stand_in(accepted, syntaxes=[syntax]) as peer:
        with pytest.raises(PeerError, match="nothing was sent") as caught:
            to(peer.port, engine).deliver(result, 1)
        assert caught.value.failure is PeerFailure.NOT_ACCEPTED
        assert peer.order == []


def test_the_report_is_not_sent_where_its_picture_was_refused(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR_AND_PICTURE) as peer:
        peer.store_status = lambda _uid: 0xC123
        with pytest.raises(PeerError, match="0xC123") as caught:
            to(peer.port, engine).deliver(result, 1)
        assert caught.value.failure is PeerFailure.REFUSED
        assert peer.order == []


def test_a_full_peer_is_down_and_a_refused_object_is_not(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR_AND_PICTURE) as peer:
        peer.store_status = lambda _uid: 0xA701
        with pytest.raises(PeerError) as caught:
            to(peer.port, engine).deliver(result, 1)
    assert caught.value.failure is PeerFailure.BUSY
    assert PeerFailure.BUSY.row.peer_down
    assert not PeerFailure.REFUSED.row.peer_down


def test_a_warning_counts_as_taken_and_is_told(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR_AND_PICTURE) as peer:
        peer.store_status = lambda _uid: 0xB000
        receipt = to(peer.port, engine).deliver(result, 1)
    assert [note.rpartition(": ")[2] for note in receipt.notes] == ["status 0xB000"] * 2


def test_an_object_that_the_peer_has_already_is_no_failure(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR_AND_PICTURE) as peer:
        peer.store_status = lambda _uid: 0x0111
        receipt = to(peer.port, engine).deliver(result, 1)
    assert all("had it already" in note for note in receipt.notes)


def test_a_peer_that_is_down_is_unreachable(result: StoredResult, engine: Engine) -> None:
    with pytest.raises(PeerError) as caught:
        to(free_port(), engine).deliver(result, 1)
    assert caught.value.failure is PeerFailure.UNREACHABLE


def test_an_unknown_host_is_unreachable(engine: Engine) -> None:
    with pytest.raises(PeerError, match="no known host name") as caught:
        to(104, engine, node={"host": "pacs.invalid"}).test()
    assert caught.value.failure is PeerFailure.UNREACHABLE


def test_a_rejection_tells_which_title_the_peer_does_not_know(engine: Engine) -> None:
    with stand_in([], calling=["SOMEBODY"]) as peer:
        with pytest.raises(PeerError, match="calling AE title not recognised") as caught:
            to(peer.port, engine).test()
        assert caught.value.failure is PeerFailure.ASSOCIATION_REJECTED
        with pytest.raises(PeerError, match="called AE title not recognised"):
            to(peer.port, engine, node={"ae_title": "OTHER", "calling_ae_title": "SOMEBODY"}).test()


@contextmanager
def tcp_server(behave: Any) -> Iterator[int]:
    """A server that does with each connection what it is told."""
    with socket.create_server((LOOPBACK, 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=behave, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_peer_that_accepts_the_connection_and_stays_silent_is_given_up(engine: Engine) -> None:
    given_up = threading.Event()

    def silent(connection: socket.socket) -> None:
        with connection:
            given_up.wait(PATIENCE_S)

    with tcp_server(silent) as port, pytest.raises(PeerError) as caught:
        to(port, engine, node={"response_seconds": 0.2}).test()
    given_up.set()
    assert caught.value.failure is PeerFailure.TIMEOUT


def test_a_peer_that_resets_the_connection_is_told(engine: Engine) -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(10)
        connection.close()

    with tcp_server(reset) as port, pytest.raises(PeerError) as caught:
        to(port, engine).test()
    assert caught.value.failure is PeerFailure.ABORTED


def test_a_peer_that_answers_too_slowly_is_cut_off(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR_AND_PICTURE) as peer:
        peer.slow_seconds = 1.0
        with pytest.raises(PeerError) as caught:
            to(peer.port, engine, node={"response_seconds": 0.3}).deliver(result, 1)
    assert caught.value.failure is PeerFailure.TIMEOUT


def test_a_transfer_ends_after_its_total_time_though_each_answer_is_in_time(tmp_path: Path, engine: Engine) -> None:
    result = stored_result(tmp_path / "result", "cam", "pdf", "sr")
    with stand_in([*SR_AND_PICTURE, SOP_CLASSES["pdf"]]) as peer:
        peer.slow_seconds = 0.6
        with pytest.raises(PeerError, match="not done within 1 s") as caught:
            to(peer.port, engine, node={"total_seconds": 1.0}).deliver(result, 1)
    assert caught.value.failure is PeerFailure.TIMEOUT
    assert len(peer.order) < 3


@pytest.mark.parametrize("change", ["missing", "other"])
def test_a_file_that_changed_since_it_was_stored_is_never_sent(
    change: str, result: StoredResult, engine: Engine
) -> None:
    path = result.folder / result.files[1].name
    if change == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"SYNTHETIC-1", b"SYNTHETIC-2"))
    with stand_in(SR_AND_PICTURE) as peer:
        with pytest.raises(PeerError) as caught:
            to(peer.port, engine).deliver(result, 1)
        assert caught.value.failure is PeerFailure.RESULT_CHANGED
        assert peer.order == []


def tls(authority: Authority, **changes: Any) -> dict[str, Any]:
    """Settings of mutual TLS with the authority's client certificate."""
    own = {"ca_file": authority.ca, "certificate": authority.client.certificate, "key": authority.client.key}
    return {"tls": own | changes}


def test_both_sides_prove_themselves_by_tls(result: StoredResult, engine: Engine, authority: Authority) -> None:
    with stand_in(SR_AND_PICTURE, tls=authority.server_context()) as peer:
        to(peer.port, engine, node=tls(authority)).deliver(result, 1)
        assert len(peer.stored) == 2


def test_a_name_in_the_peers_certificate_other_than_its_host_is_a_setting(engine: Engine, authority: Authority) -> None:
    with stand_in([], tls=authority.server_context()) as peer:
        to(peer.port, engine, node=tls(authority, host_name="pacs.example")).test()
        with pytest.raises(PeerError, match="Hostname mismatch") as caught:
            to(peer.port, engine, node=tls(authority, host_name="other.example")).test()
    assert caught.value.failure is PeerFailure.TLS_FAILED


def test_nothing_is_sent_to_a_peer_whose_certificate_nobody_vouches_for(
    result: StoredResult, engine: Engine, authority: Authority
) -> None:
    with stand_in(SR_AND_PICTURE, tls=authority.server_context()) as peer:
        with pytest.raises(PeerError) as caught:
            to(peer.port, engine, node=tls(authority, ca_file=authority.stranger.certificate)).deliver(result, 1)
        assert caught.value.failure is PeerFailure.TLS_FAILED
        assert peer.order == []


def test_a_peer_that_wants_a_client_certificate_gets_nothing_without(
    result: StoredResult, engine: Engine, authority: Authority
) -> None:
    with stand_in(SR_AND_PICTURE, tls=authority.server_context()) as peer:
        with pytest.raises(PeerError):
            to(peer.port, engine, node={"tls": {"ca_file": authority.ca}}).deliver(result, 1)
        assert peer.order == []


def test_no_error_quotes_what_a_patient_is_called(result: StoredResult, engine: Engine) -> None:
    with stand_in(SR_AND_PICTURE) as peer:
        peer.store_status = lambda _uid: 0xA900
        with pytest.raises(PeerError) as caught:
            to(peer.port, engine).deliver(result, 1)
    assert "Phantom" not in str(caught.value)
    assert "SYNTHETIC" not in str(caught.value)
