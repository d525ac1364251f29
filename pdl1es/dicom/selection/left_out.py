"""Adds to a refusal for absence how many files were left out, why, and what to do about it."""

from __future__ import annotations

from collections import Counter
from typing import Final

from pdl1es.clinical import STUDY_FILE
from pdl1es.dicom.file_format import WRITE_UIDS
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal, RefusalCode

ABSENCES: Final = frozenset(
    {
        RefusalCode.NO_CT,
        RefusalCode.NO_SEG,
        RefusalCode.SEG_INCOMPLETE,
        RefusalCode.NO_TUMOUR_SEGMENT,
        RefusalCode.SEG_REFERENCES_OTHER_SERIES,
        RefusalCode.SEG_REFERENCES_ABSENT_INSTANCES,
        RefusalCode.SEG_FRAME_OF_REFERENCE,
        RefusalCode.NO_ELIGIBLE_CT,
        RefusalCode.TOO_FEW_SLICES,
        RefusalCode.SEGMENT_OUTSIDE_VOLUME,
        RefusalCode.MISSING_SLICES,
        RefusalCode.SCAN_ENDS_AT_TUMOUR,
    }
)
"""Refusals for a missing object that may be in a file that could not be read."""
_LEFT_OUT: Final = " left out: "
_NOT_DICOM: Final = " not DICOM"


def with_left_out(refusal: Refusal, study: Study) -> Refusal:
    """Return a refusal for absence with the files that were left out, and with the remedy that they need.

    Parameters
    ----------
    refusal
        Any refusal. One for something else than absence is returned as it is, and so is one that tells it already.
    study
        What the input held.

    Returns
    -------
    Refusal
        INVALID_UIDS in place of NO_CT and NO_SEG where most files were left out for their UIDs.
    """
    if refusal.code not in ABSENCES or _LEFT_OUT in refusal.found or _NOT_DICOM in refusal.found:
        return refusal
    found = refusal.found
    ignored = study.ignored_files - (study.root / STUDY_FILE).is_file()
    if ignored > 0 and refusal.code in (RefusalCode.NO_CT, RefusalCode.NO_SEG):
        found += f"; {ignored} file(s) are{_NOT_DICOM}"
    if not study.unreadable:
        return refusal if found == refusal.found else _copy(refusal, refusal.code, found, None)
    reasons = Counter(file.reason for file in study.unreadable)
    listed = "; ".join(f"{count} because {reason}" for reason, count in sorted(reasons.items(), key=_most)[:4])
    found += f"; {len(study.unreadable)} file(s) were{_LEFT_OUT}{listed}"
    remedies = Counter(file.remedy for file in study.unreadable)
    remedy = min(remedies.items(), key=_most)[0]
    if remedy == WRITE_UIDS and refusal.code in (RefusalCode.NO_CT, RefusalCode.NO_SEG):
        return _copy(refusal, RefusalCode.INVALID_UIDS, found, None)
    return _copy(refusal, refusal.code, found, f"{remedy}; if they do not belong to it: {refusal.remedy}")


def _most(entry: tuple[str, int]) -> tuple[int, str]:
    return -entry[1], entry[0]


def _copy(refusal: Refusal, code: RefusalCode, found: str, remedy: str | None) -> Refusal:
    return Refusal(
        code, found, tag=refusal.tag, value=refusal.value, uid=refusal.uid, remedy=remedy or refusal.own_remedy
    )
