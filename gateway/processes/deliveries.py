"""Sends in a thread for each destination, so that a slow or dead one holds no other up."""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from typing import Final

from gateway.clock import utc_now
from gateway.objects.locks import held_file
from gateway.processes.setup import keep_doing
from gateway.records import StoredObject, StoredResult, StudyKey
from gateway.send.rules import SendPlan, origin_of, plan_sending
from gateway.send.sender import Sender
from gateway.send.settings import SendSettings
from gateway.workflow.results import ResultNote, ResultStore

logger = logging.getLogger("pdl1es.gateway.send")

_POLL_SECONDS: Final = 0.5
_NO_DESTINATION: Final = "NO_DESTINATION: gateway.yaml has none of this name any more; resend when it has"
_WITHHELD: Final = "WITHHELD: the model was not trained on patients, and allow_demonstration is not set"


def sending_plan(
    result: StoredResult,
    objects: tuple[StoredObject, ...],
    settings: SendSettings,
    *,
    training_data: str,
    allow_demonstration: bool,
) -> SendPlan:
    """Apply the rules to a result.

    Parameters
    ----------
    result
        What there is to send.
    objects
        Of its study: from where they came decides which rules fit.
    settings
        Section ``send``.
    training_data
        Of its model: anything but ``patients`` is a demonstration.
    allow_demonstration
        Whether reports of such a model may leave this machine.

    Returns
    -------
    SendPlan
    """
    return plan_sending(
        result,
        origin_of(objects),
        rules=settings.rules,
        addresses=settings.addresses(),
        demonstration=training_data != "patients",
        allow_demonstration=allow_demonstration,
    )


class DeliveryThreads:
    """One thread for each destination.

    Parameters
    ----------
    sender
        Takes deliveries one step further.
    results
        The result store.
    settings
        Section ``send``.
    allow_demonstration
        Whether reports of a model that was not trained on patients may leave this machine.
    """

    def __init__(
        self, sender: Sender, results: ResultStore, settings: SendSettings, *, allow_demonstration: bool
    ) -> None:
        self._sender = sender
        self._results = results
        self._addresses = settings.addresses()
        self._allow_demonstration = allow_demonstration
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._deliver_to, args=(destination.name,), name=f"send-{destination.name}", daemon=True
            )
            for destination in settings.destinations
        ]

    def start(self) -> None:
        """Begin to send; what was to go to a destination that there is no more is given up, and told."""
        book = self._sender.book
        for detail in book.in_state("waiting", "sent"):
            sent = detail.delivery
            if sent.destination not in self._addresses:
                logger.error(
                    "a delivery is given up: gateway.yaml has no destination %s any more",
                    sent.destination, extra={"study": StudyKey(detail.study_instance_uid)},
                )  # fmt: skip
                book.park(sent.digest, sent.destination, error=_NO_DESTINATION, next_at=None, now=utc_now())
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> None:
        """Begin nothing new, and wait for what is being sent.

        Parameters
        ----------
        seconds
            At most so long, for all destinations together; what is interrupted is sent again after the next start.
        """
        self._ended.set()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _deliver_to(self, destination: str) -> None:
        keep_doing(f"sending to {destination}", lambda: self._advance(destination), self._ended, _POLL_SECONDS)

    def _advance(self, destination: str) -> bool:
        """Take the deliveries of one destination that are due one step further."""
        self._sender.hasten(destination)
        due = [
            one
            for one in self._sender.book.due(utc_now(), self._sender.longest_wait)
            if one.delivery.destination == destination
        ]
        for detail in due:
            if self._ended.is_set():
                return False
            note = self._results.note(detail.delivery.digest)
            if note is None:
                logger.error("a delivery names a result that is not there: %s", detail.delivery.digest[:12])
                continue
            result = note.result
            if note.purged and detail.delivery.state == "waiting":
                self._sender.book.purge(result.digest, utc_now())
                continue
            if detail.delivery.state == "waiting" and not self._may_go(note, destination):
                logger.error("nothing is sent to %s: %s", destination, _WITHHELD, extra={"study": result.study})
                self._sender.book.park(
                    detail.delivery.digest, destination, error=_WITHHELD, next_at=None, now=utc_now()
                )
                continue
            with held_file(result.folder, fcntl.LOCK_SH):  # nobody removes the files while they are sent
                after = self._sender.advance(result, destination)
            if after.state != detail.delivery.state or after.last_error:
                error = after.last_error.partition(":")[0]
                logger.log(
                    logging.WARNING if error else logging.INFO,
                    "delivery to %s: %s, attempt %d%s",
                    destination, after.state, after.attempts, f", {error}" if error else "",
                    extra={"study": result.study},
                )  # fmt: skip
        return False

    def _may_go(self, note: ResultNote, destination: str) -> bool:
        """Tell whether a result may go there now: since its delivery was planned, settings and the destination's host may have changed."""
        demonstration = note.training_data != "patients"
        return not demonstration or self._allow_demonstration or self._addresses[destination].is_loopback
