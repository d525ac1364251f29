"""What is in flight: which open associations, and other sources at work, have brought objects of a study and may bring more.

A holder counts for a study while it is open and was at work for it within a grace. So a sender that closes its association holds nothing
up, and one that keeps it open for days holds nothing up either. The process of a holder that crashed cannot take it back; the grace does.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine, delete, func, select

from gateway.database import read_only
from gateway.objects.index import mark_in_flight, mark_statement
from gateway.objects.tables import IN_FLIGHT
from gateway.records import StudyKey

GRACE: Final = timedelta(seconds=5)
"""How long after its last object an open association counts as sending more of a study."""


class InFlight:
    """The studies in flight, as all processes see them.

    Parameters
    ----------
    engine
        The gateway's database.
    grace
        How long a holder counts after it was last at work.
    """

    def __init__(self, engine: Engine, grace: timedelta = GRACE) -> None:
        self._engine = engine
        self._reading = read_only(engine)
        self.grace = grace
        self._mark = mark_statement(engine)

    def mark(self, holder: str, studies: Collection[StudyKey], at: datetime) -> None:
        """Note that a holder is at work for studies.

        Parameters
        ----------
        holder
            Whoever brings the objects, named so that no other has the name.
        studies
            Which.
        at
            The time, UTC.
        """
        with self._engine.begin() as connection:
            mark_in_flight(connection, self._mark, {(holder, study) for study in studies}, at)

    def release(self, holder: str) -> None:
        """Note that a holder brings nothing more."""
        with self._engine.begin() as connection:
            connection.execute(delete(IN_FLIGHT).where(IN_FLIGHT.c.holder == holder))

    def release_all(self, prefix: str) -> None:
        """Note that no holder whose name begins so brings anything more: what a process does with its own when it starts."""
        with self._engine.begin() as connection:
            connection.execute(delete(IN_FLIGHT).where(IN_FLIGHT.c.holder.startswith(prefix, autoescape=True)))

    def count(self, study: StudyKey, now: datetime) -> int:
        """Return how many holders bring objects of a study.

        Parameters
        ----------
        study
            Which.
        now
            The time, UTC. A holder's time that lies further ahead than the grace does not count: the clock was set back.

        Returns
        -------
        int
        """
        query = (
            select(func.count())
            .select_from(IN_FLIGHT)
            .where(IN_FLIGHT.c.study_instance_uid == study.study_instance_uid)
            .where(IN_FLIGHT.c.at.between(now - self.grace, now + self.grace))
        )
        with self._reading.connect() as connection:
            return connection.execute(query).scalar_one()
