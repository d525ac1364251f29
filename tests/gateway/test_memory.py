"""What a long-lived process gives back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.memory import give_back_memory

MIB = 2**20
THREADS_AT_ONCE = """
import ctypes, sys, threading
from gateway.memory import limit_arenas
if sys.argv[1] == "limited":
    limit_arenas()
together = threading.Barrier(16)
def allocate():
    together.wait()
    block = b"1" * 8192
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""


def resident() -> int:
    """Return the memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_between_used_blocks_is_given_back() -> None:
    blocks = [b"\1" * 8192 for _ in range(8192)]
    kept = blocks[::256]
    full = resident()
    blocks.clear()
    give_back_memory()
    assert full - resident() > 32 * MIB, "of the 62 MiB between what is kept"
    assert len(kept) == 32


@pytest.mark.parametrize("limit", ["limited", "as it comes"])
def test_threads_that_allocate_at_once_share_two_arenas(repository: Path, limit: str) -> None:
    command = [sys.executable, "-c", THREADS_AT_ONCE, limit]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")
    }
    said = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=True).stderr
    arenas = said.count("Arena ")
    assert arenas <= 2 if limit == "limited" else arenas > 2, said
