"""What a long-lived process gives back."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.memory import give_back_memory

MIB = 2**20


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
