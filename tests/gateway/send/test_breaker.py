"""The circuit breaker: one delivery tries a peer that is down, the others wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gateway.send.breaker import Breaker, BreakerRules, after_failure, after_start, after_success, may_send

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = BreakerRules(failures=3, pause_seconds=60, probe_seconds=600)


def failed(times: int) -> Breaker:
    """A breaker after so many failures at NOW."""
    breaker = Breaker()
    for _ in range(times):
        breaker = after_failure(breaker, RULES, NOW)
    return breaker


def test_few_failures_leave_it_closed() -> None:
    assert may_send(failed(2), RULES, NOW)


def test_enough_failures_in_a_row_open_it_for_its_pause() -> None:
    breaker = failed(3)
    assert not may_send(breaker, RULES, NOW)
    assert not may_send(breaker, RULES, NOW + timedelta(seconds=59))
    assert may_send(breaker, RULES, NOW + timedelta(seconds=60))


def test_after_the_pause_one_delivery_tries_and_the_others_wait() -> None:
    later = NOW + timedelta(seconds=60)
    probing = after_start(failed(3), RULES, later)
    assert not may_send(probing, RULES, later)
    assert not may_send(probing, RULES, later + timedelta(seconds=599))


def test_a_probe_that_died_holds_the_others_up_for_its_time_alone() -> None:
    probing = after_start(failed(3), RULES, NOW)
    assert may_send(probing, RULES, NOW + timedelta(seconds=600))


def test_a_probe_that_fails_opens_it_again_at_once() -> None:
    later = NOW + timedelta(seconds=60)
    again = after_failure(after_start(failed(3), RULES, later), RULES, later)
    assert not may_send(again, RULES, later)
    assert may_send(again, RULES, later + timedelta(seconds=60))


def test_a_success_closes_it_and_forgets() -> None:
    assert after_success() == Breaker()
    assert after_start(after_success(), RULES, NOW) == Breaker()


def test_a_clock_that_steps_back_does_not_keep_it_open() -> None:
    assert may_send(failed(3), RULES, NOW - timedelta(days=1))
