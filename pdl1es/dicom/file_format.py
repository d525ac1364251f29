"""The layout of a DICOM file's bytes: prefix, File Meta Information, data set (PS3.10 7.1, PS3.5 7.1 and A)."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Final

from pydicom.datadict import keyword_for_tag
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

from pdl1es.errors import RefusalCode

_INFLATED_AT_ONCE = 2**20
SEND_AGAIN: Final = "send the files again that were left out, whole"
RAISE_LIMITS: Final = "raise the limits in app.yaml, where the files that were left out are what they should be"
WRITE_UIDS: Final = RefusalCode.INVALID_UIDS.row.remedy


class UnreadableFileError(Exception):
    """One file cannot be read.

    Parameters
    ----------
    reason
        Why, without any value of the file.
    remedy
        What to do about it.
    """

    def __init__(self, reason: str, remedy: str = SEND_AGAIN) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(reason)


class NotDicomError(Exception):
    """The file is not a DICOM object of a study."""


def looks_like_dicom(head: bytes) -> bool:
    """Tell whether a file is DICOM by its first bytes.

    It is where it has the prefix of PS3.10 7.1. Without the prefix it is where it begins with an element of group 0002
    or 0008 that the data dictionary knows, as old files without File Meta Information do.
    """
    if head[128:132] == b"DICM":
        return True
    if len(head) < 16:
        return False
    for order in "<>":
        group, element, vr, short = struct.unpack(f"{order}HH2sH", head[:8])
        if group not in (0x0002, 0x0008) or element > 0x0100:
            continue
        if re.fullmatch(rb"[A-Z]{2}", vr):
            return short <= 1024 and _known(group, element)
        (length,) = struct.unpack(f"{order}L", head[4:8])
        return length <= 1024 and _known(group, element)
    return False


def _known(group: int, element: int) -> bool:
    return element == 0 or bool(keyword_for_tag(Tag(group, element)))


def data_set_start(head: bytes) -> int:
    """Return where the data set begins: after the preamble and the elements of group 0002 (PS3.10 7.1)."""
    position = 132 if head[128:132] == b"DICM" else 0
    while len(head) >= position + 8 and head[position : position + 2] == b"\x02\x00":
        vr = head[position + 4 : position + 6]
        if vr in (b"OB", b"OW", b"UN", b"SQ", b"UT"):
            (length,) = struct.unpack("<L", head[position + 8 : position + 12].ljust(4, b"\0"))
            position += 12 + length
        elif vr.isalpha() and vr.isupper():
            position += 8 + struct.unpack("<H", head[position + 6 : position + 8])[0]
        else:
            position += 8 + struct.unpack("<L", head[position + 4 : position + 8])[0]
    return position


def inflate_data_set(path: Path, start: int, count: int) -> tuple[bytes, bool]:
    """Inflate the first bytes of a deflated data set (PS3.5 A.5).

    Parameters
    ----------
    path
        The file.
    start
        Where the deflated data set begins, bytes (`data_set_start`).
    count
        Largest number of inflated bytes to return.

    Returns
    -------
    data, whole
        The bytes, and whether they are all there is.

    Raises
    ------
    OSError
        The deflated stream is damaged.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = io.BytesIO()  # grown in place, because joining parts would need the memory twice
    try:
        with path.open("rb") as file:
            file.seek(start)
            while data.tell() < count and not inflater.eof:
                compressed = inflater.unconsumed_tail or file.read(2**18)
                part = inflater.decompress(compressed, min(count - data.tell(), _INFLATED_AT_ONCE))
                if not part and not compressed:
                    break
                data.write(part)
    except zlib.error as error:
        raise OSError("the deflated data set is damaged") from error
    return data.getvalue(), inflater.eof or data.tell() < count


def without_nul_in_character_set(data: bytes) -> bytes:
    """Return a data set with spaces for NULs in its Specific Character Set (0008,0005), which is among its first elements.

    Some writers pad it with them, and Python raises where the name of an encoding holds one.

    Parameters
    ----------
    data
        The data set's first bytes.

    Returns
    -------
    bytes
        As long as ``data``.
    """
    for pattern, order in (
        (b"\x08\x00\x05\x00CS(..)", "<H"),
        (b"\x00\x08\x00\x05CS(..)", ">H"),
        (b"\x08\x00\x05\x00(....)", "<L"),
    ):
        found = re.search(pattern, data[:256], re.DOTALL)
        if found is not None:
            start, (length,) = found.end(), struct.unpack(order, found[1])
            value = data[start : start + length]
            if length <= 256 and b"\0" in value:
                return data[:start] + value.replace(b"\0", b" ") + data[start + length :]
            break
    return data


def data_set_encoding(data: bytes, transfer_syntax: str | None) -> tuple[bool, bool]:
    """Tell how a data set is encoded: as the transfer syntax says, or, without one, as its first element shows.

    Parameters
    ----------
    data
        The data set's first bytes, at least 6.
    transfer_syntax
        Its UID; None or empty where the file does not say it.

    Returns
    -------
    implicit_vr, little_endian
    """
    if transfer_syntax:
        uid = UID(transfer_syntax)
        return uid == ImplicitVRLittleEndian, uid != ExplicitVRBigEndian
    if re.fullmatch(rb"[A-Z]{2}", data[4:6]):
        return False, data[:1] != b"\x00"
    return True, True
