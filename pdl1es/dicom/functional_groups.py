"""Where the attributes of one frame stand: in its functional groups, or in the header (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydicom.dataset import Dataset

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
