"""When a delivery that failed is tried again: a schedule that grows, scattered so that not all are tried at once."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field


class RetrySchedule(BaseModel):
    """How often, and how far apart, a delivery is tried before it is given up (dead letter)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(default=500, ge=1, le=10_000, description="tries before it is given up")
    first_seconds: float = Field(default=10.0, gt=0, le=86_400, description="wait after the first failure, s")
    factor: float = Field(default=2.0, ge=1.0, le=10.0, description="each further wait is so many times longer")
    longest_seconds: float = Field(default=1800.0, gt=0, le=86_400, description="longest wait, s")
    jitter: float = Field(
        default=0.5, ge=0.0, le=1.0, description="share of a wait that is scattered: 0.5 waits from half of it to all"
    )
    give_up_hours: float = Field(default=168.0, gt=0, le=8760, description="age at which it is given up, h")


def delay_after(schedule: RetrySchedule, failures: int, fraction: float) -> timedelta:
    """Return how long to wait after so many failures.

    Parameters
    ----------
    schedule
        The destination's.
    failures
        How often it failed, 1 or more.
    fraction
        Where within the scattered part, 0 to 1.

    Returns
    -------
    timedelta
        ``min(longest, first * factor ** (failures - 1))``, of which a share of ``jitter * fraction`` is taken off.
    """
    wait, longest = schedule.first_seconds, schedule.longest_seconds
    for _ in range(failures - 1):
        if wait >= longest or schedule.factor == 1.0:
            break
        wait *= schedule.factor
    return timedelta(seconds=min(wait, longest) * (1.0 - schedule.jitter * fraction))


def next_attempt(
    schedule: RetrySchedule, *, failures: int, first_at: datetime, now: datetime, fraction: float
) -> datetime | None:
    """Return when a delivery that has just failed is tried next.

    Parameters
    ----------
    schedule
        The destination's.
    failures
        How often it failed, this time included.
    first_at
        When the result was there to be sent.
    now
        The time.
    fraction
        From `scatter`.

    Returns
    -------
    datetime or None
        None where it is given up: too many failures, or the next try would come later than ``give_up_hours``.
    """
    if failures >= schedule.attempts:
        return None
    at = now + delay_after(schedule, failures, fraction)
    return None if at > first_at + timedelta(hours=schedule.give_up_hours) else at


def scatter(digest: str, destination: str, attempt: int) -> float:
    """Return a number from 0 to 1 that is always the same for one attempt, and spread evenly over many.

    Parameters
    ----------
    digest
        Of the result.
    destination
        Its name.
    attempt
        Which.

    Returns
    -------
    float
    """
    number = hashlib.sha256(f"{digest}\n{destination}\n{attempt}".encode()).digest()[:8]
    return int.from_bytes(number, "big") / 2**64
