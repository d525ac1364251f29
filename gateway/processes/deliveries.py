"""Sends in a thread for each destination, so that a slow or dead one holds no other up."""

from __future__ import annotations

import logging
import threading
from typing import Final

from gateway.clock import utc_now
from gateway.processes.setup import keep_doing
from gateway.records import StoredObject, StoredResult
from gateway.send.rules import SendPlan, origin_of, plan_sending
from gateway.send.sender import Sender
from gateway.send.settings import SendSettings
from gateway.workflow.results import ResultStore

logger = logging.getLogger("pdl1es.gateway.send")

_POLL_SECONDS: Final = 0.5


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
    """

    def __init__(self, sender: Sender, results: ResultStore, settings: SendSettings) -> None:
        self._sender = sender
        self._results = results
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._deliver_to, args=(destination.name,), name=f"send-{destination.name}", daemon=True
            )
            for destination in settings.destinations
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> None:
        """Begin nothing new, and wait for what is being sent.

        Parameters
        ----------
        seconds
            At most so long, for each destination; what is interrupted is sent again after the next start.
        """
        self._ended.set()
        for thread in self._threads:
            thread.join(seconds)

    def _deliver_to(self, destination: str) -> None:
        keep_doing(f"sending to {destination}", lambda: self._advance(destination), self._ended, _POLL_SECONDS)

    def _advance(self, destination: str) -> bool:
        """Take the deliveries of one destination that are due one step further."""
        due = [
            one
            for one in self._sender.book.due(utc_now(), self._sender.longest_wait)
            if one.delivery.destination == destination
        ]
        for detail in due:
            if self._ended.is_set():
                return False
            result = self._results.find(detail.delivery.digest)
            if result is None:
                logger.error("a delivery names a result that is not there: %s", detail.delivery.digest[:12])
                continue
            after = self._sender.advance(result, destination)
            if after.state != detail.delivery.state or after.last_error:
                logger.info(
                    "delivery to %s: %s after %d attempts %s",
                    destination, after.state, after.attempts, after.last_error.partition(":")[0],
                    extra={"study": result.study},
                )  # fmt: skip
        return False
