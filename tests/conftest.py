"""Fixtures that every test may use."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

REPOSITORY = Path(__file__).resolve().parent.parent
LONG_FILES: Final = (
    "integration/test_fuzzer.py",
    "e2e/test_gateway_route.py",
    "gateway/processes/test_serve.py",
    "e2e/test_gateway_faults.py",
    "e2e/test_gateway_postgres.py",
    "gateway/workflow/test_durable.py",
    "gateway/arrival/test_thousand_arrivals.py",
    "gateway/send/test_killed_sender.py",
    "gateway/worker/test_pool.py",
    "training/test_reproduce.py",
    "training/cohort/test_prepare.py",
    "training/train",
)
"""Files and folders whose tests take long: each goes to one process, and begun last it would keep that one busy while others idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that take long first; the others stay in their order."""
    places = [REPOSITORY / "tests" / name for name in LONG_FILES]

    def rank(item: pytest.Item) -> int:
        return next((n for n, place in enumerate(places) if item.path.is_relative_to(place)), len(places))

    items.sort(key=rank)


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """Take back how a command set the process's log up: to a stream that is closed when its test has ended."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real, public data beside the project; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("PDL1ES_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real public data are not here: put them beside the project or set PDL1ES_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def phantom_study(tmp_path_factory: pytest.TempPathFactory) -> PhantomStudy:
    """A small phantom study (256 x 256 x 50, 3 mm, B60f, a tumour of 30 mm): CT, SEG, clinical.json. Do not change it."""
    from pdl1es.phantom.dicom import make_phantom_study

    return make_phantom_study(tmp_path_factory.mktemp("phantom") / "study", seed=0, matrix=256, slices=(16, 66))
