"""Where things lie in the bytes of a DICOM file: prefix, File Meta Information, data set (PS3.10 7.1, PS3.5 7.1 and A)."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path

from pydicom.datadict import keyword_for_tag
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

_INFLATED_AT_ONCE = 2**20


class UnreadableFileError(Exception):
    """One file cannot be read; the message says why, without any value of the file."""


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
        elif re.fullmatch(rb"[A-Z]{2}", vr):
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
    data = io.BytesIO()  # grown in place: a join of parts would hold everything twice
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
