"""A receiver: ``python -m gateway.processes.receiver``. It takes objects from the sources and stores them; it runs nothing.

Several of them share the ports. What only one may do (an Orthanc's changes, a folder) does the first.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.processes.setup import OBJECTS_FOLDER, begin_process
from gateway.receive.listener import DimseListener
from gateway.receive.polling import PollingSource
from gateway.receive.settings import DimseSource
from gateway.receive.sources import polling_source
from gateway.send.commitment import CommitmentBook, record_answer
from pdl1es.exit_code import ExitCode

logger = logging.getLogger("pdl1es.gateway.receiver")

FIRST: Final = "receiver-1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Receive until SIGTERM.

    Returns
    -------
    int
        Exit code: 2 where a port is taken or a certificate cannot be read.
    """
    parts = begin_process(arguments, FIRST)
    if parts is None:
        return ExitCode.REPORT_WRITTEN
    settings = parts.settings
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(
            ObjectStore(settings.folder / OBJECTS_FOLDER, parts.engine, settings.storage.limits)
        )
        in_flight = InFlight(parts.engine)
        listeners: list[DimseListener] = []
        polled: list[PollingSource] = []
        answered = partial(record_answer, book=CommitmentBook(parts.engine))
        try:
            for source in settings.sources:
                if isinstance(source, DimseSource):
                    shared = settings.receivers > 1
                    listeners.append(DimseListener(source, store, in_flight, shared=shared, answered=answered))
                elif parts.name == FIRST:
                    polled.append(polling_source(source, store, in_flight))
        except OSError as error:
            logger.error("a source cannot be opened: %s", error.strerror or type(error).__name__)
            return ExitCode.USAGE

        def detail() -> Mapping[str, Any]:
            outcomes: Counter[str] = Counter()
            for listener in listeners:
                outcomes.update(listener.outcomes)
            open_now = sum(listener.associations for listener in listeners)
            return {"associations": open_now, "association_outcomes": dict(outcomes)}

        stack.enter_context(parts.heartbeat(detail))
        for listener in listeners:
            stack.enter_context(listener)
        for looking in polled:
            stack.enter_context(looking)
        count = len(listeners) + len(polled)
        logger.info("ready: %d %s", count, "source" if count == 1 else "sources")
        parts.ended.wait()
        logger.info("stopping: no new association is taken")
    return ExitCode.REPORT_WRITTEN


if __name__ == "__main__":
    sys.exit(main())
