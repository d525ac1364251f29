"""The time of a report: read once by the caller and passed on, so that a fixed clock gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

from pydicom.dataset import Dataset

SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH"
"""Environment variable of https://reproducible-builds.org: seconds since 1970-01-01 UTC."""
LATEST_EPOCH = 253402300799
"""9999-12-31 23:59:59 UTC, the last second that a DICOM date can name."""


def report_time(environ: Mapping[str, str]) -> datetime:
    """Return the time that a report carries.

    With ``SOURCE_DATE_EPOCH`` it is that second, in UTC. Without, it is now, in the zone of the machine (variable
    ``TZ`` in a container): a report that carried UTC beside a study in local time would seem to precede its images.

    Parameters
    ----------
    environ
        The process's environment.

    Returns
    -------
    datetime
        Aware, whole seconds.

    Raises
    ------
    ValueError
        ``SOURCE_DATE_EPOCH`` is not a whole number of seconds between 1970 and 9999.
    """
    text = environ.get(SOURCE_DATE_EPOCH, "").strip()
    if not text:
        return datetime.now(UTC).astimezone().replace(microsecond=0)
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(LATEST_EPOCH)) or int(text) > LATEST_EPOCH:
        raise ValueError(f"{SOURCE_DATE_EPOCH} = {text[:32]!r} is not a whole number of seconds since 1970")
    return datetime.fromtimestamp(int(text), UTC)


def in_study_zone(when: datetime, header: Dataset) -> tuple[datetime, str | None]:
    """Return the time in the zone that the study's own dates and times are written in, and that zone.

    Timezone Offset From UTC (0008,0201) speaks for every date and time of an object (PS3.3 C.12.1.1.8), also for the
    Study Time that a report copies. So it is written only where the images state it: then the report's times are turned
    into it. Where they don't, the report's times stay in the zone of ``when`` and no offset is claimed.

    Parameters
    ----------
    when
        Aware.
    header
        Header of an image of the study.

    Returns
    -------
    tuple of datetime and (str or None)
        The time, and the offset as ``"+0800"`` or None.

    Raises
    ------
    ValueError
        ``when`` is naive.
    """
    if when.tzinfo is None:
        raise ValueError("the report's time needs a time zone")
    offset = str(header.get("TimezoneOffsetFromUTC", "") or "").strip()
    if len(offset) != 5 or offset[0] not in "+-" or not (offset[1:].isascii() and offset[1:].isdigit()):
        return when, None
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    if minutes > 14 * 60 or offset == "-0000":
        return when, None
    return when.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))), offset
