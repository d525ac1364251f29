"""Multipart answers: read in pieces of any length, with limits, and never half."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fetch.multipart import boundary_of, read_parts
from gateway.peers.failures import PeerError, PeerFailure

BOUNDARY = b"mark"


def body(*parts: bytes, header: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    """A multipart body as PS3.18 has it."""
    return b"".join(b"--mark\r\n" + header + b"\r\n" + part + b"\r\n" for part in parts) + b"--mark--\r\n"


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    """The data in pieces."""
    return (data[start : start + size] for start in range(0, len(data), size))


def read(data: bytes, size: int = 7, most: int = 2**20) -> list[bytes]:
    """The parts of a body that comes in pieces."""
    return [part.read() for part in read_parts(pieces(data, size), BOUNDARY, most)]


@settings(deadline=None, max_examples=200)
@given(
    parts=st.lists(st.binary(max_size=60), max_size=5).filter(
        lambda found: not any(b"\r\n--mark" in one for one in found)
    ),
    size=st.integers(1, 40),
    preamble=st.sampled_from([b"", b"\r\n", b"as old mailers say\r\n"]),
)
def test_parts_come_back_whatever_the_pieces(parts: list[bytes], size: int, preamble: bytes) -> None:
    assert read(preamble + body(*parts), size) == parts


def test_what_looks_like_half_a_boundary_is_content() -> None:
    tricky = b"\r\n--mar\r\n--\r\n-\r\n\r\n--mark"[:-1]
    assert read(body(tricky), 1) == [tricky]


def test_a_part_without_headers_and_one_with_many() -> None:
    assert read(b"--mark\r\n\r\nfirst\r\n--mark--") == [b"first"]
    many = b"".join(f"X-{number}: y\r\n".encode() for number in range(50))
    assert read(body(b"second", header=many)) == [b"second"]


def test_a_body_that_pythons_own_library_wrote_is_read() -> None:
    message = MIMEMultipart("related", boundary="mark")
    for data in (b"one", b"two"):
        message.attach(MIMEApplication(data, "dicom"))
    text = message.as_bytes().partition(b"\n\n")[2].replace(b"\n", b"\r\n")
    assert [base64.b64decode(part) for part in read(text)] == [b"one", b"two"]


@pytest.mark.parametrize("end", range(1, len(body(b"content")) - 4))
def test_an_answer_that_ends_early_is_never_taken_for_whole(end: int) -> None:
    with pytest.raises(PeerError) as caught:
        read(body(b"content")[:end])
    assert caught.value.failure is PeerFailure.BAD_ANSWER


def test_a_part_that_is_too_large_is_not_kept() -> None:
    def endless() -> Iterable[bytes]:
        yield b"--mark\r\n\r\n"
        while True:
            yield bytes(4096)

    with pytest.raises(PeerError) as caught:
        list(read_parts(endless(), BOUNDARY, 100_000))
    assert caught.value.failure is PeerFailure.LIMIT_EXCEEDED


@pytest.mark.parametrize("start", [b"", b"--mark\r\n"])
def test_an_answer_without_parts_is_given_up(start: bytes) -> None:
    def endless() -> Iterable[bytes]:
        yield start
        while True:
            yield b"x" * 4096

    with pytest.raises(PeerError, match="no part where one is due"):
        list(read_parts(endless(), BOUNDARY, 100_000))


def test_random_bytes_end_in_an_error() -> None:
    for _ in range(200):
        with pytest.raises(PeerError):
            read(os.urandom(500))


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=mark', b"mark"),
        ('Multipart/Related; boundary="a b"; type="application/dicom"', b"a b"),
    ],
)
def test_the_boundary_is_in_the_content_type(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type", ["", "application/dicom", "multipart/related", "multipart/related; boundary=\xe9"]
)
def test_an_answer_of_another_type_is_refused(content_type: str) -> None:
    with pytest.raises(PeerError):
        boundary_of(content_type)
