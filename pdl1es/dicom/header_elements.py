"""Elements of a header: converted, held against the data dictionary, and read so that nothing is raised."""

from __future__ import annotations

import struct
import zlib
from collections.abc import MutableSequence, Sequence
from functools import lru_cache
from typing import Any, Final

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag, Tag

from pdl1es.dicom.file_format import RAISE_LIMITS, UnreadableFileError
from pdl1es.dicom.settled_dataset import SettledDataset, shared_tag

Converted = dict[tuple[Any, ...], tuple[str, Any]]
"""VR and value of elements that were converted already, by all that the conversion depends on."""
LONGEST_SHARED: Final = 256
"""Bytes of the longest element that is remembered while a folder is read."""

_NUMBER_VRS: Final = frozenset(["DS", "IS", "FL", "FD", "SL", "SS", "SV", "UL", "US", "UV"])
_BYTES_VRS: Final = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "UN"])

MALFORMED: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    EOFError,
    OSError,
    AssertionError,
    struct.error,
    zlib.error,
    InvalidDicomError,
    BytesLengthException,
)
"""What pydicom raises on bytes that break DICOM's rules; NotImplementedError where a VR is none that it knows."""


def settled_elements(
    dataset: Dataset, depth: int, malformed: set[str], converted: Converted
) -> dict[BaseTag, DataElement | RawDataElement]:
    """Return every element converted; leave out private ones, and those whose value is not what the dictionary says.

    The elements are built anew, because pydicom's own conversion in place takes three times as long. The slices of a
    series share nearly all their elements, so that each is converted once for all slices.

    Parameters
    ----------
    dataset
        As pydicom read it, its elements raw.
    depth
        Levels of sequences that are accepted below this one.
    malformed
        Keywords of the elements that were left out because of their value; filled here.
    converted
        Elements that were converted before; filled here.

    Returns
    -------
    dict
        The elements by tag.

    Raises
    ------
    UnreadableFileError
        A value is cut off, or sequences are nested deeper than ``depth``.
    """
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    encoding = dataset.original_character_set or "iso8859"
    for raw in list(dataset.elements()):
        number = int(raw.tag)
        if number >> 16 & 1:
            continue
        element = settled_element(raw, encoding, dataset, depth, malformed, converted)
        if element is not None:
            elements[shared_tag(number)] = element
    return elements


def settled_element(
    raw: DataElement | RawDataElement,
    encoding: str | MutableSequence[str],
    dataset: Dataset,
    depth: int,
    malformed: set[str],
    converted: Converted,
) -> DataElement | None:
    """Return one element converted.

    Parameters
    ----------
    raw
        As pydicom read it.
    encoding
        Python's names of the encodings of its text.
    dataset
        Where it lies: Pixel Representation, say, decides the VR of some elements.
    depth, malformed, converted
        As for `settled_elements`.

    Returns
    -------
    DataElement or None
        None where its value is not what the dictionary says.

    Raises
    ------
    UnreadableFileError
        As `settled_elements`.
    """
    number = int(raw.tag)
    tag = shared_tag(number)
    key = None
    try:
        if isinstance(raw, RawDataElement):
            if raw.length != 0xFFFFFFFF and len(raw.value or b"") < raw.length:
                # pydicom takes what is left of the file for the value
                raise UnreadableFileError("the file is truncated or malformed")
            if raw.value is not None and len(raw.value) <= LONGEST_SHARED:
                key = (number, raw.VR, raw.value, raw.is_implicit_VR, raw.is_little_endian, str(encoding))
                if key in converted:
                    vr, value = converted[key]
                    return DataElement(tag, vr, value, already_converted=True)
            element = convert_raw_data_element(raw, encoding=encoding, ds=dataset)
            if len(element.VR) > 2:
                element = dataset[tag]  # "US or SS": other elements decide
                key = None
        else:
            element = raw
        kinds = _dictionary_kinds(number)
        fits = not kinds or (_kind(element.VR) in kinds and _is_numeric(element))
    except MALFORMED:
        fits = False
    if not fits:
        malformed.add(keyword_for_tag(tag) or str(tag))
        return None
    if element.VR == "SQ":
        return _settled_sequence(element, depth, malformed, converted)
    if key is not None:
        converted[key] = (element.VR, element.value)
    return element


def _settled_sequence(
    element: DataElement, depth: int, malformed: set[str], converted: Converted
) -> DataElement | None:
    """Return a sequence whose items are settled; None where it ends too early."""
    if depth == 0:
        raise UnreadableFileError("its sequences are nested too deep", RAISE_LIMITS)
    items = []
    try:
        for item in element.value or ():
            settled = SettledDataset(settled_elements(item, depth - 1, malformed, converted))
            settled.set_original_encoding(*_encoding_of(item), item.original_character_set)
            items.append(settled)
    except UnreadableFileError as error:
        if error.remedy is RAISE_LIMITS:
            raise
        malformed.add(keyword_for_tag(element.tag) or str(element.tag))
        return None
    return DataElement(
        shared_tag(int(element.tag)), "SQ", DicomSequence(items), is_undefined_length=element.is_undefined_length
    )


def _is_numeric(element: DataElement) -> bool:
    """Tell whether an element of VR DS or IS holds numbers, because pydicom leaves some text as it is.

    True for other VRs.
    """
    if element.VR not in ("DS", "IS") or element.is_empty:
        return True
    values = element.value if element.VM > 1 else [element.value]
    return not any(isinstance(value, str) and value for value in values)


def _encoding_of(dataset: Dataset) -> tuple[bool | None, bool | None]:
    implicit, little = dataset.original_encoding
    return implicit, little


def _kind(vr: str) -> str:
    if vr == "SQ":
        return "sequence"
    if vr in _NUMBER_VRS:
        return "number"
    if vr in _BYTES_VRS:
        return "bytes"
    return "tag" if vr == "AT" else "text"


@lru_cache(maxsize=4096)
def _dictionary_kinds(tag: int) -> frozenset[str]:
    """Return the kinds of value that the data dictionary gives an element; empty for an element that it does not hold."""
    try:
        return frozenset(_kind(vr) for vr in dictionary_VR(tag).split(" or "))
    except KeyError:
        return frozenset()


def tag_text(keyword: str) -> str:
    """Return keyword and tag as refusals name them: ``"RescaleSlope (0028,1053)"``."""
    tag = tag_for_keyword(keyword)
    return keyword if tag is None else f"{keyword} {Tag(tag)}"


def header_number(header: Dataset, keyword: str) -> float | None:
    """Return a single number of a header that `read_instance` read.

    Parameters
    ----------
    header
        The header.
    keyword
        Of an attribute whose values are numbers.

    Returns
    -------
    float or None
        None where the attribute is absent, is empty or has several values.
    """
    value = header.get(keyword)
    return None if value is None or isinstance(value, str | Sequence) else float(value)


def attribute_value(dataset: Dataset, keyword: str) -> Any:
    """Return an attribute's value.

    Parameters
    ----------
    dataset
        A header, or an item of one of its sequences.
    keyword
        Of the attribute.

    Returns
    -------
    Any
        None where the attribute is absent or empty, or where its bytes cannot be converted. (Pydicom converts a raw
        element when it is asked for. The headers that `read_instance` reads hold none.)
    """
    try:
        value = dataset.get(keyword)
    except MALFORMED:
        return None
    return None if value is None or value == "" or value == [] else value
