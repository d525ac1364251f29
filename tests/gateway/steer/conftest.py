"""Fixtures of the commands' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.steer.steered import Steered


@pytest.fixture
def steered(tmp_path: Path) -> Steered:
    """A gateway's folder, and its commands."""
    return Steered(tmp_path)
