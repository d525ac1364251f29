"""Patterns for the label of a segment or region: names of lung tumours, and names of other things."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

MAX_LABEL: Final = 64
"""Characters of a label that are looked at: VR LO has no more."""

Language = Literal["en", "de", "zh"]

LABELS: Final = (
    r"^((primary|lung|pulmonary) ?)*(gtv ?(p|t|primary)?|tumou?rs?|neoplasms?|mass(es)?|nodules?|cancers?|(adeno)?carcinomas?|nsclc)"
    r"( (primary|lung|pulmonary))*$",
    r"^((primary|lung|pulmonary) ?)*(gtv ?(p|t|primary)?|tumou?r|cancer|nsclc) ((lung|primary) )*(tumou?r|mass|nodule|lesion)s?"
    r"( (primary|lung))*$",
    r"^((primary|lung|pulmonary) ?)+lesions?$",
    r"^lesions?( (primary|lung|pulmonary))+$",
)
"""Of labels in plain words (`plain_label`)."""

LABELS_BY_LANGUAGE: Final[dict[Language, tuple[str, ...]]] = {
    "en": (),
    "de": (
        r"^(prim(ä|ae)r(er )?)?(lungen|bronchial)? ?(tumor|karzinom|krebs|rundherd|raumforderung)( lunge)?"
        r"( (re|li|rechts|links|ol|ul|ml|(ober|unter|mittel)lappen))*$",
        r"^lungen(herd|knoten)( (re|li|rechts|links|ol|ul|ml|(ober|unter|mittel)lappen))*$",
    ),
    "zh": (
        r"^(原发)?(性|灶)?[左右]?肺?[上中下]?叶?(原发性?)?(肿瘤|腫瘤|结节|結節|癌|肿块|腫塊|占位)$",
        r"^[左右]?肺[上中下]?叶?(病灶|病变)$",
        r"^(肺)?原发(病)?灶$",
    ),
}
"""Further labels in other languages, taken where the settings name the language."""

EXCLUDED_LABELS: Final = (
    r"metasta",
    r"\bmets?\b",
    r"lymph",
    r"adenopath",
    r"\bnod(e|es|al|us)\b",
    r"\blns?\d*[rl]?\b",
    r"\bi?gtv ?(n|nd|ln|nod(e|es|al)?) ?\d*[rl]?\b",
    r"\bgtv ?m\d*\b",
    r"\bsecondary\b",
    r"\bbenign\b",
    r"\blungs?[ _]?(r|l|rt|lt|right|left|total|both)?\s*-\s*i?(gtv|[cip]tv)",
    r"\b[cip]tv",
    r"\+ ?\d",
    r"转移|轉移|淋巴|良性",
)
"""Never the primary tumour, in any language: of labels as they are, and with separators as spaces."""

_LOBES: Final = frozenset(["rul", "rml", "rll", "lul", "lll", "lobe", "lobes", "lingula", "lingular"])
"""Words that say lung, and where in it."""
_PASSED_OVER: Final = frozenset(
    [
        "right",
        "left",
        "r",
        "l",
        "rt",
        "lt",
        "upper",
        "middle",
        "lower",
        "apex",
        "apical",
        "central",
        "peripheral",
        "in",
        "of",
        "the",
        "main",
        "index",
        "dominant",
        "malignant",
        "nr",
        "number",
        "roi",
        "seg",
        "segment",
        "segmentation",
        "mask",
        "contour",
        "label",
        "structure",
        "a",
        "b",
        "c",
        "d",
        "i",
        "ii",
        "iii",
        "iv",
    ]
)
"""Words for place, number or drawing, which do not name the thing."""
_NUMBER: Final = re.compile(r"[ctp]?\d{1,3}%?")
"""A number, or a breathing phase as ``c40``, ``t50`` and ``50%``."""


def label_matches(label: str, patterns: Iterable[str]) -> bool:
    """Tell whether a label is what any pattern says: as it is written, or by its plain words.

    Parameters
    ----------
    label
        Of a segment or a region.
    patterns
        Regular expressions; case does not matter.

    Returns
    -------
    bool
    """
    texts = (label.strip()[:MAX_LABEL], plain_label(label))
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns for text in texts)


def excluding_pattern(label: str, patterns: Iterable[str]) -> str | None:
    """Return the first pattern that excludes a label, as it is written or with its words apart.

    Parameters
    ----------
    label
        Of a segment or a region.
    patterns
        Regular expressions; case does not matter.

    Returns
    -------
    str or None
    """
    texts = (label.strip()[:MAX_LABEL], separated_label(label))
    return next((p for p in patterns if any(re.search(p, text, re.IGNORECASE) for text in texts)), None)


def separated_label(label: str) -> str:
    """Return a label with words apart: separators as spaces, ``LungTumour`` as two words, without padding."""
    text = re.sub(r"(?<=[a-z]{2})(?=[A-Z])", " ", label[:MAX_LABEL])
    return " ".join(re.split(r"[\s_\-.,;:/\\()\[\]#]+", text)).strip()


def plain_label(label: str) -> str:
    """Return the words of a label that say what it is, in lower case.

    Words for side and number are left out, and so are digits behind a word; a lobe is ``lung``, once: ``GTV_Lung_R`` and
    ``GTV-1 RUL`` are ``gtv lung``, ``Tumor_c40`` is ``tumor``, ``Mass, right upper lobe 2`` is ``mass lung``.
    """
    words = re.sub(r"\bno (?=\d)", "", separated_label(label).casefold()).split()
    said = ("lung" if word in _LOBES else word for word in words)
    kept = [word for word in said if word not in _PASSED_OVER and not _NUMBER.fullmatch(word)]
    plain = [re.sub(r"(?<=[^\W\d])\d{1,2}$", "", word) for word in kept]
    return " ".join(word for n, word in enumerate(plain) if word != "lung" or "lung" not in plain[:n])
