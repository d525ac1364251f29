"""Threads that hand in at the same time share a commit; each gets its own result, and none waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.objects.group_commit import GroupCommit

THREADS, ITEMS = 16, 50


def test_every_thread_gets_its_own_result_and_commits_never_overlap() -> None:
    one = threading.Lock()
    groups: list[int] = []

    def commit(items: Sequence[int]) -> list[int]:
        assert one.acquire(blocking=False)
        time.sleep(0.0005)
        groups.append(len(items))
        one.release()
        return [-item for item in items]

    group = GroupCommit(commit)

    def hand_in(thread: int) -> list[int]:
        return [group.submit(thread * ITEMS + number) for number in range(ITEMS)]

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(hand_in, range(THREADS)))
    assert results == [[-(thread * ITEMS + number) for number in range(ITEMS)] for thread in range(THREADS)]
    assert sum(groups) == THREADS * ITEMS
    assert max(groups) > 1


def test_what_fails_is_told_to_its_own_group_and_the_next_one_goes_on() -> None:
    gathered = threading.Event()

    def commit(items: Sequence[str]) -> Sequence[str]:
        if "first" in items:
            gathered.wait(20)
        if "bad" in items:
            raise OSError("no room")
        return items

    group = GroupCommit(commit)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(group.submit, "first")
        time.sleep(0.05)
        failing = [pool.submit(group.submit, item) for item in ("bad", "with it")]
        time.sleep(0.05)
        gathered.set()
        assert first.result(20) == "first"
        for future in failing:
            with pytest.raises(OSError, match="no room"):
                future.result(20)
        assert pool.submit(group.submit, "next").result(20) == "next"
