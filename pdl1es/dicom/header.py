"""One file's header: read up to its pixel data, within limits, whatever its encoding."""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import MutableSequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
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
from pdl1es.dicom.header_elements import MALFORMED, settled_elements
from pdl1es.dicom.header_keywords import HEADER_KEYWORDS
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.limits import ScanLimits
from pdl1es.dicom.plain_header import (
    PIXEL_DATA_TAGS,
    RADIOTHERAPY_TAGS,
    SharedElements,
    plain_file_meta,
    plain_header,
)
from pdl1es.dicom.settled_dataset import SettledDataset, SettledFileMeta
from pdl1es.dicom.silence import silenced_pydicom

_HEADER_TAGS: Final[list[BaseTag | int]] = [
    BaseTag(tag) for tag in map(tag_for_keyword, HEADER_KEYWORDS) if tag is not None
]
_IDENTITY: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_UID_PATTERN: Final = re.compile(r"[0-9.]{1,64}")
FIRST_CHUNK: Final = 16 * 1024
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
        return parse_header(path, head, limits or ScanLimits(), SharedElements())


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


def parse_header(path: Path, head: FileHead, limits: ScanLimits, shared: SharedElements) -> Instance:
    """Return the instance that a file holds.

    Parameters
    ----------
    path
        The file.
    head
        Its first bytes (`read_head`).
    limits
        Size and depth that it is given.
    shared
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
        meta = _read_file_meta(head.data[:start], shared)
        if meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            raise NotDicomError
        read = _plain_data_set(head, start, meta, limits, shared) or _any_data_set(
            path, head, start, meta, limits, shared
        )
    except RecursionError:
        raise UnreadableFileError("its sequences are nested too deep", RAISE_LIMITS) from None
    except MALFORMED as error:
        raise UnreadableFileError(_reason(error)) from None

    settled = SettledDataset(read.elements)
    settled.file_meta = meta
    settled.set_original_encoding(read.implicit, read.little, read.character_set)
    for keyword in _IDENTITY:
        value = settled.get(keyword)
        if not value:
            raise UnreadableFileError(f"{keyword} {Tag(keyword)} is absent")
        if not isinstance(value, str) or _UID_PATTERN.fullmatch(value) is None:
            raise UnreadableFileError(f"{keyword} {Tag(keyword)} is not a UID", WRITE_UIDS)
    if not meta.get("TransferSyntaxUID") and not read.encapsulated:
        meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if read.implicit else ExplicitVRLittleEndian if read.little else ExplicitVRBigEndian
        )
    return Instance(path=path, header=settled, pixel_data_offset=read.offset, malformed=read.malformed)


@dataclass(frozen=True, slots=True)
class _DataSet:
    """A data set up to its pixel data.

    Attributes
    ----------
    elements
        The wanted ones, settled.
    implicit, little, character_set
        The encoding in which they were found.
    offset
        Where the pixel data begin (`Instance.pixel_data_offset`).
    encapsulated
        Whether the pixel data's length is undefined.
    malformed
        Keywords of the elements that were left out.
    """

    elements: dict[BaseTag, DataElement | RawDataElement]
    implicit: bool | None
    little: bool | None
    character_set: str | MutableSequence[str]
    offset: int | None
    encapsulated: bool
    malformed: tuple[str, ...] = ()


def _reason(error: BaseException) -> str:
    """Return why pydicom could not read a file. Pydicom's own message is left out, because it quotes the file."""
    return "the file is truncated or malformed" if isinstance(error, OSError | EOFError) else "the file is malformed"


def _read_file_meta(head: bytes, shared: SharedElements) -> FileMetaDataset:
    """Return the File Meta Information, empty where a file has none; elements that cannot be converted are left out."""
    data = head[132:] if head[128:132] == b"DICM" else head
    elements = plain_file_meta(data, shared)
    if elements is None:
        elements = settled_elements(read_dataset(io.BytesIO(data), False, True), 1, set(), shared.converted)
    meta = SettledFileMeta(elements)
    transfer_syntax = meta.get("TransferSyntaxUID")
    if transfer_syntax is not None and not (
        isinstance(transfer_syntax, str) and _UID_PATTERN.fullmatch(transfer_syntax)
    ):
        del meta.TransferSyntaxUID
    return meta


def _plain_data_set(
    head: FileHead, start: int, meta: FileMetaDataset, limits: ScanLimits, shared: SharedElements
) -> _DataSet | None:
    """Return a data set that is plain, and lies in the file's first bytes; None for any other."""
    syntax = meta.get("TransferSyntaxUID")
    if not syntax or syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        return None
    implicit = syntax == ImplicitVRLittleEndian
    data = head.data[start : start + limits.max_header_bytes]
    plain = plain_header(data, implicit, limits.max_sequence_depth, shared)
    if plain is None:
        return None
    offset = start + plain.end if plain.at_pixel_data else None
    return _DataSet(plain.elements, implicit, True, plain.character_set, offset, plain.encapsulated)


def _any_data_set(
    path: Path, head: FileHead, start: int, meta: FileMetaDataset, limits: ScanLimits, shared: SharedElements
) -> _DataSet:
    """Return a data set as pydicom reads it."""
    header, offset, encapsulated = _read_data_set(path, head, start, meta, limits)
    malformed: set[str] = set()
    elements = settled_elements(header, limits.max_sequence_depth, malformed, shared.converted)
    # pydicom reads by the encoding that it finds, which may be another than the transfer syntax says
    implicit, little = header.original_encoding
    character_set = header.original_character_set
    return _DataSet(elements, implicit, little, character_set, offset, encapsulated, tuple(sorted(malformed)))


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
        if number in PIXEL_DATA_TAGS:
            self.reason = "pixels"
            self.encapsulated = length == 0xFFFFFFFF
        elif number in RADIOTHERAPY_TAGS:
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
