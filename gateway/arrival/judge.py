"""Judges studies in the object store: whether they are whole, wait, or are refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from gateway.arrival.digest import CONTOUR_SOP_CLASSES
from gateway.arrival.evidence import read_evidence
from gateway.arrival.judgement import ArrivalTimes, judge, judge_before_reading
from gateway.arrival.settings import ArrivalRules
from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.records import Arrival, StudyKey, Waiting
from pdl1es.settings import Settings


class ArrivalJudge:
    """Says how far the arrival of a study has come.

    Headers are read only where a contour is there and nothing is in flight.

    Parameters
    ----------
    store
        Where the objects lie.
    in_flight
        What may bring more.
    settings
        ``app.yaml``: the chain's own selection decides.
    rules
        Of the arrival.
    archive_until
        Says until when an archive that has to be asked for the rest of a study has not answered, UTC; None in its place where nothing
        is fetched.
    """

    def __init__(
        self,
        store: ObjectStore,
        in_flight: InFlight,
        settings: Settings,
        rules: ArrivalRules,
        *,
        archive_until: Callable[[StudyKey, datetime], datetime | None] | None = None,
    ) -> None:
        self._store = store
        self._in_flight = in_flight
        self._settings = settings
        self._rules = rules
        self._archive_until = archive_until

    def __call__(self, study: StudyKey, now: datetime) -> Arrival:
        """Judge a study.

        Parameters
        ----------
        study
            Which.
        now
            The time, UTC.

        Returns
        -------
        Waiting, Complete or Refused
        """
        objects = self._store.objects_of(study)
        if not objects:
            return Waiting(study, "nothing has arrived")
        archive_until = None if self._archive_until is None else self._archive_until(study, now)
        last = max(stored.received_at for stored in objects)
        times = ArrivalTimes(now, last, self._in_flight.count(study, now), archive_until)
        has_contour = any(stored.sop_class_uid in CONTOUR_SOP_CLASSES for stored in objects)
        waiting = judge_before_reading(study, times, self._rules, has_contour=has_contour)
        return waiting or judge(study, read_evidence(self._store, objects, self._settings), times, self._rules)
