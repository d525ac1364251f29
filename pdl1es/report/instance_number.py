"""Instance Numbers that count up: of several reports in one series a viewer shows the newest as the last."""

from __future__ import annotations

from typing import Final

from pdl1es.dicom.study import Study

LARGEST: Final = 2**31 - 2
"""A larger number is not counted on: the next one would be no integer string (PS3.5 6.2)."""


def next_instance_number(study: Study | None, series_instance_uid: str) -> int:
    """Return the Instance Number of a new object in a series.

    Parameters
    ----------
    study
        What the input held; None where it is not known.
    series_instance_uid
        Of the series that the object goes into.

    Returns
    -------
    int
        One more than the highest of the series' objects in the input; 1 where it holds none.
    """
    if study is None:
        return 1
    earlier = (
        _instance_number(str(instance.header.get("InstanceNumber", "") or ""))
        for instance in study.instances
        if instance.series_instance_uid == series_instance_uid
    )
    return 1 + max(earlier, default=0)


def _instance_number(text: str) -> int:
    """Return the number; 0 where it is none, or so large that no other could follow."""
    stripped = text.strip()
    return int(stripped) if stripped.isdecimal() and len(stripped) <= 12 and int(stripped) <= LARGEST else 0
