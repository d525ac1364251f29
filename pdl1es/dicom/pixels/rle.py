"""RLE Lossless frames (PS3.5 Annex G).

pydicom's decoder expands a segment without a limit (4 MB of it were seen to become 256 MB) and refuses packed bits.
GDCM fills up a frame that ends early.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.instance import Instance
from pdl1es.dicom.pixels.layout import PixelLayout, corrupt_pixels


def decode_rle_frame(instance: Instance, layout: PixelLayout, encoded: bytes) -> NDArray[Any]:
    """Decode one frame: a segment for each byte of a pixel, the highest first; packed bits are one segment.

    Parameters
    ----------
    instance
        The object, for a refusal.
    layout
        Its pixels' layout.
    encoded
        The compressed frame.

    Returns
    -------
    NDArray
        Stored values, shape (rows, columns).

    Raises
    ------
    Refusal
        PIXEL_DATA_CORRUPT: the frame's header does not fit the image, or the frame is too short.
    """
    count = max(1, layout.bits_allocated // 8)
    expected = layout.frame_bytes // count
    if len(encoded) < 64:
        raise corrupt_pixels(instance, "an RLE frame has no header")
    segments, *offsets = struct.unpack("<16L", encoded[:64])
    bounds = [*offsets[:count], len(encoded)]
    if segments != count or bounds != sorted(bounds) or bounds[0] < 64:
        raise corrupt_pixels(instance, "an RLE frame's header does not fit the image")
    planes = []
    for start, end in pairwise(bounds):
        plane, rest = _expand_packbits(encoded[start:end], expected)
        if len(plane) < expected:
            raise corrupt_pixels(instance, "an RLE frame is shorter than its rows and columns need")
        # A plane and a segment are padded to even lengths.
        if len(plane) > expected + expected % 2 or any(rest):
            raise corrupt_pixels(instance, "an RLE frame is longer than its rows and columns need")
        planes.append(np.frombuffer(plane, np.uint8, count=expected))
    if layout.bits_allocated == 1:
        return layout.unpack_frame(planes[0].tobytes())
    words = np.stack(planes, axis=-1).view(f">u{count}")
    return layout.values_of(words.ravel(), layout.bits_stored)


def _expand_packbits(data: bytes, expected: int) -> tuple[bytearray, bytes]:
    """Expand PackBits (PS3.5 G.3.2) until ``expected`` bytes are there or the data end; return what is left of them."""
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
    return result, data[position:]
