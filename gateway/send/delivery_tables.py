"""The tables of the deliveries and of their destinations' breakers, and what a row of them is to the other rooms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, Column, Integer, Row, String, Table

from gateway.database import METADATA, UtcTime
from gateway.records import ResultDelivery
from gateway.send.destination import Receipt, SentObject

DELIVERIES: Final = Table(
    "deliveries",
    METADATA,
    Column("digest", String(128), primary_key=True),
    Column("destination", String(32), primary_key=True),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("kinds", JSON, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("last_error", String(1000), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("next_at", UtcTime),
    Column("receipt", JSON),
    Column("confirmed_by", String(16)),
    Column("finished_at", UtcTime),
)
"""``failures``: since it was begun or resent. ``receipt``: what the destination took, until it is confirmed."""

BREAKERS: Final = Table(
    "breakers",
    METADATA,
    Column("destination", String(32), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("open_until", UtcTime),
)
"""The circuit breaker of each destination, which all processes share."""


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """A delivery with everything that the database knows of it.

    Attributes
    ----------
    delivery
        As the other rooms see it.
    study_instance_uid
        Of the result.
    kinds
        Kinds of outputs in the set.
    failures
        How often it failed since it was begun or resent.
    created_at
        When it was begun or resent, UTC.
    receipt
        What the destination took; None before that.
    confirmed_by
        How it is known that the destination has it: see `gateway.send.destination.Confirmation`; empty before that.
    finished_at
        When it was confirmed or given up, UTC; None before that.
    """

    delivery: ResultDelivery
    study_instance_uid: str
    kinds: tuple[str, ...]
    failures: int
    created_at: datetime
    receipt: Receipt | None
    confirmed_by: str
    finished_at: datetime | None = None


def detail_of(row: Row[Any]) -> DeliveryDetail:
    """Return a row of `DELIVERIES` as the other rooms see it."""
    return DeliveryDetail(
        delivery=ResultDelivery(row.digest, row.destination, row.state, row.attempts, row.last_error, row.next_at),
        study_instance_uid=row.study_instance_uid,
        kinds=tuple(row.kinds),
        failures=row.failures,
        created_at=row.created_at,
        receipt=_receipt(row),
        confirmed_by=row.confirmed_by or "",
        finished_at=row.finished_at,
    )


def receipt_json(receipt: Receipt) -> dict[str, Any]:
    """Return a receipt as it is kept in a row."""
    return {
        "attempt": receipt.attempt,
        "sent_at": receipt.sent_at.isoformat(),
        "objects": [[one.sop_class_uid, one.sop_instance_uid, one.series_instance_uid] for one in receipt.objects],
        "notes": list(receipt.notes),
    }


def _receipt(row: Row[Any]) -> Receipt | None:
    if row.receipt is None:
        return None
    return Receipt(
        digest=row.digest,
        destination=row.destination,
        study_instance_uid=row.study_instance_uid,
        attempt=row.receipt["attempt"],
        sent_at=datetime.fromisoformat(row.receipt["sent_at"]),
        objects=tuple(SentObject(*uids) for uids in row.receipt["objects"]),
        notes=tuple(row.receipt["notes"]),
    )
