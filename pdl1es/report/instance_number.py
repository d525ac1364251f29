"""Instance Numbers that count up: of several reports in one series a viewer shows the newest as the last.

The objects of a run have one number. Whoever routes the study may send along the structured reports alone: the pictures and
pages that follow count up all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pdl1es.dicom.study import Study
from pdl1es.report.kinds import REPORT_KINDS
from pdl1es.report.uids import series_uid

if TYPE_CHECKING:
    from pdl1es.assessment import Assessment

LARGEST: Final = 2**31 - 2
"""A larger number is not counted on: the next one would be no integer string (PS3.5 6.2)."""


def report_instance_number(assessment: Assessment, study: Study | None) -> int:
    """Return the Instance Number of every object of a run.

    Parameters
    ----------
    assessment
        Of the tumour that is reported.
    study
        What the input held, with the earlier reports that were named besides; None where it is not known.

    Returns
    -------
    int
        One more than the highest among the earlier reports of this tumour by this model, of whatever kind.
    """
    return next_instance_number(study, *(series_uid(assessment, kind) for kind in REPORT_KINDS))


def next_instance_number(study: Study | None, *series_instance_uids: str) -> int:
    """Return the Instance Number of new objects in some series.

    Parameters
    ----------
    study
        What the input held; None where it is not known.
    series_instance_uids
        Of the series that the objects go into.

    Returns
    -------
    int
        One more than the highest of the objects of all these series in the input; 1 where it holds none.
    """
    if study is None:
        return 1
    earlier = (
        _instance_number(str(instance.header.get("InstanceNumber", "") or ""))
        for instance in study.instances
        if instance.series_instance_uid in series_instance_uids
    )
    return 1 + max(earlier, default=0)


def _instance_number(text: str) -> int:
    """Return the number; 0 where it is none, or so large that no other could follow."""
    stripped = text.strip()
    return int(stripped) if stripped.isdecimal() and len(stripped) <= 12 and int(stripped) <= LARGEST else 0
