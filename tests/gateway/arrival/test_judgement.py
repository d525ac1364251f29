"""The judgement as a function of evidence and time: what is run at once, what waits and until when, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.arrival.judgement import ArrivalEvidence, ArrivalTimes, ChosenInput, judge, judge_before_reading
from gateway.arrival.settings import ArrivalRules
from gateway.records import Arrival, Complete, Refused, StudyKey, Waiting

STUDY = StudyKey("1.2")
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
RULES = ArrivalRules(quiet_seconds=600)
WHOLE = ArrivalEvidence(ChosenInput(("1.2.3",), "1.2.4", "d" * 64), "", "", "a" * 64)
LACKING = ArrivalEvidence(ChosenInput(("1.2.3",), "1.2.4", "d" * 64, "2 gaps"), "", "", "a" * 64)
REFUSED = ArrivalEvidence(None, "NO_CT", "there is no CT", "a" * 64)


def after(seconds: float, in_flight: int = 0) -> ArrivalTimes:
    return ArrivalTimes(NOON + timedelta(seconds=seconds), NOON, in_flight)


def test_a_whole_study_is_run_at_once() -> None:
    assert judge(STUDY, WHOLE, after(0), RULES) == Complete(STUDY, ("1.2.3",), "1.2.4", "d" * 64)


@pytest.mark.parametrize(("evidence", "reason"), [(LACKING, "2 gaps"), (REFUSED, "there is no CT")])
def test_what_is_not_whole_waits_for_the_quiet_time(evidence: ArrivalEvidence, reason: str) -> None:
    assert judge(STUDY, evidence, after(10), RULES) == Waiting(STUDY, reason, NOON + timedelta(seconds=600))


@pytest.mark.parametrize(
    ("evidence", "end"),
    [
        (LACKING, Complete(STUDY, ("1.2.3",), "1.2.4", "d" * 64)),
        (REFUSED, Refused(STUDY, "NO_CT", "there is no CT", "a" * 64)),
    ],
)
def test_after_the_quiet_time_the_chain_decides_or_the_refusal_stands(evidence: ArrivalEvidence, end: Arrival) -> None:
    assert judge(STUDY, evidence, after(600), RULES) == end


def test_a_ct_without_a_contour_waits_without_end() -> None:
    assert judge_before_reading(STUDY, after(10**7), RULES, has_contour=False) == Waiting(
        STUDY, "no contour has arrived", None
    )


def test_nothing_is_judged_while_something_is_in_flight() -> None:
    found = judge_before_reading(STUDY, after(10**7, in_flight=1), RULES, has_contour=True)
    assert isinstance(found, Waiting)
    assert found.until == NOON + timedelta(seconds=10**7 + 1)


def test_a_settle_time_holds_a_whole_study_back_too() -> None:
    rules = ArrivalRules(settle_seconds=5)
    found = judge_before_reading(STUDY, after(2), rules, has_contour=True)
    assert isinstance(found, Waiting)
    assert found.until == NOON + timedelta(seconds=5)
    assert judge_before_reading(STUDY, after(5), rules, has_contour=True) is None


def test_a_clock_that_was_set_back_an_hour_holds_nothing_up() -> None:
    assert judge(STUDY, REFUSED, after(-3600), RULES) == Refused(STUDY, "NO_CT", "there is no CT", "a" * 64)
