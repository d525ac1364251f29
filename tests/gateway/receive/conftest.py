"""Fixtures of the sources' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.objects.in_flight import InFlight
from gateway.objects.store import ObjectStore
from gateway.receive.listener import DimseListener
from gateway.receive.settings import AssociationLimits, DimseSource
from tests.gateway.receive.certificates import Certificates, make_certificates

Listen = Callable[..., DimseListener]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of an authority, the gateway, a sender and a stranger."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def in_flight(database: Engine) -> InFlight:
    """What is in flight; an association counts for longer than a machine under load may pause it."""
    return InFlight(database, grace=timedelta(minutes=10))


@pytest.fixture
def listen(store: ObjectStore, in_flight: InFlight) -> Iterator[Listen]:
    """Starts listeners on free ports of the loopback interface, and stops them after the test."""
    with ExitStack() as stack:

        def start(limits: dict[str, Any] | None = None, **settings: Any) -> DimseListener:
            source = DimseSource(name="pacs", port=0, limits=AssociationLimits(**(limits or {})), **settings)
            return stack.enter_context(DimseListener(source, store, in_flight))

        yield start
