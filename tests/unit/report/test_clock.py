"""The report's time: fixed where asked, otherwise the machine's, and never in a zone that the study doesn't state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydicom.dataset import Dataset

from pdl1es.report.clock import in_study_zone, report_time

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def header(offset: str | None) -> Dataset:
    dataset = Dataset()
    if offset is not None:
        dataset.TimezoneOffsetFromUTC = offset
    return dataset


def test_source_date_epoch_fixes_the_time() -> None:
    assert report_time({"SOURCE_DATE_EPOCH": "1767225600"}) == datetime(2026, 1, 1, tzinfo=UTC)


def test_without_it_the_time_is_now_in_a_stated_zone() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    when = report_time({})
    assert when.tzinfo is not None
    assert before <= when <= datetime.now(UTC)


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", "9" * 40, "²", "253402300800"])
def test_a_source_date_epoch_that_is_no_time_is_named_in_the_error(text: str) -> None:
    with pytest.raises(ValueError, match="SOURCE_DATE_EPOCH"):
        report_time({"SOURCE_DATE_EPOCH": text})


@pytest.mark.parametrize(("offset", "hours"), [("+0800", 8), ("-0500", -5), ("+0530", 5.5), ("+0000", 0)])
def test_times_follow_the_offset_that_the_images_state(offset: str, hours: float) -> None:
    local, stated = in_study_zone(NOON, header(offset))
    assert stated == offset
    assert local == NOON
    assert local.utcoffset() == timedelta(hours=hours)


@pytest.mark.parametrize("offset", [None, "", "8", "+99", "+2500", "-0000", "+08:0", "+٠٨٠٠"])
def test_no_offset_is_claimed_for_a_study_that_states_none(offset: str | None) -> None:
    """Timezone Offset From UTC would also speak for the Study Time that the report copies."""
    when = NOON.astimezone(timezone(timedelta(hours=1)))
    with_no_offset = Dataset()
    if offset is not None:
        with_no_offset.add_new("TimezoneOffsetFromUTC", "LO", offset)
    assert in_study_zone(when, with_no_offset) == (when, None)


def test_a_time_without_a_zone_is_a_defect_of_the_caller() -> None:
    with pytest.raises(ValueError, match="time zone"):
        in_study_zone(datetime(2026, 1, 1), header(None))
