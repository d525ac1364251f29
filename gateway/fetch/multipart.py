"""The parts of a multipart answer (RFC 2046 5.1), one after the other, without keeping more of it than one part."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from email.message import Message
from typing import BinaryIO, Final, cast

from gateway.peers.failures import PeerError, PeerFailure

KEPT_IN_MEMORY: Final = 16 * 2**20
"""Larger parts go to a temporary file, bytes."""
LONGEST_PREAMBLE: Final = 65_536
LONGEST_HEADER: Final = 16_384


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names.

    Raises
    ------
    PeerError
        ``BAD_ANSWER``: it is no multipart answer.
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_maintype() != "multipart" or not boundary or len(boundary) > 70:
        raise PeerError(PeerFailure.BAD_ANSWER, "it is no multipart answer")
    try:
        return boundary.encode("ascii")
    except UnicodeEncodeError as error:
        raise PeerError(PeerFailure.BAD_ANSWER, "the boundary of the multipart answer is not ASCII") from error


def read_parts(chunks: Iterable[bytes], boundary: bytes, most_bytes: int) -> Iterator[BinaryIO]:
    """Give the bodies of the parts.

    Parameters
    ----------
    chunks
        The answer's body, in pieces of any length.
    boundary
        From `boundary_of`.
    most_bytes
        Largest part.

    Yields
    ------
    BinaryIO
        At its start; it is closed when the next part is asked for.

    Raises
    ------
    PeerError
        ``LIMIT_EXCEEDED``, or ``BAD_ANSWER`` where the answer ends before its last boundary.
    """
    source = _Buffer(chunks)
    mark = b"--" + boundary
    source.skip_through(mark, LONGEST_PREAMBLE)
    while not source.starts_with(b"--"):
        source.skip_through(b"\r\n\r\n", LONGEST_HEADER)
        with tempfile.SpooledTemporaryFile(max_size=KEPT_IN_MEMORY) as part:
            file = cast(BinaryIO, part)
            source.move_until(b"\r\n" + mark, file, most_bytes)
            file.seek(0)
            yield file


class _Buffer:
    """What has come of the answer and is not used yet."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._data = bytearray()

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise PeerError(PeerFailure.BAD_ANSWER, "the multipart answer ends before its last boundary")
        self._data += chunk

    def starts_with(self, text: bytes) -> bool:
        while len(self._data) < len(text):
            self._more()
        return self._data.startswith(text)

    def skip_through(self, text: bytes, most: int) -> None:
        while (at := self._data.find(text)) < 0:
            if len(self._data) > most:
                raise PeerError(PeerFailure.BAD_ANSWER, "the multipart answer has no part where one is due")
            self._more()
        del self._data[: at + len(text)]

    def move_until(self, text: bytes, file: BinaryIO, most: int) -> None:
        """Move everything before a text to a file, and drop the text."""
        written = 0
        while True:
            at = self._data.find(text)
            # The text may begin in this piece and end in the next.
            ready = at if at >= 0 else max(0, len(self._data) - len(text) + 1)
            written += ready
            if written > most:
                raise PeerError(PeerFailure.LIMIT_EXCEEDED, f"an object is larger than {most} bytes")
            file.write(memoryview(self._data)[:ready].tobytes())
            del self._data[: ready if at < 0 else ready + len(text)]
            if at >= 0:
                return
            self._more()
