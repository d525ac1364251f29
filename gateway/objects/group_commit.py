"""Group commit: threads that hand in something at the same time share one costly step, such as a commit to disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Ticket(Generic[Item, Result]):
    """An item that waits; ``turn`` is released when its group has been committed, or when its thread is to commit the next one."""

    item: Item
    turn: threading.Lock = field(default_factory=threading.Lock)
    done: bool = False
    result: list[Result] = field(default_factory=list)
    error: Exception | None = None


class GroupCommit(Generic[Item, Result]):
    """Runs one function on all that waits, in the thread of the first that waits.

    While a group is being committed, what comes in gathers to the next group. A single thread waits for nobody. Each thread sleeps on a
    lock of its own: on a common one they would wake one after the other, and the next group would begin after the last of them.

    Parameters
    ----------
    commit
        Takes the items of a group in the order in which they came, and returns one result for each. Its error is every item's.
    """

    def __init__(self, commit: Callable[[Sequence[Item]], Sequence[Result]]) -> None:
        self._commit = commit
        self._lock = threading.Lock()
        self._waiting: list[_Ticket[Item, Result]] = []
        self._is_led = False

    def submit(self, item: Item) -> Result:
        """Hand in an item, and return its result when its group has been committed."""
        ticket: _Ticket[Item, Result] = _Ticket(item)
        ticket.turn.acquire()
        with self._lock:
            self._waiting.append(ticket)
            leads, self._is_led = not self._is_led, True
        if not leads:
            ticket.turn.acquire()
        if not ticket.done:
            self._lead(ticket)
        if ticket.error is not None:
            raise ticket.error
        return ticket.result[0]

    def _lead(self, own: _Ticket[Item, Result]) -> None:
        """Commit all that waits, wake whoever commits the next group, then those of this one."""
        with self._lock:
            group, self._waiting = self._waiting, []
        try:
            self._run(group)
        finally:
            with self._lock:
                following = self._waiting[:1]
                self._is_led = bool(following)
            for ticket in (*following, *group):
                if ticket is not own:
                    ticket.turn.release()

    def _run(self, group: list[_Ticket[Item, Result]]) -> None:
        try:
            results = self._commit([ticket.item for ticket in group])
        except Exception as error:  # noqa: BLE001 - it is raised again in each thread of the group
            for ticket in group:
                ticket.error = error
        else:
            for ticket, result in zip(group, results, strict=True):
                ticket.result.append(result)
        finally:
            for ticket in group:
                ticket.done = True
