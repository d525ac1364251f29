"""Threads that hand in at the same time share a commit; each gets its own result, and none waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.objects.group_commit import GroupCommit
from tests.waiting import PATIENCE_S, until

THREADS, ITEMS = 16, 50


def gathered(group: GroupCommit[Any, Any], count: int) -> None:
    """Wait until so many items wait for the next commit."""
    until(lambda: len(group._waiting) == count)


def test_every_thread_gets_its_own_result_and_commits_never_overlap() -> None:
    one = threading.Lock()
    groups: list[int] = []

    def commit(items: Sequence[int]) -> list[int]:
        assert one.acquire(blocking=False)
        if not groups:
            gathered(group, THREADS - len(items))
        groups.append(len(items))
        one.release()
        return [-item for item in items]

    group: GroupCommit[int, int] = GroupCommit(commit)

    def hand_in(thread: int) -> list[int]:
        return [group.submit(thread * ITEMS + number) for number in range(ITEMS)]

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(hand_in, range(THREADS)))
    assert results == [[-(thread * ITEMS + number) for number in range(ITEMS)] for thread in range(THREADS)]
    assert sum(groups) == THREADS * ITEMS
    assert max(groups) >= THREADS - groups[0]


def test_what_fails_is_told_to_its_own_group_and_the_next_one_goes_on() -> None:
    begun = threading.Event()

    def commit(items: Sequence[str]) -> Sequence[str]:
        if "first" in items:
            begun.set()
            gathered(group, 2)
        if "bad" in items:
            raise OSError("no room")
        return items

    group: GroupCommit[str, str] = GroupCommit(commit)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(group.submit, "first")
        assert begun.wait(PATIENCE_S)
        failing = [pool.submit(group.submit, item) for item in ("bad", "with it")]
        assert first.result(PATIENCE_S) == "first"
        for future in failing:
            with pytest.raises(OSError, match="no room"):
                future.result(PATIENCE_S)
        assert pool.submit(group.submit, "next").result(PATIENCE_S) == "next"
