"""Pixel data: the frames that are asked for, read and decoded, and CT frames in Hounsfield units."""

from __future__ import annotations

import atexit
import io
import math
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from pdl1es.dicom.pixels import decoder_process
from pdl1es.dicom.rescale import refuse_other_units
from pdl1es.dicom.series import CTSlice
from pdl1es.dicom.study import (
    Instance,
    NotDicomError,
    UnreadableFileError,
    data_set_start,
    inflate_data_set,
    read_instance,
    tag_text,
)
from pdl1es.errors import Refusal, RefusalCode

NATIVE_TRANSFER_SYNTAXES: Final = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)
ENCAPSULATED_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1.98"
DEFLATED_IMAGE_FRAME: Final = "1.2.840.10008.1.2.8.1"
_CODECS: Final = {
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
ENCAPSULATED_TRANSFER_SYNTAXES: Final = frozenset(
    {*_CODECS, RLELossless, DEFLATED_IMAGE_FRAME, ENCAPSULATED_UNCOMPRESSED}
)
"""Compressed ones that are decoded. JPEG's retired processes 6 to 12 (...4.53, ...4.55) are lossy and refused."""

MAX_FRAME_PIXELS: Final = 2**26
"""8192 x 8192: no CT is larger, and a damaged header soon is."""
MAX_DECODED_BYTES: Final = 2**32
"""Of the frames that one call decodes."""
MAX_INFLATED_BYTES: Final = 2**31
"""Of a deflated data set."""
MAX_FRAGMENTS: Final = 1_000_000
DECODE_SECONDS: float = 30.0
"""Time that one compressed frame is given; a CT slice needs about 0.1 s."""


def read_ct_slice(ct_slice: CTSlice) -> NDArray[Any]:
    """Read one slice in Hounsfield units: slope x stored value + intercept (PS3.3 C.11.1.1.2).

    Only this slice's file is opened, and only its frame is read and decoded. Pixels at Pixel Padding Value are no
    measurement, but nothing in the method treats them apart, so they come out as the formula gives them, often
    -3024 HU, and nothing is clipped.

    Parameters
    ----------
    ct_slice
        The slice.

    Returns
    -------
    NDArray
        Shape (rows, columns). int16 where slope and intercept are whole and every value that the stored bits can hold
        fits, else int32; float64 where they are not whole.

    Raises
    ------
    Refusal
        NOT_HU: no rescale, one that is not to HU, or an image that is no grey scale. UNSUPPORTED_TRANSFER_SYNTAX,
        PIXEL_DATA_CORRUPT, LIMIT_EXCEEDED: as `read_stored_frames`.
    """
    instance = ct_slice.instance
    slope, intercept = _rescale(ct_slice)
    layout = _PixelLayout.of(instance)
    stored = read_stored_frames(instance, [ct_slice.frame])[0]
    low, high = layout.stored_range
    ends = (slope * low + intercept, slope * high + intercept)
    if slope.is_integer() and intercept.is_integer():
        for dtype in (np.int16, np.int32):
            if np.iinfo(dtype).min <= min(ends) and max(ends) <= np.iinfo(dtype).max:
                return (stored.astype(np.int64) * int(slope) + int(intercept)).astype(dtype)
    return stored * slope + intercept


def _rescale(ct_slice: CTSlice) -> tuple[float, float]:
    """Return slope and intercept to HU, or refuse."""
    header, uid = ct_slice.instance.header, ct_slice.instance.sop_instance_uid

    def refuse(found: str, keyword: str, value: Any = None) -> Refusal:
        text = None if value is None else str(value)[:64]
        return Refusal(RefusalCode.NOT_HU, found, tag=tag_text(keyword), value=text, uid=uid)

    photometric = header.get("PhotometricInterpretation")
    if photometric != "MONOCHROME2":
        raise refuse(
            "the image is not stored so that larger values are denser", "PhotometricInterpretation", photometric
        )
    samples = header.get("SamplesPerPixel", 1)
    if samples != 1:
        raise refuse("the image is not a grey scale image", "SamplesPerPixel", samples)
    if header.get("ModalityLUTSequence"):
        raise refuse("the image has a look-up table instead of a rescale", "ModalityLUTSequence", "present")
    refuse_other_units(_rescale_type(header, ct_slice.frame), uid)
    for keyword, value in (
        ("RescaleSlope", ct_slice.rescale_slope),
        ("RescaleIntercept", ct_slice.rescale_intercept),
    ):
        if value is None:
            raise refuse("the image has no rescale to Hounsfield units", keyword)
        if not math.isfinite(value) or (keyword == "RescaleSlope" and value == 0):
            raise refuse("the rescale to Hounsfield units is no use", keyword, value)
    assert ct_slice.rescale_slope is not None
    assert ct_slice.rescale_intercept is not None
    return float(ct_slice.rescale_slope), float(ct_slice.rescale_intercept)


def _rescale_type(header: Dataset, frame: int) -> Any:
    """Return Rescale Type of a frame: its own, the object's functional groups', or the image's; None if there is none."""
    groups: list[Dataset] = []
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if per_frame is not None and frame < len(per_frame):
        groups.append(per_frame[frame])
    groups.extend(list(header.get("SharedFunctionalGroupsSequence") or ())[:1])
    for group in groups:
        for item in group.get("PixelValueTransformationSequence") or ():
            if item.get("RescaleType"):
                return item.RescaleType
    return header.get("RescaleType")


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
        damaged or not what the header says. LIMIT_EXCEEDED: the frames are too large.
    """
    layout = _PixelLayout.of(instance)
    pixels = layout.rows * layout.columns
    if pixels * len(frames) * layout.dtype.itemsize > MAX_DECODED_BYTES:
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
    """Yield frames one by one, as `read_stored_frames` returns them together; shape (rows, columns) each."""
    layout = _PixelLayout.of(instance)
    for frame in frames:
        if not 0 <= frame < layout.number_of_frames:
            raise _corrupt(instance, f"there is no frame {frame + 1}", "NumberOfFrames", str(layout.number_of_frames))
    if layout.transfer_syntax not in NATIVE_TRANSFER_SYNTAXES | ENCAPSULATED_TRANSFER_SYNTAXES:
        raise Refusal(
            RefusalCode.UNSUPPORTED_TRANSFER_SYNTAX,
            "there is no decoder for the image's transfer syntax",
            tag=tag_text("TransferSyntaxUID"),
            value=layout.transfer_syntax or None,
            uid=instance.sop_instance_uid,
        )
    try:
        with _open_pixel_data(instance) as element:
            if layout.transfer_syntax in NATIVE_TRANSFER_SYNTAXES:
                for frame in frames:
                    yield _native_frame(instance, layout, element, frame)
            else:
                places = _locate_frames(instance, layout, element)
                for frame in frames:
                    encoded = b"".join(element.read(offset, length) for offset, length in places[frame])
                    yield _decode(instance, layout, encoded)
    except (OSError, zlib.error, struct.error) as error:
        raise _corrupt(instance, "the pixel data cannot be read") from error


def _corrupt(instance: Instance, found: str, keyword: str = "PixelData", value: str | None = None) -> Refusal:
    return Refusal(
        RefusalCode.PIXEL_DATA_CORRUPT,
        found,
        tag=tag_text(keyword),
        value=value if value is not None or keyword != "PixelData" else "present",
        uid=instance.sop_instance_uid,
    )


@dataclass(frozen=True, slots=True)
class _PixelLayout:
    """The Image Pixel Module's attributes (PS3.3 C.7.6.3), checked."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    number_of_frames: int
    transfer_syntax: str

    @classmethod
    def of(cls, instance: Instance) -> _PixelLayout:
        header = instance.header

        def number(keyword: str, default: int | None, allowed: Sequence[int]) -> int:
            value = header.get(keyword, default)
            if value in (None, ""):
                value = default
            if not isinstance(value, int) or value not in allowed:
                shown = None if value is None else str(value)[:64]
                raise _corrupt(instance, "the header does not describe pixel data", keyword, shown)
            return int(value)

        rows = number("Rows", None, range(1, 2**16))
        columns = number("Columns", None, range(1, 2**16))
        if rows * columns > MAX_FRAME_PIXELS:
            raise Refusal(
                RefusalCode.LIMIT_EXCEEDED,
                f"a frame of {rows} x {columns} pixels is larger than any CT",
                tag=tag_text("Rows"),
                value=str(rows),
                uid=instance.sop_instance_uid,
            )
        number("SamplesPerPixel", 1, (1,))
        bits_allocated = number("BitsAllocated", None, (1, 8, 16, 32))
        bits_stored = number("BitsStored", bits_allocated, range(1, bits_allocated + 1))
        number("HighBit", bits_stored - 1, (bits_stored - 1,))
        return cls(
            rows=rows,
            columns=columns,
            bits_allocated=bits_allocated,
            bits_stored=bits_stored,
            signed=number("PixelRepresentation", None, (0, 1)) == 1 and bits_allocated > 1,
            number_of_frames=number("NumberOfFrames", 1, range(1, 2**31)),
            transfer_syntax=instance.transfer_syntax_uid,
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored values, in this machine's byte order."""
        return np.dtype(f"{'i' if self.signed else 'u'}{max(1, self.bits_allocated // 8)}")

    @property
    def stored_range(self) -> tuple[int, int]:
        """Smallest and largest value that the stored bits can hold."""
        if self.signed:
            return -(2 ** (self.bits_stored - 1)), 2 ** (self.bits_stored - 1) - 1
        return 0, 2**self.bits_stored - 1

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame that begins on a byte."""
        return (self.rows * self.columns * self.bits_allocated + 7) // 8

    def unpacked(self, data: bytes, first_bit: int = 0) -> NDArray[np.uint8]:
        """Unpack one frame of one-bit pixels, the lowest bit of a byte first (PS3.5 8.1.1)."""
        pixels = self.rows * self.columns
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[first_bit : first_bit + pixels].reshape(self.rows, self.columns)

    def interpreted(self, words: NDArray[Any], bits: int) -> NDArray[Any]:
        """Take the low ``bits`` of unsigned words for the pixel: what lies above may be an overlay, or a wrong sign."""
        width = self.dtype.itemsize * 8
        result = words.astype(f"u{self.dtype.itemsize}").view(self.dtype)
        if bits < width:
            # shifted up and down again, the pixel's own highest bit becomes the sign, or zeros fill in
            shift = self.dtype.type(width - bits)
            result = np.right_shift(np.left_shift(result, shift), shift)
        return result.reshape(self.rows, self.columns)


# --- The Pixel Data element ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _PixelElement:
    """Pixel Data's value in an open file: where it begins, its length (None where undefined) and its VR."""

    instance: Instance
    stream: BinaryIO
    offset: int
    length: int | None
    vr: str

    def read(self, offset: int, length: int) -> bytes:
        """Read bytes of the value, or refuse where the file has fewer."""
        if self.length is not None and offset + length > self.length:
            raise _corrupt(self.instance, f"the pixel data end after {self.length} bytes of {offset + length}")
        self.stream.seek(self.offset + offset)
        data = self.stream.read(length)
        if len(data) != length:
            raise _corrupt(self.instance, "the file ends within the pixel data")
        return data


@contextmanager
def _open_pixel_data(instance: Instance) -> Iterator[_PixelElement]:
    """Open an instance's file at its Pixel Data."""
    tag_offset = instance.pixel_data_offset
    if tag_offset is None:
        try:
            tag_offset = read_instance(instance.path).pixel_data_offset
        except (UnreadableFileError, NotDicomError) as error:
            raise _corrupt(instance, "the file cannot be read any more") from error
        if tag_offset is None:
            raise _corrupt(instance, "there are no pixel data", value="absent")
    with instance.path.open("rb") as file:
        stream: BinaryIO = file
        if instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            data, whole = inflate_data_set(instance.path, data_set_start(file.read(2**16)), MAX_INFLATED_BYTES)
            if not whole:
                raise Refusal(
                    RefusalCode.LIMIT_EXCEEDED,
                    "the deflated data set is too large",
                    tag=tag_text("TransferSyntaxUID"),
                    value=instance.transfer_syntax_uid,
                    uid=instance.sop_instance_uid,
                )
            stream = io.BytesIO(data)
        order = ">" if instance.transfer_syntax_uid == ExplicitVRBigEndian else "<"
        stream.seek(tag_offset)
        head = stream.read(12)
        if len(head) < 8 or struct.unpack(f"{order}HH", head[:4]) != (0x7FE0, 0x0010):
            raise _corrupt(instance, "there are no integer pixel data where they were found before")
        vr = head[4:6].decode("latin-1")
        if vr in ("OB", "OW", "UN"):
            length, size = struct.unpack(f"{order}L", head[8:12].ljust(4, b"\0"))[0], 12
        else:
            vr, length, size = "OW", struct.unpack(f"{order}L", head[4:8])[0], 8
        yield _PixelElement(instance, stream, tag_offset + size, None if length == 0xFFFFFFFF else length, vr)


def _native_frame(instance: Instance, layout: _PixelLayout, element: _PixelElement, frame: int) -> NDArray[Any]:
    """Read one uncompressed frame. One-bit frames follow each other without a gap, whatever their size in bits."""
    if element.length is None:
        raise _corrupt(instance, "uncompressed pixel data have no length")
    pixels = layout.rows * layout.columns
    first_bit = frame * pixels * layout.bits_allocated
    start, end = first_bit // 8, (first_bit + pixels * layout.bits_allocated + 7) // 8
    big_endian = layout.transfer_syntax == ExplicitVRBigEndian
    if big_endian and element.vr == "OW" and layout.bits_allocated <= 8:
        # words of two bytes, each swapped (PS3.5 8.1.1)
        even = start - start % 2
        words = np.frombuffer(element.read(even, end + end % 2 - even), ">u2")
        data = words.astype("<u2").tobytes()[start - even : end - even]
    else:
        data = element.read(start, end - start)
    if layout.bits_allocated == 1:
        return layout.unpacked(data, first_bit % 8)
    words = np.frombuffer(data, f"{'>' if big_endian else '<'}u{layout.dtype.itemsize}")
    return layout.interpreted(words, layout.bits_stored)


def _locate_frames(instance: Instance, layout: _PixelLayout, element: _PixelElement) -> list[list[tuple[int, int]]]:
    """Return each frame's fragments as (offset, length) in the element's value (PS3.5 A.4)."""
    if element.length is not None:
        raise _corrupt(instance, "compressed pixel data have a length")
    items = _list_items(instance, element)
    if not items:
        raise _corrupt(instance, "the pixel data have no items")
    (table_offset, table_length), fragments = items[0], items[1:]
    count = layout.number_of_frames
    if count == 1 and fragments:
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
        raise _corrupt(instance, f"the pixel data have {len(frames)} frames", "NumberOfFrames", str(count))
    return frames


def _list_items(instance: Instance, element: _PixelElement) -> list[tuple[int, int]]:
    """Return (offset, length) of every item's value: the Basic Offset Table, then the fragments."""
    items: list[tuple[int, int]] = []
    offset = 0
    size = element.stream.seek(0, os.SEEK_END) - element.offset
    while offset + 8 <= size:
        group, number, length = struct.unpack("<HHL", element.read(offset, 8))
        if (group, number) == (0xFFFE, 0xE0DD):
            break
        if (group, number) != (0xFFFE, 0xE000) or len(items) > MAX_FRAGMENTS:
            raise _corrupt(instance, "the pixel data are no sequence of items")
        items.append((offset + 8, length))
        offset += 8 + length
    if offset > size:
        raise _corrupt(instance, "the file ends within the pixel data")
    return items


# --- Decoding --------------------------------------------------------------------------------------------------------


def _decode(instance: Instance, layout: _PixelLayout, encoded: bytes) -> NDArray[Any]:
    """Decode one frame."""
    syntax = layout.transfer_syntax
    if syntax in _CODECS:
        return _decode_in_process(instance, layout, encoded)
    if syntax == RLELossless:
        return _decode_rle(instance, layout, encoded)
    if syntax == DEFLATED_IMAGE_FRAME:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        encoded = inflater.decompress(encoded, layout.frame_bytes + 1)
    if len(encoded) < layout.frame_bytes:
        raise _corrupt(instance, "a frame is shorter than its rows and columns need")
    data = encoded[: layout.frame_bytes]
    if layout.bits_allocated == 1:
        return layout.unpacked(data)
    return layout.interpreted(np.frombuffer(data, f"<u{layout.dtype.itemsize}"), layout.bits_stored)


def _decode_rle(instance: Instance, layout: _PixelLayout, encoded: bytes) -> NDArray[Any]:
    """Decode RLE (PS3.5 Annex G): one segment for each byte of a pixel, the highest first; packed bits are one segment."""
    count = max(1, layout.bits_allocated // 8)
    expected = layout.frame_bytes // count
    if len(encoded) < 64:
        raise _corrupt(instance, "an RLE frame has no header")
    segments, *offsets = struct.unpack("<16L", encoded[:64])
    bounds = [*offsets[:count], len(encoded)]
    if segments != count or bounds != sorted(bounds) or bounds[0] < 64:
        raise _corrupt(instance, "an RLE frame's header does not fit the image")
    planes = []
    for start, end in pairwise(bounds):
        plane = _unpack_bits(encoded[start:end], expected)
        if len(plane) < expected:
            raise _corrupt(instance, "an RLE frame is shorter than its rows and columns need")
        planes.append(np.frombuffer(plane, np.uint8, count=expected))
    if layout.bits_allocated == 1:
        return layout.unpacked(planes[0].tobytes())
    words = np.stack(planes, axis=-1).view(f">u{count}")
    return layout.interpreted(words.ravel(), layout.bits_stored)


def _unpack_bits(data: bytes, expected: int) -> bytearray:
    """Expand PackBits (PS3.5 G.3.2) until ``expected`` bytes are there or the data end."""
    result = bytearray()
    position, end = 0, len(data)
    while position < end and len(result) < expected:
        head = data[position]
        if head < 128:
            result += data[position + 1 : position + 2 + head]
            position += 2 + head
        else:
            if head > 128:
                result += data[position + 1 : position + 2] * (257 - head)
            position += 2 if head > 128 else 1
    return result


def _decode_in_process(instance: Instance, layout: _PixelLayout, encoded: bytes) -> NDArray[Any]:
    """Decode a JPEG, JPEG-LS or JPEG 2000 frame in the decoder process, after a look at the frame's own header."""
    codec = _CODECS[layout.transfer_syntax]  # type: ignore[index]  # a UID is a str
    described = _siz(encoded) if codec == decoder_process.JPEG_2000 else _start_of_frame(encoded)
    if described is None:
        raise _corrupt(instance, "a compressed frame has no header")
    precision, rows, columns, components = described
    if (rows, columns, components) != (layout.rows, layout.columns, 1) or not 1 <= precision <= 32:
        raise _corrupt(
            instance, f"a compressed frame holds {rows} x {columns} pixels of {components} samples and {precision} bits"
        )
    if b"\xff\xd9" not in encoded[-16:]:
        raise _corrupt(instance, "a compressed frame is truncated")
    width = 1 if precision <= 8 else 2 if precision <= 16 else 4
    samples = _decoder.decode(codec, precision, rows, columns, encoded)
    if samples is None or len(samples) != rows * columns * width:
        raise _corrupt(instance, "a compressed frame cannot be decoded")
    words = np.frombuffer(samples, f"<u{width}")
    if layout.bits_allocated == 1:
        return (words.reshape(rows, columns) != 0).astype(np.uint8)
    if precision > layout.bits_allocated:
        raise _corrupt(
            instance, f"a compressed frame has samples of {precision} bits", "BitsAllocated", str(layout.bits_allocated)
        )
    # the frame knows its own precision; Bits Stored often repeats Bits Allocated
    return layout.interpreted(words, min(precision, layout.bits_stored))


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


class _Decoder:
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


_decoder = _Decoder()
atexit.register(_decoder.close)
