"""Manufacturer (0008,0070): which vendor a text means, in any spelling.

Real headers spell one vendor in many ways: ``CANON_MEC``, ``Canon Medical Systems``, ``TOSHIBA_MEC``; ``GEHC``,
``GE MEDICAL SYSTEMS``; ``Philips Healthcare``; ``SIEMENS HEALTHINEERS``; ``UIH``.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal

Vendor = Literal["Canon", "GE", "Philips", "Siemens", "United Imaging", "Neusoft", "Fujifilm", "Samsung", "Accuray"]

_NAMES: Final[tuple[tuple[Vendor, str], ...]] = (
    # A joint venture of the two, whose scanners are Neusoft's: before Philips.
    ("Neusoft", r"NEUSOFT\w*|NMS|PNMS"),
    ("Canon", r"CANON\w*|TOSHIBA\w*|TMSC"),
    ("GE", r"GE|GEHC|GEMS|GEMEDICAL\w*|GEHEALTH\w*|GENERALELECTRIC\w*|WIPROGE\w*"),
    ("Philips", r"PHILIPS\w*|MARCONI\w*|PICKER\w*"),
    ("Siemens", r"SIEMENS\w*|HEALTHINEERS"),
    ("United Imaging", r"UIH\w*|UNITEDIMAGING\w*|\w*联影\w*"),
    ("Fujifilm", r"HITACHI\w*|FUJIFILM\w*"),
    ("Samsung", r"SAMSUNG\w*|NEUROLOGICA\w*"),
    ("Accuray", r"ACCURAY\w*|TOMOTHERAPY\w*"),
)
"""Vendors, and the words of Manufacturer that name them. Companies that one vendor took over count as that vendor:
Toshiba's scanners as Canon's, Marconi's and Picker's as Philips', Hitachi's as Fujifilm's."""


def vendor_of(manufacturer: str) -> Vendor | None:
    """Return the vendor that a text names.

    Parameters
    ----------
    manufacturer
        Value of Manufacturer. Case, punctuation, underscores and what follows the name (``_MEC``, ``Medical Systems``,
        ``AG``) make no difference.

    Returns
    -------
    Vendor or None
        None where the text is empty or names no vendor that is known here.
    """
    words = _words(manufacturer)
    phrases = {"".join(words[start:end]) for start in range(len(words)) for end in range(start + 1, len(words) + 1)}
    for vendor, names in _NAMES:
        if any(re.fullmatch(names, phrase) for phrase in phrases):
            return vendor
    return None


def same_maker(manufacturers: frozenset[str]) -> bool:
    """Tell whether all texts mean one manufacturer: one known vendor, or one unknown text in several spellings."""
    return len({vendor_of(text) or " ".join(_words(text)) for text in manufacturers}) <= 1


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text[:64]).upper())
