"""The header's description of the pixels (PS3.3 C.7.6.3), checked before a pixel is read.

pydicom checks the same attributes while it decodes (`pydicom.pixels.decoders.base.DecodeRunner`), but its errors name no
tag, and it takes the bits above High Bit of uncompressed pixels for a part of the value.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.free_text import shown_term
from pdl1es.dicom.header_elements import tag_text
from pdl1es.dicom.instance import Instance
from pdl1es.errors import Refusal, RefusalCode

MAX_FRAME_PIXELS: Final = 2**26
"""8192 x 8192: no CT is larger; a damaged header can state more."""


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How an object's pixels are stored: the Image Pixel Module's attributes.

    Attributes
    ----------
    rows, columns
        Size of a frame.
    bits_allocated, bits_stored
        Bits that a pixel takes (1, 8, 16 or 32), and how many of them, from the lowest, are its value.
    signed
        Whether the value is a two's complement.
    number_of_frames
        How many frames the object says it has.
    transfer_syntax
        UID of the transfer syntax; empty where nothing tells it.
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    number_of_frames: int
    transfer_syntax: str

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.rows * self.columns

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
        return (self.pixels * self.bits_allocated + 7) // 8

    @property
    def native_bytes(self) -> int:
        """Bytes of all frames, uncompressed; one-bit frames follow each other without a gap."""
        return (self.pixels * self.bits_allocated * self.number_of_frames + 7) // 8

    def unpack_frame(self, data: bytes, first_bit: int = 0) -> NDArray[np.uint8]:
        """Unpack one frame of one-bit pixels, the lowest bit of a byte first (PS3.5 8.1.1).

        Parameters
        ----------
        data
            The bytes that hold the frame.
        first_bit
            Which bit of the first byte is the frame's first pixel, 0 to 7.

        Returns
        -------
        NDArray
            uint8 of 0 and 1, shape (rows, columns).
        """
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[first_bit : first_bit + self.pixels].reshape(self.rows, self.columns)

    def values_of(self, words: NDArray[Any], bits: int) -> NDArray[Any]:
        """Return the values of a frame's words; what lies above the value's bits may be an overlay, or a wrong sign.

        Parameters
        ----------
        words
            Unsigned integers, one per pixel.
        bits
            How many of a word's lowest bits are the value.

        Returns
        -------
        NDArray
            Type ``dtype``, shape (rows, columns).
        """
        width = self.dtype.itemsize * 8
        result = words.astype(f"u{self.dtype.itemsize}").view(self.dtype)
        if bits < width:
            # shifted up and down again, the value's own highest bit becomes the sign, or zeros fill in
            shift = self.dtype.type(width - bits)
            result = np.right_shift(np.left_shift(result, shift), shift)
        return result.reshape(self.rows, self.columns)


def read_layout(instance: Instance) -> PixelLayout:
    """Read and check what an object's header says of its pixels.

    Raises
    ------
    Refusal
        PIXEL_DATA_CORRUPT: an attribute is missing, or has a value that describes no pixels. LIMIT_EXCEEDED: a frame is
        larger than `MAX_FRAME_PIXELS`.
    """
    header = instance.header

    def number(keyword: str, default: int | None, allowed: Container[int]) -> int:
        value = header.get(keyword, default)
        if value in (None, ""):
            value = default
        # int(), because a range is walked from end to end for pydicom's own kind of whole number
        if not isinstance(value, int) or int(value) not in allowed:
            shown = None if value is None else shown_term(str(value))
            raise corrupt_pixels(instance, "the header does not describe pixel data", keyword, shown)
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
    return PixelLayout(
        rows=rows,
        columns=columns,
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        signed=number("PixelRepresentation", None, (0, 1)) == 1 and bits_allocated > 1,
        number_of_frames=number("NumberOfFrames", 1, range(1, 2**31)),
        transfer_syntax=instance.transfer_syntax_uid,
    )


def corrupt_pixels(instance: Instance, found: str, keyword: str = "PixelData", value: str | None = None) -> Refusal:
    """Return the refusal PIXEL_DATA_CORRUPT of an object.

    Parameters
    ----------
    instance
        The object.
    found
        What is wrong with it.
    keyword, value
        The attribute that shows it; Pixel Data's value is never repeated.

    Returns
    -------
    Refusal
        To be raised.
    """
    return Refusal(
        RefusalCode.PIXEL_DATA_CORRUPT,
        found,
        tag=tag_text(keyword),
        value=value if value is not None or keyword != "PixelData" else "present",
        uid=instance.sop_instance_uid,
    )
