"""What a source passed over, so that it holds up nothing that comes after it: kept where `pdl1es gateway status` finds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Column, Engine, String, Table, delete, func, insert, select

from gateway.clock import utc_now
from gateway.database import METADATA, UtcTime, read_only

PASSED_OVER: Final = Table(
    "passed_over",
    METADATA,
    Column("source", String(64), primary_key=True),
    Column("item", String(64), primary_key=True),
    Column("reason", String(20), nullable=False),
    Column("since", UtcTime, nullable=False),
)
"""Objects and files that a source does not take. ``item`` is a digest: a file's name may name a patient."""
TOO_LARGE: Final = "TOO_LARGE"
NOT_READABLE: Final = "NOT_READABLE"
REMEDIES: Final = {
    TOO_LARGE: "larger than storage.max_object_bytes; raise it, restart `pdl1es serve`, and have the study sent to the gateway by C-STORE",
    NOT_READABLE: "they cannot be read or removed; let the gateway's user read and remove them: they are tried again by themselves",
}
"""By reason what to do."""
TOLD_FOR: Final = timedelta(days=30)


class PassedOver:
    """What one source passed over.

    Parameters
    ----------
    engine
        The gateway's database, with its tables.
    source
        Name of the source.
    """

    def __init__(self, engine: Engine, source: str) -> None:
        self._engine = engine
        self._source = source

    def note(self, item: str, reason: str) -> bool:
        """Keep that something is passed over.

        Parameters
        ----------
        item
            Digest by which it is known again, at most 64 characters.
        reason
            One of `REMEDIES`.

        Returns
        -------
        bool
            Whether that is new, and has to be told.
        """
        if item in self.items():
            return False
        with self._engine.begin() as connection:
            connection.execute(
                insert(PASSED_OVER).values(source=self._source, item=item, reason=reason, since=utc_now())
            )
        return True

    def forget(self, items: Iterable[str]) -> None:
        """Forget what was taken since, or is gone; nothing is written where nothing of it was passed over."""
        table = PASSED_OVER
        for item in self.items() & set(items):
            with self._engine.begin() as connection:
                connection.execute(delete(table).where(table.c.source == self._source, table.c.item == item))

    def items(self) -> frozenset[str]:
        """Return all that is passed over."""
        query = select(PASSED_OVER.c.item).where(PASSED_OVER.c.source == self._source)
        with read_only(self._engine).connect() as connection:
            return frozenset(connection.execute(query).scalars())


def passed_over_in_words(engine: Engine, now: datetime) -> Iterator[str]:
    """Give a line for each source and reason, for `pdl1es gateway status`.

    Parameters
    ----------
    engine
        The gateway's database.
    now
        The time, UTC: what was passed over more than `TOLD_FOR` ago is not told any more.

    Yields
    ------
    str
    """
    table = PASSED_OVER
    query = select(table.c.source, table.c.reason, func.count(), func.max(table.c.since))
    query = query.where(table.c.since > now - TOLD_FOR).group_by(table.c.source, table.c.reason)
    with read_only(engine).connect() as connection:
        rows = connection.execute(query.order_by(table.c.source, table.c.reason)).all()
    for source, reason, count, last in rows:
        when = last.isoformat(timespec="seconds")
        yield f"source {source}: {count} passed over, the last at {when}: {reason}: {REMEDIES[reason]}"
