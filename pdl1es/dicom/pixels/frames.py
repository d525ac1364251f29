"""Frames of an object's pixel data: those that are asked for are found, read and decoded, and no others.

pydicom reads encapsulated data too (`pydicom.encaps`), but without these guarantees. Measured with 3.0.2: a
file that ends within a frame gives a short frame and no error; 64 MB of empty fragments take 7 s and 300 MB; without an
offset table, each of 300 fragmented frames reads all those before it, 13.5 GB of a file of 90 MB.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from pdl1es.dicom.header_elements import tag_text
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.pixels.decoder import CODECS, decode_frame
from pdl1es.dicom.pixels.element import PixelElement, check_native_length, check_what_follows, open_pixel_data
from pdl1es.dicom.pixels.layout import PixelLayout, corrupt_pixels, read_layout
from pdl1es.dicom.pixels.rle import decode_rle_frame
from pdl1es.errors import Refusal, RefusalCode

NATIVE_TRANSFER_SYNTAXES: Final = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)
ENCAPSULATED_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1.98"
DEFLATED_IMAGE_FRAME: Final = "1.2.840.10008.1.2.8.1"
ENCAPSULATED_TRANSFER_SYNTAXES: Final = frozenset(
    {*CODECS, RLELossless, DEFLATED_IMAGE_FRAME, ENCAPSULATED_UNCOMPRESSED}
)
"""Compressed ones that are decoded."""

MAX_DECODED_BYTES: Final = 2**32
"""Of the frames that one call decodes."""
MAX_FRAGMENTS: Final = 1_000_000


def read_stored_frames(instance: Instance, frames: Sequence[int]) -> NDArray[Any]:
    """Read and decode frames as stored values.

    Parameters
    ----------
    instance
        The object.
    frames
        Zero-based indices.

    Returns
    -------
    NDArray
        Shape (len(frames), rows, columns), signed or unsigned integers of 8, 16 or 32 bits; uint8 of 0 and 1 for
        one-bit pixels.

    Raises
    ------
    Refusal
        UNSUPPORTED_TRANSFER_SYNTAX: there is no decoder for it. PIXEL_DATA_CORRUPT: a frame is missing, truncated,
        damaged or not what the header says. LIMIT_EXCEEDED: the frames are too large. INPUT_UNREADABLE: the file cannot
        be opened or read any more.
    """
    layout = read_layout(instance)
    if layout.pixels * len(frames) * layout.dtype.itemsize > MAX_DECODED_BYTES:
        raise Refusal(
            RefusalCode.LIMIT_EXCEEDED,
            f"{len(frames)} frames of {layout.rows} x {layout.columns} pixels are more than may be decoded",
            tag=tag_text("NumberOfFrames"),
            value=str(layout.number_of_frames),
            uid=instance.sop_instance_uid,
        )
    result = np.empty((len(frames), layout.rows, layout.columns), dtype=layout.dtype)
    for index, frame in enumerate(iterate_stored_frames(instance, frames)):
        result[index] = frame
    return result


def iterate_stored_frames(instance: Instance, frames: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Read, decode and yield frames one by one, so that no more than one lies in memory.

    Parameters
    ----------
    instance, frames
        As in `read_stored_frames`.

    Yields
    ------
    NDArray
        A frame's stored values, shape (rows, columns), of the types that `read_stored_frames` returns.

    Raises
    ------
    Refusal
        As `read_stored_frames`, for a frame when its turn comes.
    """
    layout = read_layout(instance)
    for frame in frames:
        if not 0 <= frame < layout.number_of_frames:
            found = f"there is no frame {frame + 1}"
            raise corrupt_pixels(instance, found, "NumberOfFrames", str(layout.number_of_frames))
    if layout.transfer_syntax not in NATIVE_TRANSFER_SYNTAXES | ENCAPSULATED_TRANSFER_SYNTAXES:
        raise Refusal(
            RefusalCode.UNSUPPORTED_TRANSFER_SYNTAX,
            "there is no decoder for the image's transfer syntax",
            tag=tag_text("TransferSyntaxUID"),
            value=layout.transfer_syntax or None,
            uid=instance.sop_instance_uid,
        )
    try:
        with open_pixel_data(instance, layout) as element:
            if layout.transfer_syntax in NATIVE_TRANSFER_SYNTAXES:
                length = check_native_length(element, layout)
                check_what_follows(element, length)
                for frame in frames:
                    yield _native_frame(layout, element, frame)
            else:
                places = _locate_frames(instance, layout, element)
                for frame in frames:
                    encoded = b"".join(element.read(offset, length) for offset, length in places[frame])
                    yield _decode(instance, layout, encoded)
    except (OSError, zlib.error, struct.error) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the file system, not of the file's content
            raise Refusal(
                RefusalCode.INPUT_UNREADABLE,
                f"an image's file cannot be read: {error.strerror}",
                uid=instance.sop_instance_uid,
            ) from error
        raise corrupt_pixels(instance, "the pixel data cannot be read") from error


def _native_frame(layout: PixelLayout, element: PixelElement, frame: int) -> NDArray[Any]:
    """Read one uncompressed frame. One-bit frames follow each other without a gap, whatever their size in bits."""
    first_bit = frame * layout.pixels * layout.bits_allocated
    start, end = first_bit // 8, (first_bit + layout.pixels * layout.bits_allocated + 7) // 8
    big_endian = layout.transfer_syntax == ExplicitVRBigEndian
    if big_endian and element.vr == "OW" and layout.bits_allocated <= 8:
        # words of two bytes, each swapped (PS3.5 8.1.1)
        even = start - start % 2
        words = np.frombuffer(element.read(even, end + end % 2 - even), ">u2")
        data = words.astype("<u2").tobytes()[start - even : end - even]
    else:
        data = element.read(start, end - start)
    if layout.bits_allocated == 1:
        return layout.unpack_frame(data, first_bit % 8)
    words = np.frombuffer(data, f"{'>' if big_endian else '<'}u{layout.dtype.itemsize}")
    return layout.values_of(words, layout.bits_stored)


def _locate_frames(instance: Instance, layout: PixelLayout, element: PixelElement) -> list[list[tuple[int, int]]]:
    """Return each frame's fragments as (offset, length) in the element's value (PS3.5 A.4)."""
    if element.length is not None:
        raise corrupt_pixels(instance, "compressed pixel data have a length")
    items = _list_items(instance, element)
    if not items:
        raise corrupt_pixels(instance, "the pixel data have no items")
    (table_offset, table_length), fragments = items[0], items[1:]
    count = layout.number_of_frames
    if count == 1 and fragments:
        _refuse_second_frame(instance, element, fragments)
        return [fragments]
    first = fragments[0][0] - 8 if fragments else 0
    starts: list[int] = []
    extended = instance.header.get("ExtendedOffsetTable")
    if isinstance(extended, bytes) and len(extended) == 8 * count:
        starts = [first + int(offset) for offset in np.frombuffer(extended, "<u8")]
    elif table_length == 4 * count:
        starts = [first + int(offset) for offset in np.frombuffer(element.read(table_offset, table_length), "<u4")]
    if starts and starts[0] == first and starts == sorted(set(starts)):
        by_start = {offset - 8: index for index, (offset, _) in enumerate(fragments)}
        if all(start in by_start for start in starts):
            bounds = [by_start[start] for start in starts] + [len(fragments)]
            return [fragments[low:high] for low, high in pairwise(bounds)]
    if len(fragments) == count:
        return [[fragment] for fragment in fragments]
    # No table: a JPEG frame ends with the fragment that ends with its marker
    frames: list[list[tuple[int, int]]] = [[]]
    for offset, length in fragments:
        frames[-1].append((offset, length))
        if length >= 2 and b"\xff\xd9" in element.read(offset + max(0, length - 4), min(length, 4)):
            frames.append([])
    if not frames[-1]:
        frames.pop()
    if len(frames) != count:
        raise corrupt_pixels(instance, f"the pixel data have {len(frames)} frames", "NumberOfFrames", str(count))
    return frames


def _refuse_second_frame(instance: Instance, element: PixelElement, fragments: list[tuple[int, int]]) -> None:
    """Refuse fragments that are to be one frame where another JPEG frame begins within them."""
    for (offset, length), (following, _) in pairwise(fragments):
        if b"\xff\xd9" not in element.read(offset + max(0, length - 4), min(length, 4)):
            continue
        if element.read(following, 2) in (b"\xff\xd8", b"\xff\x4f"):
            raise corrupt_pixels(instance, "the pixel data have more than one frame", "NumberOfFrames", "1")


def _list_items(instance: Instance, element: PixelElement) -> list[tuple[int, int]]:
    """Return (offset, length) of every item's value: the Basic Offset Table, then the fragments."""
    items: list[tuple[int, int]] = []
    offset = 0
    size = element.stream.seek(0, os.SEEK_END) - element.offset
    while offset + 8 <= size:
        group, number, length = struct.unpack("<HHL", element.read(offset, 8))
        if (group, number) == (0xFFFE, 0xE0DD):
            check_what_follows(element, offset + 8)
            return items
        if (group, number) != (0xFFFE, 0xE000):
            raise corrupt_pixels(instance, "the pixel data are no sequence of items")
        if len(items) > MAX_FRAGMENTS:
            raise corrupt_pixels(instance, f"the pixel data are more than {MAX_FRAGMENTS} fragments")
        items.append((offset + 8, length))
        offset += 8 + length
    if offset != size:
        raise corrupt_pixels(instance, "the file ends within the pixel data")
    return items


def _decode(instance: Instance, layout: PixelLayout, encoded: bytes) -> NDArray[Any]:
    """Decode one frame."""
    syntax = layout.transfer_syntax
    if syntax in CODECS:
        return decode_frame(instance, layout, encoded)
    if syntax == RLELossless:
        return decode_rle_frame(instance, layout, encoded)
    if syntax == DEFLATED_IMAGE_FRAME:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        encoded = inflater.decompress(encoded, layout.frame_bytes + 2)
        if not inflater.eof or any(inflater.unused_data):
            raise corrupt_pixels(instance, "a deflated frame does not end where its rows and columns end")
    padding = encoded[layout.frame_bytes :]
    if len(encoded) < layout.frame_bytes or padding not in (b"", b"\0"):
        raise corrupt_pixels(instance, f"a frame of {layout.frame_bytes} bytes has {len(encoded)} bytes")
    data = encoded[: layout.frame_bytes]
    if layout.bits_allocated == 1:
        return layout.unpack_frame(data)
    return layout.values_of(np.frombuffer(data, f"<u{layout.dtype.itemsize}"), layout.bits_stored)
