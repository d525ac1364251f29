"""Storage commitment (PS3.4 annex J): the peer is asked to keep what it took, and answers on the same or on a new association."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from sqlalchemy import JSON, Boolean, Column, Engine, String, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.clock import utc_now
from gateway.database import METADATA, UtcTime, read_only
from gateway.peers.association import Handlers, accepts, associated, require_success
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.settings import DicomNode
from gateway.send.destination import Receipt, SentObject

logger = logging.getLogger("pdl1es.gateway.send")

COMMITMENTS: Final = Table(
    "commitments",
    METADATA,
    Column("transaction_uid", String(64), primary_key=True),
    Column("requested_at", UtcTime, nullable=False),
    Column("asked", Boolean, nullable=False, default=False),
    Column("answered_at", UtcTime),
    Column("kept", JSON),
    Column("failed", JSON),
)
"""What peers were asked to keep. ``asked``: the peer has taken the request. ``kept`` and ``failed``: the SOP Instance UIDs that they
name as kept and as not kept, once they have answered."""

REQUEST_STORAGE_COMMITMENT: Final = 1
"""Action Type ID (PS3.4 J.3.2.1)."""
MOST_OBJECTS: Final = 10_000
"""Longest list that an answer may hold; a result has three objects."""
UNKNOWN_TRANSACTION: Final = 0x0112
"""No such SOP instance (PS3.7 C.5.18)."""


@dataclass(frozen=True, slots=True)
class CommitmentState:
    """What is known of one request.

    Attributes
    ----------
    requested_at
        When the peer was first asked, UTC.
    asked
        Whether it has taken the request.
    answered
        Whether it has answered.
    kept, failed
        SOP Instance UIDs that it names as kept and as not kept, whatever it was asked about.
    """

    requested_at: datetime
    asked: bool
    answered: bool
    kept: tuple[str, ...]
    failed: tuple[str, ...]

    def said_of(self, objects: Sequence[SentObject]) -> bool | None:
        """Return what the answer says of the objects that it was asked about: what it says of others counts for nothing.

        Parameters
        ----------
        objects
            Of the request.

        Returns
        -------
        bool or None
            True: all are named as kept. False: one is named as not kept. None: of one it says nothing, or there is no answer.
        """
        asked = {one.sop_instance_uid for one in objects}
        if asked & set(self.failed):
            return False
        return True if self.answered and asked <= set(self.kept) else None


class CommitmentBook:
    """The requests for storage commitment, in the database: the answer may come to another process than the one that asked."""

    def __init__(self, engine: Engine) -> None:
        """Use a database that has its tables."""
        self._engine = engine
        self._reading = read_only(engine)

    def requested(self, transaction_uid: str, now: datetime) -> CommitmentState:
        """Record that a peer is about to be asked.

        Parameters
        ----------
        transaction_uid
            Of the request.
        now
            The time.

        Returns
        -------
        CommitmentState
            Of the first time that this request was recorded.
        """
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        row = {"transaction_uid": transaction_uid, "requested_at": now}
        with self._engine.begin() as connection:
            connection.execute(insert(COMMITMENTS).values(row).on_conflict_do_nothing())
        state = self.state(transaction_uid)
        assert state is not None
        return state

    def taken(self, transaction_uid: str) -> None:
        """Record that the peer has taken the request."""
        with self._engine.begin() as connection:
            connection.execute(
                update(COMMITMENTS).where(COMMITMENTS.c.transaction_uid == transaction_uid).values(asked=True)
            )

    def state(self, transaction_uid: str) -> CommitmentState | None:
        """Return what is known of a request; None of one that was never recorded."""
        with self._reading.begin() as connection:
            row = connection.execute(
                select(COMMITMENTS).where(COMMITMENTS.c.transaction_uid == transaction_uid)
            ).one_or_none()
        if row is None:
            return None
        kept, failed = tuple(row.kept or ()), tuple(row.failed or ())
        return CommitmentState(row.requested_at, row.asked, row.answered_at is not None, kept, failed)

    def answered(self, transaction_uid: str, *, kept: Sequence[str], failed: Sequence[str], now: datetime) -> bool:
        """Record a peer's answer; the first one stays.

        Parameters
        ----------
        transaction_uid
            Of the request.
        kept, failed
            SOP Instance UIDs that the peer names as kept and as not kept.
        now
            The time.

        Returns
        -------
        bool
            Whether the request is known.
        """
        with self._engine.begin() as connection:
            connection.execute(
                update(COMMITMENTS)
                .where(COMMITMENTS.c.transaction_uid == transaction_uid, COMMITMENTS.c.answered_at.is_(None))
                .values(answered_at=now, kept=list(kept), failed=list(failed))
            )
        return self.state(transaction_uid) is not None


def transaction_uid_of(receipt: Receipt) -> str:
    """Return the Transaction UID of a request about a set: always the same, so that one that was interrupted is not repeated anew."""
    return generate_uid(entropy_srcs=[receipt.digest, receipt.destination, str(receipt.attempt)])


def record_answer(information: Dataset, book: CommitmentBook) -> int:
    """Record the event information of an N-EVENT-REPORT (PS3.4 table J.3-2).

    Its contents count, not its Event Type ID: what Referenced SOP Sequence names is kept, what Failed SOP Sequence names is not. An answer
    to a request that was never made is told in the log and changes nothing.

    Parameters
    ----------
    information
        From the peer: not to be trusted.
    book
        Where it is recorded.

    Returns
    -------
    int
        The status to answer with.
    """
    known = book.answered(
        str(information.get("TransactionUID", "")),
        kept=_named_in(information, "ReferencedSOPSequence"),
        failed=_named_in(information, "FailedSOPSequence"),
        now=utc_now(),
    )
    if not known:
        logger.warning(
            "a peer answers to a request for storage commitment that was never made; nothing is changed by it"
        )
    return 0x0000 if known else UNKNOWN_TRANSACTION


def _named_in(information: Dataset, keyword: str) -> list[str]:
    items = information.get(keyword) or []
    return [str(item.get("ReferencedSOPInstanceUID", "")) for item in items[:MOST_OBJECTS]]


def request_commitment(
    node: DicomNode,
    *,
    transaction_uid: str,
    objects: Sequence[SentObject],
    book: CommitmentBook,
    wait_seconds: float,
) -> bool:
    """Ask a peer to keep objects, and wait a little for its answer on the same association.

    Parameters
    ----------
    node
        The peer.
    transaction_uid
        Of the request.
    objects
        What it is to keep.
    book
        The request is recorded before it is made, because the answer may come first.
    wait_seconds
        How long the association stays open for the answer.

    Returns
    -------
    bool
        Whether the peer offers storage commitment at all.

    Raises
    ------
    PeerError
        It offers it and could not be asked.
    """
    heard, answered = threading.Event(), threading.Event()

    def hear(event: evt.Event) -> tuple[int, None]:
        status = record_answer(event.event_information, book)
        heard.set()
        return status, None

    def sent(_event: evt.Event) -> None:
        # The association is released only when the peer has our response: pynetdicom's own thread ends where one crosses the other.
        if heard.is_set():
            answered.set()

    handlers: Handlers = [(evt.EVT_N_EVENT_REPORT, hear), (evt.EVT_PDU_SENT, sent)]
    try:
        with associated(node, [build_context(StorageCommitmentPushModel)], handlers) as association:
            if not accepts(association, StorageCommitmentPushModel):
                return False
            book.requested(transaction_uid, utc_now())
            status, _ = association.send_n_action(
                _request(transaction_uid, objects),
                REQUEST_STORAGE_COMMITMENT,
                StorageCommitmentPushModel,
                StorageCommitmentPushModelInstance,
            )
            require_success(status, "N-ACTION (storage commitment)")
            book.taken(transaction_uid)
            answered.wait(wait_seconds)
    except PeerError as error:
        if error.failure is PeerFailure.NOT_ACCEPTED:  # not even Verification
            return False
        raise
    return True


def _request(transaction_uid: str, objects: Sequence[SentObject]) -> Dataset:
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = []
    for one in objects:
        item = Dataset()
        item.ReferencedSOPClassUID = one.sop_class_uid
        item.ReferencedSOPInstanceUID = one.sop_instance_uid
        request.ReferencedSOPSequence.append(item)
    return request
