"""Whether a study is whole: a pure function of what was found in its headers, of what is in flight, and of the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.arrival.settings import ArrivalRules
from gateway.records import Arrival, Complete, Refused, StudyKey, Waiting

LOOK_AGAIN: Final = timedelta(seconds=1)
"""How soon a study is judged again of which something is in flight."""


@dataclass(frozen=True, slots=True)
class ChosenInput:
    """What would be scored now.

    Attributes
    ----------
    contour
        SOP Instance UIDs of the SEG or RT Structure Set.
    series_instance_uid
        The CT series that it was drawn on.
    digest
        `objects_digest` of both.
    lack
        What the geometry says is missing; empty where it is whole.
    """

    contour: tuple[str, ...]
    series_instance_uid: str
    digest: str
    lack: str = ""


@dataclass(frozen=True, slots=True)
class ArrivalEvidence:
    """What the headers of a study's objects say.

    Attributes
    ----------
    chosen
        What would be scored; None where nothing would.
    code, found
        Where nothing would: the name of the refusal's code, and what was found.
    digest
        `objects_digest` of all objects.
    """

    chosen: ChosenInput | None
    code: str
    found: str
    digest: str


@dataclass(frozen=True, slots=True)
class ArrivalTimes:
    """When things happened.

    Attributes
    ----------
    now, last_received_at
        UTC.
    in_flight
        How many senders may bring more of the study.
    archive_until
        Until when an archive that has to be asked for the rest has not answered; None where none has to.
    """

    now: datetime
    last_received_at: datetime
    in_flight: int
    archive_until: datetime | None = None

    @property
    def quiet(self) -> timedelta:
        """How long nothing has come. A clock that was set back by a long time does not make a study wait for as long."""
        return abs(self.now - self.last_received_at)


def judge_before_reading(
    study: StudyKey, times: ArrivalTimes, rules: ArrivalRules, *, has_contour: bool
) -> Waiting | None:
    """Judge a study as far as that needs no header.

    Parameters
    ----------
    study
        Which.
    times
        When things happened.
    rules
        Settings.
    has_contour
        Whether a SEG or an RT Structure Set is among its objects. A CT alone waits for one as long as it is kept.

    Returns
    -------
    Waiting or None
        None where the headers have to be looked at.
    """
    if not has_contour:
        return Waiting(study, "no contour has arrived")
    if times.in_flight:
        return Waiting(study, "objects are in flight", times.now + LOOK_AGAIN)
    settled = timedelta(seconds=rules.settle_seconds)
    if times.quiet < settled:
        return Waiting(study, "something arrived just now", times.now + settled - times.quiet)
    return None


def judge(study: StudyKey, evidence: ArrivalEvidence, times: ArrivalTimes, rules: ArrivalRules) -> Arrival:
    """Judge a study with a contour, of which nothing is in flight.

    Parameters
    ----------
    study
        Which.
    evidence
        What its headers say.
    times
        When things happened.
    rules
        Settings.

    Returns
    -------
    Complete, Waiting or Refused
        Complete where the geometry is whole, or where nothing came for the quiet time and the chain can be asked: it refuses or warns
        by its own rules. The quiet time ends no wait for an archive that has not answered.
    """
    chosen = evidence.chosen
    quiet = timedelta(seconds=rules.quiet_seconds)
    if times.quiet < quiet and (chosen is None or chosen.lack):
        reason = evidence.found if chosen is None else chosen.lack
        return Waiting(study, reason, times.now + quiet - times.quiet)
    if times.archive_until is not None and (chosen is None or chosen.lack):
        reason = evidence.found if chosen is None else chosen.lack
        return Waiting(study, f"{reason}; the archive has not answered yet", times.archive_until)
    if chosen is not None:
        return Complete(study, chosen.contour, chosen.series_instance_uid, chosen.digest)
    return Refused(study, evidence.code, evidence.found, evidence.digest)
