"""Fixtures of the tests of sending."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

import gateway.send.sender  # noqa: F401  (declares the tables)
from gateway.database import create_tables, open_database
from tests.gateway.peers.certificates import Authority, make_authority


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty database with its tables."""
    made = open_database(f"sqlite:///{tmp_path / 'gateway.sqlite'}")
    create_tables(made)
    yield made
    made.dispose()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Certificates."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    return make_authority(openssl, tmp_path_factory.mktemp("certificates"))
