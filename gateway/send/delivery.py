"""Deliveries in the database: one for each result and destination, from the first attempt to its confirmation or its end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, Select, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.database import read_only
from gateway.records import DeliveryState, ResultDelivery
from gateway.send.breaker import Breaker
from gateway.send.delivery_tables import BREAKERS, DELIVERIES, DeliveryDetail, detail_of, receipt_json
from gateway.send.destination import Confirmation, Receipt
from gateway.send.rules import Shipment

ENDED: Final[tuple[DeliveryState, ...]] = ("committed", "purged")
"""States of a delivery for which nobody waits any more."""
_PURGED: Final = "PURGED: a person removed the study before the destination had confirmed it"


class DeliveryBook:
    """All deliveries, and the breakers of their destinations."""

    def __init__(self, engine: Engine) -> None:
        """Use a database that has its tables."""
        self._engine = engine
        self._reading = read_only(engine)

    def begin(
        self, digest: str, study_instance_uid: str, shipments: Sequence[Shipment], now: datetime
    ) -> tuple[ResultDelivery, ...]:
        """Record that a result is to be sent. What was begun before stays as it is.

        Parameters
        ----------
        digest
            Of the result.
        study_instance_uid
            Of its study.
        shipments
            One for each destination.
        now
            The time.

        Returns
        -------
        tuple of ResultDelivery
            Of this result, old and new.
        """
        with self._engine.begin() as connection:
            for shipment in shipments:
                row = {
                    "digest": digest,
                    "destination": shipment.destination,
                    "study_instance_uid": study_instance_uid,
                    "kinds": list(shipment.kinds),
                    "state": "waiting",
                    "attempts": 0,
                    "failures": 0,
                    "last_error": "",
                    "created_at": now,
                    "next_at": now,
                }
                connection.execute(_insert(self._engine, DELIVERIES).values(row).on_conflict_do_nothing())
        return tuple(detail.delivery for detail in self.of_result(digest))

    def detail(self, digest: str, destination: str) -> DeliveryDetail:
        """Return one delivery.

        Parameters
        ----------
        digest
            Of the result.
        destination
            Its name.

        Returns
        -------
        DeliveryDetail

        Raises
        ------
        KeyError
            There is none.
        """
        found = self._read(_wanted(digest, destination))
        if not found:
            raise KeyError(f"result {digest[:12]} was never to be sent to {destination}")
        return found[0]

    def of_result(self, digest: str) -> tuple[DeliveryDetail, ...]:
        """Return the deliveries of a result, in the order of their destinations."""
        return self._read(select(DELIVERIES).where(DELIVERIES.c.digest == digest))

    def of_study(self, study_instance_uid: str) -> tuple[DeliveryDetail, ...]:
        """Return the deliveries of all results of a study."""
        return self._read(select(DELIVERIES).where(DELIVERIES.c.study_instance_uid == study_instance_uid))

    def in_state(self, *states: str) -> tuple[DeliveryDetail, ...]:
        """Return the deliveries in any of these states."""
        return self._read(select(DELIVERIES).where(DELIVERIES.c.state.in_(states)))

    def due(self, now: datetime, longest: timedelta = timedelta(days=1)) -> tuple[DeliveryDetail, ...]:
        """Return what is to be tried or confirmed now.

        Parameters
        ----------
        now
            The time.
        longest
            No wait is longer: what lies further ahead was set before the clock stepped back, and is due.

        Returns
        -------
        tuple of DeliveryDetail
            The longest due first.
        """
        at = DELIVERIES.c.next_at
        found = self._read(select(DELIVERIES).where(at.is_not(None), (at <= now) | (at > now + longest)))
        return tuple(sorted(found, key=lambda one: one.delivery.next_at or now))

    def record_attempt(self, digest: str, destination: str) -> int:
        """Count an attempt before it is made, so that no two have one number.

        Parameters
        ----------
        digest
            Of the result.
        destination
            Its name.

        Returns
        -------
        int
            The number of the attempt, from 1.
        """
        with self._engine.begin() as connection:
            self._change(connection, digest, destination, attempts=DELIVERIES.c.attempts + 1)
        return self.detail(digest, destination).delivery.attempts

    def record_sent(self, receipt: Receipt, next_at: datetime) -> None:
        """Record that a destination took a set.

        Parameters
        ----------
        receipt
            From the destination.
        next_at
            When it is asked whether it keeps it.
        """
        with self._engine.begin() as connection:
            self._change(
                connection,
                receipt.digest,
                receipt.destination,
                state="sent",
                last_error="",
                receipt=receipt_json(receipt),
                next_at=next_at,
            )

    def record_failure(
        self, digest: str, destination: str, *, error: str, next_at: datetime | None, now: datetime, counts: bool = True
    ) -> None:
        """Record that an attempt failed, or that a destination does not keep what it took.

        Parameters
        ----------
        digest
            Of the result.
        destination
            Its name.
        error
            What it ended with.
        next_at
            When it is sent again; None where it is given up.
        now
            The time.
        counts
            Whether it is one of the tries that a result has.
        """
        with self._engine.begin() as connection:
            self._change(
                connection,
                digest,
                destination,
                state="dead" if next_at is None else "waiting",
                failures=DELIVERIES.c.failures + counts,
                last_error=error[:1000],
                receipt=None,
                next_at=next_at,
                finished_at=now if next_at is None else None,
            )

    def postpone(self, digest: str, destination: str, next_at: datetime, error: str | None = None) -> None:
        """Set when a delivery is looked at next, without counting a failure.

        Parameters
        ----------
        digest
            Of the result.
        destination
            Its name.
        next_at
            When.
        error
            What is to stand with it; None leaves what stands.
        """
        changes: dict[str, Any] = {"next_at": next_at}
        if error is not None:
            changes["last_error"] = error[:1000]
        with self._engine.begin() as connection:
            self._change(connection, digest, destination, **changes)

    def hasten(self, destination: str, now: datetime, *, at_most: int | None = None) -> None:
        """Have what waits for a destination tried now.

        Parameters
        ----------
        destination
            Its name.
        now
            The time.
        at_most
            So many, those that have waited longest; None: all.
        """
        waiting = (
            select(DELIVERIES.c.digest)
            .where(DELIVERIES.c.destination == destination, DELIVERIES.c.state == "waiting")
            .order_by(DELIVERIES.c.created_at, DELIVERIES.c.digest)
            .limit(at_most)
        )
        with self._engine.begin() as connection:
            for digest in connection.execute(waiting).scalars().all():
                self._change(connection, digest, destination, next_at=now)

    def park(self, digest: str, destination: str, *, error: str, next_at: datetime | None, now: datetime) -> None:
        """Record that nothing proves that a destination has what it took: it is not sent again, and waits for a person.

        Parameters
        ----------
        digest
            Of the result.
        destination
            Its name.
        error
            Why.
        next_at
            When it is looked whether the proof has come late; None where it is not.
        now
            The time.
        """
        changes = {"state": "dead", "last_error": error[:1000], "next_at": next_at, "finished_at": now}
        with self._engine.begin() as connection:
            self._change(connection, digest, destination, **changes)

    def record_confirmed(self, digest: str, destination: str, confirmation: Confirmation, now: datetime) -> None:
        """Record that a destination has what it took.

        Parameters
        ----------
        digest
            Of the result.
        destination
            Its name.
        confirmation
            What it said.
        now
            The time.
        """
        with self._engine.begin() as connection:
            self._change(
                connection,
                digest,
                destination,
                state="committed",
                last_error="",
                confirmed_by=confirmation.by,
                next_at=None,
                finished_at=now,
            )

    def send_again(self, digest: str, study_instance_uid: str, shipments: Sequence[Shipment], now: datetime) -> None:
        """Have a result sent, whatever became of it before: the same bytes under the same UIDs, with all its attempts.

        Parameters
        ----------
        digest
            Of the result.
        study_instance_uid
            Of its study.
        shipments
            One for each destination that gets it. One that it was never to be sent to gets it for the first time; one whose delivery a
            person ended gets nothing.
        now
            The time.
        """
        afresh = {
            "state": "waiting",
            "failures": 0,
            "last_error": "",
            "created_at": now,
            "next_at": now,
            "receipt": None,
            "confirmed_by": None,
            "finished_at": None,
        }
        with self._engine.begin() as connection:
            for shipment in shipments:
                values = afresh | {"kinds": list(shipment.kinds)}
                key = {"digest": digest, "destination": shipment.destination}
                row = values | key | {"study_instance_uid": study_instance_uid, "attempts": 0}
                connection.execute(
                    _insert(self._engine, DELIVERIES)
                    .values(row)
                    .on_conflict_do_update(index_elements=list(key), set_=values, where=DELIVERIES.c.state != "purged")
                )

    def purge(self, digest: str, now: datetime) -> None:
        """Record that a result's files were removed: what was still to be sent of it is not.

        Parameters
        ----------
        digest
            Of the result.
        now
            The time.
        """
        with self._engine.begin() as connection:
            end_deliveries(connection, (digest,), now)

    def breaker(self, destination: str) -> Breaker:
        """Return the breaker of a destination."""
        with self._reading.begin() as connection:
            row = connection.execute(select(BREAKERS).where(BREAKERS.c.destination == destination)).one_or_none()
        return Breaker() if row is None else Breaker(row.failures, row.open_until)

    def set_breaker(self, destination: str, breaker: Breaker) -> None:
        """Keep the breaker of a destination.

        Parameters
        ----------
        destination
            Its name.
        breaker
            Its new state.
        """
        values = {"failures": breaker.failures, "open_until": breaker.open_until}
        with self._engine.begin() as connection:
            connection.execute(
                _insert(self._engine, BREAKERS)
                .values({"destination": destination} | values)
                .on_conflict_do_update(index_elements=["destination"], set_=values)
            )

    def _read(self, query: Select[Any]) -> tuple[DeliveryDetail, ...]:
        with self._reading.begin() as connection:
            rows = connection.execute(query.order_by(DELIVERIES.c.digest, DELIVERIES.c.destination)).all()
        return tuple(detail_of(row) for row in rows)

    @staticmethod
    def _change(connection: Connection, digest: str, destination: str, **changes: Any) -> None:
        connection.execute(
            update(DELIVERIES)
            .where(DELIVERIES.c.digest == digest, DELIVERIES.c.destination == destination)
            .where(DELIVERIES.c.state != "purged")  # a person ended it while it was tried
            .values(**changes)
        )


def end_deliveries(connection: Connection, digests: Collection[str], now: datetime) -> None:
    """Record that results were removed by a person: those of their deliveries that are not confirmed have ended as ``purged``.

    Parameters
    ----------
    connection
        In a transaction.
    digests
        Of the results.
    now
        The time.
    """
    connection.execute(
        update(DELIVERIES)
        .where(DELIVERIES.c.digest.in_(digests), DELIVERIES.c.state.not_in(ENDED))
        .values(state="purged", last_error=_PURGED, next_at=None, finished_at=now)
    )


def _wanted(digest: str, destination: str) -> Select[Any]:
    return select(DELIVERIES).where(DELIVERIES.c.digest == digest, DELIVERIES.c.destination == destination)


def _insert(engine: Engine, table: Table) -> Any:
    """Return an INSERT that knows of conflicts, which both databases have under one name and SQLAlchemy under two."""
    return postgresql.insert(table) if engine.dialect.name == "postgresql" else sqlite.insert(table)
