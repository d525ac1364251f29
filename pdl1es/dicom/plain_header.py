"""Headers as nearly all files have them, read by their bytes: an element that another file has too is not read again.

The slices of a series share nearly all of their elements. pydicom reads and converts each of them for each slice, which
takes most of the time of reading a study. Here an element whose bytes were met before is the element that they gave; every
other one is converted by pydicom. What is not plain is left to pydicom whole: another encoding than little endian, elements
out of order, an unknown VR, lengths that leave the file, a value that breaks DICOM's rules.
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator, read_dataset
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from pdl1es.dicom.file_format import UnreadableFileError, without_nul_in_character_set
from pdl1es.dicom.header_elements import MALFORMED, Converted, settled_element
from pdl1es.dicom.header_keywords import HEADER_KEYWORDS
from pdl1es.dicom.settled_dataset import shared_tag

PIXEL_DATA_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
RADIOTHERAPY_TAGS: Final = range(0x30020000, 0x40000000)
"""Elements of the modules of radiotherapy, of which this project reads nothing."""

_LONGEST: Final = 4096
"""Bytes of the longest element that is remembered."""
_MOST: Final = 64
"""Values of one attribute that are remembered: of one that differs in every slice, no more would be met again."""
_DEEPEST: Final = 8
_UNDEFINED: Final = 0xFFFFFFFF
_CHARACTER_SET: Final = 0x00080005
_PIXEL_REPRESENTATION: Final = 0x00280103
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000FFFE, 0xE00DFFFE, 0xE0DDFFFE
"""As a little endian number of 32 bits has them: element and group."""

_WANTED: Final = frozenset(tag for tag in map(tag_for_keyword, HEADER_KEYWORDS) if tag is not None)
_SEQUENCES: Final = frozenset(tag for tag in _WANTED if dictionary_VR(tag) == "SQ")
_AMBIGUOUS: Final = frozenset(tag for tag in _WANTED if " or " in dictionary_VR(tag))
_LONG_VRS: Final = frozenset(vr.encode("ascii") for vr in EXPLICIT_VR_LENGTH_32)
_SHORT_VRS: Final = frozenset(vr.value.encode("ascii") for vr in VR if len(vr.value) == 2) - _LONG_VRS
_VR_TEXTS: Final = {vr: vr.decode("ascii") for vr in _LONG_VRS | _SHORT_VRS}

_NO_OTHERS: Final = Dataset()

_implicit_header = struct.Struct("<HHL").unpack_from
_explicit_header = struct.Struct("<HH2sH").unpack_from
_number = struct.Struct("<L").unpack_from
_item_header = struct.Struct("<LL").unpack_from


class _NotPlainError(Exception):
    """The header is left to pydicom."""


@dataclass(frozen=True, slots=True)
class PlainHeader:
    """A header up to its pixel data.

    Attributes
    ----------
    elements
        The wanted ones by tag, converted.
    character_set
        Python's names of the encodings of its text, as pydicom gives them.
    end
        Where reading ended: bytes from the beginning of the data set.
    at_pixel_data
        Whether the pixel data begin there, or a module of radiotherapy.
    encapsulated
        Whether the pixel data's length is undefined.
    """

    elements: dict[BaseTag, DataElement | RawDataElement]
    character_set: Any
    end: int
    at_pixel_data: bool
    encapsulated: bool


@dataclass(slots=True)
class _Known:
    """Elements that were met in data sets of one encoding: by their bytes, with what else decides their value."""

    character_set: Any
    elements: dict[bytes, DataElement | None] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)

    def keep(self, tag: int, key: bytes, element: DataElement | None) -> None:
        if len(key) <= _LONGEST and self.counts[tag] < _MOST:
            self.counts[tag] += 1
            self.elements[key] = element


@dataclass(slots=True)
class SharedElements:
    """Elements that files of one folder have in common; filled while they are read.

    Attributes
    ----------
    converted
        As `settled_elements` fills it.
    known
        By implicit VR, and by the bytes of Specific Character Set.
    """

    converted: Converted = field(default_factory=dict)
    known: dict[tuple[bool, bytes], _Known] = field(default_factory=dict)

    def of(self, implicit: bool, character_set: bytes) -> _Known:
        """Return the elements of one encoding.

        Parameters
        ----------
        implicit
            Whether VRs are left out of the data set.
        character_set
            The element Specific Character Set as it stands in the file; empty where there is none.

        Returns
        -------
        _Known
        """
        known = self.known.get((implicit, character_set))
        if known is None:
            encoding = read_dataset(io.BytesIO(character_set), implicit, True).original_character_set
            known = _Known(encoding)
            if len(self.known) < _MOST and len(character_set) <= _LONGEST:
                self.known[implicit, character_set] = known
        return known


class _Span(NamedTuple):
    """Where an element lies in a data set."""

    tag: int
    vr: bytes | None
    start: int
    value: int
    end: int
    undefined: bool


def plain_header(data: bytes, implicit: bool, depth: int, shared: SharedElements) -> PlainHeader | None:
    """Read a header.

    Parameters
    ----------
    data
        The data set's first bytes, little endian.
    implicit
        Whether the transfer syntax leaves out the VRs.
    depth
        Levels of sequences that are accepted.
    shared
        Elements of other files of the folder.

    Returns
    -------
    PlainHeader or None
        None where the header is not plain, or does not end within ``data``: pydicom reads it then.
    """
    try:
        if without_nul_in_character_set(data) is not data or _looks_implicit(data) != implicit:
            return None
        spans, end, encapsulated = _spans(data, implicit)
        return _settled_header(data, implicit, depth, shared, spans, end, encapsulated)
    except (_NotPlainError, UnreadableFileError, RecursionError, *MALFORMED):
        return None


def plain_file_meta(data: bytes, shared: SharedElements) -> dict[BaseTag, DataElement | RawDataElement] | None:
    """Read File Meta Information.

    Parameters
    ----------
    data
        Its bytes, without preamble and prefix.
    shared
        Elements of other files of the folder.

    Returns
    -------
    dict or None
        The elements by tag; None where they are not plain.
    """
    try:
        known = shared.of(False, b"")
        elements: dict[BaseTag, DataElement | RawDataElement] = {}
        position, previous = 0, 0
        while position < len(data):
            group, number, vr, length = _explicit_header(data, position)
            tag = group << 16 | number
            value = position + 8
            if vr in _LONG_VRS:
                (length,) = _number(data, value)
                value += 4
            elif vr not in _SHORT_VRS:
                return None
            end = value + length
            if group != 2 or tag <= previous or end > len(data):
                return None
            key = data[position:end]
            element = known.elements.get(key)
            if element is None:
                span = _Span(tag, vr, position, value, end, undefined=False)
                element = _settled(data, span, False, known, 1, shared.converted, b"")
                known.keep(tag, key, element)
            elements[shared_tag(tag)] = element
            position, previous = end, tag
    except (_NotPlainError, UnreadableFileError, RecursionError, *MALFORMED):
        return None
    return elements


def _looks_implicit(data: bytes) -> bool:
    """Tell what pydicom takes a data set for, by the bytes where the first element would have its VR."""
    return not (len(data) >= 6 and 0x40 < data[4] < 0x5B and 0x40 < data[5] < 0x5B)


def _spans(data: bytes, implicit: bool) -> tuple[list[_Span], int, bool]:
    """Return where the wanted elements lie and those of undefined length, where they end, and whether pixels are in parts."""
    spans: list[_Span] = []
    position, previous, size = 0, 0x0007FFFF, len(data)
    vr: bytes | None = None
    while True:
        if implicit:
            group, number, length = _implicit_header(data, position)
            value = position + 8
        else:
            group, number, vr, length = _explicit_header(data, position)
            value = position + 8
            if vr in _LONG_VRS:
                (length,) = _number(data, value)
                value += 4
            elif vr not in _SHORT_VRS:
                raise _NotPlainError
        tag = group << 16 | number
        if tag <= previous or group == 0xFFFE:
            raise _NotPlainError
        if tag in PIXEL_DATA_TAGS or tag in RADIOTHERAPY_TAGS:
            return spans, position, length == _UNDEFINED
        end = value + length
        if length == _UNDEFINED:
            if not (tag in _SEQUENCES if vr is None else vr == b"SQ"):
                raise _NotPlainError
            end = _sequence_end(data, value, implicit, _DEEPEST)
        if end > size:
            raise _NotPlainError
        if tag in _WANTED or length == _UNDEFINED:
            spans.append(_Span(tag, vr, position, value, end, length == _UNDEFINED))
        position, previous = end, tag


def _sequence_end(data: bytes, position: int, implicit: bool, depth: int) -> int:
    """Return where a sequence of undefined length ends that begins here, as far as its items say what they should."""
    if depth == 0:
        raise _NotPlainError
    while True:
        tag, length = _item_header(data, position)
        position += 8
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM:
            raise _NotPlainError
        if length != _UNDEFINED:
            position += length
            continue
        while True:
            tag, length = _item_header(data, position)
            if tag == _ITEM_END:
                position += 8
                break
            vr = None
            value = position + 8
            if not implicit:
                _, _, vr, length = _explicit_header(data, position)
                if vr in _LONG_VRS:
                    (length,) = _number(data, value)
                    value += 4
                elif vr not in _SHORT_VRS:
                    raise _NotPlainError
            if length == _UNDEFINED:
                if vr is not None and vr != b"SQ":
                    raise _NotPlainError
                position = _sequence_end(data, value, implicit, depth - 1)
            else:
                position = value + length


def _settled_header(
    data: bytes,
    implicit: bool,
    depth: int,
    shared: SharedElements,
    spans: list[_Span],
    end: int,
    encapsulated: bool,
) -> PlainHeader:
    """Return the header of these elements: those that are known, and the others converted."""
    character_set = pixel_representation = b""
    for span in spans:
        if span.tag == _CHARACTER_SET:
            character_set = data[span.start : span.end]
        elif span.tag == _PIXEL_REPRESENTATION:
            pixel_representation = data[span.start : span.end]
    known = shared.of(implicit, character_set)
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    found = known.elements
    for span in spans:
        key = data[span.start : span.end]
        if implicit and span.tag in _AMBIGUOUS:
            key += pixel_representation
        if key in found:
            element = found[key]
        else:
            element = _settled(data, span, implicit, known, depth, shared.converted, pixel_representation)
            if span.tag not in _WANTED:
                element = None  # read to see where it ends
            known.keep(span.tag, key, element)
        if element is not None:
            elements[shared_tag(span.tag)] = element
    tag = int.from_bytes(data[end : end + 2], "little") << 16 | int.from_bytes(data[end + 2 : end + 4], "little")
    return PlainHeader(elements, known.character_set, end, tag in PIXEL_DATA_TAGS, encapsulated)


def _settled(
    data: bytes,
    span: _Span,
    implicit: bool,
    known: _Known,
    depth: int,
    converted: Converted,
    pixel_representation: bytes,
) -> DataElement:
    """Return one element as pydicom converts it; raise where it is malformed."""
    raw: RawDataElement | DataElement
    vr = None if span.vr is None else _VR_TEXTS[span.vr]
    if span.undefined:
        buffer = io.BytesIO(data)
        buffer.seek(span.start)
        raw = next(data_element_generator(buffer, implicit, True, encoding=known.character_set))
        if raw.tag != span.tag or buffer.tell() != span.end:
            raise _NotPlainError
    else:
        value = data[span.value : span.end] or empty_value_for_VR(vr, raw=True)
        raw = RawDataElement(
            shared_tag(span.tag), vr, span.end - span.value, value, span.value, implicit, True  # type: ignore[arg-type]
        )  # fmt: skip
    dataset = _NO_OTHERS
    if implicit and span.tag in _AMBIGUOUS:
        dataset = Dataset({raw.tag: raw, **read_dataset(io.BytesIO(pixel_representation), implicit, True)._dict})
        dataset.set_original_encoding(implicit, True, known.character_set)
    malformed: set[str] = set()
    element = settled_element(raw, known.character_set, dataset, depth, malformed, converted)
    if element is None or malformed:
        raise _NotPlainError
    return element
