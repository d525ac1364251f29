"""Fixtures of the gateway's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

import gateway.objects.tables
import gateway.receive.orthanc  # noqa: F401 - their tables are made
from gateway.database import create_tables, open_database
from gateway.objects.store import ObjectStore


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """The gateway's database with its tables, on disk."""
    engine = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def store(tmp_path: Path, database: Engine) -> Iterator[ObjectStore]:
    """An empty object store."""
    with ObjectStore(tmp_path / "objects", database) as made:
        yield made
