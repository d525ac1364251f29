"""The ledger of runs: what each study's run is doing, and why it does not go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy import Connection, Engine, Row, ScalarSelect, case, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from gateway.clock import utc_now
from gateway.database import read_only
from gateway.peers.failures import PeerFailure
from gateway.records import StudyKey
from gateway.workflow.tables import RESULTS, RUNS

RunState = Literal["queued", "running", "again", "parked", "done", "stale"]
"""Waits for a worker; is in one; waits for its next try; was given up and waits for a person; has its result; was overtaken by
another state of the study before it began."""
RUN_STATES: Final[tuple[RunState, ...]] = get_args(RunState)
ACTIVE: Final[tuple[RunState, ...]] = ("queued", "running", "again")
ARCHIVE: Final = "ARCHIVE"
"""Begins the reason of a run that waits for an archive; the peer's failure follows."""
_LONGEST_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class RunInput:
    """What is to be run.

    Attributes
    ----------
    study
        Which study.
    digest
        Of everything that goes in (`gateway.workflow.digest.input_digest`).
    objects_digest
        Of its objects alone.
    clinical_digest
        Of what the clinical table says of the patient.
    contour
        SOP Instance UIDs of the contour's objects; none where the study is run to be refused.
    series_instance_uid
        The CT series; empty where the study is run to be refused: then all its objects go in.
    urgent
        Whether it comes before others.
    """

    study: StudyKey
    digest: str
    objects_digest: str
    clinical_digest: str
    contour: tuple[str, ...]
    series_instance_uid: str
    urgent: bool


@dataclass(frozen=True, slots=True)
class RunNote:
    """A run as the ledger has it.

    Attributes
    ----------
    input
        What is run.
    state
        What it is doing.
    round
        Which workflow works on it, from 1.
    attempts
        Tries since it was last asked for.
    reason
        Why it was tried again or parked; empty where there is no reason.
    created_at, updated_at
        UTC.
    seconds
        That the worker took; None before the end.
    """

    input: RunInput
    state: RunState
    round: int
    attempts: int
    reason: str
    created_at: datetime
    updated_at: datetime
    seconds: float | None


class RunLedger:
    """The table of runs.

    Parameters
    ----------
    engine
        The gateway's database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = read_only(engine)

    def enter(self, run: RunInput) -> bool:
        """Enter a run that nobody has asked for before.

        Returns
        -------
        bool
            Whether it is new: of one digest there is one run.
        """
        now = utc_now()
        row = {
            "digest": run.digest,
            "study_instance_uid": run.study.study_instance_uid,
            "objects_digest": run.objects_digest,
            "clinical_digest": run.clinical_digest,
            "contour": list(run.contour),
            "series_instance_uid": run.series_instance_uid,
            "urgent": run.urgent,
            "state": "queued",
            "number": _next_number(),
            "round": 1,
            "attempts": 0,
            "reason": "",
            "created_at": now,
            "updated_at": now,
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(RUNS).values(row))
        except IntegrityError:
            return False
        return True

    def find(self, digest: str) -> RunNote | None:
        """Return a run by its digest, or None."""
        with self._reader.connect() as connection:
            row = connection.execute(select(RUNS).where(RUNS.c.digest == digest)).one_or_none()
        return None if row is None else _noted(row)

    def of_study(self, study: StudyKey) -> tuple[RunNote, ...]:
        """Return a study's runs, oldest first."""
        query = select(RUNS).where(RUNS.c.study_instance_uid == study.study_instance_uid)
        with self._reader.connect() as connection:
            return tuple(_noted(row) for row in connection.execute(query.order_by(RUNS.c.number, RUNS.c.digest)))

    def in_states(self, *states: RunState, limit: int | None = None) -> tuple[RunNote, ...]:
        """Return the runs in these states, oldest first.

        Parameters
        ----------
        *states
            Which.
        limit
            At most so many.

        Returns
        -------
        tuple of RunNote
        """
        query = select(RUNS).where(RUNS.c.state.in_(states)).order_by(RUNS.c.number, RUNS.c.digest).limit(limit)
        with self._reader.connect() as connection:
            return tuple(_noted(row) for row in connection.execute(query))

    def counts(self) -> dict[RunState, int]:
        """Return how many runs are in each state."""
        query = select(RUNS.c.state, func.count()).group_by(RUNS.c.state)
        with self._reader.connect() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        return {state: found.get(state, 0) for state in RUN_STATES}

    def began(self, digest: str, round_number: int, *, is_try: bool = True) -> bool:
        """Note that a workflow works on a run.

        Parameters
        ----------
        digest
            Of the run.
        round_number
            Which workflow it is.
        is_try
            Whether it counts as a further try.

        Returns
        -------
        bool
            False where another workflow has taken over, or the run has ended: this one does nothing then.
        """
        return self._change(digest, round_number, ACTIVE, state="running", attempts=RUNS.c.attempts + int(is_try))

    def ended(
        self,
        digest: str,
        round_number: int,
        state: RunState,
        *,
        reason: str = "",
        seconds: float | None = None,
        no_try: bool = False,
    ) -> bool:
        """Note how a workflow's work on a run ended.

        Parameters
        ----------
        digest
            Of the run.
        round_number
            Which workflow it was.
        state
            ``done``, ``parked``, ``stale``; or ``again``, which makes the run's next round the current one.
        reason
            Why, with no word of the study's.
        seconds
            That the worker took.
        no_try
            Whether it does not count as a try.

        Returns
        -------
        bool
            False where another workflow has taken over.
        """
        values: dict[str, Any] = {"state": state, "reason": reason[:_LONGEST_REASON]}
        if seconds is not None:
            values["seconds"] = seconds
        if no_try:
            values["attempts"] = case((RUNS.c.state == "running", RUNS.c.attempts - 1), else_=RUNS.c.attempts)
        if state == "again":
            values["round"] = round_number + 1
        return self._change(digest, round_number, ACTIVE, **values)

    def asked_again(self, digest: str, *, urgent: bool | None = None) -> RunNote | None:
        """Bring a parked or stale run, or one that waits for its next try, back into the queue, with its tries counted anew.

        Parameters
        ----------
        digest
            Of the run.
        urgent
            Whether it comes before others now; None to leave it.

        Returns
        -------
        RunNote or None
            As it is now, or None where the run is in another state.
        """
        values: dict[str, Any] = {
            "state": "queued",
            "attempts": 0,
            "reason": "",
            "round": RUNS.c.round + 1,
            "updated_at": utc_now(),
        }
        if urgent is not None:
            values["urgent"] = urgent
        with self._engine.begin() as connection:
            changed = connection.execute(
                update(RUNS)
                .where(RUNS.c.digest == digest, RUNS.c.state.in_(("parked", "stale", "again")))
                .values(values)
            ).rowcount
        return self.find(digest) if changed else None

    def archive_answers(self) -> int:
        """Bring the runs back into the queue that wait for an archive that was down; the round that waits finds that it is overtaken.

        Returns
        -------
        int
            How many.
        """
        down = [RUNS.c.reason.startswith(f"{ARCHIVE}: {one.name}:") for one in PeerFailure if one.row.peer_down]
        query = update(RUNS).where(RUNS.c.state == "again", or_(*down))
        with self._engine.begin() as connection:
            return connection.execute(
                query.values(state="queued", round=RUNS.c.round + 1, updated_at=utc_now())
            ).rowcount

    def wanted_again(self, digest: str) -> bool:
        """Bring a stale run back into the queue, as if it had been asked for now: what overtook it before it began is gone.

        Parameters
        ----------
        digest
            Of the run.

        Returns
        -------
        bool
            False where the run is not stale.
        """
        now = utc_now()
        values = {"state": "queued", "attempts": 0, "reason": "", "created_at": now, "updated_at": now}
        with self._engine.begin() as connection:
            changed = connection.execute(
                update(RUNS)
                .where(RUNS.c.digest == digest, RUNS.c.state == "stale")
                .values(**values, round=RUNS.c.round + 1, number=_next_number())
            ).rowcount
        return bool(changed)

    def stale_studies(self) -> tuple[StudyKey, ...]:
        """Return the studies whose newest run is stale: nothing took its place yet."""
        later = RUNS.alias()
        newer = exists().where(later.c.study_instance_uid == RUNS.c.study_instance_uid, later.c.number > RUNS.c.number)
        query = select(RUNS.c.study_instance_uid).where(RUNS.c.state == "stale", ~newer).distinct()
        with self._reader.connect() as connection:
            return tuple(
                StudyKey(uid) for uid in connection.execute(query.order_by(RUNS.c.study_instance_uid)).scalars()
            )

    def overtaken_by(self, digest: str) -> str:
        """Return the digest of the result that superseded a run's; empty where it has none, or its result is the current one."""
        query = select(RESULTS.c.superseded_by).where(RESULTS.c.digest == digest)
        with self._reader.connect() as connection:
            return connection.execute(query).scalar_one_or_none() or ""

    def park(self, digest: str, reason: str) -> bool:
        """Park a run that is waiting; one that is in a worker ends first.

        Parameters
        ----------
        digest
            Of the run.
        reason
            Why, as it is shown.

        Returns
        -------
        bool
            Whether it was waiting.
        """
        query = update(RUNS).where(RUNS.c.digest == digest, RUNS.c.state.in_(("queued", "again")))
        with self._engine.begin() as connection:
            return bool(
                connection.execute(
                    query.values(state="parked", reason=reason[:_LONGEST_REASON], updated_at=utc_now())
                ).rowcount
            )

    def _change(self, digest: str, round_number: int, states: tuple[RunState, ...], **values: Any) -> bool:
        query = update(RUNS).where(RUNS.c.digest == digest, RUNS.c.round == round_number, RUNS.c.state.in_(states))
        with self._engine.begin() as connection:
            return bool(connection.execute(query.values(**values, updated_at=utc_now())).rowcount)


def _next_number() -> ScalarSelect[int]:
    """Return what gives a run that is asked for now its number: a time would not do where the clock steps back."""
    others = RUNS.alias()
    return select(func.coalesce(func.max(others.c.number), 0) + 1).scalar_subquery()


def withdraw_runs(connection: Connection, study: StudyKey, now: datetime, *, also_running: bool) -> bool:
    """End the runs of a study that a person removes: they are stale, so that the study, sent again, is run.

    Parameters
    ----------
    connection
        In a transaction.
    study
        Which.
    now
        The time, UTC.
    also_running
        Whether one that a worker had goes too: no executor runs then. What it left does not go on (`RunLedger.began`).

    Returns
    -------
    bool
        False where one is in a worker: nothing may be removed then.
    """
    of_study = RUNS.c.study_instance_uid == study.study_instance_uid
    states = (*ACTIVE, "parked") if also_running else ("queued", "again", "parked")
    connection.execute(
        update(RUNS)
        .where(of_study, RUNS.c.state.in_(states))
        .values(state="stale", reason="PURGED: a person removed the study", updated_at=now)
    )
    running = select(RUNS.c.digest).where(of_study, RUNS.c.state == "running")
    return connection.execute(running).first() is None


def _noted(row: Row[Any]) -> RunNote:
    found: Any = row._mapping
    return RunNote(
        input=RunInput(
            study=StudyKey(found["study_instance_uid"]),
            digest=found["digest"],
            objects_digest=found["objects_digest"],
            clinical_digest=found["clinical_digest"],
            contour=tuple(found["contour"]),
            series_instance_uid=found["series_instance_uid"],
            urgent=found["urgent"],
        ),
        state=found["state"],
        round=found["round"],
        attempts=found["attempts"],
        reason=found["reason"],
        created_at=found["created_at"],
        updated_at=found["updated_at"],
        seconds=found["seconds"],
    )
