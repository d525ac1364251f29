"""JPEG, JPEG-LS and JPEG 2000 frames: the frame's own header is checked here, and a separate process decodes.

pydicom's readers of these headers are not used: `pydicom.pixels.utils.get_j2k_parameters` tells no rows and columns, and
never returns from a JP2 box of length 0; the one for JPEG is private.
"""

from __future__ import annotations

import atexit
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from pdl1es.dicom.instance import Instance
from pdl1es.dicom.pixels import decoder_process
from pdl1es.dicom.pixels.layout import PixelLayout, corrupt_pixels

CODECS: Final[dict[str, int]] = {
    JPEGBaseline8Bit: decoder_process.JPEG,
    JPEGExtended12Bit: decoder_process.JPEG,
    JPEGLossless: decoder_process.JPEG,
    JPEGLosslessSV1: decoder_process.JPEG,
    JPEGLSLossless: decoder_process.JPEG_LS,
    JPEGLSNearLossless: decoder_process.JPEG_LS,
    JPEG2000Lossless: decoder_process.JPEG_2000,
    JPEG2000: decoder_process.JPEG_2000,
    HTJ2KLossless: decoder_process.JPEG_2000,
    HTJ2KLosslessRPCL: decoder_process.JPEG_2000,
    HTJ2K: decoder_process.JPEG_2000,
}
"""Codec by transfer syntax. JPEG's retired processes 6 to 12 (...4.53, ...4.55) are lossy and refused."""
DECODE_SECONDS: float = 30.0
"""Time that one frame is given; a CT slice needs about 0.1 s."""


def decode_frame(instance: Instance, layout: PixelLayout, encoded: bytes) -> NDArray[Any]:
    """Decode one frame in the decoder process, after a look at the frame's own header.

    Parameters
    ----------
    instance
        The object, for a refusal.
    layout
        Its pixels' layout; the transfer syntax is one of `CODECS`.
    encoded
        The compressed frame.

    Returns
    -------
    NDArray
        Stored values, shape (rows, columns).

    Raises
    ------
    Refusal
        PIXEL_DATA_CORRUPT: the frame is damaged, or not what the object's header says.
    """
    codec = CODECS[layout.transfer_syntax]
    described = _siz(encoded) if codec == decoder_process.JPEG_2000 else _start_of_frame(encoded)
    if described is None:
        raise corrupt_pixels(instance, "a compressed frame has no header")
    precision, rows, columns, components = described
    if (rows, columns, components) != (layout.rows, layout.columns, 1) or not 1 <= precision <= 32:
        raise corrupt_pixels(
            instance, f"a compressed frame holds {rows} x {columns} pixels of {components} samples and {precision} bits"
        )
    if b"\xff\xd9" not in encoded[-16:]:
        raise corrupt_pixels(instance, "a compressed frame is truncated")
    width = 1 if precision <= 8 else 2 if precision <= 16 else 4
    samples = _decoder.decode(codec, precision, rows, columns, encoded)
    if samples is None or len(samples) != rows * columns * width:
        raise corrupt_pixels(instance, "a compressed frame cannot be decoded")
    words = np.frombuffer(samples, f"<u{width}")
    if layout.bits_allocated == 1:
        return (words.reshape(rows, columns) != 0).astype(np.uint8)
    if precision > layout.bits_allocated:
        raise corrupt_pixels(
            instance, f"a compressed frame has samples of {precision} bits", "BitsAllocated", str(layout.bits_allocated)
        )
    # the frame knows its own precision; Bits Stored often repeats Bits Allocated
    return layout.values_of(words, min(precision, layout.bits_stored))


def _start_of_frame(data: bytes) -> tuple[int, int, int, int] | None:
    """Return (precision, rows, columns, components) of a JPEG or JPEG-LS frame (ITU-T T.81 B.2.2, T.87 C.2.2)."""
    position = 2
    if data[:2] != b"\xff\xd8":
        return None
    while position + 10 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        (length,) = struct.unpack(">H", data[position + 2 : position + 4])
        if marker in (0xC0, 0xC1, 0xC2, 0xC3, 0xF7):
            precision, rows, columns, components = struct.unpack(">BHHB", data[position + 4 : position + 10])
            return precision, rows, columns, components
        if marker in (0xD9, 0xDA) or length < 2:
            return None
        position += 2 + length
    return None


def _siz(data: bytes) -> tuple[int, int, int, int] | None:
    """Return (precision, rows, columns, components) of a JPEG 2000 codestream whose tiles are sane (ITU-T T.800 A.5.1)."""
    start = data.find(b"\xff\x4f\xff\x51", 0, 256)  # some writers put the JP2 file's boxes before it
    if start < 0 or len(data) < start + 45:
        return None
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, components = struct.unpack(">8LH", data[start + 8 : start + 42])
    sane = x0 < x1 and y0 < y1 and tile_x > 0 and tile_y > 0 and tile_x0 <= x0 and tile_y0 <= y0
    if not sane or (x1 // tile_x + 1) * (y1 // tile_y + 1) > 65535 or data[start + 43 : start + 45] != b"\x01\x01":
        return None
    return (data[start + 42] & 0x7F) + 1, y1 - y0, x1 - x0, components


class _DecoderProcess:
    """The decoder process: started when the first compressed frame comes, replaced when it dies or takes too long.

    Nothing that is decoded depends on what was decoded before; the process is kept because starting one costs more than
    decoding a slice.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def decode(self, codec: int, precision: int, rows: int, columns: int, frame: bytes) -> bytes | None:
        """Return the frame's samples, or None where it cannot be decoded."""
        with self._lock:
            process = self._started()
            assert process.stdin is not None
            try:
                process.stdin.write(decoder_process.REQUEST.pack(codec, precision, rows, columns, len(frame)))
                process.stdin.write(frame)
                process.stdin.flush()
                deadline = time.monotonic() + DECODE_SECONDS
                head = self._read(process, decoder_process.REPLY.size, deadline)
                decoded, length = decoder_process.REPLY.unpack(head)
                if not decoded:
                    return None
                if length != rows * columns * (1 if precision <= 8 else 2 if precision <= 16 else 4):
                    self._stop()
                    return None
                return self._read(process, length, deadline)
            except (OSError, TimeoutError, EOFError):
                self._stop()
                return None

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # after a fork the process belongs to the parent
            self._process = None
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(Path(decoder_process.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._owner = os.getpid()
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # a request that was never taken
                    continue

    @staticmethod
    def _read(process: subprocess.Popen[bytes], count: int, deadline: float) -> bytes:
        assert process.stdout is not None
        result = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while len(result) < count:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                part = os.read(process.stdout.fileno(), min(count - len(result), 2**20))
                if not part:
                    raise EOFError
                result += part
        return bytes(result)


_decoder = _DecoderProcess()
atexit.register(_decoder.close)
