"""Defects with one study: kept to that study, told once, counted, and tried again after a wait that grows.

A defect is an error that nobody foresaw. It is logged with its places and shown by its kind, as ``STUDY_DEFECT``.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import ColumnElement, Engine, and_, delete, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from gateway.clock import utc_now
from gateway.database import read_only
from gateway.objects.tables import STUDIES
from gateway.records import StudyKey
from gateway.workflow.tables import STUDY_DEFECTS

logger = logging.getLogger("pdl1es.gateway.workflow")

STUDY_DEFECT: Final = "STUDY_DEFECT"
LONGEST_WAIT: Final = timedelta(seconds=60)
Part = Literal["arrival", "input", "run"]
"""Judging what arrived; judging again what a run is to be made of; keeping a run and its workflow together."""


@dataclass(frozen=True, slots=True)
class Defect:
    """A defect with a study.

    Attributes
    ----------
    study
        Which.
    part
        Of what is done with it.
    found
        Kind and place of the error, never its text.
    attempts
        How often it came.
    since, last_at
        UTC.
    """

    study: StudyKey
    part: str
    found: str
    attempts: int
    since: datetime
    last_at: datetime

    def __str__(self) -> str:
        return f"{STUDY_DEFECT}: {self.found}"


def defect_in_words(error: BaseException) -> str:
    """Return an error's kind and place, without its text, which may quote a header."""
    kind, frames = type(error).__name__, traceback.extract_tb(error.__traceback__)
    if not frames:
        return kind
    return f"{kind} in {frames[-1].name} ({Path(frames[-1].filename).name}:{frames[-1].lineno})"[:200]


def is_outage(error: BaseException) -> bool:
    """Tell whether an error is the database's as a whole, and not of what was to be written for one study."""
    return isinstance(error, SQLAlchemyError) and not isinstance(error, (DataError, IntegrityError))


class DefectBook:
    """The table of defects.

    Parameters
    ----------
    engine
        The gateway's database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = read_only(engine)

    def note(self, study: StudyKey, part: Part, found: str, now: datetime) -> int:
        """Note a defect.

        Parameters
        ----------
        study, part
            With what it is.
        found
            Kind and place of the error.
        now
            The time, UTC.

        Returns
        -------
        int
            How often it has come.
        """
        its = self._its(study, part)
        table = STUDY_DEFECTS.c
        with self._engine.begin() as connection:
            values = {"found": found, "last_at": now}
            if not connection.execute(
                update(STUDY_DEFECTS).where(its).values(**values, attempts=table.attempts + 1)
            ).rowcount:
                key = {"study_instance_uid": study.study_instance_uid, "part": part}
                connection.execute(insert(STUDY_DEFECTS).values(**key, **values, attempts=1, since=now))
            return int(connection.execute(select(table.attempts).where(its)).scalar_one())

    def end(self, study: StudyKey, part: Part) -> None:
        """Forget a defect that has not come again.

        Parameters
        ----------
        study, part
            With what it was.
        """
        with self._engine.begin() as connection:
            connection.execute(delete(STUDY_DEFECTS).where(self._its(study, part)))

    def begin(self) -> dict[StudyKey, int]:
        """Forget what is tried again at once after a start, and return how often the arrival of each study failed before."""
        table = STUDY_DEFECTS.c
        with self._engine.begin() as connection:
            connection.execute(delete(STUDY_DEFECTS).where(table.part != "arrival"))
            rows = connection.execute(select(table.study_instance_uid, table.attempts)).all()
        return {StudyKey(row.study_instance_uid): row.attempts for row in rows}

    def of_study(self, study: StudyKey) -> tuple[Defect, ...]:
        """Return a study's defects."""
        return tuple(one for one in self.every() if one.study == study)

    def every(self) -> tuple[Defect, ...]:
        """Return the defects of all studies that are here, by study."""
        table = STUDY_DEFECTS.c
        here = select(STUDIES.c.study_instance_uid)
        query = select(STUDY_DEFECTS).where(table.study_instance_uid.in_(here))
        with self._reader.connect() as connection:
            rows = connection.execute(query.order_by(table.study_instance_uid, table.part)).all()
        return tuple(
            Defect(StudyKey(row.study_instance_uid), row.part, row.found, row.attempts, row.since, row.last_at)
            for row in rows
        )

    @staticmethod
    def _its(study: StudyKey, part: Part) -> ColumnElement[bool]:
        return and_(STUDY_DEFECTS.c.study_instance_uid == study.study_instance_uid, STUDY_DEFECTS.c.part == part)


class StudyGuard:
    """Keeps a defect to its study: those behind it are judged as if it were not there.

    Parameters
    ----------
    book
        Where the defects stand for all processes.
    """

    def __init__(self, book: DefectBook) -> None:
        self._book = book
        self._failing: dict[tuple[StudyKey, Part], tuple[int, float]] | None = None
        self._told: dict[tuple[StudyKey, Part], str] = {}

    def run(self, study: StudyKey, part: Part, step: Callable[[], int]) -> int | None:
        """Do a step for a study.

        Parameters
        ----------
        study, part
            What is done.
        step
            Does it.

        Returns
        -------
        int or None
            As the step; None where a defect ended it, which is told and noted.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            The database does not answer: that is no study's defect.
        """
        try:
            done = step()
        except Exception as error:
            # Nothing of the study is decided; the log, the table and what reads it tell of it.
            if is_outage(error):
                raise
            self._failed(study, part, error)
            return None
        self._ended(study, part)
        return done

    def wait(self, study: StudyKey, part: Part) -> timedelta:
        """Return how long a part that failed is waited for, though nothing changes.

        Parameters
        ----------
        study, part
            What failed.

        Returns
        -------
        datetime.timedelta
        """
        attempts, _ = self._known().get((study, part), (0, 0.0))
        return min(timedelta(seconds=2 ** min(attempts, 10)), LONGEST_WAIT)

    def is_due(self, study: StudyKey, part: Part) -> bool:
        """Tell whether a part that failed may be tried again though nothing changed; one that did not fail may.

        Parameters
        ----------
        study, part
            What failed.

        Returns
        -------
        bool
        """
        _, failed_at = self._known().get((study, part), (0, 0.0))
        return not failed_at or time.monotonic() - failed_at >= self.wait(study, part).total_seconds()

    def only(self, part: Part, studies: Collection[StudyKey]) -> None:
        """Forget a part's defects with all other studies: there is nothing to be done with them any more.

        Parameters
        ----------
        part
            Of what is done.
        studies
            That have something to be done.
        """
        for study, failing in tuple(self._known()):
            if failing == part and study not in studies:
                self._ended(study, part)

    def _known(self) -> dict[tuple[StudyKey, Part], tuple[int, float]]:
        """Return how often a part failed, and when it last did (monotonic, s; 0 before this process)."""
        if self._failing is None:
            before = self._book.begin()
            self._failing = dict[tuple[StudyKey, Part], tuple[int, float]]()
            self._failing.update({(study, "arrival"): (count, 0.0) for study, count in before.items()})
        return self._failing

    def _failed(self, study: StudyKey, part: Part, error: Exception) -> None:
        found, key, known = defect_in_words(error), (study, part), self._known()
        if self._told.get(key) != found:
            logger.error(
                "%s: %s; the study is tried again, the others go on",
                STUDY_DEFECT,
                found,
                exc_info=error,
                extra={"study": study},
            )
            self._told[key] = found
        known[key] = (self._book.note(study, part, found, utc_now()), time.monotonic())

    def _ended(self, study: StudyKey, part: Part) -> None:
        if (study, part) in self._known():
            self._book.end(study, part)
            del self._known()[study, part]
            self._told.pop((study, part), None)
            logger.info("a defect with a study has not come again", extra={"study": study})
