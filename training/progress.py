"""Callbacks by which a long step reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the name of the step, units done and units in all."""
Count = Callable[[int, int], None]
"""Called with units done and units in all."""
