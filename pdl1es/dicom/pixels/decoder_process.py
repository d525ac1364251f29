"""A process of its own that decodes JPEG, JPEG-LS and JPEG 2000 frames: run by path, fed through its standard input.

The decoders are C and C++ libraries, and damaged frames were seen to abort the process (GDCM), to hang (CharLS) and to
take half a minute (OpenJPEG). Here only this process is lost, and `pdl1es.dicom.pixels.decoder` replaces it.
It imports nothing of this project, so that it starts in a tenth of a second.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import tempfile
from typing import BinaryIO, Final

REQUEST: Final = struct.Struct("<BBIIQ")
"""Codec (0 JPEG, 1 JPEG-LS, 2 JPEG 2000), sample precision, rows, columns, length of the frame that follows."""
REPLY: Final = struct.Struct("<BQ")
"""1 where the frame was decoded, else 0; length of the samples that follow."""
JPEG, JPEG_LS, JPEG_2000 = range(3)

_MEMORY_BYTES: Final = 6 * 2**30
_DAMAGE: Final = (b"premature end", b"bad Huffman code", b"Invalid JPEG file structure", b"found marker")
"""libjpeg only warns of these and fills the rest of the frame with grey."""
_JPEG_LOSSLESS: Final = "1.2.840.10008.1.2.4.57"
_JPEG_EXTENDED: Final = "1.2.840.10008.1.2.4.51"


def decode(codec: int, precision: int, rows: int, columns: int, frame: bytes) -> bytes | None:
    """Decode a frame.

    Parameters
    ----------
    codec
        One of ``JPEG``, ``JPEG_LS``, ``JPEG_2000``.
    precision
        Bits of a sample, as the frame's own header says.
    rows, columns
        Size of the frame.
    frame
        The compressed frame.

    Returns
    -------
    bytes or None
        Samples, little endian, one, two or four bytes each by the precision; None where the frame is damaged.
    """
    if codec == JPEG:
        return _decode_jpeg(precision, rows, columns, frame)
    try:
        if codec == JPEG_LS:
            import jpeg_ls  # type: ignore[import-untyped]  # it has no stubs

            samples, _ = jpeg_ls.decode_pixel_data(frame)
        else:
            import openjpeg

            samples = openjpeg.decode_pixel_data(frame, version=2)
    except (RuntimeError, ValueError, TypeError, MemoryError, KeyError, OSError):
        return None
    return bytes(samples)


def _decode_jpeg(precision: int, rows: int, columns: int, frame: bytes) -> bytes | None:
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    # GDCM asks for a transfer syntax and then goes by the frame's own header
    syntax = _JPEG_LOSSLESS if b"\xff\xc3" in frame else _JPEG_EXTENDED
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 8 if precision <= 8 else 16, precision, precision - 1, 0))
    text = image.GetBuffer()  # bytes that the binding takes for text
    return None if text is None else text.encode("utf-8", "surrogateescape")


def serve(requests: BinaryIO, replies: BinaryIO, complaints: BinaryIO) -> None:
    """Answer requests until there are no more.

    Parameters
    ----------
    requests, replies
        Where `REQUEST` and `REPLY` go, each with the bytes that it announces.
    complaints
        Where the decoders' own prints go; a frame is damaged where libjpeg says so there.
    """
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        codec, precision, rows, columns, length = REQUEST.unpack(head)
        frame = requests.read(length)
        complaints.seek(0)
        complaints.truncate()
        samples = decode(codec, precision, rows, columns, frame)
        complaints.seek(0)
        said = complaints.read(2**16)
        if samples is not None and any(word in said for word in _DAMAGE):
            samples = None
        replies.write(REPLY.pack(samples is not None, len(samples or b"")))
        replies.write(samples or b"")
        replies.flush()


def main() -> None:
    """Take standard input and output for requests and replies, and keep the decoders' own prints away from both."""
    with contextlib.suppress(ImportError, ValueError, OSError, AttributeError):
        import ctypes
        import resource

        # A frame that is decoded without end would outlive a run that is killed.
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(os.dup(1), "wb") as replies, tempfile.TemporaryFile(buffering=0) as complaints:
        os.dup2(complaints.fileno(), 2)
        os.dup2(complaints.fileno(), 1)
        serve(sys.stdin.buffer, replies, complaints)


if __name__ == "__main__":
    main()
