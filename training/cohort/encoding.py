"""Decides by what it would say in which encoding a cohort's text file is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from training.cohort.table_cell import CohortTableError

ENCODINGS: Final = {
    "utf-8": "utf-8-sig",
    "utf-16": "utf-16",
    "gb18030": "gb18030",
    "windows-1252": "cp1252",
}
"""Names by which a user may give an encoding, and Python's."""
_LIKELY: Final = 0.9
_UNLIKELY: Final = 0.5
"""Shares of words: an encoding is taken if it is likely and the other is not."""
_WORD: Final = re.compile(r"[^\W\d_]+")
_FOREIGN: Final = re.compile(r"[^\x00-\x7f]+")
_TYPOGRAPHY: Final = frozenset("–—‘’“”„•…€°±²³§«»½¼¾µ®©™·×")
_CHINESE_SIGNS: Final = frozenset("≥≤≧≦±×÷℃‰→、。，：；？！（）【】《》“”‘’—…～·％＜＞＝＋－／．　")


def decoded(content: bytes, notes: list[str], encoding: str | None = None) -> str:
    """Return a text file's text.

    Parameters
    ----------
    content
        The file.
    notes
        To which the encoding is added where it is not UTF-8, for the user.
    encoding
        One of `ENCODINGS`; None to find it.

    Returns
    -------
    str

    Raises
    ------
    CohortTableError
        It is not in the encoding given, in none that is known, or what is found could be read in two ways.
    """
    if encoding is not None:
        if encoding not in ENCODINGS:
            raise CohortTableError(f"the encoding {encoding!r} is none of {', '.join(ENCODINGS)}")
        text = _strictly(content, ENCODINGS[encoding])
        if text is None:
            raise CohortTableError(f"the table is not in the encoding given, {encoding}")
        return text
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _told(_strictly(content, "utf-16"), "UTF-16", notes)
    if b"\0" in content[:4096]:
        # ASCII in UTF-16 has every second byte zero.
        order = "le" if content[1:4096:2].count(0) > content[0:4096:2].count(0) else "be"
        return _told(_strictly(content, f"utf-16-{order}"), "UTF-16", notes)
    if (text := _strictly(content, "utf-8-sig")) is not None:
        return text
    chinese, western = _strictly(content, "gb18030"), _strictly(content, "cp1252")
    as_chinese = 0.0 if chinese is None else _share(_FOREIGN, chinese, _is_chinese)
    as_western = 0.0 if western is None else _share(_FOREIGN, western, _is_western)
    if as_chinese >= _LIKELY and as_western <= _UNLIKELY:
        return _told(chinese, "GB18030", notes)
    if as_western >= _LIKELY and as_chinese <= _UNLIKELY:
        return _told(western, "Windows-1252", notes)
    raise CohortTableError(
        "the table is not UTF-8, and whether it is GB18030 or Windows-1252 cannot be told from its words: save it as UTF-8, "
        f"or give cohort check and cohort prepare --encoding ({', '.join(ENCODINGS)})"
    )


def _strictly(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None


def _told(text: str | None, name: str, notes: list[str]) -> str:
    if text is None:
        raise CohortTableError(f"the table's encoding looks like {name} and is not: save it as UTF-8")
    notes.append(f"the table was read as {name}; save it as UTF-8 if its texts look wrong")
    return text.removeprefix("\ufeff")


def _share(runs: re.Pattern[str], text: str, likely: Callable[[str, int, int], bool]) -> float:
    """Return the share of the runs beyond ASCII that a language would have."""
    found = [likely(text, match.start(), match.end()) for match in runs.finditer(text)]
    return sum(found) / len(found) if found else 0.0


def _is_chinese(text: str, start: int, end: int) -> bool:
    """Tell whether a run is of Chinese characters and signs, and no accented letter of a word that was misread."""
    run = text[start:end]
    if not all("\u4e00" <= sign <= "\u9fff" or sign in _CHINESE_SIGNS or "\uff01" <= sign <= "\uff5e" for sign in run):
        return False
    beside = text[max(start - 1, 0) : start] + text[end : end + 1]
    if not beside.isascii() or all(sign in _CHINESE_SIGNS for sign in run):
        return True
    rare = any(_is_rare(sign) for sign in run)
    return not any(sign.islower() or (rare and sign.isalpha()) for sign in beside)


def _is_rare(sign: str) -> bool:
    """Tell a character that is not among the 6,763 of GB 2312."""
    try:
        sign.encode("gb2312")
    except UnicodeEncodeError:
        return True
    return False


def _is_western(text: str, start: int, end: int) -> bool:
    """Tell whether a run is of typographic signs, or of accented letters in a word that has more plain ones."""
    letters = [sign for sign in text[start:end] if sign not in _TYPOGRAPHY]
    if not all(sign.isalpha() for sign in letters):
        return False
    if not letters:
        return end - start == 1 or not text[start:end].strip("“”‘’„«»°²³µ")
    first, last = start, end
    while first and _WORD.fullmatch(text[first - 1]):
        first -= 1
    while last < len(text) and _WORD.fullmatch(text[last]):
        last += 1
    word = text[first:last]
    plain = sum(sign.isascii() for sign in word)
    return 2 * plain >= len(word) and (word.islower() or word.isupper() or word.istitle())
