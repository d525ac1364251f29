"""What identifies an object, read from its first bytes: nothing is decoded, and no other element is looked at."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from gateway.objects.errors import DamagedHeaderError, NotStorableError
from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError
from pdl1es.dicom.header import read_instance
from pdl1es.dicom.limits import ScanLimits

HEAD_BYTES: Final = 64 * 1024
"""Bytes of a data set that are searched for its UIDs before the whole header is read."""
_UID: Final = re.compile(r"(?=.{1,64}\Z)[0-9]+(?:\.[0-9]+)*")
"""UIDs name folders and files, so none is taken that is no UID (PS3.5 9.1; a component with leading zeros is taken)."""
_LONG_VR: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_UNDEFINED: Final = 0xFFFFFFFF
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_WANTED: Final = frozenset({_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES})
_TAG_BYTES: Final = tuple(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in sorted(_WANTED))
_PIXEL_DATA_BYTES: Final = struct.pack("<HH", 0x7FE0, 0x0010)


@dataclass(frozen=True, slots=True)
class ObjectIdentity:
    """The UIDs of one object.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid, series_instance_uid, study_instance_uid
        Of its data set.
    transfer_syntax_uid
        In which it is encoded.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str


def is_uid(text: str) -> bool:
    """Tell whether a text is a UID that may name a file."""
    return _UID.fullmatch(text) is not None


def scan_identity(head: bytes, transfer_syntax_uid: str) -> ObjectIdentity | None:
    """Find an object's UIDs in the first bytes of its data set, by stepping over every other element (PS3.5 7.1).

    Parameters
    ----------
    head
        The first bytes of the data set.
    transfer_syntax_uid
        In which it is encoded.

    Returns
    -------
    ObjectIdentity or None
        None where they do not lie in these bytes, or cannot be found by stepping alone: the data set is deflated, big endian, or
        has a sequence of undefined length before them.
    """
    if transfer_syntax_uid in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        return None
    implicit = transfer_syntax_uid == ImplicitVRLittleEndian
    found: dict[int, str] = {}
    at, end = 0, len(head)
    while at + 12 <= end and len(found) < len(_WANTED):
        group, element = struct.unpack_from("<HH", head, at)
        tag = group << 16 | element
        if tag > _SERIES:
            return None
        if implicit:
            length, start = struct.unpack_from("<L", head, at + 4)[0], at + 8
        elif head[at + 4 : at + 6] in _LONG_VR:
            length, start = struct.unpack_from("<L", head, at + 8)[0], at + 12
        else:
            length, start = struct.unpack_from("<H", head, at + 6)[0], at + 8
        if length == _UNDEFINED or start + length > end:
            return None
        if tag in _WANTED:
            found[tag] = head[start : start + length].decode("ascii", "replace").strip(" \0")
        at = start + length
    if len(found) < len(_WANTED) or not all(map(is_uid, found.values())):
        return None
    return ObjectIdentity(
        sop_class_uid=found[_SOP_CLASS],
        sop_instance_uid=found[_SOP_INSTANCE],
        series_instance_uid=found[_SERIES],
        study_instance_uid=found[_STUDY],
        transfer_syntax_uid=transfer_syntax_uid,
    )


def may_say_more(head: bytes, *, whole: bool) -> bool:
    """Tell whether a data set may have one of the UIDs of `scan_identity` again behind it, and perhaps with another value.

    Elements ascend by their tag, and none comes twice (PS3.5 7.1). In a data set that breaks this the chain reads the last one. What only
    looks like such an element, as one within a sequence, costs the reading of the header and nothing else.

    Parameters
    ----------
    head
        The first bytes of the data set, little endian.
    whole
        Whether that is all of it.

    Returns
    -------
    bool
        False where each of the four tags is there once before Pixel Data, which is the last element that the chain reads.
    """
    end = head.find(_PIXEL_DATA_BYTES)
    if end < 0:
        if not whole:
            return True
        end = len(head)
    return any(head.count(tag, 0, end) != 1 for tag in _TAG_BYTES)


def read_identity(path: Path, limits: ScanLimits) -> ObjectIdentity:
    """Read an object's UIDs from its whole header, as the chain will read it.

    Parameters
    ----------
    path
        The file.
    limits
        Size and depth that it is given.

    Returns
    -------
    ObjectIdentity

    Raises
    ------
    DamagedHeaderError
        Its header cannot be read.
    NotStorableError
        It is no DICOM object of a study, or has a UID that is none.
    """
    try:
        instance = read_instance(path, limits)
    except NotDicomError:
        raise NotStorableError("it is no DICOM object of a study") from None
    except UnreadableFileError as error:
        raise DamagedHeaderError(error.reason) from error
    identity = ObjectIdentity(
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        study_instance_uid=instance.study_instance_uid,
        transfer_syntax_uid=instance.transfer_syntax_uid,
    )
    if not all(map(is_uid, (instance.sop_instance_uid, identity.series_instance_uid, identity.study_instance_uid))):
        raise NotStorableError("one of its UIDs is no UID")
    return identity
