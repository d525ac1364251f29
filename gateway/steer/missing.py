"""How far a study's arrival is, in words for a person: what is missing, what is still waited for, and what was decided.

It is judged anew when it is asked for, by the same rules as the executor's, and nothing is changed by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.fetch.drawn_on import CONTOUR_CLASSES, read_drawn_on
from gateway.fetch.notes import FetchNote
from gateway.fetch.settings import FetchSettings
from gateway.objects.store import ObjectStore
from gateway.peers.failures import PeerFailure
from gateway.records import Arrival, Complete, StoredObject, StudyKey, Waiting
from gateway.workflow.runs import ACTIVE, RunNote
from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError
from pdl1es.dicom.header import read_instance
from pdl1es.errors import Refusal

_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class ArrivalView:
    """What is looked at.

    Attributes
    ----------
    objects
        The object store.
    judge
        `gateway.arrival.judge.ArrivalJudge`.
    fetch
        The section ``fetch`` of ``gateway.yaml``.
    fetched
        What was tried to fetch for the study; None where nothing was.
    runs
        Of the study.
    compared
        Says of a run of the objects that are here whether the rest of its input is that of now (`gateway.steer.same_input`).
    """

    objects: ObjectStore
    judge: Callable[[StudyKey, datetime], Arrival]
    fetch: FetchSettings
    fetched: FetchNote | None
    runs: tuple[RunNote, ...]
    compared: Callable[[RunNote], str]


def arrival_in_words(study: StudyKey, view: ArrivalView, now: datetime) -> Iterator[str]:
    """Give lines that say how far a study is.

    Parameters
    ----------
    study
        Which.
    view
        What is looked at.
    now
        The time, UTC.

    Yields
    ------
    str
    """
    there = view.objects.objects_of(study)
    if not there:
        yield "arrival: none of its objects is here (any more)"
        return
    arrival = view.judge(study, now)
    if isinstance(arrival, Waiting):
        yield f"arrival: it waits, because {arrival.reason}"
        yield from _absent(there, view.objects)
        yield f"  {_until(arrival, now)}"
        yield f"  {_fetching(there, view, now)}"
    elif isinstance(arrival, Complete):
        contour = ", ".join(arrival.contour)
        yield f"arrival: it is whole: contour {contour} on series {arrival.series_instance_uid}"
        yield f"  {_decided(arrival.digest, view)}"
    else:
        yield f"arrival: nothing more is waited for, and it is refused. {arrival.code}: {arrival.reason}"
        yield f"  {_decided(arrival.digest, view)}"


def _absent(there: Sequence[StoredObject], objects: ObjectStore) -> Iterator[str]:
    """Name what the contours name and what is not here."""
    try:
        contours = [read_instance(objects.path_of(one)) for one in there if one.sop_class_uid in CONTOUR_CLASSES]
        drawn = read_drawn_on(contours)
    except (NotDicomError, UnreadableFileError, Refusal):
        return  # the reason for which it waits says so
    series = {one.series_instance_uid for one in there}
    for uid in drawn.series:
        if uid not in series:
            yield f"  nothing is here of series {uid}, which the contour names"
    absent = sorted(drawn.images - {one.sop_instance_uid for one in there})
    if absent:
        colon = ":" if series.intersection(drawn.series) or not drawn.series else ""
        yield f"  {len(absent)} of the {len(drawn.images)} images that the contour names are not here{colon}"
        if not colon:
            return  # whole series are absent, and they are named
    for uid in absent[:_SHOWN]:
        yield f"    {uid}"
    if len(absent) > _SHOWN:
        yield f"    and {len(absent) - _SHOWN} more"


def _until(arrival: Waiting, now: datetime) -> str:
    if arrival.until is None:
        return "it waits until something arrives, however long"
    left = max(0.0, (arrival.until - now).total_seconds())
    at = arrival.until.isoformat(timespec="seconds")
    return (
        f"{left:.0f} s are left, until {at}, if nothing arrives; then it is judged again, and run or refused as it is"
    )


def _fetching(there: Sequence[StoredObject], view: ArrivalView, now: datetime) -> str:
    sources = {one.source for one in there}
    archives = [one.name for one in view.fetch.archives if not one.sources or sources & set(one.sources)]
    if not archives:
        return "nothing is fetched: no archive is configured for where it came from"
    whence = f"fetched from {', '.join(archives)}"
    note = view.fetched
    if note is None or note.objects != len(there):
        return f"{whence}: not tried since its last object came"
    tried = f"{whence}: {note.attempts} of {view.fetch.attempts} tries"
    if note.failure is not None and note.failure.row.peer_down:
        rejected = note.failure is PeerFailure.ASSOCIATION_REJECTED
        tried += ", and it is asked until it " + ("accepts the gateway" if rejected else "answers")
    if note.next_at is not None:
        tried += f", the next in {max(0.0, (note.next_at - now).total_seconds()):.0f} s"
    return f"{tried}; the last: {note.last_error or 'the archive has no more of it'}"


def _decided(digest: str, view: ArrivalView) -> str:
    of_it = [run for run in view.runs if run.input.objects_digest == digest]
    if not of_it:
        return "no run of these objects yet: where the gateway runs, one is asked for within seconds"
    last = of_it[-1]
    verb = "is" if last.state in ACTIVE else "was"
    return f"run {last.input.digest[:12]} {verb} made of just these objects ({last.state}){view.compared(last)}"
