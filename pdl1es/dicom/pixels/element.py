"""The Pixel Data element in its file: where its value lies, how long it is, and what follows it.

The bytes are compared with the header, because a value of another length than the header says is read as another image:
a SEG whose Columns say 79 instead of 80 is a mask that leans, and two bytes too many move every pixel by one.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from pydicom.filereader import data_element_generator
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError, data_set_start, inflate_data_set
from pdl1es.dicom.header import read_instance
from pdl1es.dicom.header_elements import MALFORMED, tag_text
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.pixels.layout import PixelLayout, corrupt_pixels
from pdl1es.dicom.silence import silenced_pydicom
from pdl1es.errors import Refusal, RefusalCode

MAX_INFLATED_BYTES: Final = 2**30
"""Of a deflated data set, whatever its header says."""
MAX_FOLLOWING_BYTES: Final = 2**24
"""Of what follows the pixel data."""
MAX_FOLLOWING_ITEMS: Final = 10_000
"""Sequence items in what follows the pixel data."""

_PIXEL_DATA: Final = 0x7FE00010
_DIGITAL_SIGNATURES: Final = 0xFFFAFFFA
_TRAILING_PADDING: Final = 0xFFFCFFFC
_END: Final = 0xFFFEE0DD
"""A delimiter without a sequence: no data set holds it, so that it can mark where one ends."""


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Pixel Data's value in an open file.

    Attributes
    ----------
    instance
        The object.
    stream
        Its file, or its inflated data set.
    offset
        Where the value begins in ``stream``, bytes.
    length
        Length of the value, bytes; None where it is undefined, as that of compressed pixel data is.
    vr
        Value Representation: OB, OW or UN; OW where the file says none.
    implicit_vr, big_endian
        How the data set is encoded.
    """

    instance: Instance
    stream: BinaryIO
    offset: int
    length: int | None
    vr: str
    implicit_vr: bool
    big_endian: bool

    def read(self, offset: int, length: int) -> bytes:
        """Read bytes of the value.

        Parameters
        ----------
        offset, length
            In the value, bytes.

        Returns
        -------
        bytes
            ``length`` bytes.

        Raises
        ------
        Refusal
            PIXEL_DATA_CORRUPT: the value or the file has fewer.
        """
        if self.length is not None and offset + length > self.length:
            raise corrupt_pixels(self.instance, f"the pixel data end after {self.length} bytes of {offset + length}")
        self.stream.seek(self.offset + offset)
        data = self.stream.read(length)
        if len(data) != length:
            raise corrupt_pixels(self.instance, "the file ends within the pixel data")
        return data


@contextmanager
def open_pixel_data(instance: Instance, layout: PixelLayout) -> Iterator[PixelElement]:
    """Open an instance's file at its Pixel Data.

    Parameters
    ----------
    instance
        The object.
    layout
        What its header says of its pixels: no more of a deflated data set is inflated than that, and what may follow.

    Yields
    ------
    PixelElement

    Raises
    ------
    Refusal
        PIXEL_DATA_CORRUPT: there are no pixel data. LIMIT_EXCEEDED: a deflated data set is too large.
    OSError
        The file cannot be read, or a deflated data set is damaged.
    """
    tag_offset = instance.pixel_data_offset
    if tag_offset is None:
        try:
            tag_offset = read_instance(instance.path).pixel_data_offset
        except (UnreadableFileError, NotDicomError) as error:
            raise corrupt_pixels(instance, "the file cannot be read any more") from error
        if tag_offset is None:
            raise corrupt_pixels(instance, "there are no pixel data", value="absent")
    with instance.path.open("rb") as file:
        stream: BinaryIO = file
        if instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            most = min(tag_offset + 16 + layout.native_bytes + MAX_FOLLOWING_BYTES, MAX_INFLATED_BYTES)
            data, whole = inflate_data_set(instance.path, data_set_start(file.read(2**16)), most)
            if not whole:
                raise Refusal(
                    RefusalCode.LIMIT_EXCEEDED,
                    f"the deflated data set is larger than its header says, or than {MAX_INFLATED_BYTES} bytes",
                    tag=tag_text("TransferSyntaxUID"),
                    value=instance.transfer_syntax_uid,
                    uid=instance.sop_instance_uid,
                )
            stream = io.BytesIO(data)
        big_endian = instance.transfer_syntax_uid == ExplicitVRBigEndian
        order = ">" if big_endian else "<"
        stream.seek(tag_offset)
        head = stream.read(12).ljust(12, b"\0")
        if struct.unpack(f"{order}HH", head[:4]) != (_PIXEL_DATA >> 16, _PIXEL_DATA & 0xFFFF):
            raise corrupt_pixels(instance, "there are no integer pixel data where they were found before")
        vr = head[4:6].decode("latin-1")
        # an implicit length can't look like one of these: it would be odd
        implicit = vr not in ("OB", "OW", "UN")
        size = 8 if implicit else 12
        (length,) = struct.unpack(f"{order}L", head[size - 4 : size])
        yield PixelElement(
            instance=instance,
            stream=stream,
            offset=tag_offset + size,
            length=None if length == 0xFFFFFFFF else length,
            vr="OW" if implicit else vr,
            implicit_vr=implicit,
            big_endian=big_endian,
        )


def check_native_length(element: PixelElement, layout: PixelLayout) -> int:
    """Return the length of uncompressed pixel data, or refuse one that is not what the header says (PS3.5 8.1.1).

    A value of an odd length is padded to an even one by a zero byte. Nothing else may be there.

    Parameters
    ----------
    element
        The pixel data.
    layout
        What the header says of them.

    Returns
    -------
    int
        Bytes, with the padding.

    Raises
    ------
    Refusal
        PIXEL_DATA_CORRUPT.
    """
    if element.length is None:
        raise corrupt_pixels(element.instance, "uncompressed pixel data have no length")
    expected = layout.native_bytes
    if element.length not in (expected, expected + expected % 2):
        raise corrupt_pixels(
            element.instance,
            f"the pixel data have {element.length} bytes, and {layout.number_of_frames} x "
            f"{layout.rows} x {layout.columns} pixels of {layout.bits_allocated} bits are {expected}",
        )
    if element.stream.seek(0, os.SEEK_END) < element.offset + element.length:
        raise corrupt_pixels(element.instance, "the file ends within the pixel data")
    # in big-endian words the padding comes before the last byte
    if element.length > expected and not element.big_endian and element.read(expected, 1) != b"\0":
        raise corrupt_pixels(element.instance, "the byte that pads the pixel data is not zero")
    return element.length


def check_what_follows(element: PixelElement, end: int) -> None:
    """Refuse an object whose pixel data are followed by anything that DICOM does not allow there.

    Elements stand in the order of their tags (PS3.5 7.1). Behind Pixel Data are private groups (PS3.5 7.8), Digital
    Signatures Sequence (FFFA,FFFA) and Data Set Trailing Padding (FFFC,FFFC); other bytes show that the pixel data
    are longer than they say.

    Parameters
    ----------
    element
        The pixel data.
    end
        Where their value ends, with its delimiter, bytes from its beginning.

    Raises
    ------
    Refusal
        PIXEL_DATA_CORRUPT: other bytes follow. LIMIT_EXCEEDED: more follows than is checked.
    """
    element.stream.seek(element.offset + end)
    data = element.stream.read(MAX_FOLLOWING_BYTES + 1)
    if not data:
        return
    instance = element.instance
    order = ">" if element.big_endian else "<"
    item = struct.pack(f"{order}HH", 0xFFFE, 0xE000)
    if len(data) > MAX_FOLLOWING_BYTES or data.count(item) > MAX_FOLLOWING_ITEMS:
        raise Refusal(
            RefusalCode.LIMIT_EXCEEDED,
            f"more than {MAX_FOLLOWING_BYTES} bytes or {MAX_FOLLOWING_ITEMS} items follow the pixel data",
            tag=tag_text("PixelData"),
            uid=instance.sop_instance_uid,
        )
    delimiter = struct.pack(f"{order}HHL", _END >> 16, _END & 0xFFFF, 0)
    buffer = io.BytesIO(data + delimiter)
    last, ended = _PIXEL_DATA, False

    def at_end(tag: int, vr: str | None, length: int) -> bool:
        nonlocal ended
        ended = int(tag) == _END
        return ended

    try:
        with silenced_pydicom():
            elements = data_element_generator(
                buffer, element.implicit_vr, not element.big_endian, stop_when=at_end, defer_size=1024
            )
            for found in elements:
                tag = int(found.tag)
                if tag <= last or not _may_follow(tag):
                    raise corrupt_pixels(instance, "what follows the pixel data is not what DICOM lets follow them")
                last = tag
    except (*MALFORMED, RecursionError):
        ended = False
    if not ended or buffer.tell() != len(data):
        raise corrupt_pixels(instance, "bytes that are no DICOM follow the pixel data")


def _may_follow(tag: int) -> bool:
    """Tell whether an element can stand behind Pixel Data."""
    group = tag >> 16
    return (group % 2 == 1 and group != 0xFFFF) or tag in (_DIGITAL_SIGNATURES, _TRAILING_PADDING)
