"""What waits for each destination, in words for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from gateway.send.delivery import DeliveryBook


def destinations_in_words(names: Iterable[str], book: DeliveryBook) -> Iterator[str]:
    """Give a line for each destination: how much waits for it, why, and when it is tried next.

    Parameters
    ----------
    names
        Of the destinations.
    book
        The deliveries.

    Yields
    ------
    str
    """
    waiting = book.in_state("waiting")
    for name in names:
        own = [one.delivery for one in waiting if one.delivery.destination == name]
        breaker = book.breaker(name)
        line = f"destination {name}: {len(own)} waiting"
        if errors := sorted({error for one in own if (error := one.last_error.partition(":")[0])}):
            line += f", {', '.join(errors)}"
        if breaker.failures:
            line += f", failures in a row: {breaker.failures}"
        tries = [at for one in own if (at := one.next_at) is not None]
        if breaker.open_until is not None:
            how = "rejects the gateway" if "ASSOCIATION_REJECTED" in errors else "down"
            line += f", {how}; next try {_time(breaker.open_until)}"
        elif tries:
            line += f", next try {_time(min(tries))}"
        yield line


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
