"""The gateway's clock: every time that it keeps is UTC, with its zone."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the time in UTC, with its zone."""
    return datetime.now(UTC)
