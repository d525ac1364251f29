"""Copies of a file with some of its bytes wrong."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draw a copy of a file with bytes changed, inserted, removed or cut off, mostly in its header."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(data)))
        action = draw(st.sampled_from(["change", "change", "change", "insert", "remove", "cut"]))
        if action == "change":
            data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif action == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=8))
        elif action == "remove":
            del data[place : place + draw(st.integers(1, 8))]
        elif draw(st.integers(0, 3)) == 0:
            del data[place:]
    return bytes(data)
