"""When a failed delivery is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.send.retry import RetrySchedule, delay_after, next_attempt, scatter

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_waits_double_up_to_the_longest() -> None:
    schedule = RetrySchedule(first_seconds=10, factor=2, longest_seconds=60)
    waits = [delay_after(schedule, failures, 0.0).total_seconds() for failures in range(1, 7)]
    assert waits == [10, 20, 40, 60, 60, 60]


def test_a_thousandth_failure_is_no_overflow() -> None:
    schedule = RetrySchedule(factor=10, longest_seconds=86_400, attempts=10_000)
    assert delay_after(schedule, 9_999, 0.0) == timedelta(days=1)


@given(
    failures=st.integers(1, 10_000),
    fraction=st.floats(0, 1),
    jitter=st.floats(0, 1),
    first=st.floats(0.1, 86_400),
    longest=st.floats(0.1, 86_400),
)
def test_a_wait_lies_within_its_scatter(
    failures: int, fraction: float, jitter: float, first: float, longest: float
) -> None:
    schedule = RetrySchedule(first_seconds=first, longest_seconds=longest, jitter=jitter)
    whole = delay_after(schedule, failures, 0.0)
    wait = delay_after(schedule, failures, fraction)
    assert whole * (1 - jitter) - timedelta(milliseconds=1) <= wait <= whole <= timedelta(seconds=longest)


def test_a_delivery_is_given_up_after_its_attempts() -> None:
    schedule = RetrySchedule(attempts=3)
    assert next_attempt(schedule, failures=2, first_at=NOW, now=NOW, fraction=0.0) == NOW + timedelta(seconds=20)
    assert next_attempt(schedule, failures=3, first_at=NOW, now=NOW, fraction=0.0) is None


def test_a_delivery_is_given_up_by_its_age_too() -> None:
    schedule = RetrySchedule(give_up_hours=1)
    late = NOW + timedelta(minutes=59, seconds=55)
    assert next_attempt(schedule, failures=1, first_at=NOW, now=late, fraction=0.0) is None


def test_the_schedule_that_ships_outlasts_a_weekend_without_the_pacs() -> None:
    schedule, now, failures = RetrySchedule(), NOW, 0
    while True:
        failures += 1
        following = next_attempt(schedule, failures=failures, first_at=NOW, now=now, fraction=0.5)
        if following is None:
            break
        now = following
    assert timedelta(hours=64) < now - NOW <= timedelta(days=7)


def test_attempts_scatter_evenly_and_always_alike() -> None:
    found = [scatter(f"{number:064x}", "pacs", 1) for number in range(1000)]
    assert found == [scatter(f"{number:064x}", "pacs", 1) for number in range(1000)]
    assert min(found) < 0.01
    assert max(found) > 0.99
    assert 0.45 < sum(found) / len(found) < 0.55


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"first_seconds": 0}, {"factor": 0.5}, {"jitter": 1.5}, {"tries": 3}]
)
def test_a_schedule_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        RetrySchedule.model_validate(wrong)
