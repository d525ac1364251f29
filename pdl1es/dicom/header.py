"""One file's header: read up to its pixel data, within limits, whatever its encoding."""

from __future__ import annotations

import io
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from pdl1es.dicom.file_format import (
    RAISE_LIMITS,
    WRITE_UIDS,
    NotDicomError,
    UnreadableFileError,
    data_set_encoding,
    data_set_start,
    inflate_data_set,
    looks_like_dicom,
    without_nul_in_character_set,
)
from pdl1es.dicom.header_elements import MALFORMED, Converted, settled_elements
from pdl1es.dicom.header_keywords import HEADER_KEYWORDS
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.limits import ScanLimits
from pdl1es.dicom.silence import silenced_pydicom

_HEADER_TAGS: Final[list[BaseTag | int]] = [
    BaseTag(tag) for tag in map(tag_for_keyword, HEADER_KEYWORDS) if tag is not None
]
_PIXEL_DATA_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_IDENTITY: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_UID_PATTERN: Final = re.compile(r"[0-9.]{1,64}")
FIRST_CHUNK: Final = 64 * 1024
"""Bytes of a file that are read at first: nearly all headers of CT images fit."""


def read_instance(path: Path, limits: ScanLimits | None = None) -> Instance:
    """Read one file's header.

    Parameters
    ----------
    path
        The file.
    limits
        Size and depth that it is given.

    Returns
    -------
    Instance

    Raises
    ------
    UnreadableFileError
        The file is damaged, exceeds a limit, or lacks a UID that identifies it.
    NotDicomError
        It is not DICOM, or a DICOMDIR.
    """
    head = read_head(path)
    if isinstance(head, OSError):
        raise UnreadableFileError("the file cannot be opened") from head
    with silenced_pydicom():
        return parse_header(path, head, limits or ScanLimits(), {})


@dataclass(frozen=True, slots=True)
class FileHead:
    """The first bytes of a file, and its size."""

    data: bytes
    size: int


def read_head(path: Path) -> FileHead | OSError:
    """Return the file's first bytes, or the error where it cannot be read: a thread's map would end at a raised one."""
    try:
        with path.open("rb") as file:
            return FileHead(file.read(FIRST_CHUNK), os.fstat(file.fileno()).st_size)
    except OSError as error:
        return error


def parse_header(path: Path, head: FileHead, limits: ScanLimits, converted: Converted) -> Instance:
    """Return the instance that a file holds.

    Parameters
    ----------
    path
        The file.
    head
        Its first bytes (`read_head`).
    limits
        Size and depth that it is given.
    converted
        Elements of other files of the same folder, which are not converted again; filled here.

    Returns
    -------
    Instance

    Raises
    ------
    UnreadableFileError
        The file is damaged, exceeds a limit, or lacks a UID that identifies it.
    NotDicomError
        It is not DICOM, or a DICOMDIR.
    """
    if not looks_like_dicom(head.data):
        raise NotDicomError
    if head.size > limits.max_file_bytes:
        raise UnreadableFileError(f"the file is larger than max_file_bytes = {limits.max_file_bytes}", RAISE_LIMITS)
    start = data_set_start(head.data)
    try:
        meta = _read_file_meta(head.data[:start], converted)
        if meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            raise NotDicomError
        header, offset, encapsulated = _read_data_set(path, head, start, meta, limits)
        malformed: set[str] = set()
        elements = settled_elements(header, limits.max_sequence_depth, malformed, converted)
    except RecursionError:
        raise UnreadableFileError("its sequences are nested too deep", RAISE_LIMITS) from None
    except MALFORMED as error:
        raise UnreadableFileError(_reason(error)) from None

    settled = FileDataset(str(path), elements, file_meta=meta)
    # pydicom reads by the encoding that it finds, which may be another than the transfer syntax says
    implicit, little = header.original_encoding
    settled.set_original_encoding(implicit, little, header.original_character_set)
    for keyword in _IDENTITY:
        value = settled.get(keyword)
        if not value:
            raise UnreadableFileError(f"{keyword} {Tag(keyword)} is absent")
        if not isinstance(value, str) or _UID_PATTERN.fullmatch(value) is None:
            raise UnreadableFileError(f"{keyword} {Tag(keyword)} is not a UID", WRITE_UIDS)
    if not meta.get("TransferSyntaxUID") and not encapsulated:
        meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        )
    return Instance(path=path, header=settled, pixel_data_offset=offset, malformed=tuple(sorted(malformed)))


def _reason(error: BaseException) -> str:
    """Return why pydicom could not read a file. Pydicom's own message is left out, because it quotes the file."""
    return "the file is truncated or malformed" if isinstance(error, OSError | EOFError) else "the file is malformed"


def _read_file_meta(head: bytes, converted: Converted) -> FileMetaDataset:
    """Return the File Meta Information, empty where a file has none; elements that cannot be converted are left out."""
    elements = read_dataset(io.BytesIO(head[132:] if head[128:132] == b"DICM" else head), False, True)
    meta = FileMetaDataset(settled_elements(elements, 1, set(), converted))
    transfer_syntax = meta.get("TransferSyntaxUID")
    if transfer_syntax is not None and not (
        isinstance(transfer_syntax, str) and _UID_PATTERN.fullmatch(transfer_syntax)
    ):
        del meta.TransferSyntaxUID
    return meta


def _read_data_set(
    path: Path, head: FileHead, start: int, meta: FileMetaDataset, limits: ScanLimits
) -> tuple[Dataset, int | None, bool]:
    """Return the data set up to its pixel data, where the pixel data begin, and whether their length is undefined."""
    deflated = meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    chunk = FIRST_CHUNK
    while True:
        data, whole = _data_set_bytes(path, head, start, deflated, min(chunk, limits.max_header_bytes))
        data = without_nul_in_character_set(data)
        if (
            chunk > FIRST_CHUNK
            and data.count(b"\xfe\xff\x00\xe0") + data.count(b"\xff\xfe\xe0\x00") > limits.max_sequence_items
        ):
            raise UnreadableFileError(
                f"its header has more than max_sequence_items = {limits.max_sequence_items} items", RAISE_LIMITS
            )
        implicit, little = data_set_encoding(data, meta.get("TransferSyntaxUID"))
        stop = _Stop()
        buffer = io.BytesIO(data)
        try:
            header = read_dataset(buffer, implicit, little, stop_when=stop, specific_tags=_HEADER_TAGS)
        except (OSError, EOFError, struct.error):
            if whole:
                raise
        else:
            if stop.reason or whole:
                if not stop.reason and buffer.tell() > len(data):
                    raise UnreadableFileError("the file is truncated or malformed")
                break
        if chunk >= limits.max_header_bytes:
            raise UnreadableFileError(
                f"its header is larger than max_header_bytes = {limits.max_header_bytes}", RAISE_LIMITS
            )
        chunk *= 16

    offset = None
    if stop.reason == "pixels":
        offset = buffer.tell() if deflated else start + buffer.tell()
    return header, offset, stop.encapsulated


class _Stop:
    """Ends reading at the pixel data, or at the modules of radiotherapy, of which this project reads nothing."""

    def __init__(self) -> None:
        self.reason = ""
        self.encapsulated = False

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        number = int(tag)  # comparing pydicom's own tags is slow
        if number in _PIXEL_DATA_TAGS:
            self.reason = "pixels"
            self.encapsulated = length == 0xFFFFFFFF
        elif 0x30020000 <= number < 0x40000000:
            self.reason = "radiotherapy"
        return bool(self.reason)


def _data_set_bytes(path: Path, head: FileHead, start: int, deflated: bool, count: int) -> tuple[bytes, bool]:
    """Return the data set's first ``count`` bytes, and whether that is all of it."""
    if deflated:
        return inflate_data_set(path, start, count)
    if start + count > len(head.data) and len(head.data) < head.size:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(count)
    else:
        data = head.data[start : start + count]
    return data, start + len(data) >= head.size
