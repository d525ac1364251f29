"""A data set whose elements are all converted, and which is asked for them by keyword, often."""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag


@lru_cache(maxsize=8192)
def shared_tag(number: int) -> BaseTag:
    """Return a tag, the same object for the same number: a dictionary finds it without pydicom's own comparison."""
    return BaseTag(number)


@lru_cache(maxsize=8192)
def _tag_of(keyword: str) -> BaseTag | None:
    number = tag_for_keyword(keyword)
    return None if number is None else shared_tag(number)


class _Settled:
    """What pydicom's data sets do, sooner."""

    _dict: MutableMapping[BaseTag, DataElement | RawDataElement]

    def get(self, key: Any, default: Any = None) -> Any:
        """Return what pydicom's `get` does: of a keyword the value, of a tag the element.

        Parameters
        ----------
        key
            Keyword or tag.
        default
            Returned where the attribute is absent.

        Returns
        -------
        Any
        """
        if type(key) is str:
            tag = _tag_of(key)
            if tag is not None:
                element = self._dict.get(tag)
                if element is None:
                    return default
                if type(element) is DataElement:
                    return element.value
        return super().get(key, default)  # type: ignore[misc]  # a data set's

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; one of pydicom's own is no keyword, and is not looked up in the dictionary."""
        if name[0] == "_":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


class SettledDataset(_Settled, Dataset):
    """A header, or an item of one. Its elements may be those of other headers as well, so nothing may change them."""


class SettledFileMeta(_Settled, FileMetaDataset):
    """File Meta Information."""
