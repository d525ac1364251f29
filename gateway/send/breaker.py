"""A circuit breaker for each destination: where the peer is down, one delivery tries it now and then, and the others wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field


class BreakerRules(BaseModel):
    """When a destination counts as down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    failures: int = Field(
        default=5, ge=1, le=1000, description="failures in a row after which the destination counts as down"
    )
    pause_seconds: float = Field(
        default=60.0, gt=0, le=86_400, description="pause before one delivery tries it again, s"
    )
    probe_seconds: float = Field(
        default=120.0, gt=0, le=86_400, description="how long that one may take before another may try, s"
    )


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of a destination.

    Attributes
    ----------
    failures
        How often in a row the peer as a whole failed.
    open_until
        Until when nothing is sent; None where the circuit is closed.
    """

    failures: int = 0
    open_until: datetime | None = None


def may_send(breaker: Breaker, rules: BreakerRules, now: datetime) -> bool:
    """Return whether a delivery may be tried.

    Parameters
    ----------
    breaker
        The destination's.
    rules
        Its settings.
    now
        The time.

    Returns
    -------
    bool
        Whether the circuit is closed, or its pause is over. A pause that lies further ahead than any is long was set before the
        clock stepped back: it is over too.
    """
    if breaker.open_until is None:
        return True
    longest = timedelta(seconds=max(rules.pause_seconds, rules.probe_seconds))
    return not now < breaker.open_until <= now + longest


def after_start(breaker: Breaker, rules: BreakerRules, now: datetime) -> Breaker:
    """Return the breaker when a delivery that `may_send` allowed starts: of an open circuit it is the only one to try.

    Parameters
    ----------
    breaker
        The destination's.
    rules
        Its settings.
    now
        The time.

    Returns
    -------
    Breaker
    """
    if breaker.open_until is None:
        return breaker
    return Breaker(breaker.failures, now + timedelta(seconds=rules.probe_seconds))


def after_failure(breaker: Breaker, rules: BreakerRules, now: datetime) -> Breaker:
    """Return the breaker after the peer as a whole failed; a refusal of one object is no such failure.

    Parameters
    ----------
    breaker
        The destination's.
    rules
        Its settings.
    now
        The time.

    Returns
    -------
    Breaker
        Open once there were enough failures in a row.
    """
    failures = breaker.failures + 1
    if failures < rules.failures:
        return Breaker(failures, None)
    return Breaker(failures, now + timedelta(seconds=rules.pause_seconds))


def after_success() -> Breaker:
    """Return the breaker after the peer answered: closed."""
    return Breaker()
