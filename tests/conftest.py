"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

REPOSITORY = Path(__file__).resolve().parent.parent


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
