"""Reconstruction kernels: which are sharp and which are smooth, by the vendors' names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal

from pdl1es.dicom.free_text import shown_kernel
from pdl1es.dicom.protocol.manufacturer import Vendor, vendor_of
from pdl1es.dicom.protocol.rules import ProtocolRules

Sharpness = Literal["sharp", "smooth", "unknown"]
_Table = Callable[[str], Sharpness]

SIEMENS_SHARP_FROM: Final = 50
"""First of Siemens' two-digit kernel numbers that counts as sharp.

The paper excludes B30f, includes B60f and says nothing of the kernels between. The manufacturer's operating instructions
(SOMATOM Sensation, body kernels) call B30 and B40 standard for body tissue and list B50 to B80 for higher sharpness, and
B30f / B50f is the smooth / sharp pair of the National Lung Screening Trial. Br, Bl, Bv, Hr, Qr and the iterative I
kernels keep the numbering."""

_SIEMENS: Final = re.compile(r"^(?!FC)[A-Z]{1,3}(\d{2,3})[A-Z]{0,2}(?:[_ ]\d)?$")
_CANON: Final = re.compile(r"^FC(\d{1,2})(?!\d)")
_CANON_SHARP: Final = (range(30, 40), range(50, 60), range(80, 90))
"""Canon (Toshiba) FC numbers: 30-39 bone and inner ear, 50-59 lung, 80-89 high resolution."""
_CANON_SMOOTH: Final = (range(1, 30),)
"""1-19 body with and without beam hardening correction, 20-29 head. Numbers outside all ranges stay unknown."""
_GE_SHARP: Final = frozenset({"LUNG", "BONE", "EDGE", "ULTRA"})
_GE_SMOOTH: Final = frozenset({"SOFT", "STANDARD", "STND", "STD", "CHEST", "CHST"})
"""GE's names without spaces and underscores, without the ``HD`` before and the ``+`` or ``PLUS`` after them. DETAIL lies
between STANDARD and BONE and stays unknown."""
_PHILIPS_SHARP: Final = frozenset({"D", "E", "L", "YA", "YB", "YC", "YD"})
_PHILIPS_SMOOTH: Final = frozenset({"A", "B", "C"})
"""Philips' letters: A to C soft to medium, D and E sharp, L and the Y family for lung and detail. C and D are the smooth
and sharp kernel of the National Lung Screening Trial."""
_UNITED_IMAGING_SMOOTH: Final = re.compile(r"(?:^|_)V?SOFT(?:_|$)")
"""United Imaging's names hold words, as ``B_SOFT_B`` and ``B_SHARP_C``. A name with SOFT counts as smooth, which withholds the group. A name with SHARP stays unknown, because no published list says how sharp these kernels are."""


def classify_kernel(kernel: tuple[str, ...], manufacturer: str, rules: ProtocolRules) -> Sharpness:
    """Tell whether a reconstruction kernel is sharp or smooth.

    Parameters
    ----------
    kernel
        Values of Convolution Kernel (0018,1210). The first value that a table knows decides, because Siemens writes the
        strength of its iterative reconstruction as a second value (``I70f\\3``).
    manufacturer
        Value of Manufacturer (0008,0070), however it spells the vendor (`vendor_of`). Where it is empty, the tables of
        Canon, GE and Siemens are tried; Philips' single letters are used by other vendors too.
    rules
        Lists of kernels that overrule the tables.

    Returns
    -------
    str
        ``sharp``, ``smooth`` or ``unknown``.

    Notes
    -----
    The tables start from the paper (Siemens 30f excluded, 60f included) and from the National Lung Screening Trial, whose
    smooth / sharp kernels were B30f / B50f (Siemens), STANDARD / BONE (GE), C / D (Philips) and FC10 / FC51 (Toshiba).
    A kernel between those two that no source places is ``unknown``, which warns and withholds nothing.
    """
    values = tuple(value.strip().upper() for value in kernel if value.strip())
    if not {name.strip().upper() for name in rules.smooth_kernels}.isdisjoint(values):
        return "smooth"
    if not {name.strip().upper() for name in rules.sharp_kernels}.isdisjoint(values):
        return "sharp"
    tables = _tables_of(manufacturer)
    for value in values:
        for table in tables:
            sharpness = table(value)
            if sharpness != "unknown":
                return sharpness
    return "unknown"


def kernel_text(kernel: tuple[str, ...]) -> str | None:
    """Return Convolution Kernel for a message: values joined as DICOM does, each where it looks like a kernel's name."""
    text = "\\".join(shown_kernel(value) for value in kernel[:4])
    return text or None


def _siemens(value: str) -> Sharpness:
    match = _SIEMENS.match(value)
    if match is None:
        return "unknown"
    return "sharp" if int(match[1]) >= SIEMENS_SHARP_FROM else "smooth"


def _ge(value: str) -> Sharpness:
    name = re.sub(r"[ _-]", "", value).replace("+", "PLUS").removeprefix("HD").removesuffix("PLUS")
    return "sharp" if name in _GE_SHARP else "smooth" if name in _GE_SMOOTH else "unknown"


def _philips(value: str) -> Sharpness:
    return "sharp" if value in _PHILIPS_SHARP else "smooth" if value in _PHILIPS_SMOOTH else "unknown"


def _canon(value: str) -> Sharpness:
    match = _CANON.match(value)
    if match is None:
        return "unknown"
    number = int(match[1])
    if any(number in numbers for numbers in _CANON_SHARP):
        return "sharp"
    return "smooth" if any(number in numbers for numbers in _CANON_SMOOTH) else "unknown"


def _united_imaging(value: str) -> Sharpness:
    return "smooth" if _UNITED_IMAGING_SMOOTH.search(value) else "unknown"


_TABLES: Final[Mapping[Vendor, _Table]] = {
    "Canon": _canon,
    "GE": _ge,
    "Philips": _philips,
    "Siemens": _siemens,
    "United Imaging": _united_imaging,
}
"""The tables of the vendors that have one; every kernel of another vendor is unknown."""
_OF_NO_VENDOR: Final = (_canon, _ge, _siemens)
"""The tables whose names no other vendor uses, for a CT that does not name its manufacturer."""


def _tables_of(manufacturer: str) -> tuple[_Table, ...]:
    """Return the tables in which a manufacturer's kernels are looked up."""
    if not manufacturer.strip():
        return _OF_NO_VENDOR
    table = _TABLES.get(vendor) if (vendor := vendor_of(manufacturer)) is not None else None
    return () if table is None else (table,)
