"""Exit codes."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command."""

    REPORT_WRITTEN = 0
    DEFECT = 1
    USAGE = 2
    REFUSED = 3
