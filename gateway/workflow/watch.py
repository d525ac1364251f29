"""The watch: looks at what arrived, asks for a run where a study is complete, and finds runs that were lost on the way.

One process does it, the executor. It decides nothing that is not in the database: after a crash it begins again where it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from gateway.clock import utc_now
from gateway.records import Arrival, Complete, Refused, StoredObject, StudyKey, Waiting
from gateway.workflow.clinical_table import ClinicalTable, ClinicalWatch
from gateway.workflow.defects import StudyGuard
from gateway.workflow.digest import clinical_digest, input_digest, returned_digest
from gateway.workflow.runs import ACTIVE, RUN_STATES, RunInput, RunLedger, RunNote
from gateway.workflow.settings import URGENT_PRIORITIES, RunRules
from gateway.workflow.study_header import StudyHeader
from pdl1es.clinical import ClinicalFileError

logger = logging.getLogger("pdl1es.gateway.workflow")

_SWEEP_SECONDS: Final = 5.0
_BUSY_WAIT: Final = timedelta(seconds=2)
_CLOCKS_AGREE: Final = timedelta(seconds=2)
_LOST: Final = frozenset({"ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})


class DueStudy(Protocol):
    """A study that has to be judged, as the object store's index gives it."""

    @property
    def study(self) -> StudyKey:
        """Which study."""

    @property
    def revision(self) -> int:
        """Counts what arrived."""


class StudyIndex(Protocol):
    """What the watch needs of the object store's index."""

    def due(self, now: datetime) -> Iterable[DueStudy]:
        """Return the studies that have to be judged."""

    def judged(self, study: StudyKey, revision: int, judge_at: datetime | None) -> None:
        """Note that a study was judged.

        Parameters
        ----------
        study
            Which.
        revision
            That was judged.
        judge_at
            When it is judged again though nothing more arrives.
        """


class QueueOfRuns(Protocol):
    """What the watch needs of the queue."""

    def put(self, note: RunNote) -> None:
        """Put a run's current round into the queue."""

    def statuses(self, notes: Iterable[RunNote]) -> dict[str, str]:
        """Return the status of each run's current round, by digest."""

    def resume(self, note: RunNote) -> None:
        """Have a run's current round executed again from its last finished step."""

    def hasten(self, note: RunNote) -> None:
        """Let a run's current round, which waits for its time, begin now."""


def clinical_part(clinical: ClinicalWatch, header: StudyHeader) -> tuple[ClinicalTable, str, str] | None:
    """Return what a run needs to find its patient's row.

    Parameters
    ----------
    clinical
        The clinical table.
    header
        Of the study.

    Returns
    -------
    tuple of ClinicalTable, str and str, or None
        The table in use with patient id and accession number; None where there is no table.
    """
    version = clinical.current
    return None if version is None else (version.table, header.patient_id, header.accession_number)


def row_digest(part: tuple[ClinicalTable, str, str] | None) -> str:
    """Return the digest of what the clinical table says of a study's patient now.

    Parameters
    ----------
    part
        From `clinical_part`.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    if part is None:
        return clinical_digest(None, table=False)
    table, patient_id, accession_number = part
    try:
        return clinical_digest(table.record(patient_id, accession_number), table=True)
    except ClinicalFileError:
        # The run will be parked with this reason; a mended table gives another digest.
        return clinical_digest(None, table=True, ambiguous=True)


def is_as_asked(run: RunInput, ledger: RunLedger, *, clinical: str, model: str, settings: str) -> bool:
    """Tell whether what would go into a run now is what it was asked for, its objects apart.

    Parameters
    ----------
    run
        The run.
    ledger
        Knows what came back after another input.
    clinical
        `row_digest` now.
    model
        SHA-256 of the model that the workers have loaded.
    settings
        `settings_digest` of the ``app.yaml`` that they have read.

    Returns
    -------
    bool
    """
    digest = input_digest(objects=run.objects_digest, clinical=clinical, model=model, settings=settings)
    while digest != run.digest and (later := ledger.overtaken_by(digest)):
        digest = returned_digest(digest, later)
    return digest == run.digest


@dataclass(frozen=True, slots=True)
class WatchParts:
    """What the watch works with.

    Attributes
    ----------
    index
        The object store's.
    judge
        Says how far a study's arrival has come.
    objects_of
        Gives a study's objects.
    header_of
        Gives what is read of a study's header.
    ledger, queue
        Of the runs.
    guard
        Keeps a study's defect to the study.
    clinical
        The clinical table.
    rules
        Section ``runs``.
    model_sha256
        Of the model that the workers have loaded.
    settings
        `settings_digest` of ``app.yaml``.
    executing
        Tells whether this process works on a run's current round.
    waiting
        Is told of a study that waits: it may have something fetched. It says when it wants to be told again, UTC; None: not
        before something arrives or the study's own wait is over. None in its place where nothing is fetched.
    """

    index: StudyIndex
    judge: Callable[[StudyKey, datetime], Arrival]
    objects_of: Callable[[StudyKey], tuple[StoredObject, ...]]
    header_of: Callable[[StudyKey], StudyHeader]
    ledger: RunLedger
    queue: QueueOfRuns
    guard: StudyGuard
    clinical: ClinicalWatch
    rules: RunRules
    model_sha256: str
    settings: str
    executing: Callable[[RunNote], bool]
    waiting: Callable[[Waiting], datetime | None] | None = None


class StudyWatch:
    """Judges what arrived.

    Parameters
    ----------
    parts
        What it works with.
    """

    def __init__(self, parts: WatchParts) -> None:
        self._parts = parts
        self._swept = -_SWEEP_SECONDS
        self._unattended: set[tuple[str, int]] = set()
        self._owed: set[StudyKey] = set()
        # After a start too: the table may have changed just before the end.
        self._rows_changed = parts.clinical.current is not None

    def look(self) -> int:
        """Look once at everything that may have changed.

        Returns
        -------
        int
            Runs that were asked for.
        """
        asked = 0
        self._rows_changed |= self._parts.clinical.look(time.time())
        now = utc_now()
        due = tuple(self._parts.index.due(now))
        if due or self._rows_changed:
            busy = {note.input.study for note in self._parts.ledger.in_states(*ACTIVE)}
            for row in due:
                asked += self._judge(row, now, busy)
            if self._rows_changed:
                asked += self._after_new_table()
                # What is being run now has the former table's row.
                self._rows_changed = bool(busy)
        if time.monotonic() - self._swept >= _SWEEP_SECONDS:
            self.sweep()
            self._swept = time.monotonic()
        return asked

    def sweep(self) -> None:
        """Put runs back into the queue that a crash or the database kept out of it, and give back those whose workflow ended badly.

        A workflow that the database failed while it noted a step has no thread any more, and DBOS takes it for one that is being
        executed: it is resumed when two sweeps in a row have found it so. One whose wait was set before the clock stepped back
        begins now.
        """
        parts, now = self._parts, utc_now()
        active = parts.ledger.in_states(*ACTIVE)
        statuses = parts.queue.statuses(active)
        unattended: set[tuple[str, int]] = set()
        for note in active:
            parts.guard.run(note.input.study, "run", partial(self._sweep_run, note, statuses, now, unattended))
        self._unattended = unattended
        parts.guard.only("run", {note.input.study for note in active})
        for study in parts.ledger.stale_studies():
            if parts.guard.is_due(study, "input"):
                parts.guard.run(study, "input", partial(self._judge_again, study))
        for study in tuple(self._owed):
            if parts.guard.is_due(study, "input"):
                self._after_new_row(study, parts.ledger.of_study(study)[-1:])

    def _sweep_run(
        self, note: RunNote, statuses: Mapping[str, str], now: datetime, unattended: set[tuple[str, int]]
    ) -> int:
        """Do what a run needs whose workflow has another status than the ledger says."""
        parts = self._parts
        status, key = statuses.get(note.input.digest), (note.input.digest, note.round)
        if status is None:
            parts.queue.put(note)
        elif status in _LOST:
            self._give_back(note, status)
        elif status == "DELAYED" and note.updated_at > now + _CLOCKS_AGREE:
            parts.queue.hasten(note)
        elif status in ("PENDING", "SUCCESS") and not parts.executing(note):
            if key not in self._unattended:
                unattended.add(key)
            elif status == "PENDING":
                logger.warning("a run without a thread goes on from its last step", extra={"study": note.input.study})
                parts.queue.resume(note)
            else:  # the ledger missed its end
                self._give_back(note, status)
        return 0

    def _give_back(self, note: RunNote, status: str) -> None:
        parts = self._parts
        again = note.attempts < parts.rules.attempts
        reason = f"WORKFLOW_{status}: the log says why"
        parts.ledger.ended(note.input.digest, note.round, "again" if again else "parked", reason=reason)
        if again and (renewed := parts.ledger.find(note.input.digest)) is not None:
            parts.queue.put(renewed)

    def _judge(self, row: DueStudy, now: datetime, busy: set[StudyKey]) -> int:
        parts = self._parts
        if row.study in busy:
            # What arrives while a study is run is judged when the run has ended.
            parts.index.judged(row.study, row.revision, now + _BUSY_WAIT)
            return 0
        asked = parts.guard.run(row.study, "arrival", partial(self._judge_arrival, row, now))
        if asked is None:
            parts.index.judged(row.study, row.revision, now + parts.guard.wait(row.study, "arrival"))
        return asked or 0

    def _judge_arrival(self, row: DueStudy, now: datetime) -> int:
        parts = self._parts
        arrival = parts.judge(row.study, now)
        if isinstance(arrival, Waiting):
            again = parts.waiting(arrival) if parts.waiting is not None else None
            # Without a time of its own a study waits for its contour, and nothing can be fetched before.
            until = arrival.until if arrival.until is None or again is None else min(arrival.until, again)
            parts.index.judged(row.study, row.revision, until)
            return 0
        asked = self._ask(arrival)
        parts.index.judged(row.study, row.revision, None)
        return asked

    def _judge_again(self, study: StudyKey, *, returned: bool = False) -> int:
        """Ask for the run of a study of which nothing arrived, but whose last run has another input, or never began."""
        if not self._parts.objects_of(study):
            return 0
        arrival = self._parts.judge(study, utc_now())
        return 0 if isinstance(arrival, Waiting) else self._ask(arrival, returned=returned)

    def _ask(self, arrival: Complete | Refused, *, returned: bool = False) -> int:
        """Ask for a study's run, where no run had the same input.

        Where the input may have come back after another (``returned``), one whose result was superseded gets a run of its own: what is
        current would be the other's report for ever.
        """
        parts, study = self._parts, arrival.study
        contour, series = (arrival.contour, arrival.series_instance_uid) if isinstance(arrival, Complete) else ((), "")
        clinical = self._clinical_digest(study)
        run = RunInput(
            study=study,
            digest=input_digest(
                objects=arrival.digest, clinical=clinical, model=parts.model_sha256, settings=parts.settings
            ),
            objects_digest=arrival.digest,
            clinical_digest=clinical,
            contour=contour,
            series_instance_uid=series,
            urgent=self._is_urgent(study),
        )
        while returned and (later := parts.ledger.overtaken_by(run.digest)):
            run = replace(run, digest=returned_digest(run.digest, later))
        if not (parts.ledger.enter(run) or parts.ledger.wanted_again(run.digest)):
            return 0
        entered = parts.ledger.find(run.digest)
        assert entered is not None
        parts.queue.put(entered)
        logger.info("a run is asked for", extra={"study": study})
        return 1

    def _is_urgent(self, study: StudyKey) -> bool:
        titles = set(self._parts.rules.urgent_ae_titles)
        if titles and any(stored.calling_ae_title in titles for stored in self._parts.objects_of(study)):
            return True
        return self._parts.header_of(study).priority.upper() in URGENT_PRIORITIES

    def _clinical_digest(self, study: StudyKey) -> str:
        clinical = self._parts.clinical
        return row_digest(None if clinical.current is None else clinical_part(clinical, self._parts.header_of(study)))

    def _after_new_table(self) -> int:
        """Judge the studies again whose own row has changed."""
        asked = 0
        latest: dict[StudyKey, RunNote] = {}
        for note in self._parts.ledger.in_states(*RUN_STATES):
            latest[note.input.study] = note
        for study, note in latest.items():
            asked += self._after_new_row(study, (note,))
        return asked

    def _after_new_row(self, study: StudyKey, last: tuple[RunNote, ...]) -> int:
        """Judge a study again if its row is not that of its last run; where that fails, the sweep tries it again."""
        asked = self._parts.guard.run(study, "input", partial(self._judge_new_row, study, last))
        if asked is None:
            self._owed.add(study)
        else:
            self._owed.discard(study)
        return asked or 0

    def _judge_new_row(self, study: StudyKey, last: tuple[RunNote, ...]) -> int:
        for note in last:
            if note.state not in ACTIVE and note.input.clinical_digest != self._clinical_digest(study):
                return self._judge_again(study, returned=True)
        return 0
