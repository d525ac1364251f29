"""Coded concepts, and whether one is in a table of codes (PS3.3 8.8, PS3.16 8.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_PUBLIC_SCHEMES: Final = frozenset({"SCT", "SRT", "SNM3", "99SDM", "DCM", "FMA", "NCIT", "RADLEX", "UMLS"})
_SNOMED_RT: Final = frozenset({"SRT", "SNM3", "99SDM"})
"""Coding Scheme Designators under which SNOMED RT codes are found (PS3.16 section 8.1)."""


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept: Code Value, Coding Scheme Designator, Code Meaning."""

    value: str
    scheme: str
    meaning: str


def code_is_among(code: Code, table: Iterable[str]) -> bool:
    """Tell whether a coded concept is in a table, whichever form of SNOMED either is written in.

    A retired SNOMED RT code equals the SNOMED CT code to which PS3.16 annex O maps it; pydicom holds that table.

    Parameters
    ----------
    code
        The concept.
    table
        Entries as ``scheme:value``, like ``SCT:86049000`` or ``SRT:M-80003``.

    Returns
    -------
    bool
        Whether the table has the code.
    """
    wanted = _concept(f"{code.scheme}:{code.value}")
    entries = [_concept(entry) for entry in table]
    if wanted in entries:
        return True
    if all(scheme != "SRT" for scheme, _ in (wanted, *entries)):
        return False
    # imported here, because it loads all of pydicom's code dictionaries: 0.3 s
    from pydicom.sr.coding import Code as CodedConcept

    concept = CodedConcept(wanted[1], wanted[0], "")
    return any(concept == CodedConcept(value, scheme, "") for scheme, value in entries)


def comes_from_public_scheme(code: Code) -> bool:
    """Tell whether a code belongs to a public terminology; private codes cannot be checked."""
    return code.scheme.strip().upper() in _PUBLIC_SCHEMES


def _concept(entry: str) -> tuple[str, str]:
    """Return scheme and value of ``scheme:value``, without padding and with one name for SNOMED RT."""
    scheme, _, value = entry.partition(":")
    scheme = scheme.strip().upper()
    return "SRT" if scheme in _SNOMED_RT else scheme, value.strip()
