"""Which studies may go: a pure function of the rules, the time, the room and what is known of each study."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.records import StudyKey

StudyEnd = Literal["delivered", "unsent", "unfinished", "undelivered"]
"""Its result is confirmed by every destination that it went to, of which there is one at least, or was removed before; its result
went to no destination; it never had a run; anything else."""

Days = Annotated[float, Field(gt=0, le=36500)]


class RetentionRules(BaseModel):
    """Section ``retention`` of ``gateway.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    delivered_days: Days | Literal["never"] = Field(
        default=30.0, description="days after which a study whose result is confirmed everywhere is removed, or `never`"
    )
    unsent_days: Days | Literal["never"] = Field(
        default="never",
        description="days after which a study is removed whose result goes to no destination, so that it is in `results/` alone; want "
        "of room removes none",
    )
    unfinished_days: Days | Literal["never"] = Field(
        default="never",
        description="days after which a study that never had a run, as a CT without contour, is removed",
    )
    records_days: Annotated[float, Field(ge=30, le=36500)] | Literal["never"] = Field(
        default=730.0,
        description="days after which nothing is known any more of a study that was removed: its runs, results and deliveries; sent "
        "again later it is a new study",
    )
    free_bytes: Annotated[int, Field(ge=0)] = Field(
        default=10 * 2**30,
        description="room on the disk below which delivered studies are removed before their time, oldest first",
    )


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """What retention needs to know of a study.

    Attributes
    ----------
    study
        Which.
    last_received_at
        When its last object came, UTC.
    size
        Of its objects, bytes.
    end
        How far it has come.
    """

    study: StudyKey
    last_received_at: datetime
    size: int
    end: StudyEnd


def studies_to_remove(
    studies: Iterable[StoredStudy], rules: RetentionRules, *, now: datetime, free: int
) -> tuple[StudyKey, ...]:
    """Return the studies that may go now.

    Parameters
    ----------
    studies
        All of them.
    rules
        Section ``retention``.
    now
        The time, UTC.
    free
        Room on the disk, bytes.

    Returns
    -------
    tuple of StudyKey
        Oldest first. A study from the future, as after a clock that stepped back, is young.
    """
    times: dict[StudyEnd, float | Literal["never"]] = {
        "delivered": rules.delivered_days,
        "unsent": rules.unsent_days,
        "unfinished": rules.unfinished_days,
    }
    going, gained = [], 0
    for stored in sorted(studies, key=lambda one: (one.last_received_at, one.study.study_instance_uid)):
        days = times.get(stored.end)
        old = isinstance(days, float) and now - stored.last_received_at > timedelta(days=days)
        needed = stored.end == "delivered" and free + gained < rules.free_bytes
        if old or needed:
            going.append(stored.study)
            gained += stored.size
    return tuple(going)


def want_of_room(studies: Iterable[StoredStudy], rules: RetentionRules, *, free: int) -> str:
    """Return what to do where room runs short because results are kept that went nowhere.

    Parameters
    ----------
    studies
        What is stored after the studies were removed that may go.
    rules
        Section ``retention``.
    free
        Room on the disk, bytes.

    Returns
    -------
    str
        Empty where there is room, or no such study.
    """
    unsent = [stored for stored in studies if stored.end == "unsent"]
    if free >= rules.free_bytes or not unsent:
        return ""
    return (
        f"room runs short: {free / 2**30:.1f} GiB are free, and retention.free_bytes is {rules.free_bytes / 2**30:.1f} GiB. "
        "Studies that are kept because their result went to no destination and is in results/ alone: "
        f"{len(unsent)} ({sum(stored.size for stored in unsent) / 2**30:.1f} GiB). `pdl1es gateway studies` lists them as stored; `pdl1es gateway resend STUDY` sends one where a rule of now does, "
        "`pdl1es gateway purge STUDY --yes` removes one, and retention.unsent_days has them removed by age"
    )
