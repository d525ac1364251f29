"""Sending by STOW-RS: one request with the files' own bytes, and what servers say of it in their several ways."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest

from gateway.peers.failures import PeerError, PeerFailure
from gateway.records import StoredResult
from gateway.send.destination import Confirmation
from gateway.send.settings import WebDestination
from gateway.send.stow import StowDestination
from tests.gateway.peers.certificates import Authority
from tests.gateway.peers.web_server import Asked, Said, WebServer, web_server
from tests.gateway.send.dicom_results import stored_result
from tests.ports import free_port
from tests.waiting import PATIENCE_S


def to(root: str, **changes: Any) -> StowDestination:
    """A destination at an address."""
    query = {"query": changes.pop("query")} if "query" in changes else {}
    service = {"url": root, "response_seconds": PATIENCE_S} | changes
    return StowDestination(WebDestination.model_validate({"name": "web", "kind": "stow", "service": service} | query))


@pytest.fixture
def result(tmp_path: Path) -> StoredResult:
    """A picture and the report that names it."""
    return stored_result(tmp_path / "result", "cam", "sr")


def stow_answer(result: StoredResult, *, failed: dict[str, int] | None = None, status: int = 200) -> Said:
    """What a server says that stored all but some."""
    failed = failed or {}
    uids = [file.sop_instance_uid for file in result.files]
    said: dict[str, Any] = {}
    if stored := [_item(uid) for uid in uids if uid not in failed]:
        said["00081199"] = {"vr": "SQ", "Value": stored}
    if failed:
        said["00081198"] = {
            "vr": "SQ",
            "Value": [_item(uid) | {"00081197": {"vr": "US", "Value": [reason]}} for uid, reason in failed.items()],
        }
    return Said(status, json.dumps(said).encode())


def _item(uid: str) -> dict[str, Any]:
    return {"00081155": {"vr": "UI", "Value": [uid]}}


def answering(post: Callable[[Asked], Said]) -> Callable[[Asked], Said]:
    """Answer queries with nothing found, and the rest as told."""
    return lambda asked: Said(204) if asked.method == "GET" else post(asked)


def test_one_request_holds_the_whole_set_byte_for_byte(result: StoredResult) -> None:
    with web_server(answering(lambda _: stow_answer(result))) as server:
        receipt = to(server.root).deliver(result, 1)
    (post,) = [asked for asked in server.asked if asked.method == "POST"]
    assert post.path == "/dicom-web/studies"
    assert post.headers["Content-Type"].startswith('multipart/related; type="application/dicom"; boundary=')
    # Python's own parser of multipart messages reads it
    head = f"Content-Type: {post.headers['Content-Type']}\r\n\r\n".encode()
    parts = list(BytesParser(policy=HTTP).parsebytes(head + post.body).iter_parts())
    assert [part.get_content_type() for part in parts] == ["application/dicom"] * 2
    assert [post.body.count((result.folder / file.name).read_bytes()) for file in result.files] == [1, 1]
    assert [one.sop_instance_uid for one in receipt.objects] == [file.sop_instance_uid for file in result.files]


def test_a_set_is_sent_again_in_the_same_bytes(result: StoredResult) -> None:
    with web_server(answering(lambda _: stow_answer(result))) as server:
        to(server.root).deliver(result, 1)
        to(server.root).deliver(result, 2)
    first, second = [asked.body for asked in server.asked if asked.method == "POST"]
    assert first == second


@pytest.mark.parametrize("status", [200, 202, 409])
def test_one_object_that_was_not_stored_is_a_failure_whatever_the_status(status: int, result: StoredResult) -> None:
    uid = result.files[1].sop_instance_uid
    answer = stow_answer(result, failed={uid: 0xA900}, status=status)
    with web_server(answering(lambda _: answer)) as server, pytest.raises(PeerError, match="0xA900") as caught:
        to(server.root).deliver(result, 1)
    assert caught.value.failure is PeerFailure.REFUSED
    assert "object 2 of 2" in str(caught.value)
    assert uid not in str(caught.value)


def test_an_object_that_the_server_has_already_is_no_failure(result: StoredResult) -> None:
    uid = result.files[0].sop_instance_uid
    with web_server(answering(lambda _: stow_answer(result, failed={uid: 0x0111}, status=202))) as server:
        receipt = to(server.root).deliver(result, 1)
    assert receipt.notes == (f"{uid}: the peer had it already",)


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        (Said(401), PeerFailure.NOT_AUTHORISED),
        (Said(403), PeerFailure.NOT_AUTHORISED),
        (Said(404), PeerFailure.REFUSED),
        (Said(413), PeerFailure.REFUSED),
        (Said(415), PeerFailure.NOT_ACCEPTED),
        (Said(429), PeerFailure.BUSY),
        (Said(503), PeerFailure.BUSY),
        (Said(302, headers={"Location": "https://elsewhere.example/"}), PeerFailure.BAD_ANSWER),
        (Said(200, b"<html>", "text/html"), PeerFailure.BAD_ANSWER),
        (Said(200, b"[1, 2]"), PeerFailure.BAD_ANSWER),
        (Said(200, b'{"00081199": {"Value": [{}]}}'), PeerFailure.BAD_ANSWER),
        (Said(202, b"{}"), PeerFailure.REFUSED),
    ],
)
def test_every_other_answer_is_a_failure(said: Said, failure: PeerFailure, result: StoredResult) -> None:
    with web_server(answering(lambda _: said)) as server, pytest.raises(PeerError) as caught:
        to(server.root).deliver(result, 1)
    assert caught.value.failure is failure


def test_success_without_a_list_is_success(result: StoredResult) -> None:
    """PS3.18 table 10.5.3-1: 200 says that all were stored."""
    with web_server(answering(lambda _: Said(200))) as server:
        assert len(to(server.root).deliver(result, 1).objects) == 2


def test_nothing_is_sent_where_the_test_before_it_fails(result: StoredResult) -> None:
    with web_server(lambda _: Said(503)) as server:
        with pytest.raises(PeerError, match="QIDO-RS: HTTP 503"):
            to(server.root).deliver(result, 1)
        assert [asked.method for asked in server.asked] == ["GET"]


def test_a_server_without_queries_takes_results(result: StoredResult) -> None:
    with web_server(lambda asked: Said(405) if asked.method == "GET" else stow_answer(result)) as server:
        assert len(to(server.root, query=False).deliver(result, 1).objects) == len(result.files)
        assert [asked.method for asked in server.asked] == ["GET", "POST"]


def test_a_server_that_is_down_is_unreachable(result: StoredResult) -> None:
    with pytest.raises(PeerError) as caught:
        to(f"http://127.0.0.1:{free_port()}").deliver(result, 1)
    assert caught.value.failure is PeerFailure.UNREACHABLE


def test_a_silent_server_is_given_up(result: StoredResult) -> None:
    given_up = threading.Event()

    def late(_: Asked) -> Said:
        given_up.wait(PATIENCE_S)
        return Said(204)

    with web_server(late) as server, pytest.raises(PeerError) as caught:
        to(server.root, response_seconds=0.2).test()
    given_up.set()
    assert caught.value.failure is PeerFailure.TIMEOUT


def dripping(seconds: float) -> Iterator[bytes]:
    """A body that never ends, a byte at a time."""
    for _ in itertools.count():
        yield b" "
        time.sleep(seconds)


def test_a_body_that_drips_ends_after_its_total_time() -> None:
    with (
        web_server(lambda _: Said(200, dripping(0.05))) as server,
        pytest.raises(PeerError, match=r"longer than 0\.5 s"),
    ):
        to(server.root, total_seconds=0.5).test()


def test_a_body_that_never_ends_is_not_kept() -> None:
    endless = itertools.repeat(b"x" * 65_536)
    with web_server(lambda _: Said(200, endless)) as server, pytest.raises(PeerError) as caught:
        to(server.root).test()
    assert caught.value.failure is PeerFailure.LIMIT_EXCEEDED


def test_the_server_is_asked_for_each_object(result: StoredResult) -> None:
    there: set[str] = {file.sop_instance_uid for file in result.files}

    def answer(asked: Asked) -> Said:
        if asked.method == "POST":
            return stow_answer(result)
        uid = asked.path.rpartition("SOPInstanceUID=")[2].partition("&")[0]
        return (
            Said(200, json.dumps([{"00080018": {"vr": "UI", "Value": [uid]}}]).encode()) if uid in there else Said(204)
        )

    with web_server(answer) as server:
        destination = to(server.root)
        receipt = destination.deliver(result, 1)
        assert destination.confirm(receipt) == Confirmation(True, "query")
        there.pop()
        assert destination.confirm(receipt) == Confirmation(False, "query", PeerFailure.NOT_FOUND)
        assert to(server.root, query=False).confirm(receipt) == Confirmation(True, "response")


def secured(server: WebServer, authority: Authority, **changes: Any) -> StowDestination:
    """A destination that shows the authority's client certificate."""
    tls = {"ca_file": authority.ca, "certificate": authority.client.certificate, "key": authority.client.key}
    return to(server.root, **{"tls": tls} | changes)


def test_the_token_is_read_anew_for_each_request_and_goes_over_tls(
    authority: Authority, tmp_path: Path, result: StoredResult
) -> None:
    token = tmp_path / "token"
    with web_server(answering(lambda _: stow_answer(result)), authority.server_context()) as server:
        destination = secured(server, authority, bearer_token_file=token)
        for value in ("first", "second"):
            token.write_text(f"{value}\n")
            destination.deliver(result, 1)
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer first"] * 2 + ["Bearer second"] * 2


def test_nothing_is_sent_to_a_server_whose_certificate_nobody_vouches_for(
    authority: Authority, result: StoredResult
) -> None:
    with web_server(answering(lambda _: stow_answer(result)), authority.server_context()) as server:
        with pytest.raises(PeerError) as caught:
            secured(server, authority, tls={"ca_file": authority.stranger.certificate}).deliver(result, 1)
        assert caught.value.failure is PeerFailure.TLS_FAILED
        assert server.asked == []


def test_a_server_that_wants_a_client_certificate_gets_nothing_without(
    authority: Authority, result: StoredResult
) -> None:
    with web_server(answering(lambda _: stow_answer(result)), authority.server_context()) as server:
        with pytest.raises(PeerError):
            secured(server, authority, tls={"ca_file": authority.ca}).deliver(result, 1)
        assert server.asked == []


def test_the_name_in_a_servers_certificate_may_be_a_setting(authority: Authority) -> None:
    tls = {"ca_file": authority.ca, "certificate": authority.client.certificate, "key": authority.client.key}
    with web_server(lambda _: Said(204), authority.server_context()) as server:
        secured(server, authority, tls=tls | {"host_name": "pacs.example"}).test()
        with pytest.raises(PeerError) as caught:
            secured(server, authority, tls=tls | {"host_name": "other.example"}).test()
    assert caught.value.failure is PeerFailure.TLS_FAILED


@pytest.mark.parametrize("content", [None, b"", b"two words\n", b"\xff\xfe", b"a\nHeader: b"])
def test_a_file_that_holds_no_token_is_told_without_its_content(content: bytes | None, tmp_path: Path) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    with pytest.raises(PeerError) as caught:
        to("https://127.0.0.1:9", bearer_token_file=token).test()
    assert caught.value.failure is PeerFailure.NOT_AUTHORISED
    assert "two words" not in str(caught.value)
