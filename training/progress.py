"""How a long step tells what it has done."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps in all."""
Count = Callable[[int, int], None]
"""Called with steps done and steps in all."""
