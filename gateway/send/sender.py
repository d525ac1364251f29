"""One step of a delivery: an attempt, or the question whether the destination keeps what it took. Nothing here waits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from gateway.clock import utc_now
from gateway.peers.failures import PeerError, PeerFailure
from gateway.peers.faults import PeerFaults
from gateway.records import CurrentIdentity, ResultDelivery, StoredResult, StudyKey
from gateway.send.breaker import Breaker, after_failure, after_start, after_success, may_send
from gateway.send.c_store import StoreDestination
from gateway.send.commitment import CommitmentBook
from gateway.send.delivery import DeliveryBook
from gateway.send.delivery_tables import DeliveryDetail
from gateway.send.destination import Confirmation, Destination
from gateway.send.drop_folder import DropFolder
from gateway.send.reconcile import has_moved, refiled
from gateway.send.retry import next_attempt, scatter
from gateway.send.rules import SendPlan, shipped_part
from gateway.send.settings import DestinationSettings, DicomDestination, SendSettings, WebDestination
from gateway.send.stow import StowDestination

logger = logging.getLogger("pdl1es.gateway.send")

ASK_AGAIN: Final = timedelta(seconds=15)
"""Between two looks whether a peer has answered to a request for storage commitment."""
LATE: Final = timedelta(hours=1)
"""Between two looks whether a peer's answer has come after its delivery was parked."""
TIME_TO_INDEX: Final = timedelta(seconds=75)
"""How long a peer may take until its queries find what it took; after that it is sent again."""


class Sender:
    """Takes deliveries one step further.

    `advance` does one attempt or asks once; the caller decides when (`ResultDelivery.next_at`) and in which thread, so that a slow
    destination holds no other one up. Whatever is interrupted is done again: the same bytes under the same UIDs.
    """

    def __init__(
        self,
        settings: SendSettings,
        engine: Engine,
        *,
        destinations: Mapping[str, Destination] | None = None,
        identity_of: Callable[[StudyKey], CurrentIdentity | None] | None = None,
        copies: Path | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Make the destinations of the settings.

        Parameters
        ----------
        settings
            The section ``send`` of ``gateway.yaml``.
        engine
            The gateway's database, with its tables.
        destinations
            In place of those of the settings, by name.
        identity_of
            Asks an archive whose a study is now, for destinations with ``reconcile``.
        copies
            Folder for the copies that are filed under other values (`gateway.send.reconcile`).
        clock
            Gives the time in UTC.
        """
        self._settings = {destination.name: destination for destination in settings.destinations}
        self.book = DeliveryBook(engine)
        self._faults = PeerFaults(engine, clock)
        commitments = CommitmentBook(engine)
        self._destinations = (
            {name: open_destination(one, commitments) for name, one in self._settings.items()}
            if destinations is None
            else dict(destinations)
        )
        self._clock = clock
        self.longest_wait = max([_longest_wait(one) for one in settings.destinations], default=LATE) + LATE
        """No delivery waits longer: what lies further ahead was set before the clock stepped back."""
        self._identity_of = identity_of
        self._copies = copies

    def destination(self, name: str) -> Destination:
        """Return a destination by its name; KeyError where there is none."""
        return self._destinations[name]

    def begin(self, result: StoredResult, plan: SendPlan) -> tuple[ResultDelivery, ...]:
        """Record that a result is to be sent.

        Parameters
        ----------
        result
            The whole result.
        plan
            What goes where.

        Returns
        -------
        tuple of ResultDelivery
            Its deliveries, old and new.
        """
        return self.book.begin(result.digest, result.study.study_instance_uid, plan.shipments, self._clock())

    def advance(self, result: StoredResult, destination: str) -> ResultDelivery:
        """Take one delivery one step further: send it, or ask whether it is kept, if its time has come.

        Parameters
        ----------
        result
            The whole result; what the destination gets of it was recorded by `begin`.
        destination
            Its name.

        Returns
        -------
        ResultDelivery
            As it stands now. ``next_at`` says when to come again; None: it has ended, or nothing more is to be expected.

        Raises
        ------
        KeyError
            It was never to be sent there, or the destination is no longer in ``gateway.yaml``.
        """
        detail = self.book.detail(result.digest, destination)
        delivery = detail.delivery
        now = self._clock()
        ahead = timedelta(0) if delivery.next_at is None else delivery.next_at - now
        if delivery.next_at is None or timedelta(0) < ahead <= self.longest_wait:
            return delivery
        if delivery.state == "waiting":
            self._attempt(detail, shipped_part(result, detail.kinds))
        elif detail.receipt is not None:
            self._confirm(detail)
        return self.book.detail(result.digest, destination).delivery

    def hasten(self, destination: str) -> None:
        """Where a destination is down and its pause is over, have what waits longest for it tried now, whatever its own time.

        Parameters
        ----------
        destination
            Its name.
        """
        breaker, now = self.book.breaker(destination), self._clock()
        if breaker.open_until is not None and may_send(breaker, self._settings[destination].breaker, now):
            self.book.hasten(destination, now, at_most=1)

    def _answered(self, name: str, breaker: Breaker) -> None:
        """Close the circuit; where it was open, all that waits is sent now."""
        self.book.set_breaker(name, after_success())
        if breaker.open_until is not None:
            logger.warning("destination %s answers again: what waits for it is sent now", name)
            self.book.hasten(name, self._clock())

    def _attempt(self, detail: DeliveryDetail, part: StoredResult) -> None:
        name, now = detail.delivery.destination, self._clock()
        rules, breaker = self._settings[name].breaker, self.book.breaker(name)
        if not may_send(breaker, rules, now):
            # Those that wait come one after the other, lest they all come at once.
            spread = timedelta(seconds=rules.pause_seconds * scatter(part.digest, name, detail.delivery.attempts))
            self.book.postpone(part.digest, name, (breaker.open_until or now) + spread / 4)
            return
        attempt = self.book.record_attempt(part.digest, name)
        self.book.set_breaker(name, after_start(breaker, rules, now))
        try:
            sent = self._under_current_values(part, name)
        except PeerError as error:  # the archive's fault, or a file's: it says nothing of the destination
            self._give_back(detail, error, attempt, counts=breaker.open_until is None)
            return
        try:
            receipt = self._destinations[name].deliver(sent, attempt)
        except PeerError as error:
            self._faults.note(f"destination {name}", error)
            self._failed(detail, error, attempt)
        else:
            self.book.record_sent(receipt, self._clock())
            self._faults.clear(f"destination {name}")
            self._answered(name, breaker)

    def _under_current_values(self, part: StoredResult, name: str) -> StoredResult:
        """Return what is sent: the result, or its copy under the values that the archive has now."""
        if not self._settings[name].reconcile or self._identity_of is None or self._copies is None:
            return part
        identity = self._identity_of(part.study)
        if identity is None or not has_moved(part, identity):
            return part
        copy = refiled(part, identity, self._clock(), self._copies)
        logger.warning(
            "%d objects go to %s under the values that the archive has now; %d files stay behind",
            len(copy.files), name, len(part.files) - len(copy.files), extra={"study": part.study},
        )  # fmt: skip
        if not copy.files:
            raise PeerError(PeerFailure.NOT_ACCEPTED, "the patient's values are printed on all that would be sent")
        return copy

    def _failed(self, detail: DeliveryDetail, error: PeerError, attempt: int) -> None:
        name, now = detail.delivery.destination, self._clock()
        settings = self._settings[name]
        before = self.book.breaker(name)
        if error.failure.row.peer_down:
            breaker = after_failure(before, settings.breaker, now)
            self.book.set_breaker(name, breaker)
            if breaker.open_until is not None and before.open_until is None:
                how = "rejects the gateway" if error.failure is PeerFailure.ASSOCIATION_REJECTED else "is down"
                logger.warning(
                    "destination %s %s: %s, failures in a row: %d; tried again each %g s",
                    name, how, error.failure.name, breaker.failures, settings.breaker.pause_seconds,
                )  # fmt: skip
            # Else the tries of a peer that is down would use up those that the result has.
            self._give_back(detail, error, attempt, counts=breaker.open_until is None)
        else:
            self._give_back(detail, error, attempt, counts=True)
            self._answered(name, before)

    def _give_back(self, detail: DeliveryDetail, error: PeerError, attempt: int, *, counts: bool) -> None:
        """Set when a delivery that failed is tried again; one that does not count is given up by its age alone."""
        name, now = detail.delivery.destination, self._clock()
        schedule = self._settings[name].retry
        following = next_attempt(
            schedule,
            failures=detail.failures + 1 if counts else min(attempt, schedule.attempts - 1),
            first_at=detail.created_at,
            now=now,
            fraction=scatter(detail.delivery.digest, name, attempt),
        )
        self.book.record_failure(
            detail.delivery.digest, name, error=str(error), next_at=following, now=now, counts=counts
        )

    def _confirm(self, detail: DeliveryDetail) -> None:
        digest, name = detail.delivery.digest, detail.delivery.destination
        assert detail.receipt is not None
        try:
            said = self._destinations[name].confirm(detail.receipt)
        except PeerError as error:
            self._not_asked(detail, str(error))
            return
        if self.book.detail(digest, name).receipt != detail.receipt:
            return  # it was asked for again meanwhile: that is not answered by this
        now = self._clock()
        if said.has_them:
            self.book.record_confirmed(digest, name, said, now)
        elif said.has_them is None:
            self.book.postpone(digest, name, now + ASK_AGAIN, "")
        else:
            self._not_kept(detail, said)

    def _not_asked(self, detail: DeliveryDetail, error: str) -> None:
        """The destination took the set and cannot be asked now: it is asked later, and the set is not sent again for that."""
        name = detail.delivery.destination
        wait = timedelta(seconds=self._settings[name].retry.longest_seconds)
        if self._is_old(detail):
            self.book.park(detail.delivery.digest, name, error=error, next_at=None, now=self._clock())
        else:
            self.book.postpone(detail.delivery.digest, name, self._clock() + wait, error)

    def _is_old(self, detail: DeliveryDetail) -> bool:
        hours = self._settings[detail.delivery.destination].retry.give_up_hours
        return self._clock() > detail.created_at + timedelta(hours=hours)

    def _not_kept(self, detail: DeliveryDetail, said: Confirmation) -> None:
        assert said.failure is not None
        assert detail.receipt is not None
        digest, name, now = detail.delivery.digest, detail.delivery.destination, self._clock()
        if said.failure is PeerFailure.NOT_CONFIRMED:
            error = str(PeerError(said.failure, "no answer to the request for storage commitment, and no C-FIND"))
            self.book.park(digest, name, error=error, next_at=None if self._is_old(detail) else now + LATE, now=now)
            return
        since = now - detail.receipt.sent_at
        if said.by == "query" and timedelta(0) <= since < TIME_TO_INDEX:
            self.book.postpone(digest, name, now + ASK_AGAIN, said.failure.name)
            return
        self._failed(detail, PeerError(said.failure, f"asked by {said.by}"), detail.delivery.attempts)


def _longest_wait(settings: DestinationSettings) -> timedelta:
    seconds = (settings.retry.longest_seconds, settings.breaker.pause_seconds, settings.breaker.probe_seconds)
    return timedelta(seconds=max(seconds))


def open_destination(settings: DestinationSettings, commitments: CommitmentBook) -> Destination:
    """Return the destination that settings describe.

    Parameters
    ----------
    settings
        One of ``send.destinations``.
    commitments
        Requests for storage commitment.

    Returns
    -------
    Destination
    """
    if isinstance(settings, DicomDestination):
        return StoreDestination(settings, commitments)
    if isinstance(settings, WebDestination):
        return StowDestination(settings)
    return DropFolder(settings)
