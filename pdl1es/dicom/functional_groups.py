"""Where the attributes of one frame stand: in its functional groups, or in the header (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydicom.dataset import Dataset

from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.header_elements import attribute_value

_CONVERTED: Final = ("UnassignedPerFrameConvertedAttributesSequence", "UnassignedSharedConvertedAttributesSequence")
"""Where a legacy converted object keeps what has no functional group of its own (PS3.3 C.7.6.16.2.25.1)."""


@dataclass(frozen=True, slots=True)
class FunctionalGroups:
    """The functional groups of one frame.

    Attributes
    ----------
    items
        The frame's own item, then the shared one, as far as they are there.
    """

    items: tuple[Dataset, ...]

    @classmethod
    def of(cls, header: Dataset, frame: int) -> FunctionalGroups:
        """Return the functional groups of a frame.

        Parameters
        ----------
        header
            Of a multi-frame object.
        frame
            Zero-based index.

        Returns
        -------
        FunctionalGroups
        """
        own = sequence_items(header, "PerFrameFunctionalGroupsSequence")[frame : frame + 1]
        shared = sequence_items(header, "SharedFunctionalGroupsSequence")[:1]
        return cls((*own, *shared))

    def value(self, macro: str, keyword: str) -> Any:
        """Return an attribute of a functional group macro.

        Parameters
        ----------
        macro
            Keyword of the macro's sequence.
        keyword
            Of the attribute.

        Returns
        -------
        Any
            The frame's own value, else the shared one; None where neither has one.
        """
        for item in self.items:
            for sequence in (macro, *_CONVERTED):
                for inner in sequence_items(item, sequence):
                    value = attribute_value(inner, keyword)
                    if value is not None:
                        return value
        return None


def sequence_items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """Return the items of a sequence.

    Parameters
    ----------
    dataset
        A header, or an item of one of its sequences.
    keyword
        Of the sequence.

    Returns
    -------
    Sequence of Dataset
        Empty where the sequence is absent.
    """
    value = attribute_value(dataset, keyword)
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def text_of(item: Dataset, keyword: str) -> str | None:
    """Return a text value; pydicom splits a text at a backslash, and it is put together again.

    Parameters
    ----------
    item
        A header, or an item of one of its sequences.
    keyword
        Of the attribute.

    Returns
    -------
    str or None
        Stripped; None where it is absent or empty.
    """
    value = attribute_value(item, keyword)
    if value is None or isinstance(value, str):
        return str(value).strip() or None if value else None
    if not isinstance(value, Sequence):
        return str(value)
    return "\\".join(str(part) for part in value).strip() or None


def code_of(item: Dataset, keyword: str) -> Code | None:
    """Return the first coded concept of a code sequence (PS3.3 8.8).

    Parameters
    ----------
    item
        A header, or an item of one of its sequences.
    keyword
        Of the code sequence.

    Returns
    -------
    Code or None
        None where no item has a value.
    """
    for code in sequence_items(item, keyword):
        value = text_of(code, "CodeValue") or text_of(code, "LongCodeValue") or text_of(code, "URNCodeValue")
        if value:
            scheme, meaning = text_of(code, "CodingSchemeDesignator"), text_of(code, "CodeMeaning")
            return Code(value=value, scheme=scheme or "", meaning=meaning or "")
    return None
